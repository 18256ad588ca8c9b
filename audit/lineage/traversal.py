"""Which tokens belong to a lineage: parents and children, and the way through batches.

Upwards a token leads to its parents and to the batch that it came out of; a batch leads to its
members. Downwards a token leads to its children and to the batches it waited in; a batch leads
to what came out of it. What came out of a batch is on record (`batch_outputs`) or, in imported
runs, told by the verdicts: the one member that went on while its neighbours were consumed, or a
consumed member that has children of its own.

Every step is a look-up by index. `unnest(ARRAY(…))` keeps PostgreSQL from turning one into a
join of the whole table, and from guessing millions: it would clear a hash table of that size
before it looks at the first token. `UNION` drops what was seen before, so a cycle ends where it
closes, and the LIMIT ends the walk itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Collection

# More children than this of one token are told by groups, not one by one.
WIDE = 200

_NEIGHBOUR_CONSUMED = """EXISTS (
    SELECT FROM batch_members n JOIN token_outcomes x
        ON x.run_id = n.run_id AND x.token_id = n.token_id AND x.is_terminal
    WHERE n.run_id = m.run_id AND n.batch_id = m.batch_id
      AND n.ordinal IN (m.ordinal - 1, m.ordinal + 1) AND x.outcome = 'consumed_in_batch')"""

_WENT_ON = "o.outcome NOT IN ('consumed_in_batch', 'failed', 'quarantined')"

_UP = f"""
up(batch, id) AS (
    SELECT false, token_id::text FROM tokens
    WHERE run_id = %(run)s AND token_id = ANY(%(seeds)s)
    UNION
    SELECT s.batch, s.id FROM up w CROSS JOIN LATERAL (
        SELECT false AS batch, unnest(ARRAY(
            SELECT p.parent_token_id::text FROM token_parents p
            WHERE NOT w.batch AND p.run_id = %(run)s AND p.token_id = w.id
            UNION ALL
            SELECT m.token_id FROM batch_members m
            WHERE w.batch AND m.run_id = %(run)s AND m.batch_id = w.id)) AS id
        UNION ALL
        SELECT true, unnest(ARRAY(
            SELECT u.batch_id::text FROM batch_outputs u
            WHERE NOT w.batch AND u.run_id = %(run)s AND u.output_type = 'token'
              AND u.output_id = w.id
            UNION ALL
            SELECT m.batch_id FROM batch_members m
            JOIN batches b ON b.run_id = m.run_id AND b.batch_id = m.batch_id
            JOIN token_outcomes o
                ON o.run_id = m.run_id AND o.token_id = m.token_id AND o.is_terminal
            WHERE NOT w.batch AND m.run_id = %(run)s AND m.token_id = w.id
              AND b.status = 'completed' AND {_WENT_ON} AND {_NEIGHBOUR_CONSUMED}
            UNION ALL
            (SELECT m.batch_id FROM token_parents p
             JOIN token_outcomes o
                ON o.run_id = p.run_id AND o.token_id = p.parent_token_id AND o.is_terminal
             JOIN batch_members m ON m.run_id = p.run_id AND m.token_id = p.parent_token_id
             JOIN batches b ON b.run_id = m.run_id AND b.batch_id = m.batch_id
             WHERE NOT w.batch AND p.run_id = %(run)s AND p.token_id = w.id
               AND o.outcome = 'consumed_in_batch' AND b.status = 'completed'
             ORDER BY p.ordinal, m.batch_id LIMIT 1)))
    ) s
    WHERE %(upwards)s
)"""  # noqa: S608  # constants of this module

_DOWN = f"""
down(batch, id) AS (
    SELECT false, unnest(ARRAY(SELECT a.id FROM up a WHERE NOT a.batch LIMIT %(rows)s))
    UNION
    SELECT s.batch, s.id FROM down w CROSS JOIN LATERAL (
        SELECT false AS batch, unnest(ARRAY(
            SELECT z.token_id::text FROM (
                SELECT q.token_id, count(*) OVER () AS many FROM (
                    SELECT p.token_id FROM token_parents p
                    WHERE NOT w.batch AND p.run_id = %(run)s AND p.parent_token_id = w.id
                    LIMIT %(wide)s + 1) q) z
            WHERE z.many <= %(wide)s
            UNION ALL
            SELECT z.output_id FROM (
                SELECT q.output_id, count(*) OVER () AS many FROM (
                    SELECT u.output_id FROM batch_outputs u
                    WHERE w.batch AND u.run_id = %(run)s AND u.batch_id = w.id
                      AND u.output_type = 'token'
                    LIMIT %(wide)s + 1) q) z
            WHERE z.many <= %(wide)s
            UNION ALL
            SELECT m.token_id FROM batch_members m
            JOIN batches b ON b.run_id = m.run_id AND b.batch_id = m.batch_id
            JOIN token_outcomes o
                ON o.run_id = m.run_id AND o.token_id = m.token_id AND o.is_terminal
            WHERE w.batch AND m.run_id = %(run)s AND m.batch_id = w.id
              AND b.status = 'completed'
              AND NOT EXISTS (SELECT FROM batch_outputs u
                              WHERE u.run_id = m.run_id AND u.batch_id = m.batch_id)
              AND ({_WENT_ON} AND {_NEIGHBOUR_CONSUMED}
                   OR o.outcome = 'consumed_in_batch'
                      AND EXISTS (SELECT FROM token_parents p
                                  WHERE p.run_id = m.run_id
                                    AND p.parent_token_id = m.token_id)))) AS id
        UNION ALL
        SELECT true, unnest(ARRAY(
            SELECT m.batch_id::text FROM batch_members m
            WHERE NOT w.batch AND m.run_id = %(run)s AND m.token_id = w.id))
    ) s
)"""  # noqa: S608  # constants of this module

_WALK = f"""
WITH RECURSIVE {_UP}, {_DOWN}
(SELECT true AS above, a.batch, a.id, false AS wide FROM up a LIMIT %(rows)s)
UNION ALL
(SELECT false, d.batch, d.id, NOT d.batch AND EXISTS (
    SELECT FROM token_parents p
    WHERE p.run_id = %(run)s AND p.parent_token_id = d.id OFFSET %(wide)s)
 FROM down d LIMIT %(rows)s)
