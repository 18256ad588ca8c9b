"""Run the whole suite in three passes and close with one line of counts.

1. Everything that neither needs a browser nor kills processes, with two workers.
2. The browser journeys, one after another.
3. The fault tests, one after another, with a quarter of their rounds.

Coverage is measured over all three, child processes included, and has its floor in pyproject.
"""

import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "var" / "test" / "reports"
COVERAGE = ROOT / "var" / "test" / "coverage"
NOTHING_COLLECTED = 5

PASSES = {
    "unit": ["-m", "not browser and not faults", "-n", "2"],
    "browser": ["-m", "browser"],
    "faults": ["-m", "faults"],
}


@dataclass
class Tally:
    """What the passes have come to so far."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    broken: list[str] = field(default_factory=list)
    browser_skips: Counter[str] = field(default_factory=Counter)


def main() -> int:
    """Run the three passes and the coverage report; return the exit code."""
    for directory in (REPORTS, COVERAGE):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
    tally = Tally()
    for name, arguments in PASSES.items():
        print(f"\n== {name} tests", flush=True)
        run_pass(name, arguments, tally)
    print("\n== coverage", flush=True)
    coverage(["combine", "--quiet"])
    covered = coverage(["report"]) == 0
    if not covered:
        print("Too little of the code is covered, see above.")
    for reason, count in tally.browser_skips.items():
        print(f"{count} browser tests were skipped: {reason}")
    for name in tally.broken:
        print(f"The {name} pass did not run to its end.")
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped", flush=True)
    return 0 if covered and not tally.failed and not tally.broken else 1


def run_pass(name: str, arguments: list[str], tally: Tally) -> None:
    """Run one pass under coverage and add its counts."""
    report = REPORTS / f"{name}.xml"
    done = coverage(["run", "-m", "pytest", *arguments, f"--junitxml={report}"])
    if done not in {0, 1, NOTHING_COLLECTED} or not report.exists():
        tally.broken.append(name)
    if report.exists():
        add_counts(report, tally, browser=name == "browser")


def add_counts(report: Path, tally: Tally, *, browser: bool) -> None:
    """Add one pass's counts from its JUnit report, which pytest itself wrote."""
    for case in ET.parse(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            tally.failed += 1
        elif (skip := case.find("skipped")) is not None:
            tally.skipped += 1
            if browser:
                tally.browser_skips[skip.get("message", "no reason given")] += 1
        else:
            tally.passed += 1


def coverage(arguments: list[str]) -> int:
    """Run coverage with the project's settings."""
    command = [sys.executable, "-m", "coverage", *arguments]
    environment = os.environ | {"COVERAGE_RCFILE": str(ROOT / "pyproject.toml")}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
