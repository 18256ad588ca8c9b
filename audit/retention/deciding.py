"""What may be deleted: the one decision about payloads, for a whole plan and for a batch of it.

For every run the strongest rule wins: a hold, a run that is not over, a time to keep that has not
passed, an export that reads it; only then a policy may delete. A payload belongs to everything that
refers to it, so it goes only if every one of its runs lets it go. A payload to which nothing refers
is decided as if it were a run of its own that ended when it was recorded, by the policies and holds
about everything.

PostgreSQL does all of it in one or two statements, for five hundred payloads or a million.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django.db import connection

from audit.recorder.retention_guards import REF_COLUMNS
from audit.vocabulary import KeepRule

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

# By rank; the last one lets go.
RULES = (
    KeepRule.LEGAL_HOLD,
    KeepRule.NOT_OVER,
    KeepRule.UNCLEAR,
    KeepRule.KEEP_AT_LEAST,
    KeepRule.IN_USE,
    KeepRule.NOT_DUE,
    KeepRule.NO_POLICY,
)
GOES = len(RULES)

# Without the answer of a call a run cannot be replayed; an error is an answer as well.
REPLAY_CRITICAL = {("calls", "response_ref"), ("calls", "error_ref")}

_LIVE_EXPORTS = "('requested', 'running', 'publishing', 'waiting', 'cancelling')"

# Checkpoints that were not released: the run may go on from there.
_MAY_GO_ON = """
    r.status = 'failed' AND EXISTS (SELECT 1 FROM checkpoints c WHERE c.run_id = r.run_id)
    AND NOT EXISTS (SELECT 1 FROM run_events e WHERE e.run_id = r.run_id
                    AND e.kind = 'checkpoints_released')
"""

# What decides, read once and not for every run.
_IN_FORCE = """
in_force AS MATERIALIZED (
    SELECT * FROM (SELECT DISTINCT ON (name) * FROM retention_policies
                   ORDER BY name, version DESC) newest WHERE NOT ended
), held AS MATERIALIZED (
    SELECT * FROM legal_holds WHERE status <> 'released'
), by_pipeline AS MATERIALIZED (
    SELECT 1 FROM in_force WHERE scope = 'pipeline'
    UNION ALL SELECT 1 FROM held WHERE scope = 'pipeline'
)
"""

_HOLDS = """
    h.scope = 'everything' OR (h.scope = 'run' AND h.scope_value = r.run_id)
    OR (h.scope = 'pipeline' AND h.scope_value IN (r.config_hash, n.pipeline))
