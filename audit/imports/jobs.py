"""Uploads as jobs: the only writer of `import_jobs`.

As with exports: the row is the job, every step is one UPDATE that also asks whether the step may
be taken, and leases are told by the database's clock alone.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Sum
from django.db.models.functions import Now

from audit.errors import IllegalTransition, NotRecorded, UploadRefused
from audit.imports import uploads
from audit.models import ImportJob
from audit.models.imports import MOST_IMPORT_ATTEMPTS, UNDECIDED_IMPORTS
from audit.vocabulary import ImportJobStatus

if TYPE_CHECKING:
    from datetime import datetime

    from django.core.files.base import File

    from audit.models.imports import ImportJobQuerySet

# Seconds for which a worker has an upload without a sign of life.
LEASE = 30.0
# An upload that nobody took is rung for again after as many seconds.
_RING_AGAIN = 10
# The pause before the next attempt, in seconds.
_PAUSE = 20
_MEGABYTE = 1_000_000
_QUOTA_DAYS = 1
_LONGEST_NAME = 200
_MOST_LIVE = 5

_TAKE = """
UPDATE import_jobs SET
    status = 'running', attempt = attempt + 1, fence = fence + 1,
    lease_owner = %(owner)s, lease_until = clock_timestamp() + %(lease)s * interval '1 second',
    due_at = NULL, started_at = clock_timestamp(), records_done = 0, records_total = NULL,
    doing = NULL
WHERE job_id = %(job)s AND attempt < %(most)s AND (
    status = 'requested'
    OR (status = 'waiting' AND due_at <= clock_timestamp())
    OR (status = 'running' AND lease_until < clock_timestamp()))
RETURNING fence
"""

_HOLD = """
UPDATE import_jobs SET
    lease_until = clock_timestamp() + %(lease)s * interval '1 second',
    records_done = %(done)s, records_total = %(total)s, doing = %(doing)s
WHERE job_id = %(job)s AND fence = %(fence)s AND status IN ('running', 'cancelling')
RETURNING status
"""

_WAIT = """
UPDATE import_jobs SET
    status = CASE WHEN attempt < %(most)s THEN 'waiting' ELSE 'failed' END,
    due_at = CASE WHEN attempt < %(most)s
        THEN clock_timestamp() + attempt * %(pause)s * interval '1 second' END,
    finished_at = CASE WHEN attempt < %(most)s THEN NULL ELSE clock_timestamp() END,
    lease_owner = NULL, lease_until = NULL, error_text = %(text)s
WHERE job_id = %(job)s AND fence = %(fence)s AND status = 'running'
RETURNING status
"""

# Whoever held these is gone, and they have been tried often enough.
_GIVE_UP = """
UPDATE import_jobs SET
    status = 'failed', finished_at = clock_timestamp(), lease_owner = NULL, lease_until = NULL,
    error_text = format('%%s attempts were begun, and each time the worker was gone before the '
        'end. %%s of %%s records were read in the last one.',
        attempt, records_done, coalesce(records_total::text, 'an unknown number of'))
