/**
 * What was found about an export: faults, findings, and each check with how it ended.
 *
 * Words and numbers are those of verify.py, so that both can be compared. Needs `notes.js`.
 */
(() => {
  "use strict";

  const VERDICTS = ["VERIFIED", "FAILED", "CANNOT TELL", "VERIFIED WITH FINDINGS"];
  const [VERIFIED, FAILED, CANNOT_TELL, WITH_FINDINGS] = [0, 1, 2, 3];
  const NOT_PROVEN = [
    "that what the pipeline recorded is true, or that it recorded everything",
    "that nothing was changed before the run was sealed",
    "when the seal was made, and that no other was shown to somebody else: compare with an " +
      "earlier export, a witness or a time stamp",
  ];
  const MAX_TOLD = 20;

  /** All checks, in the order in which they are made. */
  const STEPS = {
    container: "Container",
    signature: "Signature",
    key: "Key",
    attestation: "Attestation",
    files: "Files",
    tree: "Tree",
    counts: "Counts and order",
    form: "Form of each line",
    csv: "CSV",
    payloads: "Payloads",
    log: "Seal log",
    previous: "Earlier checkpoint",
    certificate: "Approval and counts",
    list: "List of payloads",
  };
  /** Which of them there are for what can be verified. */
  const CHECKS = {
    bag: Object.keys(STEPS).slice(0, 12),
    record: ["signature", "key", "tree"],
    certificate: ["signature", "key", "certificate", "list"],
  };

  class Report {
    problems = [];
    more = 0;
    findings = new Map();
    checks = [];
    told = {};
    unsure = "";
    /** The check that is being made: what is thrown belongs to it. */
    step = "container";
    /** How each check ended: state, and what a reader should know of it. */
    steps = new Map();

    /** A fault; after some, only counted. */
    fail(problem, step = this.step) {
      if (this.problems.length < MAX_TOLD) this.problems.push(problem);
      else this.more += 1;
      const before = this.steps.get(step);
      if (before?.state !== "failed") this.steps.set(step, { state: "failed", text: problem });
    }

    /** What is no fault but must be said. */
    find(code, text, step = this.step) {
      if (!this.findings.has(code)) this.findings.set(code, text);
      const before = this.steps.get(step);
      if (before?.state === "failed") return;
      const texts = before?.state === "finding" ? `${before.text}; ${text}` : text;
      this.steps.set(step, { state: "finding", text: texts, code });
    }

    /** What cannot be told, and ends the whole. */
    doubt(reason) {
      this.unsure = reason;
      this.steps.set(this.step, { state: "cannot tell", text: reason });
    }

    /** A check that was made and found nothing; what was found stays. */
    ok(step, text, state = "verified") {
      if (!this.steps.has(step)) this.steps.set(step, { state, text });
    }

    /** The exit status of verify.py. */
    get status() {
      if (this.problems.length) return FAILED;
      if (this.unsure) return CANNOT_TELL;
      return this.findings.size ? WITH_FINDINGS : VERIFIED;
    }

    get verdict() {
      return VERDICTS[this.status];
    }

    /** The whole, as verify.py --json has it. */
    asJson() {
      return {
        verdict: this.verdict,
        status: this.status,
        problems: this.problems,
        more_problems: this.more,
        cannot_tell: this.unsure || null,
        findings: Object.fromEntries(this.findings),
        checks: this.checks,
        not_proven: NOT_PROVEN,
        ...this.told,
      };
    }
  }

  Object.assign(landscape, { Report, STEPS, CHECKS, MAX_TOLD, NOT_PROVEN });
})();
