"""Purge plans: the exact list of what would go, made by one person and approved by another.

The list is fixed when it is made; what is executed later is a part of it and never more. The
digest over it, which an approval names, is SHA-256 over one line for each pair of leading hex
digits, `<pair> <SHA-256 of the pair's lines>`, where a payload's line is
`<hash> <bytes> <policy id>`, all in the order of the hashes, each with its LF.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import rfc8785
from django.conf import settings
from django.db import connection, transaction

from audit.errors import NotRecorded, RetentionRefused
from audit.models import AUDIT_MODELS, PurgePlan, RetentionPolicy
from audit.recorder.bulk import without_time_limits
from audit.recorder.guards import MUTABLE_COLUMNS
from audit.retention import deciding
from audit.vocabulary import PlanStatus

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from django.db.backends.utils import CursorWrapper

# What people wrote into records themselves: no purge takes it away.
INLINE_COLUMNS = tuple(
    (str(model._meta.db_table), str(field.column))
    for model in AUDIT_MODELS
    for field in model._meta.concrete_fields
    if str(field.column)
    in {
        "row_data_json",
        "error",
        "error_json",
        "error_message",
        "error_details_json",
        "context_before_json",
        "context_after_json",
        "context_json",
        "success_reason_json",
        "aggregation_state_json",
    }
)

# `decided` is in the order of the hashes, so the list grows at the end of its index.
_LIST = f"""
INSERT INTO purge_items (plan_id, content_hash, size_bytes, policy_id, status)
SELECT %(plan)s, content_hash, size_bytes, policy_id, 'planned'
FROM decided WHERE rank = {deciding.GOES}
"""

_KEPT = f"""
INSERT INTO purge_kept (plan_id, content_hash, size_bytes, rule, hold_id, policy_id, due_at)
SELECT %(plan)s, content_hash, size_bytes, (%(rules)s::text[])[rank + 1], hold_id, policy_id, due_at
FROM decided WHERE rank < {deciding.GOES}
"""

# Payloads of the same runs together first: there are few such groups.
_RUNS = f"""
INSERT INTO purge_runs
    (plan_id, run_id, items, bytes, replay_critical, grade_before, grade_after)
SELECT %(plan)s, s.run_id, f.items, f.bytes, f.critical, r.reproducibility_grade,
    CASE WHEN f.critical AND r.reproducibility_grade = 'replay_reproducible'
         THEN 'attributable_only' ELSE r.reproducibility_grade END
