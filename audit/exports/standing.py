"""How exports stand: what the pages and the API tell of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.db.models import Q

from audit.errors import NotRecorded
from audit.evidence.records import RECORD_TYPES, SEAL
from audit.models import Export, Run, Seal
from audit.models.exports import LIVE
from audit.vocabulary import ExportJobStatus

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

# Faster than this nothing can be told: an attempt has just begun.
_TELLING = 0.5


@dataclass(frozen=True, kw_only=True)
class ExportLine:
    """One export; `rate` is records per second, `remaining` seconds, both while it is written."""

    export_id: str
    run_id: str
    requested_by: int
    requested_by_name: str | None
    requested_at: datetime
    with_csv: bool
    with_payloads: bool
    provisional: bool
    status: str
    step: str
    attempt: int
    due_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    records_done: int
    records_total: int | None
    rate: float | None
    remaining: float | None
    error_code: str | None
    error_text: str | None
    file_name: str | None
    file_sha256: str | None
    file_bytes: int | None
    origin: str | None
    root: str | None
    expires_at: datetime | None

    @property
    def format(self) -> str:
        """`jsonl`, or `both` with CSV beside it."""
        return "both" if self.with_csv else "jsonl"

    @property
    def is_live(self) -> bool:
        """Whether something may still come of it."""
        return self.status in LIVE

    @property
    def may_be_cancelled(self) -> bool:
        """Whether there is something to stop."""
        return self.is_live and self.status != ExportJobStatus.CANCELLING


@dataclass(frozen=True, kw_only=True)
class ExportsPage:
    """Exports, newest first, and where the next page begins."""

    lines: tuple[ExportLine, ...]
    next_after: str | None


@dataclass(frozen=True, kw_only=True)
class TypeProgress:
    """How far the records of one type are."""

    name: str
    done: int
    total: int


def describe_export(*, export_id: str, seen_by: int | None, at: datetime) -> ExportLine:
    """One export; `seen_by` is who may see only their own, None whoever may see all.

    Raises:
        NotRecorded: there is no such export, or it is somebody else's.
    """
    found = Export.objects.filter(_seen(seen_by), export_id=export_id).first()
    if found is None:
        raise NotRecorded("export", export_id)
    return _lines([found], at)[0]


def list_exports(
    *,
    seen_by: int | None,
    at: datetime,
    run_id: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> ExportsPage:
    """Exports, newest first, of one run or of all.

    Raises:
        NotRecorded: there is no such run, or no such export to go on after.
    """
    asked = Export.objects.filter(_seen(seen_by))
    if run_id is not None:
        if not Run.objects.filter(run_id=run_id).exists():
            raise NotRecorded("run", run_id)
        asked = asked.filter(run_id=run_id)
    if after is not None:
        last = Export.objects.filter(_seen(seen_by), export_id=after).first()
        if last is None:
            raise NotRecorded("export", after)
        asked = asked.filter(
            Q(requested_at__lt=last.requested_at)
            | Q(requested_at=last.requested_at, export_id__lt=last.export_id)
        )
    found = list(asked.newest_first()[: limit + 1])
    shown = found[:limit]
    return ExportsPage(
        lines=tuple(_lines(shown, at)),
        next_after=str(shown[-1].export_id) if len(found) > limit else None,
    )


def progress_by_type(line: ExportLine) -> tuple[TypeProgress, ...]:
    """How far each type is, in the order in which they are written.

    The counts are those that were sealed; nothing while they are not known, or where a run was
    sealed in several parts.
    """
    sealed = list(Seal.objects.filter(run_id=line.run_id).only("counts_json")[:2])
    if line.provisional or len(sealed) != 1:
        return ()
    counts = json.loads(str(sealed[0].counts_json)) | {SEAL.name: 1}
    told, before = [], 0
    for kind in (SEAL, *RECORD_TYPES):
        total = counts.get(kind.name, 0)
        done = max(0, min(total, line.records_done - before))
        told.append(TypeProgress(name=kind.name, done=done, total=total))
        before += total
    return tuple(told)


def _seen(seen_by: int | None) -> Q:
    return Q() if seen_by is None else Q(requested_by=seen_by)


def _lines(found: Iterable[Export], at: datetime) -> list[ExportLine]:
    found = list(found)
    people = get_user_model().objects.in_bulk({each.requested_by for each in found})
    lines = []
    for each in found:
        person = people.get(each.requested_by)
        rate, remaining = _speed(each, at)
        lines.append(
            ExportLine(
                export_id=str(each.export_id),
                run_id=str(each.run_id),
                requested_by=each.requested_by,
                requested_by_name=person.get_username() if person else None,
                requested_at=each.requested_at,
                with_csv=each.with_csv,
                with_payloads=each.with_payloads,
                provisional=each.provisional,
                status=str(each.status),
                step=str(each.step),
                attempt=each.attempt,
                due_at=each.due_at,
                started_at=each.started_at,
                finished_at=each.finished_at,
                records_done=each.records_done,
                records_total=each.records_total,
                rate=rate,
                remaining=remaining,
                error_code=each.error_code,
                error_text=each.error_text,
                file_name=each.file_name,
                file_sha256=each.file_sha256,
                file_bytes=each.file_bytes,
                origin=each.origin,
                root=each.root,
                expires_at=each.expires_at,
            )
        )
    return lines


def _speed(export: Export, at: datetime) -> tuple[float | None, float | None]:
    """Records per second of the step that is going on, and how many seconds remain of it."""
    if export.status != ExportJobStatus.RUNNING or export.step_at is None:
        return None, None
    taken = (at - export.step_at).total_seconds()
    if taken < _TELLING or not export.records_done or export.records_total is None:
        return None, None
    rate = export.records_done / taken
    return rate, (export.records_total - export.records_done) / rate