"""

# What each run says of its payloads: a rank among the rules, and what it rests on.
_VERDICTS = f"""
verdicts AS MATERIALIZED (
    SELECT v.run_id, v.hold_id, v.due_at,
        CASE WHEN v.hold_id IS NOT NULL THEN 0
             WHEN v.not_over THEN 1
             WHEN v.completed_at IS NULL THEN 2
             WHEN v.keep_days IS NOT NULL
                AND v.completed_at + v.keep_days * interval '1 day' > %(at)s THEN 3
             WHEN v.in_use THEN 4
             WHEN v.due_at > %(at)s THEN 5
             WHEN v.due_at IS NULL THEN 6
             ELSE {GOES} END AS rank,
        CASE WHEN v.keep_days IS NOT NULL
                AND v.completed_at + v.keep_days * interval '1 day' > %(at)s
             THEN v.keep_policy ELSE v.delete_policy END AS policy_id
    FROM (
        SELECT r.run_id, r.completed_at, h.hold_id, p.keep_days, p.keep_policy, p.delete_policy,
            r.status IN ('running', 'interrupted') OR ({_MAY_GO_ON}) AS not_over,
            EXISTS (SELECT 1 FROM exports e WHERE e.run_id = r.run_id AND e.with_payloads
                    AND e.status IN {_LIVE_EXPORTS}) AS in_use,
            r.completed_at + p.delete_after_days * interval '1 day' AS due_at
        FROM runs r
        CROSS JOIN LATERAL (
            -- Settings are long: read only where a pipeline has to be known, and then once.
            SELECT CASE WHEN EXISTS (SELECT 1 FROM by_pipeline)
                THEN landscape_pipeline(r.settings_json) END AS pipeline OFFSET 0) n
        LEFT JOIN LATERAL (
            SELECT min(h.hold_id) AS hold_id FROM held h WHERE {_HOLDS}) h ON true
        LEFT JOIN LATERAL (
            SELECT max(p.keep_days) AS keep_days, min(p.delete_after_days) AS delete_after_days,
                (array_agg(p.policy_id ORDER BY p.keep_days DESC, p.policy_id))[1] AS keep_policy,
                (array_agg(p.policy_id ORDER BY p.delete_after_days, p.policy_id))[1]
                    AS delete_policy
            FROM in_force p
            WHERE p.scope = 'all' OR (p.scope = 'status' AND p.scope_value = r.status)
                OR (p.scope = 'pipeline'
                    AND p.scope_value IN (r.config_hash, n.pipeline))) p ON true
        {{of_runs}}
    ) v
)
"""

# What nothing refers to.
_ORPHANS = """
orphans AS (
    SELECT (SELECT min(hold_id) FROM held WHERE scope = 'everything') AS hold_id,
        max(keep_days) AS keep_days, min(delete_after_days) AS delete_after_days,
        (array_agg(policy_id ORDER BY keep_days DESC, policy_id))[1] AS keep_policy,
        (array_agg(policy_id ORDER BY delete_after_days, policy_id))[1] AS delete_policy
    FROM in_force WHERE scope = 'all'
)
"""

_ORPHAN_RANK = f"""
    CASE WHEN o.hold_id IS NOT NULL THEN 0
         WHEN p.recorded_at + o.keep_days * interval '1 day' > %(at)s THEN 3
         WHEN o.delete_after_days IS NULL THEN 6
         WHEN p.recorded_at + o.delete_after_days * interval '1 day' > %(at)s THEN 5
         ELSE {GOES} END
"""

# The smaller one is stronger: the rank, and in the lower bits the policy that it rests on.
_BEST = "(v.rank::bigint << 40) | coalesce(v.policy_id, 0)"

_DECIDED = f"""
    SELECT p.content_hash, p.size_bytes,
        coalesce(d.rank, {_ORPHAN_RANK}) AS rank,
        CASE WHEN d.rank IS NULL THEN o.hold_id ELSE d.hold_id END AS hold_id,
        CASE WHEN d.rank IS NULL THEN coalesce(o.delete_policy, o.keep_policy)
             ELSE d.policy_id END AS policy_id,
        CASE WHEN d.rank IS NULL THEN p.recorded_at + o.delete_after_days * interval '1 day'
             ELSE d.due_at END AS due_at, d.uses
    FROM {{payloads}} p CROSS JOIN orphans o
    LEFT JOIN (
        SELECT ref, (best >> 40)::int AS rank, hold_id, due_at,
            nullif(best & ((1::bigint << 40) - 1), 0) AS policy_id, uses
        FROM (
            SELECT ref, min(best) AS best, min(hold_id) AS hold_id, max(due_at) AS due_at,
                {{uses}} AS uses
            FROM {{found}} GROUP BY ref) b
    ) d ON d.ref = p.content_hash
