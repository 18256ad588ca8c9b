"""Work in the background. The database knows what is due; a message only rings the bell.

`run_x` does the work of one call of a room or writer; `enqueue_x` rings for it. A bell that
nobody hears is rung again by the sweeper, so losing the broker costs seconds and never work.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import current_app, shared_task
from django.contrib.sessions.models import Session
from django.core.files.storage import storages
from django.db import connection, transaction
from django.utils import timezone
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from audit import exports, imports, retention, summaries
from audit.errors import AuditError
from audit.evidence import access_log, parts, seals, sharing
from audit.integrity import trail

if TYPE_CHECKING:
    from collections.abc import Iterable

logger = logging.getLogger(__name__)

_AT_A_TIME = 100
# Any number of sweepers may run; the one that holds this advisory lock of the database sweeps.
SWEEP_LOCK = 0x6C616E64
# More than ever cannot be sealed, so that those do not stand before the others.
_AT_MOST = 1_000


@shared_task  # type: ignore[untyped-decorator]  # Celery has no types
def run_summary(run_id: str) -> None:
    """Compute the figures of one run that has ended, unless another bell was heard before."""
    summaries.refresh_if_due(run_id=run_id, at=timezone.now())


def enqueue_summary(run_id: str) -> None:
    """Ring for the figures of a run."""
    _ring(run_summary, run_id)


@shared_task  # type: ignore[untyped-decorator]
def run_seal(run_id: str) -> None:
    """Seal a run that has ended, or what was added to it since; nothing new is nothing to do."""
    try:
        seals.seal_run(run_id=run_id, at=timezone.now(), call=enqueue_part)
    except AuditError as error:
        # Shown by `check_trail`; the sweeper asks again, ever more rarely.
        logger.warning("Not sealed: %s", error)


def enqueue_seal(run_id: str) -> None:
    """Ring for the seal of a run."""
    _ring(run_seal, run_id)


@shared_task  # type: ignore[untyped-decorator]
def run_trail_check(run_id: str, asked_at: str | None = None) -> None:
    """Compare a run with its seals: because it is due, or because somebody asked."""
    asked = datetime.fromisoformat(asked_at) if asked_at else None
    trail.check_if_due(run_id=run_id, at=timezone.now(), asked_at=asked)


def enqueue_trail_check(run_id: str, *, asked_at: datetime) -> None:
    """Ring for a comparison that somebody asks for now."""
    _ring(run_trail_check, run_id, asked_at.isoformat())


@shared_task  # type: ignore[untyped-decorator]
def run_access_seal() -> None:
    """Seal the access log, once a day; twice does no harm."""
    try:
        access_log.seal(at=timezone.now())
    except AuditError as error:
        # Shown by `check_access`.
        logger.error("The access log is not sealed: %s", error)  # noqa: TRY400  # says it all


@shared_task  # type: ignore[untyped-decorator]
def run_export(export_id: str) -> None:
    """Produce one export, unless another worker has it."""
    exports.produce(export_id=export_id, owner=_me(), call=enqueue_part)


def enqueue_export(export_id: str) -> None:
    """Ring for an export, once the transaction that opened it has committed."""
    transaction.on_commit(partial(_ring, run_export, export_id))


@shared_task  # type: ignore[untyped-decorator]
def run_import(job_id: str) -> None:
    """Import one upload, unless another worker has it."""
    imports.perform(job_id=job_id, owner=_me(), at=timezone.now())


def enqueue_import(job_id: str) -> None:
    """Ring for an import, once the transaction that asked for it has committed."""
    transaction.on_commit(partial(_ring, run_import, job_id))


@shared_task  # type: ignore[untyped-decorator]
def run_purge(plan_id: str) -> None:
    """Carry a purge on that somebody began, unless another worker has it."""
    try:
        retention.execute(plan_id=int(plan_id), clock=timezone.now)
    except (AuditError, OSError) as error:
        # Shown on the plan's page; the sweeper rings again.
        retention.note_problem(plan_id=int(plan_id), problem=str(error))
        logger.warning("Plan %s is not carried on: %s", plan_id, error)


def enqueue_purge(plan_id: int) -> None:
    """Ring for a purge, once the transaction that began it has committed."""
    transaction.on_commit(partial(_ring, run_purge, str(plan_id)))


@shared_task  # type: ignore[untyped-decorator]
def run_part(job: str) -> None:
    """Make one part of a seal or an export, if one is left that nobody has."""
    sharing.help_with(job=job, owner=_me(), call=enqueue_part)


def enqueue_part(job: str) -> None:
    """Ring for help with a big job; who began it needs none, so nobody rings again."""
    _ring(run_part, job)


@dataclass(frozen=True, kw_only=True)
class Background:
    """Who works in the background; `problem` says why nobody could be asked."""

    workers: tuple[str, ...]
    waiting: int | None
    sweeper_seen: datetime | None
    problem: str


def background() -> Background:
    """Ask the workers, the queue and the database who is there; takes half a second."""
    workers: tuple[str, ...] = ()
    waiting, problem = None, ""
    try:
        answers = current_app.control.inspect(timeout=0.5).ping() or {}
        workers = tuple(sorted(answers))
        with current_app.connection_for_read() as broker:
            queue = str(current_app.conf.task_default_queue)
            waiting = int(broker.default_channel.client.llen(queue))
    except (OperationalError, OSError, RedisError) as error:
        problem = f"{type(error).__name__}: {error}"
    with connection.cursor() as cursor:
        # The session that holds the sweeper's lock, and when it last asked for something.
        cursor.execute(
            "SELECT a.state_change FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
            "WHERE l.locktype = 'advisory' AND l.objid = %s AND l.granted",
            [SWEEP_LOCK],
        )
        seen = cursor.fetchone()
    return Background(
        workers=workers, waiting=waiting, sweeper_seen=seen[0] if seen else None, problem=problem
    )


def sweep() -> int:
    """Settle what nobody works on, ring for everything that is due; return how many bells."""
    exports.settle()
    imports.settle()
    due = [(run_summary, run_id) for run_id in summaries.due(limit=_AT_A_TIME)]
    due += [(run_seal, run_id) for run_id in _unsealed.patient(seals.due(limit=_AT_MOST))]
    longest = trail.due(at=timezone.now())
    due += [
        (run_trail_check, run_id) for run_id in _unchecked.patient([longest] if longest else [])
    ]
    due += [(run_export, export_id) for export_id in exports.ring(limit=_AT_A_TIME)]
    due += [(run_import, job_id) for job_id in imports.ring(limit=_AT_A_TIME)]
    due += [(run_purge, key) for key in _purges.patient(map(str, retention.due()))]
    for task, key in due:
        _ring(task, key)
    access_due = _unsealed_log.patient(["log"] if access_log.is_due(at=timezone.now()) else [])
    for _ in access_due:
        _ring(run_access_seal)
    exports.tidy()
    imports.tidy(at=timezone.now())
    parts.tidy()
    for _ in _nightly.patient(["tidy"]):
        _tidy()
    return len(due) + len(access_due)


def _tidy() -> None:
    """Look through everything for what nobody will come back to."""
    for alias in ("payloads", "seals"):
        unfinished = getattr(storages[alias], "tidy", None)
        if unfinished:
            unfinished()
    Session.objects.filter(expire_date__lt=timezone.now()).delete()


class _Pauses:
    """What comes to nothing is rung for ever more rarely; known to this process alone."""

    def __init__(self, *, first: float, longest: float) -> None:
        self._first, self._longest = first, longest
        self._next: dict[str, tuple[float, float]] = {}

    def patient(self, keys: Iterable[str]) -> list[str]:
        """Those of the keys that have waited long enough; others are forgotten."""
        now = time.monotonic()
        waiting = {key: self._next.get(key, (now, self._first)) for key in keys}
        chosen = [key for key, (when, _pause) in waiting.items() if when <= now]
        for key in chosen:
            pause = waiting[key][1]
            waiting[key] = (now + pause, min(2 * pause, self._longest))
        self._next = waiting
        return chosen


def _me() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


_unsealed = _Pauses(first=30, longest=600)
# Nothing is wrong with a comparison that takes long.
_unchecked = _Pauses(first=600, longest=600)
# A bell of one that is being executed finds its worker, and does nothing.
_purges = _Pauses(first=10, longest=120)
_unsealed_log = _Pauses(first=60, longest=3_600)
_nightly = _Pauses(first=86_400, longest=86_400)


def _ring(task: Any, *arguments: str) -> None:
    try:
        task.apply_async(arguments, retry=False)
    except OperationalError as error:
        logger.warning("%s was not rung for: %s The sweeper rings again.", task.name, error)
