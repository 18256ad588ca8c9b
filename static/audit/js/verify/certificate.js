/**
 * A certificate of a purge: who approved what, what was deleted, and the list that it is about.
 *
 * `landscape.verifyCertificate({content, list}, keys, progress)`; `list` is {name, blob} or
 * nothing. Words and verdicts are those of verify.py. Needs `bag.js`.
 */
(() => {
  "use strict";
  const { Failed, Sha256, Unsure, asText, hex, joined, judged, openEnvelope, sha256, utf8 } =
    landscape;

  const CERTIFICATE = "landscape-purge-certificate/1";
  const KIND = "application/vnd.landscape.purge-certificate+json";
  const WHAT = "the certificate";
  const CHUNK = 1 << 18;
  const MAX_LINE = 1 << 16;

  const sum = (values) => values.reduce((all, each) => all + each, 0);

  /** Whether counts and bytes of the statement fit each other. */
  function addsUp(plan, outcome, counts) {
    const sizes = new Map(
      Object.entries(outcome.by_status).map(([name, { bytes }]) => [name, BigInt(bytes)]),
    );
    const gone = ["erased", "recorded_again"].filter((name) => counts.has(name));
    const bytes = (names) => names.reduce((all, name) => all + sizes.get(name), 0n);
    return (
      sum([...counts.values()]) === plan.payloads &&
      bytes([...sizes.keys()]) === BigInt(plan.bytes) &&
      sum(gone.map((name) => counts.get(name))) === outcome.deleted_payloads &&
      bytes(gone) === BigInt(outcome.deleted_bytes) &&
      sum(Object.values(outcome.skipped_for)) === (counts.get("skipped") ?? 0)
    );
  }

  /** The statement in the words of a report: what is certified, and what must be known with it. */
  function read(statement, key) {
    const { plan, outcome } = statement;
    const counts = new Map(
      Object.entries(outcome.by_status).map(([name, { payloads }]) => [name, payloads]),
    );
    if (!Number.isInteger(plan.payloads) || !Number.isInteger(outcome.deleted_payloads)) {
      throw new TypeError();
    }
    const told = {
      authority: statement.authority,
      plan: plan.number,
      list_digest: plan.digest,
      requested_by: plan.requested_by,
      approved_by: plan.approved_by,
      deleted: outcome.deleted_payloads,
      deleted_bytes: outcome.deleted_bytes,
      key: key.fingerprint,
      key_trusted_because: key.source,
    };
    return {
      told,
      counts,
      right: addsUp(plan, outcome, counts),
      left: plan.payloads - outcome.deleted_payloads,
      texts: sum(Object.values(statement.not_erasable_inline_texts)),
      digest: plan.digest,
      outcome: outcome.list_sha256,
    };
  }

  async function check({ content, list }, keys, report, progress) {
    report.step = "signature";
    const { kind, body, key } = await openEnvelope(content, keys, WHAT);
    let found;
    try {
      const statement = JSON.parse(asText(body, WHAT));
      if (kind !== KIND || statement.format !== CERTIFICATE) {
        throw new Unsure("this is no certificate of a purge that this program knows");
      }
      found = read(statement, key);
    } catch (error) {
      if (error instanceof Unsure) throw error;
      throw new Failed("the certificate is malformed");
    }
    const { told } = found;
    Object.assign(report.told, told);
    report.checks.push("the certificate is signed by a key that you trust");
    report.ok("signature", "Ed25519 over the whole certificate");
    report.ok("key", `trusted because ${key.source}`);
    report.step = "certificate";
    if (told.approved_by === null || told.approved_by === told.requested_by) {
      report.fail("nobody but who made the plan has approved it");
    }
    if (!found.right) report.fail("the counts of the certificate do not add up");
    if (found.left) report.find("LEFT", `${found.left} payloads of the list were not deleted`);
    if (found.texts) {
      const text = `${found.texts} texts in the records themselves cannot be erased`;
      report.find("INLINE", text);
    }
    report.ok("certificate", "approved by another person than asked for it; all counts add up");
    report.step = "list";
    if (list) await checkList(list, found, report, progress);
    else report.find("NO_LIST", "the list was not given: its digest was not compared");
  }

  /** The list with what became of each payload, against both hashes and the counts. */
  async function checkList({ name, blob }, { digest, outcome, counts }, report, progress) {
    const whole = new Sha256();
    const buckets = [];
    const found = new Map();
    let [bucket, last, number, rest] = [null, "", 0, new Uint8Array()];
    for (let at = 0; at < blob.size; at += CHUNK) {
      const chunk = new Uint8Array(await blob.slice(at, at + CHUNK).arrayBuffer());
      await progress(chunk.length, number);
      whole.update(chunk);
      const data = joined([rest, chunk]);
      const end = data.lastIndexOf(10) + 1;
      rest = data.slice(end);
      const ended = at + CHUNK >= blob.size && rest.length;
      const lines = asText(data.subarray(0, end), name).split("\n").slice(0, -1);
      if (ended || rest.length > MAX_LINE) lines.push("");
      for (const line of lines) {
        number += 1;
        const parts = line.split(" ");
        if (parts.length < 4 || parts[0] <= last) {
          report.fail(`line ${number} of ${name} is malformed or not in order`);
          return;
        }
        const status = parts[3].trim();
        last = parts[0];
        found.set(status, (found.get(status) ?? 0) + 1);
        const pair = last.slice(0, 2);
        if (bucket?.pair !== pair) buckets.push((bucket = { pair, hash: new Sha256() }));
        bucket.hash.update(utf8(`${parts.slice(0, 3).join(" ")}\n`));
      }
    }
    const told = buckets.map(({ pair, hash }) => `${pair} ${hex(hash.digest())}\n`).join("");
    if (hex(sha256(utf8(told))) !== digest) {
      report.fail("the list is not the one that was approved");
    }
    const same = found.size === counts.size && [...found].every(([s, n]) => counts.get(s) === n);
    if (hex(whole.digest()) !== outcome || !same) {
      report.fail("what became of the list is not what was certified");
    }
    if (report.problems.length) return;
    report.checks.push("the list is the one that was approved, with the certified outcome");
    report.ok("list", `${number.toLocaleString("en")} lines, as approved, with the certified outcome`);
  }

  Object.assign(landscape, {
    verifyCertificate: (given, keys, progress = () => {}) =>
      judged((report) => check(given, keys, report, progress)),
  });
})();