WHERE status = 'running' AND lease_until < clock_timestamp() AND attempt >= %(most)s
"""

_RING = """
UPDATE import_jobs SET rung_at = clock_timestamp()
WHERE job_id IN (
    SELECT job_id FROM import_jobs
    WHERE (status = 'requested'
            OR (status = 'waiting' AND due_at <= clock_timestamp())
            OR (status = 'running' AND lease_until < clock_timestamp()))
        AND (rung_at IS NULL OR rung_at < clock_timestamp() - %(again)s * interval '1 second')
    ORDER BY requested_at, job_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING job_id
"""


class LeaseLost(Exception):
    """Another worker has the upload now, or nobody may."""


class Cancelled(Exception):
    """Somebody does not want it imported any more."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to import an upload, for as long as its lease is renewed."""

    job: ImportJob
    fence: int


def open_job(  # noqa: PLR0913  # an upload has this many parts
    *,
    requested_by: int,
    name: str,
    database: File[Any],
    log: File[Any] | None,
    payload_archive: File[Any] | None,
    at: datetime,
) -> ImportJob:
    """Keep an upload and ask for its import. Whether it is an audit database is seen by then.

    Raises:
        UploadRefused: it is too large, or the person has uploaded enough for a day.
    """
    parts = {
        uploads.DATABASE: database,
        uploads.LOG: log or None,
        uploads.PAYLOADS: payload_archive or None,
    }
    given = {part: file for part, file in parts.items() if file is not None}
    size = sum(file.size for file in given.values())
    refuse_too_large(size)
    job_id = uuid.uuid4().hex
    uploads.keep(job_id, parts=given)
    try:
        with transaction.atomic():
            _refuse_too_much(requested_by, size, at)
            return ImportJob.objects.create(
                job_id=job_id,
                requested_by=requested_by,
                requested_at=at,
                file_name=name.replace("\0", "")[:_LONGEST_NAME] or uploads.DATABASE,
                file_bytes=database.size,
                log_bytes=log.size if log else None,
                payload_bytes=payload_archive.size if payload_archive else None,
                status=ImportJobStatus.REQUESTED,
                attempt=0,
                fence=0,
                records_done=0,
            )
    except BaseException:
        uploads.drop(job_id)
        raise


def refuse_too_large(size: int) -> None:
    """Whether an upload of so many bytes may come in; asked before it is read.

    Raises:
        UploadRefused: it may not.
    """
    most = settings.LANDSCAPE_IMPORT_MAX_MB
    if size > most * _MEGABYTE:
        message = (
            f"The upload has {size:,} bytes, and LANDSCAPE_IMPORT_MAX_MB allows {most:,} MB. "
            "Larger files go by manage.py import_audit, on the server."
        )
        raise UploadRefused(message, too_large=True)


def _refuse_too_much(person: int, size: int, at: datetime) -> None:
    """One after the other for each person, so that two uploads at once do not both fit."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('import_jobs ' || %s, 0))", [str(person)]
        )
    mine = ImportJob.objects.filter(requested_by=person)
    live = mine.live().count()
    if live >= _MOST_LIVE:
        message = f"{live} uploads of yours are not done yet; wait for one, or cancel one."
        raise UploadRefused(message)
    told = mine.filter(requested_at__gt=at - timedelta(days=_QUOTA_DAYS)).aggregate(
        database=Sum("file_bytes"), log=Sum("log_bytes"), payloads=Sum("payload_bytes")
    )
    so_far = sum(part or 0 for part in told.values())
    most = settings.LANDSCAPE_IMPORT_QUOTA_MB
    if so_far + size > most * _MEGABYTE:
        message = (
            f"You have uploaded {so_far:,} bytes within a day, and with these {size:,} it would "
            f"be more than the {most:,} MB that LANDSCAPE_IMPORT_QUOTA_MB allows."
        )
        raise UploadRefused(message)


def cancel(*, job_id: str) -> ImportJob:
    """Stop an import; the run that is being stored is left out, earlier ones of the file stay.

    Cancelling twice is cancelling once.

    Raises:
        NotRecorded: there is no such upload.
        IllegalTransition: it has ended otherwise.
    """
    mine = ImportJob.objects.filter(job_id=job_id)
    stopped = mine.filter(status__in=[ImportJobStatus.REQUESTED, ImportJobStatus.WAITING]).update(
        status=ImportJobStatus.CANCELLED, finished_at=Now(), due_at=None
    )
    if not stopped:
        mine.filter(status=ImportJobStatus.RUNNING).update(status=ImportJobStatus.CANCELLING)
    job = _job(job_id)
    if job.status not in {ImportJobStatus.CANCELLING, ImportJobStatus.CANCELLED}:
        raise IllegalTransition(
            "import", job_id, status=str(job.status), to=ImportJobStatus.CANCELLED
        )
    return job


def again(*, job_id: str) -> ImportJob:
    """Try once more what failed or was cancelled, with the file that was uploaded.

    Raises:
        NotRecorded: there is no such upload.
        IllegalTransition: it was judged, or is being imported.
    """
    asked = ImportJob.objects.filter(job_id=job_id, status__in=UNDECIDED_IMPORTS).update(
        status=ImportJobStatus.REQUESTED,
        attempt=0,
        finished_at=None,
        rung_at=None,
        started_at=None,
        error_text=None,
    )
    job = _job(job_id)
    if not asked:
        raise IllegalTransition(
            "import", job_id, status=str(job.status), to=ImportJobStatus.REQUESTED
        )
    return job


def claim(*, job_id: str, owner: str) -> Claim | None:
    """Take an upload that is due; None where another worker has it or nothing is to be done."""
    asked = {"job": job_id, "owner": owner}
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, {**asked, "lease": LEASE, "most": MOST_IMPORT_ATTEMPTS})
        taken = cursor.fetchone()
    return None if taken is None else Claim(job=_job(job_id), fence=taken[0])


def hold(claim: Claim, *, doing: str, done: int, total: int | None) -> None:
    """Renew the lease and tell how far it is.

    Raises:
        LeaseLost: it is another worker's now.
        Cancelled: it is not wanted any more.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _HOLD, {**_mine(claim), "lease": LEASE, "doing": doing, "done": done, "total": total}
        )
        held = cursor.fetchone()
    if held is None:
        raise LeaseLost(claim.job.job_id)
    if held[0] == ImportJobStatus.CANCELLING:
        raise Cancelled(claim.job.job_id)


