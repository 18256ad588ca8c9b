"""Run the whole suite in three passes and close with one line of counts.

1. Everything that neither needs a browser nor kills processes, with two workers.
2. The browser journeys, one after another, and beside them
3. the fault tests, one after another, with a quarter of their rounds: they mostly wait.

Coverage is measured over all three, child processes included, and has its floor in pyproject.
"""

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
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
# What runs beside each other. Two cores carry two workers, or a browser and somebody who waits.
TOGETHER = [("unit",), ("browser", "faults")]


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
    for names in TOGETHER:
        with ThreadPoolExecutor() as lanes:
            run = partial(run_pass, quiet=len(names) > 1)
            codes = dict(zip(names, lanes.map(run, names), strict=True))
        for name, code in codes.items():
            count_pass(name, code, tally)
    print("\n== coverage", flush=True)
    coverage(["combine", "--quiet"])
    covered = coverage(["report"])[0] == 0
    if not covered:
        print("Too little of the code is covered, see above.")
    for reason, count in tally.browser_skips.items():
        print(f"{count} browser tests were skipped: {reason}")
    for name in tally.broken:
        print(f"The {name} pass did not run to its end.")
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped", flush=True)
    return 0 if covered and not tally.failed and not tally.broken else 1


def run_pass(name: str, *, quiet: bool) -> int:
    """Run one pass under coverage and return its exit code.

    A quiet one says everything at its end, so that two that run together do not interrupt.
    """
    print(f"\n== {name} tests", flush=True)
    started = time.monotonic()
    arguments = ["run", "-m", "pytest", *PASSES[name], f"--junitxml={report_of(name)}"]
    code, said = coverage(arguments, quiet=quiet)
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    print(f"{said}== {name} tests took {minutes} min {seconds} s", flush=True)
    return code


def count_pass(name: str, code: int, tally: Tally) -> None:
    """Add what came of one pass."""
    if code not in {0, 1, NOTHING_COLLECTED} or not report_of(name).exists():
        tally.broken.append(name)
    if report_of(name).exists():
        add_counts(report_of(name), tally, browser=name == "browser")


def report_of(name: str) -> Path:
    """Where pytest leaves its JUnit report of one pass."""
    return REPORTS / f"{name}.xml"


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


def coverage(arguments: list[str], *, quiet: bool = False) -> tuple[int, str]:
    """Run coverage with the project's settings; its exit code, and what it said if kept quiet."""
    done = subprocess.run(
        [sys.executable, "-m", "coverage", *arguments],
        cwd=ROOT,
        env=os.environ | {"COVERAGE_RCFILE": str(ROOT / "pyproject.toml")},
        check=False,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
    )
    return done.returncode, done.stdout or ""


if __name__ == "__main__":
    raise SystemExit(main())
