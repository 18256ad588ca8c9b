"""What can be wrong, in words. One class per thing, worded once."""

from __future__ import annotations


class AuditError(Exception):
    """Base of everything that contradicts the record or cannot become part of it."""


class NotRecorded(AuditError):
    """There is no such record."""

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"no {kind} {key} is on record")
        self.kind = kind
        self.key = key


class ValueRefused(AuditError, ValueError):
    """A value cannot become part of the record; `path` leads to the offending part of it."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class SchemaMismatch(AuditError):
    """The live database is not the one that this version of Landscape was written for."""

    def __init__(self, differences: list[str]) -> None:
        lines = "\n".join(f"  - {line}" for line in differences)
        super().__init__(
            f"The database differs from the models in {len(differences)} places:\n{lines}"
        )
        self.differences = differences


class SourceRefused(AuditError):
    """A file cannot be imported at all; the sentence says why and what to do."""


class RunRefused(AuditError):
    """One run of a file cannot be imported; every offending key is listed."""

    def __init__(self, run_id: str, problems: list[dict[str, str]]) -> None:
        first = problems[0]["message"] if problems else "unknown reason"
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"run {run_id}: {first}{more}")
        self.run_id = run_id
        self.problems = problems
