/**
 * SHA-256 (FIPS 180-4) and CRC-32, at once and in pieces, and how bytes are written.
 *
 * The browser's own SHA-256 answers later and takes a file as a whole: too slow for a million
 * records, too big for a long file. Contract with the other files: everything stands in the one
 * object `landscape`; classic scripts, since a page that was saved to disk may load no others.
 */
globalThis.landscape = globalThis.landscape ?? {};

(() => {
  "use strict";

  const K = new Int32Array(64);
  const START = new Int32Array(8);
  // The first 32 bits of the fractions of cube and square roots of the first primes.
  for (let number = 2, found = 0; found < 64; number++) {
    let prime = true;
    for (let by = 2; by * by <= number; by++) if (number % by === 0) prime = false;
    if (!prime) continue;
    const fraction = (root) => (root - Math.floor(root)) * 2 ** 32;
    if (found < 8) START[found] = fraction(Math.sqrt(number));
    K[found++] = fraction(Math.cbrt(number));
  }

  const W = new Int32Array(64);

  /** Take one block of 64 bytes into a state of eight words. */
  function compress(state, bytes, at) {
    for (let i = 0; i < 16; i++, at += 4) {
      W[i] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
    }
    for (let i = 16; i < 64; i++) {
      const x = W[i - 15];
      const y = W[i - 2];
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      W[i] = (W[i - 16] + s0 + W[i - 7] + s1) | 0;
    }
    let a = state[0];
    let b = state[1];
    let c = state[2];
    let d = state[3];
    let e = state[4];
    let f = state[5];
    let g = state[6];
    let h = state[7];
    for (let i = 0; i < 64; i++) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const one = (h + s1 + ((e & f) ^ (~e & g)) + K[i] + W[i]) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const two = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + one) | 0;
      d = c;
      c = b;
      b = a;
      a = (one + two) | 0;
    }
    state[0] = (state[0] + a) | 0;
    state[1] = (state[1] + b) | 0;
    state[2] = (state[2] + c) | 0;
    state[3] = (state[3] + d) | 0;
    state[4] = (state[4] + e) | 0;
    state[5] = (state[5] + f) | 0;
    state[6] = (state[6] + g) | 0;
    state[7] = (state[7] + h) | 0;
  }

  function write(state, out, at) {
    for (let i = 0; i < 8; i++) {
      const word = state[i];
      out[at++] = word >>> 24;
      out[at++] = word >>> 16;
      out[at++] = word >>> 8;
      out[at++] = word;
    }
  }

  /** The end of a message: a bit, zeros, and its length in bits. Returns where it ends. */
  function pad(buffer, length, total) {
    buffer[length] = 0x80;
    const end = Math.ceil((length + 9) / 64) * 64;
    buffer.fill(0, length + 1, end);
    new DataView(buffer.buffer).setUint32(end - 8, Math.floor(total / 2 ** 29));
    new DataView(buffer.buffer).setUint32(end - 4, (total * 8) >>> 0);
    return end;
  }

  /** A hash over pieces that come one after the other. */
  class Sha256 {
    #state = START.slice();
    #buffer = new Uint8Array(128);
    #held = 0;
    #total = 0;

    update(bytes) {
      let at = 0;
      this.#total += bytes.length;
      if (this.#held) {
        at = Math.min(64 - this.#held, bytes.length);
        this.#buffer.set(bytes.subarray(0, at), this.#held);
        this.#held += at;
        if (this.#held < 64) return this;
        compress(this.#state, this.#buffer, 0);
        this.#held = 0;
      }
      for (; at + 64 <= bytes.length; at += 64) compress(this.#state, bytes, at);
      this.#buffer.set(bytes.subarray(at));
      this.#held = bytes.length - at;
      return this;
    }

    digest() {
      const end = pad(this.#buffer, this.#held, this.#total);
      for (let at = 0; at < end; at += 64) compress(this.#state, this.#buffer, at);
      const out = new Uint8Array(32);
      write(this.#state, out, 0);
      return out;
    }
  }

  let scratch = new Uint8Array(1 << 12);
  const state = new Int32Array(8);

  function finish(length, out, at) {
    const end = pad(scratch, length, length);
    state.set(START);
    for (let from = 0; from < end; from += 64) compress(state, scratch, from);
    write(state, out, at);
  }

  /** RFC 9162: the hash of a leaf, SHA-256(0 ‖ bytes from start to end), written to out. */
  function leafHash(bytes, start, end, out, at) {
    const length = end - start + 1;
    if (scratch.length < length + 128) scratch = new Uint8Array(2 * length + 128);
    scratch[0] = 0;
    scratch.set(bytes.subarray(start, end), 1);
    finish(length, out, at);
  }

  /** RFC 9162: the hash of a node, SHA-256(1 ‖ left ‖ right), written to out. */
  function nodeHash(left, leftAt, right, rightAt, out, at) {
    scratch[0] = 1;
    for (let i = 0; i < 32; i++) {
      scratch[1 + i] = left[leftAt + i];
      scratch[33 + i] = right[rightAt + i];
    }
    finish(65, out, at);
  }

  const CRC = new Int32Array(256);
  for (let index = 0; index < 256; index++) {
    let value = index;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    CRC[index] = value;
  }

  /** The CRC-32 of some bytes behind others whose CRC-32 is `before`. */
  function crc32(bytes, before = 0) {
    let value = ~before;
    for (let at = 0; at < bytes.length; at++) {
      value = CRC[(value ^ bytes[at]) & 255] ^ (value >>> 8);
    }
    return ~value >>> 0;
  }

  const hex = (bytes) =>
    Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

  const utf8 = (text) => new TextEncoder().encode(text);

  const toBase64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));

  /** The bytes of canonical base64; of anything else none. */
  function fromBase64(text) {
    if (typeof text !== "string" || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return new Uint8Array();
    try {
      const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
      return toBase64(bytes) === text ? bytes : new Uint8Array();
    } catch {
      return new Uint8Array();
    }
  }

  /** Some pieces as one. */
  function joined(pieces) {
    const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
    let at = 0;
    for (const piece of pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  }

  const equal = (one, other) =>
    one.length === other.length && one.every((byte, index) => byte === other[index]);

  Object.assign(landscape, {
    Sha256,
    sha256: (bytes) => new Sha256().update(bytes).digest(),
    leafHash,
    nodeHash,
    crc32,
    hex,
    utf8,
    toBase64,
    fromBase64,
    equal,
    joined,
  });
})();