"""  # noqa: S608  # constants of this module

_ROOTS = """
WITH roots AS (
    SELECT t.token_id FROM tokens t
    WHERE t.run_id = %(run)s AND t.row_id = %(row)s
      AND NOT EXISTS (SELECT FROM token_parents p
                      WHERE p.run_id = t.run_id AND p.token_id = t.token_id)
    ORDER BY t.created_at, t.token_id LIMIT %(rows)s
)
SELECT token_id FROM roots
UNION ALL
SELECT min(token_id) FROM tokens
WHERE run_id = %(run)s AND row_id = %(row)s AND NOT EXISTS (SELECT FROM roots)
HAVING min(token_id) IS NOT NULL
"""


@dataclass(kw_only=True)
class Reach:
    """What a walk found, in its order, nearest first. `wide` tokens have too many children."""

    tokens: dict[str, None] = field(default_factory=dict)
    ancestors: set[str] = field(default_factory=set)
    batches: set[str] = field(default_factory=set)
    wide: dict[str, None] = field(default_factory=dict)
    cut: bool = False


def walk(*, run_id: str, seeds: Collection[str], cap: int, upwards: bool = True) -> Reach:
    """All that the seeds came from, and all that came of these. One query.

    Without `upwards`, only what came of the seeds themselves.

    A token with more than `WIDE` children is not followed into them. Ends after `cap` tokens
    and batches; `cut` tells that there is more.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _WALK,
            {
                "run": run_id,
                "seeds": list(seeds),
                "rows": cap + 1,
                "wide": WIDE,
                "upwards": upwards,
            },
        )
        found = cursor.fetchall()
    reach = Reach()
    for above, batch, key, wide in found:
        if batch:
            reach.batches.add(key)
            continue
        if key not in reach.tokens and len(reach.tokens) >= cap:
            reach.cut = True
            continue
        reach.tokens[key] = None
        if above:
            reach.ancestors.add(key)
        if wide:
            reach.wide[key] = None
    # A walk that stopped among batches was cut short too.
    reach.cut |= sum(not above for above, *_ in found) > cap
    return reach


def roots_of(*, run_id: str, row_id: str, cap: int) -> list[str]:
    """The tokens of a row that have no parents; where all have some, the least. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_ROOTS, {"run": run_id, "row": row_id, "rows": cap})
        return [key for (key,) in cursor.fetchall()]
