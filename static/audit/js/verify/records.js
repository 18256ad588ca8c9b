/**
 * Records: the types of a schema, what a line must be, and the CSV row that says the same.
 *
 * Lines are texts here; their hashes are made of bytes elsewhere. Needs `notes.js`.
 */
(() => {
  "use strict";
  const { Failed } = landscape;

  const MAX_ROW = 48 << 20;
  const GUARDED = /^[=+\-@\t\r\n'\uff1d\uff0b\uff0d\uff20]/;
  const SHAPES = {
    timestamp: /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$/,
    hash: /^[0-9a-f]{64}$/,
    int64: /^(0|-?[1-9][0-9]{0,18})$/,
    double: /^(NaN|-?Infinity)$/,
  };
  const quoted = (text) => JSON.stringify(text);

  /** What is no record of its type, or no row. */
  class NotOne extends Error {}

  /** A record type as schema.json has it. */
  class Type {
    constructor(told) {
      if (typeof told.name !== "string") throw new NotOne();
      this.name = told.name;
      this.columns = new Map(told.columns);
      this.names = [...this.columns.keys()];
      this.inLine = [...this.names, "record_type"].sort();
      this.mark = `"record_type":${quoted(this.name)}`;
      this.key = told.key.map((name) => {
        if (!this.columns.has(name)) throw new NotOne();
        const number = ["integer", "int64"].includes(this.columns.get(name));
        return { name, number, mark: `"${name}":` };
      });
    }

    /** What orders a record; only a name has an unescaped quote before it and a colon after. */
    keyOf(line) {
      return this.key.map(({ name, number, mark }) => {
        let start = line.indexOf(mark);
        if (start < 0) throw new NotOne();
        start += mark.length;
        let value;
        if (line[start] === '"') {
          value = line.slice(start + 1, line.indexOf('"', start + 1));
          if (value.includes("\\")) value = JSON.parse(line)[name];
        } else if (number) {
          value = /^-?[0-9]{1,20}/.exec(line.slice(start, start + 21))?.[0];
        }
        if (typeof value !== "string" || (number && !/^-?[0-9]+$/.test(value))) throw new NotOne();
        return number ? BigInt(value) : value;
      });
    }

    /** The JSON line that a CSV row stands for. */
    lineOf(row) {
      const values = new Map([["record_type", quoted(this.name)]]);
      let at = 0;
      for (const [index, name] of this.names.entries()) {
        const kind = this.columns.get(name);
        let value;
        if (row[at] === '"') {
          let end = at;
          do end = row.indexOf('"', end + 1);
          while (end > 0 && row[end + 1] === '"' && end++);
          if (end < 0) throw new NotOne();
          const text = row.slice(at + 1, end).replaceAll('""', '"');
          const guard = text[0] === "'";
          const plain = guard ? text.slice(1) : text;
          if (GUARDED.test(plain) !== guard) throw new NotOne();
          value = quoted(plain);
          at = end + 1;
        } else {
          const comma = row.indexOf(",", at);
          const bare = row.slice(at, comma < 0 ? row.length : comma);
          if (/["\r\n]/.test(bare)) throw new NotOne();
          const text = kind === "int64" || ["NaN", "Infinity", "-Infinity"].includes(bare);
          value = bare ? (text ? `"${bare}"` : bare) : "null";
          at += bare.length;
        }
        const last = index === this.names.length - 1;
        if (last ? at !== row.length : row[at] !== ",") throw new NotOne();
        at += 1;
        values.set(name, value);
      }
      return `{${this.inLine.map((name) => `${quoted(name)}:${values.get(name)}`).join(",")}}`;
    }

    /** What makes a line other than the canonical form of a record of this type; or nothing. */
    problem(line) {
      const record = JSON.parse(line);
      if (record === null || typeof record !== "object") return "has other columns than the schema";
      if (Object.keys(record).sort().join("\n") !== this.inLine.join("\n")) {
        return "has other columns than the schema";
      }
      for (const [name, kind] of this.columns) {
        if (record[name] !== null && !fits(record[name], kind)) return `${name} is no ${kind}`;
      }
      const told = this.inLine.map((name) => {
        // Half a character has an escape in JSON, and no canonical form.
        if (/\p{Surrogate}/u.test(record[name])) throw new NotOne();
        return `${quoted(name)}:${JSON.stringify(record[name])}`;
      });
      return `{${told.join(",")}}` === line ? "" : "is not in canonical form";
    }
  }

  function fits(value, kind) {
    if (kind === "boolean") return typeof value === "boolean";
    if (kind === "integer") return Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 31;
    if (kind === "double" && typeof value === "number") return true;
    return typeof value === "string" && (!SHAPES[kind] || SHAPES[kind].test(value));
  }

  /** The record types of a schema, in leaf order. */
  function readTypes(schema) {
    try {
      const types = JSON.parse(schema).types.map((told) => new Type(told));
      const names = new Set(types.map((each) => each.name));
      if (names.size === types.length && types[0].name === "seal") return types;
    } catch {
      // Said below.
    }
    throw new Failed("data/schema.json is malformed");
  }

  /** Which of two keys stands first: numbers as numbers, texts by their bytes in UTF-8. */
  function compareKeys(one, other) {
    for (let part = 0; part < Math.min(one.length, other.length); part++) {
      const difference = comparePart(one[part], other[part]);
      if (difference) return difference;
    }
    return one.length - other.length;
  }

  function comparePart(one, other) {
    if (one === other) return 0;
    const less = one < other ? -1 : 1;
    if (typeof one === "bigint" || !/[\ud800-\udfff]/.test(one + other)) return less;
    const [a, b] = [[...one], [...other]];
    const at = a.findIndex((character, index) => character !== b[index]);
    if (at < 0 || at >= b.length) return a.length - b.length;
    return a[at].codePointAt(0) - b[at].codePointAt(0);
  }

  /** The rows of a CSV file, as many at a time as are asked for; a row ends at CR LF. */
  class Rows {
    #chunks;
    #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    #text = "";
    #start = 0;
    #counted = 0;
    #from = 0;
    #odd = false;
    #ended = false;

    constructor(chunks) {
      this.#chunks = chunks;
    }

    /** The next rows: fewer than asked for only where there are no more. */
    async take(count) {
      const rows = [];
      while (rows.length < count) {
        const row = this.#next();
        if (row !== null) rows.push(row);
        else if (!(await this.#more())) break;
      }
      return rows;
    }

    #next() {
      for (let at; (at = this.#text.indexOf("\r\n", this.#from)) >= 0; ) {
        for (let quote = this.#counted; (quote = this.#text.indexOf('"', quote)) >= 0; quote++) {
          if (quote > at) break;
          this.#odd = !this.#odd;
        }
        this.#from = this.#counted = at + 2;
        if (this.#odd) continue;
        const row = this.#text.slice(this.#start, at);
        this.#start = at + 2;
        return row;
      }
      return null;
    }

    async #more() {
      if (this.#ended) return false;
      const { done, value } = await this.#chunks.next();
      const more = this.#decoder.decode(value, { stream: !done });
      this.#text = this.#text.slice(this.#start) + more;
      this.#counted -= this.#start;
      this.#from = Math.max(this.#counted, this.#text.length - more.length - 1);
      this.#start = 0;
      this.#ended = done;
      if (this.#text.length > MAX_ROW) throw new Failed("a CSV row is longer than any record");
      if (done && this.#text) throw new Failed("a CSV file does not end with CR LF");
      return !done;
    }
  }

  Object.assign(landscape, { Type, Rows, readTypes, compareKeys });
})();
