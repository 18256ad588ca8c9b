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
    NO_LIST: () => "the list of payloads was not given, so it was not compared",
    PURGED: (text) => are(amount(text), "payload", "payloads", ["was purged", "were purged"]),
  };

  function listed(words) {
    if (words.length < 2) return words.join("");
    return `${words.slice(0, -1).join(", ")}, and ${words.at(-1)}`;
  }

  const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

  const number = (value) => value.toLocaleString("en");
  /** What is good about it, for each of what can be verified. */
  const WHOLE = {
    bag: ({ size, signed_by }, more) =>
      "Nothing was changed since it was signed." +
      (more ? "" : ` All ${number(size)} records are those that ${signed_by} sealed.`),
    record: ({ record, size, signed_by }) =>
      `This record is what was signed: number ${number(record)} of the ${number(size)} that ` +
      `${signed_by} sealed.`,
    certificate: ({ authority, deleted, plan }) =>
      `${authority} certifies that ${number(deleted)} payloads were deleted under plan ${plan}.`,
  };

  /** One or two sentences: what came out, and what one must know with it. */
  function sentence(report, what) {
    const { status, told, problems } = report;
    if (status === 1) {
      const others = problems.length + report.more - 1;
      const more = others ? ` There ${others === 1 ? "is one more fault" : `are ${others} more faults`}.` : "";
      return `This is not what was signed: ${problems[0]}.${more}`;
    }
    if (status === 2) {
      return `It cannot be told whether this is what was signed: ${report.unsure}.`;
    }
    const words = [...report.findings].map(([code, text]) => FINDINGS[code]?.(text) ?? text);
    const must = words.length ? ` ${capital(listed(words))}.` : "";
    return WHOLE[what](told, words.length) + must;
  }

  Object.assign(landscape, { LOOKS, STATES, sentence });
})();
