"""Export jobs: the only writer of `exports`.

The row is the job. Every step is one UPDATE that also asks whether the step may be taken, so of
two that race one finds nothing to change. Leases are told by the database's clock alone.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from audit.errors import IllegalTransition, NotRecorded
from audit.models import Export, Run
from audit.models.exports import MOST_ATTEMPTS
from audit.vocabulary import ExportJobStatus, ExportStep, RunStatus

if TYPE_CHECKING:
    from datetime import datetime

    from audit.models.exports import ExportQuerySet

# An export that nobody took is rung for again after as many seconds.
_RING_AGAIN = 10
# The pause before the next attempt doubles, in seconds.
_FIRST_PAUSE, _LONGEST_PAUSE = 5, 300

_TAKE = """
UPDATE exports SET
    status = 'running', step = 'sealing', attempt = attempt + 1, fence = fence + 1,
    lease_owner = %(owner)s, lease_until = clock_timestamp() + %(lease)s * interval '1 second',
    due_at = NULL, started_at = clock_timestamp(), step_at = clock_timestamp(),
    records_done = 0, records_total = NULL,
    file_sha256 = NULL, file_bytes = NULL, file_name = NULL
WHERE export_id = %(export)s AND attempt < %(most)s AND (
    status = 'requested'
    OR (status = 'waiting' AND due_at <= clock_timestamp())
    OR (status IN ('running', 'publishing') AND lease_until < clock_timestamp()))
RETURNING fence
"""

_HOLD = """
UPDATE exports SET
    lease_until = clock_timestamp() + %(lease)s * interval '1 second',
    step_at = CASE WHEN step = %(step)s THEN step_at ELSE clock_timestamp() END,
    step = %(step)s, records_done = %(done)s, records_total = %(total)s
WHERE export_id = %(export)s AND fence = %(fence)s
    AND status IN ('running', 'publishing', 'cancelling')
RETURNING status
"""

_WAIT = """
UPDATE exports SET
    status = CASE WHEN attempt < %(most)s THEN 'waiting' ELSE 'failed' END,
    due_at = CASE WHEN attempt < %(most)s THEN clock_timestamp()
        + least(%(first)s * 2 ^ (attempt - 1), %(longest)s) * interval '1 second' END,
    finished_at = CASE WHEN attempt < %(most)s THEN NULL ELSE clock_timestamp() END,
    lease_owner = NULL, lease_until = NULL, error_code = %(code)s, error_text = %(text)s,
    file_sha256 = NULL, file_bytes = NULL, file_name = NULL
WHERE export_id = %(export)s AND fence = %(fence)s AND status IN ('running', 'publishing')
RETURNING status
"""

# Whoever held these is gone, and they have been tried often enough.
_GIVE_UP = """
UPDATE exports SET
    status = 'failed', finished_at = clock_timestamp(), lease_owner = NULL, lease_until = NULL,
    error_code = 'worker_lost',
    error_text = format('%%s attempts were begun, and each time the worker was gone before the '
        'end. %%s of %%s records were written in the last one.',
        attempt, records_done, coalesce(records_total::text, 'an unknown number of'))
WHERE status IN ('running', 'publishing') AND lease_until < clock_timestamp()
    AND attempt >= %(most)s
