/**
 * The Merkle tree of RFC 9162, grown leaf by leaf in little memory, and proofs of inclusion.
 *
 * Hashes stand end to end in byte arrays, 32 bytes each. Needs `hashing.js`.
 */
(() => {
  "use strict";
  const { nodeHash } = landscape;

  const WIDTH = 256;
  const HASH = 32;

  /** The root over hashes of which only the last may stand for less than the others. */
  function blockRoot(hashes, count) {
    const row = hashes.slice(0, count * HASH);
    for (let left = count; left > 1; left = (left + 1) >> 1) {
      const pairs = left >> 1;
      for (let i = 0; i < pairs; i++) {
        nodeHash(row, 2 * i * HASH, row, (2 * i + 1) * HASH, row, i * HASH);
      }
      if (left & 1) row.copyWithin(pairs * HASH, (left - 1) * HASH, left * HASH);
    }
    return row.slice(0, HASH);
  }

  /** A tree that grows; the root of each complete block of 256^k leaves is told with its k. */
  class Tree {
    size = 0;
    #rows = [new Row()];
    #completed;

    constructor(completed = () => {}) {
      this.#completed = completed;
    }

    /** How many leaves the block has room for. */
    get room() {
      return WIDTH - this.#rows[0].count;
    }

    /** Take at most as many leaf hashes as there is room for. */
    extend(leaves) {
      this.size += leaves.length / HASH;
      this.#rows[0].add(leaves);
      for (let level = 0; this.#rows[level].count === WIDTH; ) {
        const root = blockRoot(this.#rows[level].hashes, WIDTH);
        this.#rows[level].count = 0;
        level += 1;
        if (this.#rows.length === level) this.#rows.push(new Row());
        this.#rows[level].add(root);
        this.#completed(level, root);
      }
    }

    /** The root over all leaves so far, and over some more that fit into the block. */
    root(more = new Uint8Array()) {
      let found = more;
      for (const row of this.#rows) {
        const all = new Uint8Array(row.count * HASH + found.length);
        all.set(row.hashes.subarray(0, row.count * HASH));
        all.set(found, row.count * HASH);
        found = all.length ? blockRoot(all, all.length / HASH) : all;
      }
      return found;
    }
  }

  class Row {
    hashes = new Uint8Array(WIDTH * HASH);
    count = 0;

    add(more) {
      this.hashes.set(more, this.count * HASH);
      this.count += more.length / HASH;
    }
  }

  /**
   * The root that a proof of inclusion leads to; empty if it has not the shape of one.
   * Index and size are BigInt: they may be larger than a number can tell apart.
   */
  function rootOfProof(leaf, index, size, hashes) {
    let node = index;
    let last = size - 1n;
    let found = leaf;
    if (index < 0n || index >= size) return new Uint8Array();
    for (const other of hashes) {
      if (!last || other.length !== HASH) return new Uint8Array();
      const next = new Uint8Array(HASH);
      if (node & 1n || node === last) {
        nodeHash(other, 0, found, 0, next, 0);
        while (node && !(node & 1n)) {
          node >>= 1n;
          last >>= 1n;
        }
      } else {
        nodeHash(found, 0, other, 0, next, 0);
      }
      found = next;
      node >>= 1n;
      last >>= 1n;
    }
    return last ? new Uint8Array() : found;
  }

  Object.assign(landscape, { WIDTH, HASH, Tree, blockRoot, rootOfProof });
})();
