"""Executing a plan: exactly its list, in small transactions, resumed wherever it was left.

A batch locks the guard row, so that every hold that has committed is seen; decides about each of
its payloads anew; and puts tombstones in the place of what may still go, together with the records
of the runs, their grades and the progress. Only after that commit are bytes deleted. So whenever a
process is killed, a payload is there or has a tombstone; bytes behind a tombstone are deleted first
by whoever carries on.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import connection, transaction

from audit import blobs, payloads
from audit.errors import AuditError, NotRecorded
from audit.evidence import seals
from audit.models import PayloadPurge, PurgeItem, PurgePlan, Seal
from audit.recorder.bulk import allow_minutes
from audit.recorder.retention_guards import REF_COLUMNS
from audit.retention import certificates, deciding, grading, plans
from audit.vocabulary import KeepRule, PlanStatus, PurgeItemStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

BATCH = 500
_SMALLEST = 10
_SECONDS = 2.0
_LOOKED_AT = 5_000
# More than a batch leaves, so that one look is enough after it.
_ERASED = 1_000

_USES = " UNION ".join(
    f"SELECT t.run_id, t.{column} AS ref, "  # names of our own columns
    f"{(table, column) in deciding.REPLAY_CRITICAL} AS critical "
    f"FROM gone g JOIN {table} t ON t.{column} = g.content_hash"
    for table, column in REF_COLUMNS
)

# Records of the runs: what went, and which of them can no longer be replayed.
_TELL = f"""
WITH gone AS MATERIALIZED (
    SELECT i.content_hash, p.name || ' v' || p.version AS policy, p.reason
    FROM purge_items i JOIN retention_policies p ON p.policy_id = i.policy_id
    WHERE i.plan_id = %(plan)s AND i.content_hash = ANY(%(refs)s)
), uses AS MATERIALIZED ({_USES}
), told AS (
    INSERT INTO payload_purges (run_id, purge_id, payload_sha256, purged_at, policy, reason,
        plan_id, requested_by, approved_by)
    SELECT DISTINCT u.run_id, lpad(%(plan)s::text, 12, '0') || '-' || left(u.ref, 48), u.ref,
        %(at)s::timestamptz, g.policy, g.reason, l.plan_id, l.made_by, l.approved_by
    FROM uses u JOIN gone g ON g.content_hash = u.ref JOIN purge_plans l ON l.plan_id = %(plan)s
)
SELECT DISTINCT run_id FROM uses WHERE critical ORDER BY run_id
"""

_MOVE = """
UPDATE purge_items SET status = %(status)s, skipped_for = t.rule, purged_at = %(purged_at)s
FROM unnest(%(refs)s::text[], %(rules)s::text[]) AS t (ref, rule)
WHERE plan_id = %(plan)s AND content_hash = t.ref
RETURNING skipped_for, size_bytes
"""

_ERASE = """
UPDATE purge_items
SET status = CASE WHEN content_hash = ANY(%(gone)s) THEN 'erased' ELSE 'recorded_again' END
WHERE plan_id = %(plan)s AND content_hash = ANY(%(refs)s)
"""


def execute(*, plan_id: int, clock: Callable[[], datetime]) -> bool:
    """Carry a plan on until it has ended, or was stopped; False where nothing is to be done.

    Opens transactions of its own, so it cannot be called inside one. One process at a time has a
    plan; killed at any point, the next one carries on. Ends with the seals of the runs concerned
    and a certificate; where nothing can be signed here the plan waits for a process that signs.

    Raises:
        NotRecorded: there is no such plan.
        NoSigningKey: everything is deleted, and this process cannot sign that.
    """
    if not PurgePlan.objects.filter(plan_id=plan_id).exists():
        raise NotRecorded("plan", str(plan_id))
    with _one_worker(plan_id) as mine:
        if not mine:
            return False
        size, reached = BATCH, ""
        _erase(plan_id)
        while (status := _status(plan_id)) == PlanStatus.EXECUTING:
            begun = time.monotonic()
            last = _purge_batch(plan_id, size, after=reached, at=clock())
            if last is None:
                break
            reached = last
            _erase(plan_id)
            if time.monotonic() - begun > _SECONDS:
                size = max(_SMALLEST, size // 2)
        if status not in {PlanStatus.EXECUTING, PlanStatus.STOPPING}:
            return False
        _confirm(plan_id)
        _seal_runs(plan_id, clock)
        certificates.make(plan_id=plan_id, at=clock())
        _end(plan_id, at=clock())
    return True


def note_problem(*, plan_id: int, problem: str) -> None:
    """Keep why an attempt to carry a plan on came to nothing; the next one may do better."""
    PurgePlan.objects.filter(
        plan_id=plan_id, status__in=[PlanStatus.EXECUTING, PlanStatus.STOPPING]
    ).update(problem=problem)


def due() -> list[int]:
    """Plans that somebody began and that have not ended, oldest first."""
    worked_on = PurgePlan.objects.filter(status__in=[PlanStatus.EXECUTING, PlanStatus.STOPPING])
    return list(worked_on.order_by("plan_id").values_list("plan_id", flat=True))


def _purge_batch(plan_id: int, size: int, *, after: str, at: datetime) -> str | None:
    """Decide about the next payloads of the list and put tombstones; which was the last of them."""
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            # The lock first, what is held in a later statement: READ COMMITTED sees it then.
            cursor.execute("SELECT epoch FROM retention_guard FOR UPDATE")
        plan = PurgePlan.objects.select_for_update().get(plan_id=plan_id)
        if plan.status != PlanStatus.EXECUTING:
            return None
        planned = PurgeItem.objects.filter(
            plan_id=plan_id, status=PurgeItemStatus.PLANNED, content_hash__gt=after
        )
        ordered = planned.order_by("content_hash")
        refs: list[str] = list(ordered.values_list("content_hash", flat=True)[:size])
        if not refs:
            return None
        # Whoever records the same contents has committed, or waits until we have.
        taken = blobs.take(refs=refs)
        going, staying = [], []
        for ref, rule in deciding.decide(refs=refs, at=at):
            if rule is None and ref in taken:
                going.append(ref)
            else:
                staying.append((ref, rule or KeepRule.IN_USE))
        if going:
            blobs.purge(refs=going, plan_id=plan_id, at=at)
            for run_id in _tell(plan_id, going, at=at):
                grading.lower(run_id=run_id, plan_id=plan_id, at=at)
            freed = _move(plan_id, PurgeItemStatus.PURGED, going, [None] * len(going), at=at)
            plan.purged_items += len(going)
            plan.purged_bytes += sum(size for _rule, size in freed)
        if staying:
            refs_, rules = zip(*staying, strict=True)
            skipped = json.loads(plan.skipped_json or "{}")
            for why, bytes_ in _move(plan_id, PurgeItemStatus.SKIPPED, refs_, rules, at=None):
                count, total = skipped.get(why, (0, 0))
                skipped[why] = (count + 1, total + bytes_)
            plan.skipped_json = json.dumps(skipped)
            plan.skipped_items += len(staying)
        plan.problem = None
        plan.save(
            update_fields=[
                "purged_items",
                "purged_bytes",
                "skipped_items",
                "skipped_json",
                "problem",
            ]
        )
    return refs[-1]


def _erase(plan_id: int) -> None:
    """Delete the bytes behind the tombstones of the plan that are still to be deleted."""
    waiting = PurgeItem.objects.filter(plan_id=plan_id, status=PurgeItemStatus.PURGED)
    refs: list[str] = []
    while not refs or len(refs) == _ERASED:
        with transaction.atomic(durable=True):
            allow_minutes()
            refs = list(
                waiting.order_by("content_hash").values_list("content_hash", flat=True)[:_ERASED]
            )
            if not refs:
                return
            gone = blobs.erase(refs=refs)
            with connection.cursor() as cursor:
                cursor.execute(_ERASE, {"plan": plan_id, "refs": refs, "gone": list(gone)})


def _confirm(plan_id: int) -> None:
    """Look once more for every payload of the plan, and delete what a crash has brought back.

    One sync for all of them: one for each batch took most of the time.
    """
    erased = PurgeItem.objects.filter(plan_id=plan_id, status=PurgeItemStatus.ERASED)
    last = ""
    while True:
        ordered = erased.filter(content_hash__gt=last).order_by("content_hash")
        refs = list(ordered.values_list("content_hash", flat=True)[:_LOOKED_AT])
        if not refs:
            break
        last = refs[-1]
        if back := payloads.existing(refs):
            with transaction.atomic(durable=True):
                allow_minutes()
                # What was recorded again by then is left alone.
                blobs.erase(refs=back)
    payloads.sync()


def _tell(plan_id: int, refs: Sequence[str], *, at: datetime) -> list[str]:
    """Write the purge into the records of every run concerned; which lost an answer of a call."""
    with connection.cursor() as cursor:
        cursor.execute(_TELL, {"plan": plan_id, "refs": list(refs), "at": at})
        return [run_id for (run_id,) in cursor.fetchall()]


def _move(
    plan_id: int,
    status: PurgeItemStatus,
    refs: Sequence[str],
    rules: Sequence[str | None],
    *,
    at: datetime | None,
) -> list[tuple[str | None, int]]:
    with connection.cursor() as cursor:
        cursor.execute(
            _MOVE,
            {
                "plan": plan_id,
                "status": str(status),
                "refs": list(refs),
                "rules": [rule and str(rule) for rule in rules],
                "purged_at": at,
            },
        )
        return list(cursor.fetchall())


def _seal_runs(plan_id: int, clock: Callable[[], datetime]) -> None:
    """Append an epoch to every sealed run that the plan took something from.

    What cannot be sealed now is told by the certificate; the sweeper tries again.
    """
    touched = PayloadPurge.objects.filter(plan_id=plan_id).order_by("run_id")
    sealed = Seal.objects.filter(epoch=1)
    for run_id in (
        touched.filter(run_id__in=sealed.values("run_id"))
        .values_list("run_id", flat=True)
        .distinct()
    ):
        try:
            seals.seal_run(run_id=run_id, at=clock())
        except AuditError as error:
            note_problem(plan_id=plan_id, problem=str(error))


def _end(plan_id: int, *, at: datetime) -> None:
    with transaction.atomic():
        plan = PurgePlan.objects.select_for_update().get(plan_id=plan_id)
        stopped = plan.status == PlanStatus.STOPPING
        plan.status = PlanStatus.STOPPED if stopped else PlanStatus.EXECUTED
        plan.ended_at = at
        plan.save(update_fields=["status", "ended_at"])
        plans.forget_kept(plan_id)


def _status(plan_id: int) -> str:
    return str(PurgePlan.objects.values_list("status", flat=True).get(plan_id=plan_id))


@contextmanager
def _one_worker(plan_id: int) -> Iterator[bool]:
    """Hold the right to execute a plan; a lock of the session dies with its process."""
    key = f"landscape purge {plan_id}"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [key])
        mine = bool(cursor.fetchone()[0])
    try:
        yield mine
    finally:
        if mine:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [key])
