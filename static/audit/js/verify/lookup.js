/**
 * Where an export that was verified names the hash of some file: a payload, an artifact, any
 * content. Needs `leaves.js`.
 */
(() => {
  "use strict";
  const { SEGMENT, Sha256, hex } = landscape;

  const MAX_FOUND = 20;

  /** The SHA-256 of a file, read in pieces. */
  async function hashOf(blob, progress = () => {}) {
    const digest = new Sha256();
    for (let at = 0; at < blob.size; at += SEGMENT * 4) {
      const chunk = new Uint8Array(await blob.slice(at, at + SEGMENT * 4).arrayBuffer());
      digest.update(chunk);
      await progress(chunk.length, 0);
    }
    return hex(digest.digest());
  }

  /**
   * The files and records of a verified export that have or name a hash: `files` by their paths,
   * `records` with index, type and columns; at most twenty, and `more` where there are more.
   */
  async function lookUp(files, listed, hash, progress = () => {}) {
    const found = { files: [], records: [], more: false };
    for (const [path, digest] of listed) if (digest === hash) found.files.push(path);
    const paths = [...listed.keys()].filter((path) => path.startsWith("data/records/"));
    for (const [segment, path] of paths.entries()) {
      const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
      let [rest, index] = ["", segment * SEGMENT];
      for await (const chunk of files.stream(path)) {
        const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
        rest = lines.pop();
        for (const line of lines) {
          if (line.includes(hash)) note(found, line, index, hash);
          index += 1;
        }
        await progress(chunk.length, index);
        if (found.more) return found;
      }
    }
    return found;
  }

  function note(found, line, index, hash) {
    const record = JSON.parse(line);
    const columns = Object.keys(record).filter((name) => record[name] === hash);
    if (!columns.length) return;
    if (found.records.length === MAX_FOUND) found.more = true;
    else found.records.push({ index, type: record.record_type, columns, record });
  }

  Object.assign(landscape, { hashOf, lookUp });
})();