FROM (
    SELECT run_number, sum(items) AS items, sum(bytes) AS bytes, bool_or(critical) AS critical
    FROM (
        SELECT uses, count(*) AS items, sum(size_bytes) AS bytes
        FROM decided WHERE rank = {deciding.GOES} GROUP BY uses) alike
    CROSS JOIN LATERAL (
        SELECT use / 2 AS run_number, bool_or(use %% 2 = 1) AS critical
        FROM unnest(alike.uses) AS use GROUP BY use / 2) each
    GROUP BY run_number
) f JOIN said s ON s.run_number = f.run_number JOIN runs r ON r.run_id = s.run_id
"""

_GOES_TOTALS = f"""
SELECT policy_id, count(*), sum(size_bytes) FROM decided WHERE rank = {deciding.GOES}
GROUP BY policy_id ORDER BY policy_id
"""

_KEPT_TOTALS = """
SELECT rule, count(*), coalesce(sum(size_bytes), 0) FROM purge_kept
WHERE plan_id = %(plan)s GROUP BY rule
"""


def preview(*, by: int, at: datetime) -> PurgePlan:
    """Make a plan: what would go now, what stays and why, and what that does to runs.

    Everything is decided by PostgreSQL in a few statements; memory does not grow with the list.
    Nothing is deleted, and an empty list is a plan as well, which nobody can approve.
    """
    with transaction.atomic():
        without_time_limits()
        plan = PurgePlan.objects.create(
            status=PlanStatus.DRAFTING,
            made_by=by,
            made_at=at,
            wait_seconds=settings.LANDSCAPE_PURGE_WAIT,
            policies_json=_policies_as_they_are(),
        )
        asked: dict[str, Any] = {
            "plan": plan.plan_id,
            "at": at,
            "rules": [str(rule) for rule in deciding.RULES],
        }
        deciding.decide_everything(at=at)
        with connection.cursor() as cursor:
            for statement in (_LIST, _KEPT, _RUNS):
                cursor.execute(statement, asked)
            plan.runs = cursor.rowcount
            plan.kept_json = _totals(cursor, _KEPT_TOTALS, asked)
            plan.goes_json = _totals(cursor, _GOES_TOTALS, asked)
        plan.inline_json = json.dumps(inline_texts(plan_id=plan.plan_id))
        plan.status = PlanStatus.PROPOSED
        # The guard counts the list, and makes the digest over it.
        _keep(plan)
        plan.refresh_from_db()
    return plan


def approve(  # noqa: PLR0913  # an approval is bound to all of this
    *, plan_id: int, digest: str, count: int, reason: str, by: int, at: datetime
) -> PurgePlan:
    """Agree to a plan as another person than who made it; its waiting time begins.

    Bound to the digest of the list that was read and to the number of payloads on it, as typed.
    The database asks for the approver's role, at this moment.

    Raises:
        NotRecorded: there is no such plan.
        RetentionRefused: one's own plan, another list or count, no role, an empty list, or it
            does not wait for approval.
    """
    with transaction.atomic():
        plan = _locked(plan_id, PlanStatus.PROPOSED, "approved")
        if plan.made_by == by:
            raise RetentionRefused(f"who made plan {plan_id} cannot approve it")
        if not plan.items:
            raise RetentionRefused(f"nothing is on the list of plan {plan_id}")
        if (digest, count) != (plan.digest, plan.items):
            raise RetentionRefused(
                f"plan {plan_id} has {plan.items:,} payloads and the digest {plan.digest}: "
                "what was approved is another list"
            )
        plan.status = PlanStatus.APPROVED
        plan.approved_by, plan.approved_at, plan.approval_reason = by, at, reason.strip() or None
        plan.approved_digest, plan.typed_count = digest, count
        # The guard puts its own clock's time in the place of this.
        plan.may_begin_at = at
        _keep(plan)
        plan.refresh_from_db()
    return plan


def decline(*, plan_id: int, reason: str, by: int, at: datetime) -> PurgePlan:
    """Say no to a plan, also to one that is approved and waits. It stays to be read.

    Raises:
        NotRecorded: there is no such plan.
        RetentionRefused: it is being executed or has ended, or no reason is given.
    """
    if not reason.strip():
        raise RetentionRefused("declining a plan has a reason")
    with transaction.atomic():
        plan = _locked(plan_id, (PlanStatus.PROPOSED, PlanStatus.APPROVED), "declined")
        plan.status = PlanStatus.DECLINED
        plan.declined_by, plan.declined_at, plan.decline_reason = by, at, reason.strip()
        _keep(plan)
        forget_kept(plan_id)
    return plan


def begin(*, plan_id: int, by: int, at: datetime) -> PurgePlan:
    """Begin to execute an approved plan whose waiting time is over; a worker carries it on.

    Raises:
        NotRecorded: there is no such plan.
        RetentionRefused: it is not approved, or its time has not come by the database's clock.
    """
    with transaction.atomic():
        plan = _locked(plan_id, PlanStatus.APPROVED, "executed")
        plan.status = PlanStatus.EXECUTING
        plan.begun_by, plan.begun_at = by, at
        _keep(plan)
    return plan


def stop(*, plan_id: int, by: int, at: datetime) -> PurgePlan:
    """Stop a purge before its next batch. What is gone stays gone and is certified.

    Raises:
        NotRecorded: there is no such plan.
        RetentionRefused: it is not being executed.
    """
    with transaction.atomic():
        plan = _locked(plan_id, PlanStatus.EXECUTING, "stopped")
        plan.status = PlanStatus.STOPPING
        plan.stopped_by, plan.stopped_at = by, at
        _keep(plan)
    return plan


def inline_texts(*, plan_id: int) -> dict[str, int]:
    """How many texts stand in the records of a plan's runs themselves, by table and column."""
    parts = " UNION ALL ".join(
        f"SELECT '{table}.{column}', count(*) FROM {table} t "  # names of our own columns
        f"JOIN purge_runs p ON p.plan_id = %(plan)s AND p.run_id = t.run_id "
        f"WHERE t.{column} IS NOT NULL"
        for table, column in INLINE_COLUMNS
    )
    with connection.cursor() as cursor:
        cursor.execute(parts, {"plan": plan_id})
        return {name: int(count) for name, count in sorted(cursor.fetchall()) if count}


def _totals(cursor: CursorWrapper, statement: str, asked: dict[str, Any]) -> str:
    cursor.execute(statement, asked)
    return json.dumps({why: [int(count), int(size)] for why, count, size in cursor.fetchall()})


def _keep(plan: PurgePlan) -> None:
    # What is fixed from the beginning the application may not even name.
    plan.save(update_fields=list(MUTABLE_COLUMNS[PurgePlan]))


def _policies_as_they_are() -> str:
    return rfc8785.dumps(
        [
            {
                "policy_id": policy.policy_id,
                "name": policy.name,
                "version": policy.version,
                "scope": policy.scope,
                "scope_value": policy.scope_value,
                "keep_days": policy.keep_days,
                "delete_after_days": policy.delete_after_days,
                "reason": policy.reason,
            }
            for policy in RetentionPolicy.objects.in_force()
        ]
    ).decode()


def _locked(plan_id: int, status: str | tuple[str, ...], to: str) -> PurgePlan:
    plan = PurgePlan.objects.select_for_update().filter(plan_id=plan_id).first()
    if plan is None or plan.status == PlanStatus.DRAFTING:
        raise NotRecorded("plan", str(plan_id))
    if plan.status not in ((status,) if isinstance(status, str) else status):
        raise RetentionRefused(f"plan {plan_id} is {plan.status} and cannot be {to}")
    return plan


def forget_kept(plan_id: int) -> None:
    """Drop the list of what stays: its counts are in the plan."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM purge_kept WHERE plan_id = %s", [plan_id])
