/**
 * Files of an export, as a ZIP file that is read but never unpacked to disk, or as a folder.
 *
 * Both know `sizes` (name → bytes) and give a file in pieces, never beyond its stated size. What
 * other readers could understand otherwise is refused: two files of one name, headers that
 * contradict each other, hidden or overlapping parts, links, encryption. Needs `notes.js`.
 */
(() => {
  "use strict";
  const { Failed, Unsure, crc32 } = landscape;

  const WINDOW = 1 << 18;
  // Of deflate: a piece of it may become a thousand times as much at once.
  const PIECE = 1 << 14;
  const END = 0x06054b50;
  const END_64 = 0x06064b50;
  const LOCATOR_64 = 0x07064b50;
  const ENTRY = 0x02014b50;
  const LOCAL = 0x04034b50;
  const FULL_32 = 0xffffffff;
  const MAX_DIRECTORY = 1 << 28;
  const MAX_TAIL = 65_557;

  /** Bytes of a file on disk, read ahead, since what is looked at mostly lies in order. */
  class Source {
    #window = new Uint8Array();
    #start = 0;

    constructor(blob) {
      this.blob = blob;
      this.size = blob.size;
    }

    /** These bytes, or as many of them as there are. */
    async bytes(at, length) {
      if (at < this.#start || at + length > this.#start + this.#window.length) {
        const end = at + Math.max(length, WINDOW);
        this.#window = new Uint8Array(await this.blob.slice(at, end).arrayBuffer());
        this.#start = at;
      }
      return this.#window.subarray(at - this.#start, at - this.#start + length);
    }
  }

  const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

  function long(data, at) {
    const value = data.getBigUint64(at, true);
    if (value > Number.MAX_SAFE_INTEGER) throw malformed("a number is too large");
    return Number(value);
  }

  const malformed = (why) => new Failed(`the ZIP file is malformed: ${why}`);

  class Archive {
    sizes = new Map();
    #entries = new Map();
    #source;

    /** Open a ZIP file. Raises Unsure where it is none, Failed where it is not to be relied on. */
    static async open(blob, name) {
      const archive = new Archive();
      archive.#source = new Source(blob);
      const { entries, start } = await readDirectory(archive.#source, name);
      await archive.#arrange(entries, start);
      return archive;
    }

    async #arrange(entries, start) {
      let end = 0;
      let slack = 0;
      const tops = new Set();
      entries.sort((one, other) => one.offset - other.offset);
      for (const entry of entries) {
        const slash = entry.name.indexOf("/");
        const top = slash < 0 ? entry.name : entry.name.slice(0, slash);
        const name = slash < 0 ? "" : entry.name.slice(slash + 1);
        if (entry.offset < end || entry.offset - end > slack) {
          throw new Failed(`the ZIP file has overlapping or hidden parts at '${name}'`);
        }
        end = await this.#endOf(entry);
        // Sizes may follow the content, in up to 24 bytes.
        slack = entry.flags & 8 ? 24 : 0;
        tops.add(top);
        if (slash >= 0 && (!name || name.endsWith("/")) && !entry.size) continue; // a folder
        if (slash < 0 || this.sizes.has(name)) {
          const what = "the ZIP file has two files of one name, or one beside the bag: ";
          throw new Failed(what + name);
        }
        this.#entries.set(name, entry);
        this.sizes.set(name, entry.size);
      }
      if (tops.size !== 1 || start < end || start - end > slack) {
        throw new Failed("the ZIP file holds more than one folder of files");
      }
    }

    /** Where an entry's content ends; its local header must say what the directory says. */
    async #endOf(entry) {
      const head = view(await this.#source.bytes(entry.offset, 30));
      if (head.byteLength < 30 || head.getUint32(0, true) !== LOCAL) {
        throw new Failed(`the ZIP file is malformed at '${entry.name}'`);
      }
      const flags = head.getUint16(6, true);
      const method = head.getUint16(8, true);
      const crc = head.getUint32(14, true);
      let packed = head.getUint32(18, true);
      let size = head.getUint32(22, true);
      const nameLength = head.getUint16(26, true);
      const extraLength = head.getUint16(28, true);
      const rest = await this.#source.bytes(entry.offset + 30, nameLength + extraLength);
      const told = rest.subarray(0, nameLength);
      const extra = view(rest.subarray(nameLength));
      if (extra.byteLength >= 20 && extra.getUint32(0, true) === 0x00100001) {
        size = long(extra, 4);
        packed = long(extra, 12);
      }
      const link = ((entry.attributes >>> 16) & 0xf000) === 0xa000;
      if (
        !landscape.equal(told, entry.raw) ||
        entry.unclear ||
        flags & ~(0x0800 | 8 | 6) || // UTF-8 names, sizes that follow, how well it is packed
        flags !== entry.flags ||
        method !== entry.method ||
        (method !== 0 && method !== 8) ||
        (!(flags & 8) &&
          (crc !== entry.crc || packed !== entry.packed || size !== entry.size)) ||
        link
      ) {
        throw new Failed(`the ZIP file contradicts itself or holds a link: ${entry.name}`);
      }
      entry.start = entry.offset + 30 + nameLength + extraLength;
      return entry.start + entry.packed;
    }

    /** A file in pieces, unpacked while it is read. */
    async *stream(name) {
      const entry = this.#entries.get(name);
      let crc = 0;
      let left = entry.size;
      for await (const chunk of this.#unpacked(entry, name)) {
        left -= chunk.length;
        if (left < 0) throw new Failed(`${name} is longer than it says`);
        crc = crc32(chunk, crc);
        yield chunk;
      }
      if (left) throw new Failed(`${name} is shorter than it says`);
      if (crc !== entry.crc) throw new Failed(`${name} cannot be unpacked: its CRC-32 is another`);
    }

    async *#unpacked(entry, name) {
      const packed = this.#packed(entry);
      if (entry.method === 0) {
        yield* packed;
        return;
      }
      let unpacking;
      try {
        unpacking = new DecompressionStream("deflate-raw");
      } catch {
        throw new Unsure("this browser cannot unpack ZIP files: take a newer one, or verify.py");
      }
      const pieces = new ReadableStream({
        async pull(controller) {
          const { done, value } = await packed.next();
          if (done) controller.close();
          else controller.enqueue(value);
        },
      });
      const reader = pieces.pipeThrough(unpacking).getReader();
      try {
        for (;;) {
          const { done, value } = await reader.read();
          if (done) return;
          yield value;
        }
      } catch (error) {
        if (error instanceof Failed || error instanceof DOMException) throw error;
        throw new Failed(`${name} cannot be unpacked: ${error.message}`);
      } finally {
        reader.cancel().catch(() => {});
      }
    }

    async *#packed(entry) {
      const step = entry.method === 0 ? WINDOW : PIECE;
      for (let at = 0; at < entry.packed; at += step) {
        const length = Math.min(step, entry.packed - at);
        // Several files may be read at once, so a small window of its own for each.
        const bytes =
          entry.packed <= WINDOW
            ? (await this.#source.bytes(entry.start + at, length)).slice()
            : await this.#piece(entry.start + at, length);
        if (bytes.length !== length) throw malformed("it ends too early");
        yield bytes;
      }
    }

    async #piece(at, length) {
      return new Uint8Array(await this.#source.blob.slice(at, at + length).arrayBuffer());
    }
  }

  /** The entries of a ZIP file's directory, and where it begins. */
  async function readDirectory(source, name) {
    const tail = await source.bytes(Math.max(0, source.size - MAX_TAIL), MAX_TAIL);
    const data = view(tail);
    let at = tail.length - 22;
    while (at >= 0 && data.getUint32(at, true) !== END) at -= 1;
    if (at < 0) throw new Unsure(`${name} is neither a folder nor a ZIP file`);
    if (at !== tail.length - 22 || data.getUint16(at + 20, true)) {
      throw new Failed("the ZIP file has something behind its end");
    }
    let length = data.getUint32(at + 12, true);
    let start = data.getUint32(at + 16, true);
    let end = source.size - 22;
    if (at >= 76 && data.getUint32(at - 20, true) === LOCATOR_64) {
      if (data.getUint32(at - 76, true) !== END_64) throw malformed("its end is contradictory");
      length = long(data, at - 36);
      start = long(data, at - 28);
      end -= 76;
    }
    if (start + length !== end) {
      throw new Failed("the ZIP file has overlapping or hidden parts at its directory");
    }
    if (length > MAX_DIRECTORY) throw malformed("its directory is too long");
    const directory = new Uint8Array(await source.blob.slice(start, end).arrayBuffer());
    return { entries: [...entriesOf(directory)], start };
  }

  function* entriesOf(directory) {
    const data = view(directory);
    for (let at = 0; at < directory.length; ) {
      if (at + 46 > directory.length || data.getUint32(at, true) !== ENTRY) {
        throw malformed("its directory is damaged");
      }
      const nameLength = data.getUint16(at + 28, true);
      const extraLength = data.getUint16(at + 30, true);
      const next = at + 46 + nameLength + extraLength + data.getUint16(at + 32, true);
      if (next > directory.length) throw malformed("its directory is damaged");
      const raw = directory.subarray(at + 46, at + 46 + nameLength);
      const entry = {
        raw,
        name: new TextDecoder("utf-8", { ignoreBOM: true }).decode(raw),
        flags: data.getUint16(at + 8, true),
        method: data.getUint16(at + 10, true),
        crc: data.getUint32(at + 16, true),
        packed: data.getUint32(at + 20, true),
        size: data.getUint32(at + 24, true),
        attributes: data.getUint32(at + 38, true),
        offset: data.getUint32(at + 42, true),
      };
      const plain = raw.every((byte) => byte && byte < 128);
      entry.unclear = raw.includes(0) || !(plain || entry.flags & 0x0800);
      const extra = directory.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength);
      widen(entry, view(extra));
      yield entry;
      at = next;
    }
  }

  /** ZIP64: numbers that do not fit stand in an extra field, in the order of the header. */
  function widen(entry, extra) {
    for (let at = 0; at + 4 <= extra.byteLength; ) {
      const kind = extra.getUint16(at, true);
      const end = at + 4 + extra.getUint16(at + 2, true);
      if (end > extra.byteLength) throw malformed("an extra field is damaged");
      if (kind === 1) {
        let from = at + 4;
        for (const part of ["size", "packed", "offset"]) {
          if (entry[part] !== FULL_32) continue;
          if (from + 8 > end) throw malformed("an extra field is damaged");
          entry[part] = long(extra, from);
          from += 8;
        }
      }
      at = end;
    }
  }

  /** An export that was unpacked: files by their names below its folder. */
  class Folder {
    sizes = new Map();
    #files;

    constructor(files) {
      this.#files = files;
      for (const [name, file] of files) this.sizes.set(name, file.size);
    }

    async *stream(name) {
      const file = this.#files.get(name);
      for (let at = 0; at < file.size; at += WINDOW) {
        yield new Uint8Array(await file.slice(at, at + WINDOW).arrayBuffer());
      }
    }
  }

  Object.assign(landscape, { Archive, Folder });
})();
