"""The trail against what was sealed of it: every record that no longer matches, by name.

The lines are made from the rows again, with the columns that the seals name, and compared with
the sealed text, whose own root and signature are proven first. What differs becomes findings of
level error, which stay until a later check finds the run as it was sealed.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import DatabaseError, connection, transaction
from django.db.models import F, OuterRef, Subquery
from django.db.models.functions import Random

from audit import findings
from audit.evidence import comparing, lines, log, notes, salvage, seals, signing, store
from audit.models import Run, Seal, SealCheck
from audit.vocabulary import FindingLevel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from audit.evidence.comparing import Difference
    from audit.vocabulary import SealReason

CHANGED = "SEAL_CHANGED"
GONE = "SEAL_GONE"
ADDED = "SEAL_ADDED"
BROKEN = "SEAL_BROKEN"
CODES = (CHANGED, GONE, ADDED, BROKEN)

# The first records are listed one by one, the rest is counted.
_LISTED = 100
# Comparing takes a second for some forty thousand records; twenty times that is rested.
_RECORDS_A_SECOND = 2_000
_SHORTEST_REST = 60
_LOCK = 0x7472616C


@dataclass
class TrailReport:
    """What comparing one run with its seals came to."""

    run_id: str
    epoch: int | None = None
    records: int = 0
    # What is wrong with the seals themselves: a signature, a root, text that is gone.
    broken: list[str] = field(default_factory=list)
    # Told one by one, up to a limit; `count` is how many there are.
    differences: list[Difference] = field(default_factory=list)
    count: int = 0
    # Records that came by a legal event since, and wait for the next epoch.
    pending: int = 0

    @property
    def ok(self) -> bool:
        """Whether everything that was sealed is as it was sealed."""
        return not self.broken and not self.count


def check_run(*, run_id: str, at: datetime) -> TrailReport:
    """Compare a run with its seals; keep the result and the findings. Memory does not grow.

    A run that was never sealed has no epoch in its report, and nothing is kept. Where sealed text
    is damaged, that is told, and what is left of it still names records that differ.
    """
    report = TrailReport(run_id)
    with lines.snapshot():
        sealed = seals.seals_of(run_id)
        if not sealed:
            return report
        report.epoch, report.records = sealed[-1].epoch, sealed[-1].size
        try:
            _compare(sealed, report)
        except DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever was done to a seal, the next run is checked
            report.broken.append(f"the seals cannot be read: {error}")
    with transaction.atomic():
        seals.note_check(
            seal=sealed[-1],
            records=report.records,
            differences=report.count + len(report.broken),
            at=at,
        )
        # A finding belongs to a run; where that very record is gone, the check alone tells.
        if Run.objects.filter(run_id=run_id).exists():
            findings.replace_codes(run_id=run_id, codes=CODES, found=list(_found(report)), at=at)
    return report


def _compare(sealed: list[Seal], report: TrailReport) -> None:
    condition = salvage.inspect(sealed, [_signed(seal, report) for seal in sealed])
    report.broken += condition.broken
    if condition.contradicted and not condition.damaged:
        # Text that was exchanged as a whole says nothing about records.
        return
    result, why = salvage.Salvaged(), _growth(sealed, condition)
    differing = (
        salvage.differences(sealed, condition, result)
        if condition.damaged
        else comparing.differences(sealed)
    )
    for found in differing:
        if seals.explained(found, why):
            report.pending += 1
            continue
        report.count += 1
        if len(report.differences) < _LISTED:
            report.differences.append(found)
    report.broken += result.missed
    if result.unknown:
        report.broken.append(f"{result.unknown:,} records cannot be compared for that")
    report.broken += [] if why else _grade(sealed[-1])


def _signed(seal: Seal, report: TrailReport) -> notes.Checkpoint | None:
    """What was signed, also where the seal says something else; None where nothing holds."""
    try:
        return seals.verified(seal)
    except (notes.NoteRefused, ValueError) as error:
        report.broken.append(str(error))
    try:
        found = notes.open_checkpoint(str(seal.checkpoint), keys=signing.trusted())
    except (notes.NoteRefused, ValueError):
        return None
    return found if found.origin == seals.origin_of(str(seal.run_id)) else None


def _growth(sealed: list[Seal], condition: salvage.Condition) -> SealReason | None:
    try:
        return seals.growth(sealed)
    except (store.SealedTextDamaged, ValueError, KeyError):
        if not condition.damaged:
            raise
        return None


def check_if_due(*, run_id: str, at: datetime, asked_at: datetime | None = None) -> bool:
    """Compare a run, unless that was done since somebody asked, or is not due; say whether.

    One comparison at a time: two would cost twice as much, and tell no more.
    """
    with _one_comparison() as free:
        if not free:
            return False
        if asked_at is None:
            wanted = due(at=at) is not None
        else:
            wanted = not SealCheck.objects.filter(run_id=run_id, checked_at__gte=asked_at).exists()
        return wanted and check_run(run_id=run_id, at=at).epoch is not None


def due(*, at: datetime) -> str | None:
    """The sealed run that was not compared for longest, chance deciding among equals.

    None while the last comparison is to be rested from: so this takes a twentieth of one
    worker's time, however big the runs are, and over a cycle everything is compared.
    """
    last = SealCheck.objects.order_by("-check_id").first()
    if last is not None:
        rest = max(_SHORTEST_REST, last.records / _RECORDS_A_SECOND)
        if at < last.checked_at + timedelta(seconds=rest):
            return None
    newest = SealCheck.objects.filter(run_id=OuterRef("run_id")).order_by("-checked_at")
    waiting = Seal.objects.filter(epoch=1).annotate(last=Subquery(newest.values("checked_at")[:1]))
    longest = waiting.order_by(F("last").asc(nulls_first=True), Random())
    found: str | None = longest.values_list("run_id", flat=True).first()
    return found


def check_log() -> list[str]:
    """What is wrong with the seal log: its tree, its signatures, seals that it lacks."""
    return log.faults()


def sealed_runs() -> list[str]:
    """Every run that has a seal, in the order of their ids."""
    return list(Seal.objects.filter(epoch=1).order_by("run_id").values_list("run_id", flat=True))


@contextmanager
def _one_comparison() -> Iterator[bool]:
    """Hold the right to compare; false where another process has it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK])
        (free,) = cursor.fetchone()
    try:
        yield bool(free)
    finally:
        if free:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])


