/**
 * A report in words that a judge understands. Needs `report.js`.
 */
(() => {
  "use strict";

  const LOOKS = [
    { family: "good", glyph: "check" },
    { family: "bad", glyph: "cross" },
    { family: "structural", glyph: "dash" },
    { family: "care", glyph: "bang" },
  ];
  const STATES = {
    verified: LOOKS[0],
    failed: LOOKS[1],
    "cannot tell": LOOKS[2],
    finding: LOOKS[3],
    skipped: LOOKS[2],
    "not reached": LOOKS[2],
  };

  const amount = (text) => Number(/^\d+/.exec(text)?.[0] ?? 0);
  const are = (count, one, many, rest) =>
    `${count.toLocaleString("en")} ${count === 1 ? `${one} ${rest[0]}` : `${many} ${rest[1]}`}`;
  const payloads = (word) => (text) =>
    are(amount(text), "payload", "payloads", [`is ${word}`, `are ${word}`]);
  const FINDINGS = {
    PROVISIONAL: () => "the run was still going, so this is not its end",
    WITHHELD: (text) => are(amount(text), "record", "records", ["is withheld", "are withheld"]),
    NO_ANCHOR: () => "when it was signed rests on the signer’s word alone",
    MISSING: payloads("missing"),
    CORRUPTED: payloads("corrupted"),
    PURGED: (text) => are(amount(text), "payload", "payloads", ["was purged", "were purged"]),
  };

  function listed(words) {
    if (words.length < 2) return words.join("");
    return `${words.slice(0, -1).join(", ")}, and ${words.at(-1)}`;
  }

  const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

  /** One or two sentences: what came out, and what one must know with it. */
  function sentence(report, what) {
    const { status, told, findings, problems } = report;
    if (status === 1) {
      const others = problems.length + report.more - 1;
      const more = others ? ` There ${others === 1 ? "is one more fault" : `are ${others} more faults`}.` : "";
      return `This is not what was signed: ${problems[0]}.${more}`;
    }
    if (status === 2) {
      return `It cannot be told whether this is what was signed: ${report.unsure}.`;
    }
    const whole =
      what === "record"
        ? `This record is what was signed: number ${told.record.toLocaleString("en")} of the ` +
          `${told.size.toLocaleString("en")} that ${told.signed_by} sealed.`
        : "Nothing was changed since it was signed.";
    if (!findings.size && what === "record") return whole;
    if (!findings.size) {
      const size = told.size.toLocaleString("en");
      return `${whole} All ${size} records are those that ${told.signed_by} sealed.`;
    }
    const words = [...findings].map(([code, text]) => FINDINGS[code]?.(text) ?? text);
    return `${whole} ${capital(listed(words))}.`;
  }

  Object.assign(landscape, { LOOKS, STATES, sentence });
})();