"""

_RING = """
UPDATE exports SET rung_at = clock_timestamp()
WHERE export_id IN (
    SELECT export_id FROM exports
    WHERE (status = 'requested'
            OR (status = 'waiting' AND due_at <= clock_timestamp())
            OR (status IN ('running', 'publishing') AND lease_until < clock_timestamp()))
        AND (rung_at IS NULL OR rung_at < clock_timestamp() - %(again)s * interval '1 second')
    ORDER BY requested_at, export_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING export_id
"""


class LeaseLost(Exception):
    """Another worker has the export now, or nobody may: what this one made is worth nothing."""


class Cancelled(Exception):
    """Somebody does not want the export any more."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to produce an export, for as long as its lease is renewed."""

    export: Export
    fence: int


def open_job(
    *, run_id: str, requested_by: int, with_csv: bool, with_payloads: bool, at: datetime
) -> Export:
    """Ask for an export of a whole run; asking for the same again while it is made gives it back.

    An export of a run that is still going is provisional.

    Raises:
        NotRecorded: there is no such run.
    """
    run = Run.objects.filter(run_id=run_id).only("status").first()
    if run is None:
        raise NotRecorded("run", run_id)
    asked = {
        "run_id": run_id,
        "requested_by": requested_by,
        "with_csv": with_csv,
        "with_payloads": with_payloads,
    }
    while True:
        try:
            with transaction.atomic():
                return Export.objects.create(
                    export_id=uuid.uuid4().hex,
                    requested_at=at,
                    provisional=run.status == RunStatus.RUNNING,
                    status=ExportJobStatus.REQUESTED,
                    step=ExportStep.SEALING,
                    attempt=0,
                    fence=0,
                    records_done=0,
                    **asked,
                )
        except IntegrityError:
            live = Export.objects.live().filter(**asked).first()
            # None: it ended between the two statements.
            if live is not None:
                return live


def cancel(*, export_id: str) -> Export:
    """Stop an export that is not made yet; a worker that has it stops at its next step.

    Cancelling twice is cancelling once.

    Raises:
        NotRecorded: there is no such export.
        IllegalTransition: it has ended otherwise.
    """
    mine = Export.objects.filter(export_id=export_id)
    stopped = mine.filter(status__in=[ExportJobStatus.REQUESTED, ExportJobStatus.WAITING]).update(
        status=ExportJobStatus.CANCELLED, finished_at=Now(), due_at=None
    )
    if not stopped:
        mine.filter(status__in=[ExportJobStatus.RUNNING, ExportJobStatus.PUBLISHING]).update(
            status=ExportJobStatus.CANCELLING
        )
    export = mine.first()
    if export is None:
        raise NotRecorded("export", export_id)
    if export.status not in {ExportJobStatus.CANCELLING, ExportJobStatus.CANCELLED}:
        raise IllegalTransition(
            "export", export_id, status=str(export.status), to=ExportJobStatus.CANCELLED
        )
    return export


def claim(*, export_id: str, owner: str) -> Claim | None:
    """Take an export that is due; None where another worker has it or nothing is to be done."""
    with connection.cursor() as cursor:
        cursor.execute(
            _TAKE,
            {
                "export": export_id,
                "owner": owner,
                "lease": settings.LANDSCAPE_EXPORT_LEASE,
                "most": MOST_ATTEMPTS,
            },
        )
        taken = cursor.fetchone()
    if taken is None:
        return None
    return Claim(export=Export.objects.get(export_id=export_id), fence=taken[0])


def hold(claim: Claim, *, step: str, done: int, total: int | None) -> None:
    """Renew the lease and tell how far it is.

    Raises:
        LeaseLost: it is another worker's now.
        Cancelled: it is not wanted any more.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _HOLD,
            {
                **_mine(claim),
                "lease": settings.LANDSCAPE_EXPORT_LEASE,
                "step": step,
                "done": done,
                "total": total,
            },
        )
        held = cursor.fetchone()
    if held is None:
        raise LeaseLost(claim.export.export_id)
    if held[0] == ExportJobStatus.CANCELLING:
        raise Cancelled(claim.export.export_id)


def begin_publishing(claim: Claim, *, sha256: str, size: int, name: str, records: int) -> None:
    """Say which file is going to be the result, before it is put in its place.

    Raises:
        LeaseLost: it is another worker's now, or it was cancelled.
    """
    _must(
        _held(claim)
        .filter(status=ExportJobStatus.RUNNING)
        .update(
            status=ExportJobStatus.PUBLISHING,
            step=ExportStep.PUBLISHING,
            file_sha256=sha256,
            file_bytes=size,
            file_name=name,
            records_done=records,
            records_total=records,
        ),
        claim,
    )


def succeed(claim: Claim, *, origin: str, root: str, provisional: bool, keep_days: float) -> None:
    """End an export whose file is in its place; joins the caller's transaction.

    Raises:
        LeaseLost: it is another worker's now, or it was cancelled.
    """
    now = Now()
    _must(
        _held(claim)
        .filter(status=ExportJobStatus.PUBLISHING)
        .update(
            status=ExportJobStatus.SUCCEEDED,
            finished_at=now,
            lease_owner=None,
            lease_until=None,
            error_code=None,
            error_text=None,
            origin=origin,
            root=root,
            provisional=provisional,
            expires_at=now + timedelta(days=keep_days),
        ),
        claim,
    )


def retry_later(claim: Claim, *, code: str, text: str) -> str | None:
    """Let go of an attempt that failed; the last one fails the export. None: it was not ours."""
    with connection.cursor() as cursor:
        cursor.execute(
            _WAIT,
            {
                **_mine(claim),
                "code": code,
                "text": text,
                "most": MOST_ATTEMPTS,
                "first": _FIRST_PAUSE,
                "longest": _LONGEST_PAUSE,
            },
        )
        told = cursor.fetchone()
    return str(told[0]) if told else None


def fail(claim: Claim, *, code: str, text: str) -> None:
    """End an export that no further attempt can save."""
    _held(claim).filter(status__in=[ExportJobStatus.RUNNING, ExportJobStatus.PUBLISHING]).update(
        status=ExportJobStatus.FAILED,
        finished_at=Now(),
        lease_owner=None,
        lease_until=None,
        error_code=code,
        error_text=text,
        file_sha256=None,
        file_bytes=None,
        file_name=None,
    )


def confirm_cancelled(claim: Claim) -> bool:
    """The worker has stopped; whether that is because somebody cancelled the export."""
    return _end_cancelled(_held(claim)) > 0


def ring(*, limit: int) -> list[str]:
    """The exports that are due and were not rung for lately, oldest first; notes the ringing."""
    with connection.cursor() as cursor:
        cursor.execute(_RING, {"again": _RING_AGAIN, "limit": limit})
        return [export_id for (export_id,) in cursor.fetchall()]


def settle() -> None:
    """End what nobody works on any more: given up, left while cancelling, expired."""
    with connection.cursor() as cursor:
        cursor.execute(_GIVE_UP, {"most": MOST_ATTEMPTS})
    _end_cancelled(Export.objects.filter(lease_until__lt=Now()))
    Export.objects.filter(status=ExportJobStatus.SUCCEEDED, expires_at__lte=Now()).update(
        status=ExportJobStatus.EXPIRED
    )


def _mine(claim: Claim) -> dict[str, Any]:
    return {"export": claim.export.export_id, "fence": claim.fence}


def _held(claim: Claim) -> ExportQuerySet:
    return Export.objects.filter(export_id=claim.export.export_id, fence=claim.fence)


def _must(changed: int, claim: Claim) -> None:
    if not changed:
        raise LeaseLost(claim.export.export_id)


def _end_cancelled(exports: ExportQuerySet) -> int:
    return exports.filter(status=ExportJobStatus.CANCELLING).update(
        status=ExportJobStatus.CANCELLED,
        finished_at=Now(),
        lease_owner=None,
        lease_until=None,
        file_sha256=None,
        file_bytes=None,
        file_name=None,
    )
