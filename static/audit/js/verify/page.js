/**
 * The page on which exports are verified: taking files, showing how far it is, and the result.
 *
 * Without this file the page says how verify.py does the same. Contract with the template:
 * [data-verify] holds the places data-entry, data-working and data-result; data-drop, data-files,
 * data-strict, data-previous take what is to be done; [data-key] are the keys that the page
 * carries, trusted for the reason in data-source, until data-key-file gives others. Needs all
 * files before it.
 */
(() => {
  "use strict";
  const { Archive, Failed, Folder, LOOKS, Unsure } = landscape;
  const { chip, element, hash, hashOf, lookUp, readKeys, resultOf, section, size } = landscape;

  const root = document.querySelector("[data-verify]");
  const place = (name) => root.querySelector(`[data-${name}]`);
  const MAX_SMALL = 1 << 20;
  const MAX_LINE = 16 << 20;
  const TITLES = {
    bag: "Verification of an export",
    record: "Verification of a record",
    certificate: "Verification of a purge certificate",
  };
  // How long the page may be busy before it looks whether somebody wants something else.
  const BUSY = 40;

  let loaded = null;
  let stopped = false;
  /** The export that was verified last, in which single files are looked up. */
  let last = null;

  class Stopped extends Error {}

  function carried() {
    const source = root.dataset.source;
    const lines = [...root.querySelectorAll("[data-key]")];
    return lines.flatMap((line) => readKeys(line.dataset.key, source));
  }

  function trusted() {
    if (loaded) return loaded;
    const keys = carried();
    if (!keys.length) throw new Unsure("this page carries no key: load the one that you were given");
    return keys;
  }

  /** Let the browser do what waits; not by a timer, which sleeps in pages that nobody sees. */
  function breathe() {
    return new Promise((resolve) => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        resolve();
      };
      port2.postMessage(null);
    });
  }

  function progressOf(total) {
    const bar = root.querySelector("[data-working] progress");
    let [done, busySince] = [0, performance.now()];
    stopped = false;
    bar.value = 0;
    return async (bytes, records) => {
      done += bytes;
      if (performance.now() - busySince < BUSY) return;
      bar.value = Math.min(1, done / (total() || 1));
      const counted = records ? `, ${records.toLocaleString("en")} records` : "";
      place("done").textContent = `${size(done)} read${counted}`;
      await breathe();
      busySince = performance.now();
      if (stopped) throw new Stopped();
    };
  }

  const show = (name) => {
    for (const each of ["entry", "working", "result"]) place(each).hidden = each !== name;
  };

  function say(text) {
    place("said").textContent = text;
    place("said").hidden = !text;
  }

  const isProof = (file) => file.name.endsWith(".tlog-proof");

  async function isZip(file) {
    const head = new Uint8Array(await file.slice(0, 4).arrayBuffer());
    return file.name.toLowerCase().endsWith(".zip") || landscape.hex(head) === "504b0304";
  }

  /** What was dropped, sorted: exports, records with their proofs, and single files. */
  async function sort(files) {
    const found = { bags: [], records: [], certificates: [], singles: [], lonely: [] };
    const [certificate] = files.filter((file) => file.name.endsWith(".certificate.json"));
    const [list] = certificate ? files.filter((file) => file.name.endsWith(".list.txt")) : [];
    if (certificate) found.certificates.push({ certificate, list });
    const rest = files.filter((file) => file !== certificate && file !== list);
    const proofs = rest.filter(isProof);
    const others = rest.filter((file) => !isProof(file));
    const pairs = new Map();
    for (const proof of proofs) {
      const name = proof.name.slice(0, -".tlog-proof".length);
      const alone = proofs.length === 1 && others.length === 1 ? others[0] : undefined;
      const record = others.find((file) => file.name === name) ?? alone;
      if (record) pairs.set(record, proof);
      else found.lonely.push(proof);
    }
    for (const file of others) {
      if (pairs.has(file)) found.records.push({ record: file, proof: pairs.get(file) });
      else if (await isZip(file)) found.bags.push({ name: file.name, bytes: file.size, file });
      else found.singles.push(file);
    }
    return found;
  }

  async function take(found) {
    say("");
    const wholes = [...found.bags, ...found.records, ...found.certificates].length;
    const things = wholes + found.singles.length;
    if (found.lonely.length && !things) {
      say(`${found.lonely[0].name} is a proof: drop the record that it proves together with it.`);
      return;
    }
    if (!things) return;
    if (wholes > 1) {
      say("That is more than one export, record or certificate: one after the other, please.");
      return;
    }
    show("working");
    try {
      for (const bag of found.bags) await checkBag(bag);
      for (const record of found.records) await checkRecord(record);
      for (const certificate of found.certificates) await checkCertificate(certificate);
      if (found.singles.length) await checkSingles(found.singles, things > found.singles.length);
    } catch (error) {
      show("entry");
      if (!(error instanceof Stopped)) {
        say(`The check broke off, so nothing can be told: ${error.message}`);
        throw error;
      }
    }
  }

  async function checkBag({ name, bytes, file, folder }) {
    place("name").textContent = name;
    const began = performance.now();
    const files = folder ? new Folder(folder) : Archive.open(file, name);
    let sizes = new Map();
    try {
      sizes = (await files).sizes;
    } catch {
      // The check says what it is.
    }
    const parcel = parcelIn(sizes);
    if (parcel) return checkRecord(await unpacked(await files, parcel));
    const total = [...sizes.values()].reduce((sum, each) => sum + each, 0);
    const progress = progressOf(() => total);
    const previous = place("previous").files[0];
    const report = await judge(async (keys) =>
      landscape.verifyBag(files, keys, {
        strict: place("strict").checked,
        previous: previous && { name: previous.name, content: await bytesOf(previous, MAX_SMALL) },
        progress,
      }),
    );
    last = report.listed && { name, report, files: await files };
    present(report, { what: "bag", name, bytes, began });
  }

  /** The names of a record and its proof, where a ZIP or folder holds these and no export. */
  function parcelIn(sizes) {
    const proofs = [...sizes.keys()].filter((name) => name.endsWith(".tlog-proof"));
    const record = proofs[0]?.slice(0, -".tlog-proof".length);
    if (proofs.length !== 1 || !sizes.has(record) || sizes.has("data/schema.json")) return null;
    return { record, proof: proofs[0] };
  }

  async function unpacked(files, parcel) {
    const take = async (name, limit) => {
      if (files.sizes.get(name) > limit) throw new Failed(`${name} is longer than any record`);
      const pieces = [];
      for await (const chunk of files.stream(name)) pieces.push(chunk);
      return new File(pieces, name);
    };
    return {
      record: await take(parcel.record, MAX_LINE),
      proof: await take(parcel.proof, MAX_SMALL),
    };
  }

  async function checkRecord({ record, proof }) {
    place("name").textContent = record.name;
    const began = performance.now();
    const [line, content] = [await bytesOf(record, MAX_LINE), await bytesOf(proof, MAX_SMALL)];
    const report = await judge((keys) =>
      landscape.verifyRecord({ line, proof: content, name: proof.name }, keys),
    );
    present(report, { what: "record", name: record.name, bytes: record.size, began });
    place("result").append(await contentOf(record));
  }

  async function checkCertificate({ certificate, list }) {
    place("name").textContent = certificate.name;
    const began = performance.now();
    const content = await bytesOf(certificate, MAX_LINE);
    const report = await judge((keys) =>
      landscape.verifyCertificate(
        { content, list: list && { name: list.name, blob: list } },
        keys,
        progressOf(() => list?.size),
      ),
    );
    present(report, { what: "certificate", name: certificate.name, bytes: certificate.size, began });
  }

  async function judge(check) {
    try {
      return await check(trusted());
    } catch (error) {
      if (!(error instanceof Unsure || error instanceof Failed)) throw error;
      const report = new landscape.Report();
      report.step = "key";
      report.doubt(error.message);
      return report;
    }
  }

  async function bytesOf(file, limit) {
    return new Uint8Array(await file.slice(0, limit + 1).arrayBuffer());
  }

  /** The record itself, as plain text. */
  async function contentOf(record) {
    const text = new TextDecoder().decode(await bytesOf(record, MAX_SMALL));
    let laidOut = text;
    try {
      laidOut = JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      // Shown as it is.
    }
    const told = element("pre.recorded", { tabindex: "0", "aria-label": "The record" }, laidOut);
    return section("The record", "laid out; what was signed is the line itself", told);
  }

  function present(report, head) {
    const at = new Date();
    const milliseconds = performance.now() - head.began;
    const tools = element("div.filters", {});
    button(tools, "Print for the file", () => print());
    button(tools, "Report .json", () => keep(report, { ...head, at }));
    button(tools, "Check another", again);
    place("result").replaceChildren(
      element("p.crumbs", {}, "Verify › ", head.name),
      element(
        "header.tools",
        {},
        element(
          "div.thing",
          {},
          element("h1", {}, TITLES[head.what]),
          element("span.quiet", {}, `${head.name}, ${size(head.bytes)}`),
        ),
        tools,
      ),
      ...resultOf(report, { ...head, at, milliseconds }),
    );
    show("result");
    place("result").querySelector("[data-verdict]").focus();
  }

  function button(where, words, act) {
    const made = element("button.button", { type: "button" }, words);
    made.addEventListener("click", act);
    where.append(made);
  }

  function again() {
    place("files").value = "";
    show("entry");
    place("files").focus();
  }

  /** The report as a file: that of verify.py --json, with the name of what was verified. */
  function keep(report, { name, bytes, at }) {
    const about = { file: name, bytes, checked_at: at.toISOString(), checked_by: "the page /verify/" };
    const text = JSON.stringify({ ...report.asJson(), ...about }, null, 2) + "\n";
    const link = element("a", { download: `${name}.report.json` });
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  async function checkSingles(files, behindOthers) {
    const told = [];
    for (const file of files) {
      place("name").textContent = file.name;
      const digest = await hashOf(file, progressOf(() => file.size));
      const found = last && (await lookUp(last.files, last.report.listed, digest, progressOf(() => last.report.bytes)));
      told.push(element("h3", {}, file.name, " ", element("span.quiet", {}, size(file.size))));
      told.push(element("p", {}, verdictOn(found)), hash(digest), foundIn(found));
    }
    const whole = section("Single files", "by their SHA-256", ...told);
    whole.dataset.singles = "";
    if (behindOthers) {
      place("result").append(whole);
      return;
    }
    const tools = element("div.filters", {});
    button(tools, "Check another", again);
    place("result").replaceChildren(element("p.crumbs", {}, "Verify"), whole, tools);
    show("result");
  }

  function verdictOn(found) {
    if (!found) {
      return [
        chip(LOOKS[2], "CANNOT TELL"),
        " Nothing to look it up in: drop the export that it should belong to, then this file again.",
      ];
    }
    if (!found.files.length && !found.records.length) {
      return [chip(LOOKS[2], "CANNOT TELL"), ` Nothing in ${last.name} has or names this hash.`];
    }
    if (last.report.status === 1 || last.report.status === 2) {
      return [
        chip(LOOKS[2], "CANNOT TELL"),
        ` ${last.name} names this hash, but was not verified itself: ${last.report.verdict}.`,
      ];
    }
    return [chip(LOOKS[0], "VERIFIED"), ` Byte for byte what ${last.name} names, which was verified.`];
  }

  function foundIn(found) {
    if (!found) return null;
    const lines = found.files.map((path) => element("li", {}, "the file ", element("code", {}, path)));
    for (const { index, type, columns } of found.records) {
      const where = `record ${index.toLocaleString("en")}, ${type.replaceAll("_", " ")}: `;
      lines.push(element("li", {}, where, element("code", {}, columns.join(", "))));
    }
    if (found.more) lines.push(element("li", {}, "and more records"));
    return element("ul.lines", {}, lines);
  }

  /** The files of a folder that was dropped, by their names below it. */
  async function filesBelow(entry, prefix, found) {
    const reader = entry.createReader();
    for (;;) {
      const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!part.length) return found;
      for (const each of part) {
        const name = prefix + each.name;
        if (each.isDirectory) await filesBelow(each, `${name}/`, found);
        else found.set(name, await new Promise((resolve, reject) => each.file(resolve, reject)));
      }
    }
  }

  async function onDrop(event) {
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.());
    const files = [...event.dataTransfer.files];
    const found = await sort(files.filter((_file, index) => !entries[index]?.isDirectory));
    for (const entry of entries.filter((each) => each?.isDirectory)) {
      const folder = await filesBelow(entry, "", new Map());
      const bytes = [...folder.values()].reduce((sum, file) => sum + file.size, 0);
      found.bags.push({ name: entry.name, bytes, folder });
    }
    await take(found);
  }

  async function onKeys() {
    const file = place("key-file").files[0];
    if (!file) return;
    say("");
    try {
      const content = await bytesOf(file, MAX_SMALL);
      const text = new TextDecoder().decode(content);
      const keys = readKeys(text, `you loaded it from ${file.name}`);
      const digest = landscape.hex(landscape.sha256(content));
      for (const key of keys) key.file = digest;
      loaded = keys;
    } catch (error) {
      if (!(error instanceof Unsure)) throw error;
      say(`There is no Ed25519 key in ${file.name}: the keys stay as they were.`);
      return;
    }
    place("loaded-name").textContent = file.name;
    place("loaded-keys").replaceChildren(
      ...loaded.map((key) => {
        const name = key.name === null ? "any name" : `${key.name}+${key.idUnder(key.name)}`;
        return element("li", {}, element("code", {}, name), hash(key.fingerprint));
      }),
    );
    which();
  }

  function which() {
    place("carried").hidden = Boolean(loaded);
    place("loaded").hidden = !loaded;
    place("forget").hidden = !loaded;
  }

  for (const name of ["drop", "options", "keys"]) place(name).hidden = false;
  place("files").addEventListener("change", async () => take(await sort([...place("files").files])));
  place("stop").addEventListener("click", () => (stopped = true));
  place("key-file").addEventListener("change", onKeys);
  place("forget").addEventListener("click", () => {
    loaded = null;
    place("key-file").value = "";
    which();
  });
  for (const kind of ["dragover", "drop"]) {
    addEventListener(kind, (event) => {
      event.preventDefault();
      place("drop").classList.toggle("over", kind === "dragover");
      if (kind === "drop" && place("working").hidden) onDrop(event);
    });
  }
  addEventListener("dragleave", () => place("drop").classList.remove("over"));
})();
