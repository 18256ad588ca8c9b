/**
 * A report as part of the page: verdict, checks, roots, key, and what else one must know.
 *
 * Whatever was verified is hostile: only texts are set, and what would hide or act is written
 * out. Needs `words.js`; glyphs are those of the sprite that every page carries.
 */
(() => {
  "use strict";
  const { CHECKS, LOOKS, STATES, STEPS, sentence } = landscape;
  const SVG = "http://www.w3.org/2000/svg";
  const HIDING = /(?![\n\t])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;

  /** The text with everything that would hide or act written out: ‹U+202E›. */
  const visible = (text) =>
    String(text).replace(HIDING, (character) => {
      const digits = character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
      return `‹U+${digits}›`;
    });

  /** An element: its name and classes (`p.quiet`), its attributes, and what is in it. */
  function element(what, attributes, ...inside) {
    const [name, ...classes] = what.split(".");
    const made = document.createElement(name);
    if (classes.length) made.className = classes.join(" ");
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    for (const each of inside.flat()) {
      if (each !== null) made.append(typeof each === "string" ? visible(each) : each);
    }
    return made;
  }

  function chip({ family, glyph }, word) {
    const drawn = document.createElementNS(SVG, "svg");
    const use = document.createElementNS(SVG, "use");
    drawn.setAttribute("class", "glyph");
    drawn.setAttribute("viewBox", "0 0 12 12");
    drawn.setAttribute("aria-hidden", "true");
    use.setAttribute("href", `#g-${glyph}`);
    drawn.append(use);
    return element(`span.chip.${family}`, {}, drawn, word);
  }

  /** A hash in full, in groups of eight. */
  function hash(digest) {
    const groups = (digest.match(/.{1,8}/g) ?? []).map((group) => element("span", {}, group));
    const spaced = groups.flatMap((group, index) => (index ? [" ", group] : [group]));
    return element("span.hash", {}, element("code", {}, spaced));
  }

  const fact = (name, ...told) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, ...told));

  const section = (title, aside, ...inside) =>
    element(
      "section",
      {},
      element("h2", {}, title, " ", aside ? element("span.quiet", {}, aside) : null),
      ...inside,
    );

  function size(bytes) {
    for (const unit of ["B", "kB", "MB", "GB"]) {
      if (bytes < 1000 || unit === "GB") {
        return `${unit === "B" ? bytes : bytes.toFixed(1)} ${unit}`;
      }
      bytes /= 1000;
    }
  }

  function verdictBox(report, { what, at, milliseconds }) {
    const look = LOOKS[report.status];
    const seconds = (milliseconds / 1000).toFixed(2);
    const when = at.toISOString().replace("T", " ");
    return element(
      `section.verdict.edge-${look.family}`,
      { "aria-label": "Verdict" },
      element("p", {}, chip(look, report.verdict)),
      element("p.answer", { tabindex: "-1", "data-verdict": report.verdict }, sentence(report, what)),
      element(
        "ul.completeness",
        {},
        element("li", {}, `Checked in your browser on ${when} in ${seconds} s`),
        element("li", {}, "The file was not uploaded"),
        element("li", {}, `verify.py would end with exit status ${report.status}`),
      ),
    );
  }

  function stepsOf(report, what) {
    return CHECKS[what].map((name) => {
      // What ended the whole also ended the checks after it.
      const told = report.steps.get(name) ?? { state: "not reached", text: "not looked at" };
      return { name, ...told };
    });
  }

  function checks(report, what) {
    const steps = stepsOf(report, what);
    const count = (state) => steps.filter((each) => each.state === state).length;
    const made = steps.filter((each) => !["skipped", "not reached"].includes(each.state)).length;
    const told = [
      `${made} made`,
      `${count("verified")} verified`,
      `${count("finding")} with findings`,
      `${count("failed")} failed`,
      `${count("skipped") + count("not reached")} not made`,
    ];
    const lines = steps.map(({ name, state, text, code }) =>
      element(
        "tr",
        { "data-step": name },
        element("td", {}, chip(STATES[state], code ? code.toLowerCase().replace("_", " ") : state)),
        element("th", { scope: "row" }, STEPS[name]),
        element("td.wide", {}, text),
      ),
    );
    const head = ["Result", "Check", "What was found"].map((each) =>
      element("th", { scope: "col" }, each),
    );
    const table = element(
      "table.checks",
      {},
      element("thead.unseen", {}, element("tr", {}, head)),
      element("tbody", {}, lines),
    );
    return section("Checks", told.join(", "), element("div.frame", {}, table));
  }

  function faults(report) {
    if (!report.problems.length) return null;
    const lines = report.problems.map((each) => element("li", {}, each));
    if (report.more) lines.push(element("li", {}, `and ${report.more.toLocaleString("en")} more`));
    return section("What is wrong", `${report.problems.length + report.more}`, element("ol.lines", {}, lines));
  }

  function about(report) {
    const { told } = report;
    if (told.plan !== undefined) return certified(told);
    if (!told.origin) return null;
    const facts = [fact("origin", told.origin)];
    if (report.runId !== undefined) facts.push(fact("run", report.runId));
    if (told.record !== undefined) facts.push(fact("record", told.record.toLocaleString("en")));
    facts.push(fact("records", `${told.size.toLocaleString("en")} under the signed root`));
    if (told.epochs) facts.push(fact("epochs", String(told.epochs)));
    if (told.exported) facts.push(fact("exported", String(told.exported)));
    const counts = Object.entries(told.counts ?? {}).map(([name, count]) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, name.replaceAll("_", " ")),
        element("td.n", {}, count.toLocaleString("en")),
      ),
    );
    const table = element(
      "details",
      {},
      element("summary", {}, "Records of each type, also those that there are none of"),
      element("table.narrow", {}, element("tbody", {}, counts)),
    );
    return section("What it is", "", element("dl.facts", {}, facts), counts.length ? table : null);
  }

  function certified(told) {
    const facts = [
      fact("authority", String(told.authority)),
      fact("plan", String(told.plan)),
      fact("asked for by", `user ${told.requested_by}`),
      fact("approved by", told.approved_by === null ? "nobody" : `user ${told.approved_by}`),
      fact("deleted", `${told.deleted.toLocaleString("en")} payloads, ${told.deleted_bytes} bytes`),
      fact("the list", hash(String(told.list_digest))),
    ];
    return section("What it is", "", element("dl.facts", {}, facts));
  }

  function missing(report) {
    if (!report.absent?.length) return null;
    const lines = report.absent.map(({ ref, state }) =>
      element("li", {}, element("code", {}, ref), ` ${state}`),
    );
    const aside = "whoever has a copy can still drop it here";
    return section("Payloads that are not in it", aside, element("ul.lines", {}, lines));
  }

  function against(report) {
    const { told } = report;
    const root = report.root ?? told.root;
    if (!told.key) return null;
    return section(
      "What it was checked against",
      "",
      element(
        "div.proof",
        {},
        root ? roots(root, report.computed) : [],
        element("span.quiet", {}, `key of ${told.signed_by ?? told.authority}, fingerprint`),
        hash(told.key),
        element("p", {}, `trusted because ${told.key_trusted_because}`),
      ),
    );
  }

  function roots(root, computed) {
    const mark =
      computed === root
        ? chip(LOOKS[0], "equal, all 64 digits")
        : computed
          ? chip(LOOKS[1], "different")
          : chip(LOOKS[2], "not computed: the check ended before");
    return [
      element("span.quiet", {}, "signed root, SHA-256"),
      hash(root),
      element("span.quiet", {}, "computed from the file"),
      computed ? hash(computed) : element("p.nothing", {}, "none"),
      element("p", {}, mark),
    ];
  }

  /** All of a report, for the place of results; `head` has name, size, what, at, milliseconds. */
  function resultOf(report, head) {
    return [
      verdictBox(report, head),
      element(
        "div.columns",
        {},
        element("div", {}, faults(report), checks(report, head.what), missing(report), about(report)),
        element("aside", { "aria-label": "Against what" }, against(report)),
      ),
    ];
  }

  Object.assign(landscape, { element, chip, hash, section, size, resultOf });
})();
