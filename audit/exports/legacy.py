"""The original's signed exports: JSON records with an HMAC each, and a manifest at the end.

What such a file proves, it proves only to those who hold the secret, and any of them could have
written it. So it is checked, and the report says so.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import rfc8785

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAIVE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?")
_TOLD = 20
_HMAC = "hmac-sha256"

SQLITE = (
    "Times are written without a zone, as the original does on SQLite. The same run exported from "
    "PostgreSQL writes +00:00, so its signatures and its final hash differ, and both are right."
)
POSTGRESQL = (
    "Times are written with +00:00, as the original does on PostgreSQL. The same run exported "
    "from SQLite writes no zone, so its signatures and its final hash differ, and both are right."
)
SHARED = (
    "The signatures were checked with a shared secret: whoever holds it could have written this "
    "file. It is no evidence for a third party."
)
LEFT_OUT = (
    "The original exports neither outcomes, validation and transform errors, checkpoints nor "
    "operations: this file is no complete record of the run."
)
CSV = (
    "A CSV export cannot be checked: its signatures are over JSON values, and CSV does not keep "
    "apart a number and a text, or nothing and an empty text. Ask for the JSON export."
)


class _Unlike(Exception):
    """The file has not the shape of a signed export."""


@dataclass
class LegacyReport:
    """What checking a legacy export came to."""

    records: int = 0
    run_id: str = ""
    final_hash: str = ""
    problems: list[str] = field(default_factory=list)
    # Why nothing can be said.
    unsure: str = ""
    remarks: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The exit status: 0 verified, 1 failed, 2 cannot tell."""
        return 1 if self.problems else 2 if self.unsure else 0

    @property
    def verdict(self) -> str:
        """The same in words."""
        return ("VERIFIED", "FAILED", "CANNOT TELL")[self.status]


def verify_legacy(*, path: Path, key: bytes) -> LegacyReport:
    """Check every record's signature, their running hash and the manifest of an export.

    Raises:
        OSError: the file cannot be read.
    """
    report = LegacyReport()
    if path.is_dir() or path.suffix.lower() == ".csv":
        report.unsure = CSV
        return report
    try:
        _check(_records(path), key, report)
    except (ValueError, RecursionError) as error:
        # Also UnicodeDecodeError and all that JSON and RFC 8785 refuse.
        report.problems.append(f"the file is no export: {error}")
    except _Unlike as error:
        report.unsure = str(error)
    return report


def _records(path: Path) -> Iterator[Any]:
    """The records of a file, which is one list or one record a line."""
    with path.open(encoding="utf-8") as file:
        first = file.read(1)
        while first.isspace():
            first = file.read(1)
        file.seek(0)
        if first == "[":
            yield from json.load(file, object_pairs_hook=_once)
            return
        for line in file:
            if line.strip():
                yield json.loads(line, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names a value twice")
    return found


def _check(records: Iterator[Any], key: bytes, report: LegacyReport) -> None:
    running, manifest = hashlib.sha256(), None
    zones: set[str] = set()
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise ValueError(f"record {number} is no object")  # noqa: TRY004  # a fault of the file
        if manifest is not None:
            _fault(report, f"record {number} comes after the manifest")
            return
        signature = record.pop("signature", None)
        if record.get("record_type") == "manifest":
            manifest = record
            if "schema" in record or record.get("signature_algorithm") != _HMAC:
                told = record.get("schema") or record.get("signature_algorithm")
                raise _Unlike(f"the manifest is of another kind: {str(told)[:80]}")
        elif number == 1 and not isinstance(signature, str):
            raise _Unlike("the export is not signed")
        else:
            report.records += 1
            report.run_id = report.run_id or str(record.get("run_id"))
            running.update(str(signature).encode())
        if report.run_id and record.get("run_id") != report.run_id:
            _fault(report, f"{_name(number, record)} is of another run")
        expected = hmac.new(key, rfc8785.dumps(record), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), str(signature).encode()):
            _fault(report, f"{_name(number, record)} is not what was signed, or the key is another")
        zones |= _zones(record)
    if not report.records and manifest is None:
        raise _Unlike("there is no record in it")
    report.final_hash = running.hexdigest()
    report.remarks += [*sorted(zones), SHARED, LEFT_OUT]
    _check_manifest(manifest, report)


def _zones(record: dict[str, Any]) -> set[str]:
    """On which database the record was written, as its times tell."""
    times = [
        value
        for name, value in record.items()
        if name.endswith("_at") and name != "exported_at" and isinstance(value, str)
    ]
    return {SQLITE for each in times if _NAIVE.fullmatch(each)} | {
        POSTGRESQL for each in times if each.endswith("+00:00")
    }


def _check_manifest(manifest: dict[str, Any] | None, report: LegacyReport) -> None:
    if manifest is None:
        _fault(report, "the manifest is missing: the file was cut off, or never signed as a whole")
        return
    if manifest.get("record_count") != report.records:
        _fault(report, f"the manifest counts {manifest.get('record_count')}, not {report.records}")
    if manifest.get("final_hash") != report.final_hash:
        _fault(report, "the running hash is not the manifest's: records were moved or exchanged")


def _name(number: int, record: dict[str, Any]) -> str:
    return f"record {number} ({str(record.get('record_type'))[:40]})"


def _fault(report: LegacyReport, problem: str) -> None:
    if len(report.problems) < _TOLD:
        report.problems.append(problem)