def _grade(last: Seal) -> list[str]:
    """The grade is no part of the run's record; the seal's own record keeps it."""
    run = Run.objects.filter(run_id=last.run_id).first()
    if run is None or seals.grade_explained(run, last):
        return []
    now, was = run.reproducibility_grade, last.reproducibility_grade
    return [f"runs {last.run_id}: reproducibility_grade is {now}, and {was} was sealed"]


def _found(report: TrailReport) -> Iterator[findings.Found]:
    for reason in report.broken:
        yield findings.Found(BROKEN, FindingLevel.ERROR, "seals", str(report.epoch), reason)
    for each in report.differences:
        code = GONE if each.current is None else ADDED if each.sealed is None else CHANGED
        yield findings.Found(code, FindingLevel.ERROR, each.kind.table, each.key, _told(each))
    if more := report.count - len(report.differences):
        detail = "they no longer match the seal"
        yield findings.further(CHANGED, FindingLevel.ERROR, "seals", detail, more)


def _told(found: Difference) -> str:
    if found.current is None:
        return "the record was sealed and is gone"
    if found.sealed is None:
        return "the record was not there when the run was sealed"
    was, is_ = json.loads(found.sealed), json.loads(found.current)
    return "; ".join(
        f"{name} was sealed as {_short(was.get(name))} and is {_short(is_.get(name))}"
        for name in found.columns
    )


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LISTED else f"{text[:_LISTED]}…"
