"""What an import did, run by run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from audit.vocabulary import ImportOutcome

if TYPE_CHECKING:
    from audit.imports.shapes import Problem


@dataclass
class RunReport:
    """One run of one file: what became of it, records by table, findings by code."""

    run_id: str
    outcome: str
    records: dict[str, int] = field(default_factory=dict)
    findings: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


@dataclass
class FileReport:
    """One file: what it is, or why it was refused, and its runs."""

    path: str
    era: str = ""
    sha256: str = ""
    error: str = ""
    rests_on_clean_close: bool = False
    foreign_tables: list[str] = field(default_factory=list)
    runs: list[RunReport] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Nothing was refused."""
        return not self.error and all(run.outcome != ImportOutcome.REFUSED for run in self.runs)

    def as_json(self) -> dict[str, Any]:
        """What is to be said of the file as a whole."""
        return {
            "path": self.path,
            "era": self.era,
            "sha256": self.sha256,
            "error": self.error or None,
            "rests_on_clean_close": self.rests_on_clean_close,
            "tables_left_out": self.foreign_tables,
        }


def as_json(reports: list[FileReport]) -> dict[str, Any]:
    """One report over several files: the files, and every run with the file that it is in."""
    return {
        "ok": all(report.ok for report in reports),
        "files": [report.as_json() for report in reports],
        "runs": [
            {
                "run_id": run.run_id,
                "path": report.path,
                "outcome": str(run.outcome),
                "records": run.records,
                "findings": run.findings,
                "problems": run.problems,
            }
            for report in reports
            for run in report.runs
        ],
    }
