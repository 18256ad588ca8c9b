/**
 * All lines of an export in leaf order: the tree over them, and whether they come as the seals
 * say, with the CSV rows and payloads that belong to them. Needs `records.js` and `report.js`.
 */
(() => {
  "use strict";
  const { Failed, HASH, MAX_TOLD, Tree, WIDTH, compareKeys, equal, fromBase64, hex, leafHash } =
    landscape;

  const SEGMENT = 65_536;
  const WITHHELD = '{"$leaf"';
  const REF = /_ref":"([0-9a-f]{64})"/g;
  const PURGED = /"payload_sha256":"([0-9a-f]{64})"/g;
  const NOTHING = new Uint8Array();

  class Leaves {
    constructor(report, types, size, { strict, runId, schemaHash }) {
      this.report = report;
      this.strict = strict;
      this.types = new Map(types.map((each) => [each.name, each]));
      this.order = types.map((each) => each.name);
      this.size = size;
      this.runId = runId;
      this.schemaHash = schemaHash;
      this.levels = new Map();
      this.csv = new Map();
      this.tree = new Tree((level, root) => this.#completed(level, root));
      this.counts = new Map();
      this.withheld = 0;
      this.epoch = 0;
      /** The roots of the sizes that an earlier checkpoint names. */
      this.roots = new Map();
      /** What may be referred to; null: payloads are not in scope. */
      this.payloads = null;
      /** Of those that are absent; a record has to say so too. */
      this.saidPurged = new Set();
      this.badBlocks = [];
      this.confused = false;
      this.#run = `"run_id":${JSON.stringify(runId)}`;
    }

    #run;
    #done = new Map();
    #left = [];
    #last = [];
    #sealSchema = "";

    /** Take the next lines, each with its end. */
    async feed(data) {
      const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
      for (let at = 0; at < data.length; ) {
        const ends = [];
        for (let end = at; ends.length < this.tree.room && end < data.length; end++) {
          end = data.indexOf(10, end);
          ends.push(end);
        }
        const stop = ends.at(-1);
        const text = decoder.decode(data.subarray(at, stop));
        const lines = text.split("\n");
        if (text.includes("\ufffd")) this.#spoil(lines, data, at, ends);
        const leaves = new Uint8Array(ends.length * HASH);
        let start = at;
        for (const [index, end] of ends.entries()) {
          if (lines[index].startsWith(WITHHELD)) {
            leaves.set(this.#kept(lines[index], index), index * HASH);
          } else leafHash(data, start, end, leaves, index * HASH);
          start = end + 1;
        }
        if (!this.confused) await this.#read(lines, leaves);
        for (const size of this.roots.keys()) {
          if (this.tree.size < size && size <= this.tree.size + ends.length) {
            const more = leaves.subarray(0, (size - this.tree.size) * HASH);
            this.roots.set(size, this.tree.root(more));
          }
        }
        this.tree.extend(leaves);
        at = stop + 1;
      }
    }

    /** Make lines that are not UTF-8 such that nothing else can say the same. */
    #spoil(lines, data, start, ends) {
      for (const [index, end] of ends.entries()) {
        if (!equal(landscape.utf8(lines[index]), data.subarray(start, end))) {
          lines[index] = lines[index].replaceAll("\ufffd", "\udfff");
        }
        start = end + 1;
      }
    }

    #kept(line, index) {
      const leaf = fromBase64(line.slice(10, -2));
      if (leaf.length !== HASH || line !== `{"$leaf":"${landscape.toBase64(leaf)}"}`) {
        this.report.step = "tree";
        throw new Failed(`${this.#place(this.tree.size + index)} is a malformed withheld line`);
      }
      this.withheld += 1;
      return leaf;
    }

    /** Compare the root of a complete block with the one in the bag. */
    #completed(level, root) {
      const index = this.#done.get(level) ?? 0;
      this.#done.set(level, index + 1);
      const told = this.levels.get(level) ?? NOTHING;
      if (equal(told.subarray(index * HASH, (index + 1) * HASH), root)) return;
      if (level === 1) this.badBlocks.push(index);
      else if (!this.badBlocks.length) {
        const problem = `tlog/${level}.hashes: entry ${index} is not the root of its block`;
        this.report.fail(problem, "tree");
      }
    }

    /** Go through some lines: which type is due, are the keys in order, does the CSV agree. */
    async #read(lines, leaves) {
      const first = this.tree.size;
      for (let done = 0; done < lines.length && !this.confused; ) {
        if (!this.#left.length) {
          const before = leaves.subarray(0, done * HASH);
          const root = first + done ? this.tree.root(before) : NOTHING;
          await this.#seal(lines[done], first + done, root);
          done += 1;
        } else if (!this.#left[0].count) {
          this.#left.shift();
          this.#last = [];
        } else {
          const due = this.#left[0];
          const part = lines.slice(done, done + due.count);
          due.count -= part.length;
          await this.#records(this.types.get(due.name), part, first + done);
          done += part.length;
        }
      }
    }

    /** Read the record that begins an epoch and says what follows. */
    async #seal(line, leaf, root) {
      this.epoch += 1;
      let seal;
      let counts;
      try {
        seal = JSON.parse(line);
        counts = JSON.parse(seal.counts_json);
        const needed = ["epoch", "first_leaf", "prev_size", "prev_root", "reason", "run_id"];
        const whole = [...needed, "record_type", "schema_sha256"].every((name) => name in seal);
        if (!whole || counts === null || typeof counts !== "object") throw new TypeError();
      } catch {
        this.#lost(leaf, "is not the seal of an epoch, which is due here");
        return;
      }
      const amounts = Object.values(counts);
      const known =
        amounts.every((each) => Number.isSafeInteger(each) && each >= 0) &&
        Object.keys(counts).every((name) => this.order.indexOf(name) > 0);
      const place = [seal.record_type, seal.epoch, Number(seal.first_leaf), Number(seal.prev_size)];
      const due = ["seal", this.epoch, leaf, leaf];
      if (place.some((each, index) => each !== due[index]) || seal.run_id !== this.runId) {
        this.#lost(leaf, `is not the seal of epoch ${this.epoch} of this run`);
      } else if ((seal.prev_root ?? "") !== hex(root)) {
        this.#lost(leaf, "names another root than that of the epoch before it");
      } else if (!known || leaf + 1 + amounts.reduce((sum, each) => sum + each, 0) > this.size) {
        const what = "counts record types that are unknown, or more records than there are";
        this.#lost(leaf, what);
      } else {
        this.#sealSchema = seal.schema_sha256;
        if (seal.reason === "provisional") {
          const text = "the run was still going: this is not its end";
          this.report.find("PROVISIONAL", text, "counts");
        }
        this.#left = this.order.map((name) => ({ name, count: counts[name] ?? 0 }));
        this.#left[0].count = 0;
        this.#last = [];
        await this.#records(this.types.get("seal"), [line], leaf);
      }
    }

    async #records(kind, lines, first) {
      this.counts.set(kind.name, (this.counts.get(kind.name) ?? 0) + lines.length);
      const shown = lines.filter((line) => !line.startsWith(WITHHELD));
      const rows = (await this.#rows(kind.name, shown.length))?.values();
      for (const [index, line] of lines.entries()) {
        const leaf = first + index;
        if (line.startsWith(WITHHELD)) {
          if (rows) this.report.fail(`${this.#place(leaf)} is withheld, but there is CSV`, "csv");
        } else if (!line.includes(kind.mark) || !line.includes(this.#run)) {
          this.#lost(leaf, `is no ${kind.name} of this run, which is due here`);
          return;
        } else this.#record(kind, line, leaf, rows?.next().value);
      }
    }

    async #rows(name, count) {
      try {
        return await this.csv.get(name)?.take(count);
      } catch (error) {
        this.report.step = "csv";
        throw error;
      }
    }

    /** Look at one record: its key, its form, its CSV row and its payloads. */
    #record(kind, line, leaf, row) {
      let key = [];
      let problem = "is not a record";
      try {
        key = kind.keyOf(line);
        problem = this.strict ? kind.problem(line) : "";
      } catch {
        key = [];
      }
      if (problem || compareKeys(key, this.#last) <= 0) {
        const step = problem ? "form" : "counts";
        this.report.fail(`${this.#place(leaf)} ${problem || "is not in order of its key"}`, step);
      }
      this.#last = key;
      if (this.csv.has(kind.name) && !this.#says(kind, row, line)) {
        const problem = `data/csv/${kind.name}.csv does not say what ${this.#place(leaf)} says`;
        this.report.fail(problem, "csv");
        this.csv.delete(kind.name);
      }
      if (this.payloads) this.#refs(line, leaf);
    }

    #says(kind, row, line) {
      try {
        return kind.lineOf(row ?? "") === line;
      } catch {
        return false;
      }
    }

    #refs(line, leaf) {
      if (this.saidPurged.size) {
        for (const [, ref] of line.matchAll(PURGED)) this.saidPurged.delete(ref);
      }
      for (const [, ref] of line.matchAll(REF)) {
        if (this.payloads.has(ref)) continue;
        const problem = `PAYLOAD_MISSING: ${ref}, to which ${this.#place(leaf)} refers`;
        this.report.fail(problem, "payloads");
      }
    }

    #lost(leaf, problem) {
      this.report.fail(`${this.#place(leaf)} ${problem}`, "counts");
      this.confused = true;
    }

    #place(leaf) {
      const segment = String(Math.floor(leaf / SEGMENT)).padStart(6, "0");
      return `record ${leaf} (data/records/${segment}.jsonl, line ${(leaf % SEGMENT) + 1})`;
    }

    /** Say what all lines together came to. */
    async close(root) {
      const { report } = this;
      for (const block of this.badBlocks.slice(0, MAX_TOLD)) {
        const problem =
          `records ${block * WIDTH} to ${block * WIDTH + WIDTH - 1} (block ${block}) are not ` +
          "what was sealed, or tlog/1.hashes is not";
        report.fail(problem, "tree");
      }
      if (this.tree.size !== this.size) {
        const problem = `there are ${this.tree.size} records, but ${this.size} were sealed`;
        report.fail(problem, "tree");
      } else if (!equal(this.tree.root(), root)) {
        const whole = Math.floor(this.size / WIDTH) * WIDTH;
        const where = `: one of ${whole} to ${this.size - 1} was changed`;
        const problem = "the records do not lead to the signed root";
        report.fail(problem + (this.badBlocks.length ? "" : where), "tree");
      }
      if (!this.confused && this.#left.some(({ count }) => count)) {
        report.fail("the last epoch is not whole", "counts");
      }
      if (!this.confused && this.#sealSchema !== this.schemaHash) {
        report.fail("data/schema.json is not the schema that was sealed", "counts");
      }
      for (const ref of this.confused ? [] : [...this.saidPurged].sort().slice(0, MAX_TOLD)) {
        const problem = `PAYLOAD_MISSING: ${ref} is said to be purged, and no record says so`;
        report.fail(problem, "payloads");
      }
      for (const [name, rows] of this.csv) {
        if (!this.confused && (await rows.take(1)).length) {
          report.fail(`data/csv/${name}.csv has more rows than there are records`, "csv");
        }
      }
      if (this.withheld) {
        const text = `${this.withheld} records are withheld, by their hashes`;
        report.find("WITHHELD", text, "tree");
      }
    }
  }

  Object.assign(landscape, { Leaves, SEGMENT });
})();