"""


class Verdict(NamedTuple):
    """What was decided about one payload; `rule` is None where it may go."""

    content_hash: str
    rule: KeepRule | None


def decide_everything(*, at: datetime) -> None:
    """Decide about every payload whose bytes may be there, in temporary tables of the transaction.

    `said` has a number for each run; `decided` has content_hash, size_bytes, rank, hold_id,
    policy_id, due_at, and `uses`: the numbers of the payload's runs, doubled, and one more where
    the run needs it for a replay. One pass over each table that has references, one sort.
    """
    refers = " UNION ALL ".join(
        f"SELECT {column} AS ref, run_id, {int((table, column) in REPLAY_CRITICAL)} AS critical "
        f"FROM {table} WHERE {column} IS NOT NULL"
        for table, column in REF_COLUMNS
    )
    verdicts = _VERDICTS.format(of_runs="")
    found = (
        "(SELECT u.ref, v.run_number * 2 + u.critical AS use, v.best, v.hold_id, v.due_at "
        f"FROM ({refers}) u JOIN said v ON v.run_id = u.run_id ORDER BY u.ref, use) found"
    )
    there = (
        "(SELECT content_hash, coalesce(size_bytes, 0) AS size_bytes, recorded_at "
        "FROM payloads WHERE state IN ('available', 'corrupted'))"
    )
    decided = _DECIDED.format(payloads=there, found=found, uses="array_agg(use)")
    with connection.cursor() as cursor:
        # What was just recorded is not analysed yet: nested loops would take hours.
        cursor.execute("SET LOCAL work_mem = '128MB'")
        cursor.execute("SET LOCAL enable_nestloop = off")
        cursor.execute("SET LOCAL jit = off")
        cursor.execute("DROP TABLE IF EXISTS pg_temp.said, pg_temp.decided")
        cursor.execute(
            "CREATE TEMPORARY TABLE said ON COMMIT DROP AS "
            f"WITH {_IN_FORCE}, {verdicts} SELECT row_number() OVER ()::int "
            f"AS run_number, run_id, {_BEST} AS best, hold_id, due_at FROM verdicts v",
            {"at": at},
        )
        cursor.execute("ANALYZE said")
        cursor.execute(
            f"CREATE TEMPORARY TABLE decided ON COMMIT DROP AS "
            f"WITH {_IN_FORCE}, {_ORPHANS} {decided} ORDER BY p.content_hash",
            {"at": at},
        )


def runs_by_rank() -> str:
    """How many runs each rule decides about, and when the first of them is due; takes `at`."""
    verdicts = _VERDICTS.format(of_runs="")
    return (
        f"WITH {_IN_FORCE}, {verdicts} "
        "SELECT rank, count(*), min(due_at) FROM verdicts GROUP BY rank ORDER BY rank DESC"
    )


def decide(*, refs: Sequence[str], at: datetime) -> list[Verdict]:
    """The decision about these payloads as things are now, in one statement.

    Memory and time do not grow with the trail: every column of references has an index.
    """
    parts = " UNION ALL ".join(
        f"SELECT t.{column} AS ref, t.run_id FROM asked a "  # the same
        f"JOIN {table} t ON t.{column} = a.content_hash"
        for table, column in REF_COLUMNS
    )
    asked = (
        "asked AS MATERIALIZED (SELECT content_hash, size_bytes, recorded_at FROM payloads "
        "WHERE content_hash = ANY(%(refs)s) AND state IN ('available', 'corrupted')), "
        f"uses AS MATERIALIZED ({parts}),"
    )
    verdicts = _VERDICTS.format(of_runs="WHERE r.run_id IN (SELECT run_id FROM uses)")
    found = (
        f"(SELECT u.ref, {_BEST} AS best, v.hold_id, v.due_at "
        "FROM uses u JOIN verdicts v ON v.run_id = u.run_id) found"
    )
    decided = _DECIDED.format(payloads="asked", found=found, uses="NULL")
    statement = f"WITH {asked} {_IN_FORCE}, {verdicts}, {_ORPHANS} {decided}"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT content_hash, rank FROM ({statement}) decided",  # the same
            {"refs": list(refs), "at": at},
        )
        ranks = {content_hash: int(rank) for content_hash, rank in cursor.fetchall()}
    return [
        Verdict(ref, KeepRule.NOT_THERE if ref not in ranks else _rule(ranks[ref])) for ref in refs
    ]


def _rule(rank: int) -> KeepRule | None:
    return None if rank == GOES else RULES[rank]