def end(claim: Claim, *, status: ImportJobStatus, report: str | None, text: str | None) -> bool:
    """End an import with what came of it; False where it is not this worker's any more."""
    ended = (
        _held(claim)
        .filter(status=ImportJobStatus.RUNNING)
        .update(
            status=status,
            finished_at=Now(),
            lease_owner=None,
            lease_until=None,
            report_json=report,
            error_text=text,
        )
    )
    return ended > 0


def retry_later(claim: Claim, *, text: str) -> str | None:
    """Let go of an attempt that failed; the last one fails the import. None: it was not ours."""
    asked: dict[str, Any] = {
        **_mine(claim),
        "text": text,
        "most": MOST_IMPORT_ATTEMPTS,
        "pause": _PAUSE,
    }
    with connection.cursor() as cursor:
        cursor.execute(_WAIT, asked)
        told = cursor.fetchone()
    return str(told[0]) if told else None


def confirm_cancelled(claim: Claim) -> bool:
    """The worker has stopped; whether that is because somebody cancelled the import."""
    return _end_cancelled(_held(claim)) > 0


def ring(*, limit: int) -> list[str]:
    """Uploads that are due and were not rung for lately, oldest first; notes the ringing."""
    with connection.cursor() as cursor:
        cursor.execute(_RING, {"again": _RING_AGAIN, "limit": limit})
        return [job_id for (job_id,) in cursor.fetchall()]


def settle() -> None:
    """End what nobody works on any more: given up, or left while cancelling."""
    with connection.cursor() as cursor:
        cursor.execute(_GIVE_UP, {"most": MOST_IMPORT_ATTEMPTS})
    _end_cancelled(ImportJob.objects.filter(lease_until__lt=Now()))


def _job(job_id: str) -> ImportJob:
    job = ImportJob.objects.filter(job_id=job_id).first()
    if job is None:
        raise NotRecorded("import", job_id)
    return job


def _mine(claim: Claim) -> dict[str, Any]:
    return {"job": claim.job.job_id, "fence": claim.fence}


def _held(claim: Claim) -> ImportJobQuerySet:
    return ImportJob.objects.filter(job_id=claim.job.job_id, fence=claim.fence)


def _end_cancelled(jobs: ImportJobQuerySet) -> int:
    return jobs.filter(status=ImportJobStatus.CANCELLING).update(
        status=ImportJobStatus.CANCELLED, finished_at=Now(), lease_owner=None, lease_until=None
    )
