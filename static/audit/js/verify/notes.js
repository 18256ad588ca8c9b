/**
 * Keys, signed notes, checkpoints and proofs as c2sp.org has them, and Ed25519.
 *
 * Failed and Unsure end a check: what is malformed or was tampered with, and what cannot be told.
 * Signatures are checked by the browser (Web Cryptography). Needs `tree.js`.
 */
(() => {
  "use strict";
  const { HASH, equal, fromBase64, hex, leafHash, rootOfProof, sha256, utf8 } = landscape;

  const DER_HEAD = "302a300506032b6570032100";
  const NO_ED25519 =
    "this browser cannot check Ed25519 signatures: take Chrome or Edge from 137, Firefox from 129, " +
    "Safari from 17, or verify.py";
  const NOT_SECURE =
    "browsers check signatures on pages that came by https or from disk only: save this page and " +
    "open it from there, or take verify.py";

  /** It is malformed or was tampered with; what follows cannot be looked at. */
  class Failed extends Error {}

  /** Nothing can be said: no trusted key, another version, not an export. */
  class Unsure extends Error {}

  /** A trusted Ed25519 key; one from a PEM file goes by whatever name it signs with. */
  class Key {
    constructor(publicBytes, name, source) {
      this.public = publicBytes;
      this.name = name;
      this.source = source;
      const der = Uint8Array.from(DER_HEAD.match(/../g), (digits) => parseInt(digits, 16));
      this.fingerprint = hex(sha256(Uint8Array.of(...der, ...publicBytes)));
    }

    /** The id under a name, in hex. */
    idUnder(name) {
      return hex(sha256(Uint8Array.of(...utf8(name), 10, 1, ...this.public)).subarray(0, 4));
    }

    /** Whether this key made the signature over the message. */
    async verifies(signature, message) {
      const subtle = globalThis.crypto?.subtle;
      if (!subtle) throw new Unsure(NOT_SECURE);
      try {
        this.imported ??= await subtle.importKey("raw", this.public, "Ed25519", false, ["verify"]);
      } catch (error) {
        if (error.name === "NotSupportedError") throw new Unsure(NO_ED25519);
        return false;
      }
      return subtle.verify("Ed25519", this.imported, signature, message);
    }
  }

  /** The keys in a text: verifier keys (a C2SP policy will do), or PEM public keys. */
  function readKeys(text, source) {
    const keys = [];
    for (const [, body] of text.matchAll(/-----BEGIN PUBLIC KEY-----([^]*?)-----END/g)) {
      const der = fromBase64(body.replaceAll(/\s/g, ""));
      if (hex(der.subarray(0, -HASH)) === DER_HEAD) {
        keys.push(new Key(der.slice(-HASH), null, source));
      }
    }
    const written = /([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)/g;
    for (const [, name, told, encoded] of text.matchAll(written)) {
      const material = fromBase64(encoded);
      if (material[0] !== 1 || material.length !== 1 + HASH) continue;
      const key = new Key(material.slice(1), name, source);
      if (key.idUnder(name) === told) keys.push(key);
    }
    if (!keys.length) throw new Unsure(`there is no Ed25519 key in ${source}`);
    return keys;
  }

  /** Text, name and key of a note that a trusted key has signed. */
  async function openNote(content, keys, what) {
    const whole = asText(content, what);
    const blank = whole.lastIndexOf("\n\n");
    const below = whole.slice(blank + 2);
    if (blank < 0 || !below.endsWith("\n")) throw new Failed(`${what} is not a signed note`);
    const text = whole.slice(0, blank) + "\n";
    const names = [];
    let good = null;
    for (const line of below.slice(0, -1).split("\n")) {
      const [, dash, name, encoded] = /^([^ ]*) ?([^ ]*) ?([^]*)$/.exec(line);
      const material = fromBase64(encoded);
      if (dash !== "\u2014" || !name || material.length <= 4) {
        throw new Failed(`${what} has a malformed signature line`);
      }
      const id = hex(material.subarray(0, 4));
      names.push(`${name}+${id}`);
      for (const key of keys) {
        if ((key.name !== null && key.name !== name) || key.idUnder(name) !== id) continue;
        if (!(await key.verifies(material.subarray(4), utf8(text)))) {
          throw new Failed(`${what}: the signature of ${name} is wrong`);
        }
        good ??= { text, name, key, id };
      }
    }
    if (!good) {
      throw new Unsure(`${what} is signed by no key that you trust, but by ${names.join(", ")}`);
    }
    return good;
  }

  /** Origin, size (a BigInt) and root. */
  function readCheckpoint(text, what) {
    const lines = text.split("\n");
    if (lines.length !== 4 || lines[3] || !/^[1-9][0-9]{0,18}$/.test(lines[1])) {
      throw new Failed(`${what} is not a checkpoint of origin, size and root`);
    }
    const root = fromBase64(lines[2]);
    if (root.length !== HASH) throw new Failed(`${what} has a root that is no SHA-256`);
    return { origin: lines[0], size: BigInt(lines[1]), root };
  }

  /** Check a .tlog-proof for a leaf; say where the leaf is, of what, and who signed it. */
  async function openProof(content, keys, leaf, what) {
    let blank = -1;
    for (let at = 0; at + 1 < content.length && blank < 0; at++) {
      if (content[at] === 10 && content[at + 1] === 10) blank = at;
    }
    const head = blank < 0 ? content : content.subarray(0, blank);
    let lines = asText(head, what).split("\n");
    if (lines[0] !== "c2sp.org/tlog-proof@v1") throw new Failed(`${what} is not a proof`);
    lines = lines.slice(1).filter((line) => !line.startsWith("extra "));
    const index = /^index (0|[1-9][0-9]{0,18})$/.exec(lines[0] ?? "");
    const note = blank < 0 ? new Uint8Array() : content.subarray(blank + 2);
    const { text, name, key, id } = await openNote(note, keys, what);
    const { origin, size, root } = readCheckpoint(text, what);
    const hash = new Uint8Array(HASH);
    leafHash(leaf, 0, leaf.length, hash, 0);
    const hashes = lines.slice(1).map(fromBase64);
    const found = index ? rootOfProof(hash, BigInt(index[1]), size, hashes) : new Uint8Array();
    if (!equal(found, root)) {
      throw new Failed(`${what} does not lead from the record to the signed root`);
    }
    return { index: BigInt(index[1]), origin, size, root, computed: found, name, key, id };
  }

  function asText(content, what) {
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content);
    } catch {
      throw new Failed(`${what} is not UTF-8`);
    }
  }

  Object.assign(landscape, {
    Failed,
    Unsure,
    Key,
    readKeys,
    openNote,
    readCheckpoint,
    openProof,
    asText,
  });
})();
