/**
 * The steps of a verification, in the order of the format: an export, or one record with its
 * proof. Verdict, faults and findings are those of verify.py. Needs all files before it.
 *
 * `landscape.verifyBag(files, keys, options)` and `landscape.verifyRecord(…)` answer with a
 * Report, whatever they are given. `files` is an Archive, a Folder, or a promise of one; options
 * are `strict`, `previous` ({name, content}), `progress` (told bytes and records so far; what it
 * throws stops the work).
 */
(() => {
  "use strict";
  const { Failed, HASH, Leaves, Report, Rows, SEGMENT, Sha256, Unsure, WIDTH } = landscape;
  const { asText, equal, hex, openNote, openProof, readCheckpoint, readTypes } =
    landscape;
  const { joined, readAttestation, sha256, utf8 } = landscape;

  const FORMAT = "landscape-export/1";
  const BAGIT = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";
  const PATH = /^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/;
  const [MAX_LINE, MAX_SMALL, MAX_MEAN] = [16 << 20, 1 << 20, 1 << 16];
  const MAX_NATIVE = 64 << 20;
  const PROVISIONAL = "the run was still going: this is not its end";
  const NO_ANCHOR =
    "time and uniqueness rest on the authority alone: there is no proof that the seal is in its " +
    "log of seals";

  const number = (value) => Number(value).toLocaleString("en");
  const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

  /** One bag while it is checked, step by step; each step may end it. */
  class Bag {
    listed = new Map();

    constructor(files, keys, report, { strict = false, previous = null, progress = () => {} }) {
      Object.assign(this, { files, keys, report, strict, previous, progress });
    }

    /** A file that is held in memory. */
    async small(name, limit = MAX_SMALL) {
      const size = this.files.sizes.get(name);
      if (size === undefined) throw new Failed(`${name} is missing`);
      if (size > limit) throw new Failed(`${name} has ${size} bytes, more than it can need`);
      const content = await this.whole(name);
      const told = this.listed.get(name);
      if (told !== undefined && hex(sha256(content)) !== told) {
        throw new Failed(`${name} is not what the manifest says`);
      }
      return content;
    }

    async whole(name) {
      const pieces = [];
      for await (const chunk of this.files.stream(name)) pieces.push(chunk);
      return joined(pieces);
    }

    /** A file in pieces, and a fault where the manifest has another hash. */
    async *hashed(name, expected, step) {
      const size = this.files.sizes.get(name);
      // The browser's own hash is ten times as fast, and wants the whole in memory. Of CSV files
      // many are open at once.
      const native = size <= MAX_NATIVE && !name.startsWith("data/csv/") && crypto.subtle;
      const whole = native ? new Uint8Array(size) : null;
      const digest = new Sha256();
      let at = 0;
      for await (const chunk of this.files.stream(name)) {
        if (native) whole.set(chunk, at);
        else digest.update(chunk);
        at += chunk.length;
        await this.progress(chunk.length, this.leaves?.tree.size ?? 0);
        yield chunk;
      }
      const found = native
        ? new Uint8Array(await native.digest("SHA-256", whole))
        : digest.digest();
      if (expected && hex(found) !== expected) {
        this.report.fail(`${name} is not what the manifest says`, step);
      }
    }

    async read(name, expected, step) {
      for await (const _chunk of this.hashed(name, expected, step));
    }

    /** All steps, in order. */
    async check() {
      const { report } = this;
      await this.container();
      report.step = "signature";
      const content = await this.small("tlog/checkpoint");
      const { text, name, key, id } = await openNote(content, this.keys, "tlog/checkpoint");
      const checkpoint = readCheckpoint(text, "tlog/checkpoint");
      const { origin, root } = checkpoint;
      const size = Number(checkpoint.size);
      const [, kind, run] = /^(?:\/*)([^/]*)\/?([^]*)$/.exec(origin.slice(name.length));
      const known = origin.startsWith(`${name}/`) && ["run", "provisional"].includes(kind);
      if (!known || !run) throw new Failed(`${name} signed a tree of another origin: ${origin}`);
      if (kind === "provisional") report.find("PROVISIONAL", PROVISIONAL);
      Object.assign(report.told, { origin, size, root: hex(root), signed_by: name });
      Object.assign(report.told, { key: key.fingerprint, key_trusted_because: key.source });
      report.checks.push("the checkpoint is signed by a key that you trust");
      report.ok("signature", `Ed25519 by ${name}+${id} over ${plural(size, "record")}`);
      report.ok("key", `trusted because ${key.source}`);
      report.step = "attestation";
      const envelope = await this.small("attestation.dsse.json");
      const attested = await readAttestation(envelope, this.keys, { origin, size, root });
      report.told.exported = attested.finished;
      report.checks.push("the attestation is signed and is about this checkpoint");
      report.ok("attestation", `signed, about this very checkpoint; exported ${attested.finished}`);
      report.step = "files";
      if (!(await this.listing(attested.subjects, size))) return;
      report.step = "counts";
      const schema = await this.small("data/schema.json");
      const leaves = new Leaves(report, readTypes(asText(schema, "data/schema.json")), size, {
        strict: this.strict,
        runId: kind === "provisional" ? attested.runId : decoded(run),
        schemaHash: hex(sha256(schema)),
      });
      this.leaves = leaves;
      report.runId = leaves.runId;
      report.step = "previous";
      const old = await this.earlier(origin, size);
      report.step = "tree";
      await this.levels(size);
      if (!report.problems.length) {
        report.step = "csv";
        await this.csv();
        report.step = "payloads";
        await this.payloads(attested);
      }
      report.step = "tree";
      await this.segments();
      await leaves.close(root);
      report.computed = leaves.tree.size ? hex(leaves.tree.root()) : "";
      if (old && !equal(leaves.roots.get(old.size), old.root)) {
        const problem = `the first ${old.size} records are not those of the earlier checkpoint`;
        report.fail(problem, "previous");
      }
      if (attested.epoch !== leaves.epoch && !report.problems.length) {
        report.fail("the attestation is about another epoch", "attestation");
      }
      report.told.epochs = leaves.epoch;
      report.told.counts = Object.fromEntries(
        leaves.order.map((each) => [each, leaves.counts.get(each) ?? 0]),
      );
      report.step = "log";
      await this.anchor(text);
      if (!report.problems.length) this.conclude(old);
    }

    async container() {
      const sizes = this.files.sizes;
      for (const name of sizes.keys()) {
        if (!PATH.test(name) || name.split("/").some((part) => part === "." || part === "..")) {
          throw new Failed(`the export has a file with a forbidden name: '${name}'`);
        }
      }
      const schema = new TextDecoder().decode(await this.small("data/schema.json"));
      const told = /"format":"([^"]{1,100})"/.exec(schema)?.[1] ?? "nothing";
      if (told !== FORMAT) {
        throw new Unsure(`its format is ${told}, and this program knows ${FORMAT} only`);
      }
      const bytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
      this.report.bytes = bytes;
      this.report.ok("container", `${plural(sizes.size, "file")} in one folder, nothing hidden`);
    }

    /** The files as the manifests have them; false where nothing more can be said. */
    async listing(subjects, size) {
      const { report, files } = this;
      try {
        this.listed = await this.manifests(subjects);
      } catch (error) {
        if (!(error instanceof Failed)) throw error;
        // Nothing else counts any more, but which records were changed can still be told.
        report.fail(error.message);
        const paths = [...files.sizes.keys()].filter((path) => path.startsWith("data/records/"));
        this.listed = new Map(paths.sort().map((path) => [path, ""]));
        const bytes = paths.reduce((sum, path) => sum + files.sizes.get(path), 0);
        return bytes <= size * MAX_MEAN;
      }
      if (this.keys.some((key) => [...this.listed.values()].includes(key.file))) {
        throw new Unsure("a key that comes with the export is never trusted");
      }
      report.checks.push("the files are those of the attested manifests");
      report.listed = this.listed;
      const count = plural(this.listed.size, "file");
      report.ok("files", `${count} listed, all there, each as listed, nothing unlisted`);
      return true;
    }

    async manifests(subjects) {
      const sizes = this.files.sizes;
      const listed = new Map();
      const room = [...sizes.keys()].reduce((sum, name) => sum + name.length + 70, 4096);
      for (const name of [...subjects.keys()].sort()) {
        // One line for each file that there is, and no more.
        const raw = await this.small(name, room);
        if (hex(sha256(raw)) !== subjects.get(name)) {
          throw new Failed(`${name} is not the attested one`);
        }
        const content = new TextDecoder("latin1").decode(raw);
        const line = /([0-9a-f]{64}) {2}([A-Za-z0-9._/-]+)\n/y;
        let [end, last] = [0, ""];
        for (let match; (match = line.exec(content)); end = line.lastIndex) {
          const [, digest, path] = match;
          if (path <= last || path.startsWith("data/") !== (name[0] === "m")) break;
          listed.set(path, digest);
          last = path;
        }
        if (end !== content.length) throw new Failed(`${name} is malformed at byte ${end}`);
      }
      const exempt = new Set(["tagmanifest-sha256.txt", "attestation.dsse.json"]);
      const missing = [...listed.keys()].filter((path) => !sizes.has(path)).sort();
      const more = [...sizes.keys()].filter((path) => !listed.has(path) && !exempt.has(path));
      if (missing.length || more.length) {
        const told = missing.slice(0, 5).map((path) => `${path} is missing`);
        told.push(...more.sort().slice(0, 5).map((path) => `${path} is in no manifest`));
        throw new Failed(told.join("; "));
      }
      this.listed = listed; // from here on, a small file is what the manifest says
      if (asText(await this.small("bagit.txt"), "bagit.txt") !== BAGIT) {
        throw new Failed("bagit.txt is not that of BagIt 1.0");
      }
      const data = [...sizes].filter(([path]) => path.startsWith("data/"));
      const bytes = data.reduce((sum, [, size]) => sum + size, 0);
      const oxum = `Payload-Oxum: ${bytes}.${data.length}`;
      const info = asText(await this.small("bag-info.txt"), "bag-info.txt");
      if (!info.split("\n").includes(oxum)) {
        throw new Failed(`bag-info.txt does not count the files that there are: ${oxum}`);
      }
      return listed;
    }

    async earlier(origin, size) {
      if (!this.previous) return null;
      const { name, content } = this.previous;
      const old = readCheckpoint((await openNote(content, this.keys, name)).text, name);
      if (old.origin !== origin) throw new Failed(`${name} is about another run: ${old.origin}`);
      if (old.size > size) {
        throw new Failed(`${name} is about ${old.size} records, and here are ${size}`);
      }
      this.leaves.roots.set(Number(old.size), new Uint8Array());
      return { size: Number(old.size), root: old.root };
    }

    async levels(size) {
      for (let level = 1; level < 8; level++) {
        const name = `tlog/${level}.hashes`;
        const length = Math.floor(size / WIDTH ** level) * HASH;
        if ((this.files.sizes.get(name) ?? 0) !== length) {
          throw new Failed(`${name} has not the length that ${size} records give it`);
        }
        this.leaves.levels.set(level, length ? await this.whole(name) : new Uint8Array());
      }
    }

    async csv() {
      const { leaves } = this;
      const found = new Map();
      for (const [path, digest] of this.listed) {
        const name = /^data\/csv\/([^/]+)\.csv$/.exec(path)?.[1];
        if (name) found.set(name, digest);
      }
      const same = found.size === leaves.types.size && leaves.order.every((each) => found.has(each));
      if (found.size && !same) {
        throw new Failed("data/csv does not have one file for each record type");
      }
      for (const [name, digest] of found) {
        const rows = new Rows(this.hashed(`data/csv/${name}.csv`, digest, "csv"));
        if ((await rows.take(1))[0] !== leaves.types.get(name).names.join(",")) {
          throw new Failed(`data/csv/${name}.csv has not the header that the schema gives it`);
        }
        leaves.csv.set(name, rows);
      }
    }

    async payloads(attested) {
      const { leaves, listed, report } = this;
      if (!attested.include.includes("payloads")) {
        report.told.payloads = "not in this export";
        return;
      }
      leaves.payloads = new Set();
      for (const [path, digest] of listed) {
        const name = /^data\/payloads\/..\/([0-9a-f]{64})$/.exec(path)?.[1];
        if (!name) continue;
        if (path.slice(14, 16) !== name.slice(0, 2) || digest !== name) {
          throw new Failed("a payload has another hash than its name");
        }
        leaves.payloads.add(name);
      }
      report.payloads = leaves.payloads.size;
      const absent = "data/payloads/absent.txt";
      if (!listed.has(absent)) {
        throw new Failed(`${absent} is missing, though payloads were asked for`);
      }
      // Proven to be what was attested before it is held in memory.
      await this.read(absent, listed.get(absent), "payloads");
      if (report.problems.length) return;
      const states = new Map();
      report.absent = [];
      const lines = new TextDecoder().decode(await this.whole(absent)).split(/\r?\n/);
      for (const line of lines.filter(Boolean)) {
        const [ref, state] = line.split(/ ([^]*)/);
        leaves.payloads.add(ref);
        if (state === "purged") leaves.saidPurged.add(ref);
        states.set(state, (states.get(state) ?? 0) + 1);
        if (report.absent.length < 100) report.absent.push({ ref, state });
      }
      for (const [state, count] of [...states].sort()) {
        const text = `${count} payloads are ${state} and could not be exported`;
        report.find(state.toUpperCase(), text, "payloads");
      }
    }

    async segments() {
      const { leaves, listed, report } = this;
      const paths = [...listed.keys()].filter((path) => path.startsWith("data/records/"));
      const due = (index) => `data/records/${String(index).padStart(6, "0")}.jsonl`;
      if (paths.some((path, index) => path !== due(index))) {
        throw new Failed("data/records has files that do not follow each other");
      }
      for (const path of paths) {
        const before = leaves.tree.size;
        let rest = new Uint8Array();
        for await (const chunk of this.hashed(path, listed.get(path), "files")) {
          const data = rest.length ? joined([rest, chunk]) : chunk;
          const end = data.lastIndexOf(10) + 1;
          if (data.length - end > MAX_LINE) {
            throw new Failed(`${path} has a line that is longer than 16 MiB`);
          }
          await leaves.feed(data.subarray(0, end));
          rest = data.slice(end);
        }
        if (rest.length) throw new Failed(`${path} does not end with a line end`);
        const count = leaves.tree.size - before;
        const last = path === paths.at(-1) && count > 0 && count < SEGMENT;
        if (count !== SEGMENT && !last) report.fail(`${path} has ${count} lines`, "files");
      }
      for (const [path, digest] of listed) {
        // Those with CSV were read beside the records, if these came to their end.
        const beside = path.startsWith("data/csv/") && leaves.csv.has(path.slice(9, -4));
        if (path.startsWith("data/records/") || beside) continue;
        await this.read(path, digest, path.startsWith("data/payloads/") ? "payloads" : "files");
      }
    }

    /** The place of this seal in the log of all seals. */
    async anchor(text) {
      const what = "tlog/seal.tlog-proof";
      const { report } = this;
      if (!this.files.sizes.has(what)) {
        report.find("NO_ANCHOR", NO_ANCHOR);
        return;
      }
      const found = await openProof(await this.small(what), this.keys, utf8(text), what);
      if (found.origin !== found.name) throw new Failed(`${what} is about no log of seals`);
      report.told.seal_log = `entry ${found.index} of ${found.size}`;
      report.checks.push("the seal is in the signed log of seals");
      const place = `${number(found.index)} of ${number(found.size)}`;
      report.ok("log", `the seal is entry ${place} in the signed log of all seals`);
    }

    /** Say of every check that found nothing what it was about. */
    conclude(old) {
      const { leaves, report } = this;
      const [size, types] = [leaves.size, leaves.types.size];
      const csv = [...this.listed.keys()].some((path) => path.includes("csv/"));
      report.checks.push(
        `all ${size} records lead to the signed root, each type counted and in order`,
      );
      const blocks = plural(Math.ceil(size / WIDTH), "block");
      report.ok("tree", `${plural(size, "leaf", "leaves")} in ${blocks} lead to the signed root`);
      report.ok("counts", `${types} record types, each count as sealed, also zero, keys in order`);
      if (this.strict) {
        report.checks.push("every line is canonical and fits the schema");
        report.ok("form", "every line is canonical and fits the schema");
      } else report.ok("form", "not asked for", "skipped");
      if (csv) {
        report.checks.push("the CSV files say what the records say");
        report.ok("csv", `${types} files give back the same records`);
      } else report.ok("csv", "not in this export", "skipped");
      if (leaves.payloads) {
        const count = plural(report.payloads, "payload");
        report.ok("payloads", `${count}, each with the hash that records name`);
      } else report.ok("payloads", "not in this export: records hold their hashes", "skipped");
      if (old) {
        report.checks.push("the earlier checkpoint is a beginning of this one");
        report.ok("previous", `its ${plural(old.size, "record")} are the first of these`);
      } else report.ok("previous", "none was given", "skipped");
    }
  }

  function decoded(text) {
    try {
      return decodeURIComponent(text);
    } catch {
      return text;
    }
  }

  /** One record that came with its proof. */
  async function checkRecord({ line, proof, name }, keys, report) {
    report.step = "signature";
    const found = await openProof(proof, keys, line, name);
    const origin = found.origin;
    const within = (kind) => origin.startsWith(`${found.name}/${kind}/`);
    if (!within("run") && !within("provisional")) {
      throw new Failed(`${found.name} signed a tree of another origin: ${origin}`);
    }
    if (within("provisional")) report.find("PROVISIONAL", PROVISIONAL);
    const [index, size] = [Number(found.index), Number(found.size)];
    const { key } = found;
    Object.assign(report.told, { origin, record: index, size, signed_by: found.name });
    Object.assign(report.told, { key: key.fingerprint, key_trusted_because: key.source });
    report.checks.push(`this is record ${index} of ${size} under a signed root`);
    Object.assign(report, { root: hex(found.root), computed: hex(found.computed) });
    report.ok("signature", `Ed25519 by ${found.name}+${found.id} over ${plural(size, "record")}`);
    report.ok("key", `trusted because ${key.source}`);
    report.ok("tree", `this is record ${number(index)} of ${number(size)} under the signed root`);
  }

  /** The report of a check, whatever ends it. */
  async function judged(check) {
    const report = new Report();
    try {
      await check(report);
    } catch (error) {
      if (error instanceof Failed) report.fail(error.message);
      else if (error instanceof Unsure) report.doubt(error.message);
      else if (error instanceof DOMException) report.doubt(`it cannot be read: ${error.message}`);
      else throw error;
    }
    return report;
  }

  Object.assign(landscape, {
    judged,
    verifyBag: (files, keys, options = {}) =>
      judged(async (report) => new Bag(await files, keys, report, options).check()),
    verifyRecord: (record, keys) => judged((report) => checkRecord(record, keys, report)),
  });
})();
