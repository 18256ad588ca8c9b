"""Many tokens made by one act, told by what happened to them: counted by PostgreSQL.

A signature is how a token was made, its branch, the nodes that it visited in order, how its
last attempt at each ended, whether it was retried, the edges chosen, and its verdict. Equal
signatures are one group. Nodes and labels travel as numbers, so no name can spoil a path.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connection

from audit.lineage.closure_facts import (
    GroupFacts,
    PathStep,
)
from audit.vocabulary import NodeStateStatus, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

# Tokens of a group that its key in the address opens, beside the exemplars.
OPENED = 100
# Signatures told one by one; what is left is summed up in words.
GROUPS_TOLD = 500
PARENTS_GROUPED = 50
_EXEMPLARS_OF_TROUBLE = 3

_TROUBLE = (Outcome.FAILED.value, Outcome.QUARANTINED.value)
_WORST_FIRST = (
    NodeStateStatus.FAILED.value,
    NodeStateStatus.REJECTED.value,
    NodeStateStatus.OPEN.value,
    NodeStateStatus.PENDING.value,
    NodeStateStatus.COMPLETED.value,
)

# One pass: children by the index on their parent, and for each its visits by the index on their
# token, in the order of steps and attempts. A visit with a later attempt behind it is dropped.
# All look-ups are LATERAL, because a run of yesterday has no statistics: PostgreSQL would take
# it for one row and join fifty thousand children with each other.
_GROUPED = """
WITH kids AS MATERIALIZED (
    SELECT DISTINCT ON (p.token_id) p.token_id, p.parent_token_id
    FROM token_parents p
    WHERE p.run_id = %(run)s AND p.parent_token_id = ANY(%(parents)s)
    ORDER BY p.token_id, p.ordinal, p.parent_token_id
), told AS (
    SELECT k.parent_token_id AS parent, k.token_id,
           CASE WHEN t.join_group_id IS NOT NULL THEN 'merge'
                WHEN t.fork_group_id IS NOT NULL THEN 'fork'
                WHEN t.expand_group_id IS NOT NULL THEN 'expansion' ELSE 'unknown' END AS made,
           CASE WHEN t.join_group_id IS NULL
                THEN coalesce(t.fork_group_id, t.expand_group_id) END AS group_id,
           t.branch_name AS branch, coalesce(v.path, '') AS path, v.ms, v.visits,
           coalesce(o.outcome, '') AS outcome, o.sink_name AS sink
    FROM kids k
    CROSS JOIN LATERAL (
        SELECT * FROM tokens t
        WHERE t.run_id = %(run)s AND t.token_id = k.token_id OFFSET 0) t
    LEFT JOIN LATERAL (
        SELECT x.outcome, x.sink_name FROM token_outcomes x
        WHERE x.run_id = %(run)s AND x.token_id = k.token_id
        ORDER BY x.is_terminal DESC, x.recorded_at DESC, x.outcome_id DESC LIMIT 1) o ON true
    CROSS JOIN LATERAL (
        SELECT string_agg((%(nodes)s::jsonb ->> s.node_id) || ' ' || s.step_index || ' '
                          || s.status || ' ' || (s.attempt > 0)::int || ' '
                          || coalesce(s.chosen, ''), ';' ORDER BY s.step_index, s.attempt)
                   FILTER (WHERE NOT s.superseded) AS path,
               count(*) AS visits,
               extract(epoch FROM max(s.completed_at) - min(s.started_at)) * 1000 AS ms
        FROM (
            SELECT l.node_id, l.step_index, l.attempt, l.status, l.started_at, l.completed_at,
                   coalesce(lead(l.step_index) OVER w = l.step_index
                            AND lead(l.node_id) OVER w = l.node_id, false) AS superseded,
                   CASE WHEN l.node_id = ANY(%(gates)s) THEN (
                       SELECT string_agg(%(edges)s::jsonb ->> e.edge_id, ',' ORDER BY
                                         e.created_at, e.routing_group_id, e.ordinal)
                       FROM routing_events e
                       WHERE e.run_id = %(run)s AND e.state_id = l.state_id) END AS chosen
            FROM node_states l WHERE l.run_id = %(run)s AND l.token_id = k.token_id
            WINDOW w AS (ORDER BY l.step_index, l.attempt)) s) v
    WHERE k.token_id <> ALL(%(apart)s)
)
SELECT parent, made, group_id, branch, path, outcome, sink, count(*), sum(visits),
       (array_agg(token_id::text ORDER BY token_id))[1:%(examples)s],
       percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY ms)
FROM told
GROUP BY parent, made, group_id, branch, path, outcome, sink
ORDER BY outcome <> ALL(%(trouble)s), count(*), min(token_id)
"""


@dataclass(kw_only=True)
class Siblings:
    """The groups, the tokens to be told one by one, and what the groups stand for."""

    groups: tuple[GroupFacts, ...]
    told: tuple[str, ...]
    tokens: int
    visits: int
    groups_untold: int
    tokens_untold: int


def group_children(  # noqa: PLR0913  # what is told apart, and how much
    *,
    run_id: str,
    parents: Sequence[str],
    apart: Collection[str],
    nodes: Sequence[str],
    edges: Sequence[tuple[str, str]],
    gates: Sequence[str],
    open_groups: Collection[str],
) -> Siblings:
    """Group the children of these parents by signature; `apart` are told otherwise. One query.

    One token of each signature is told by itself, three where they failed or were quarantined,
    and a hundred more of a group that is open. `edges` are (edge id, label); `gates` are the
    nodes that choose among edges.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _GROUPED,
            {
                "run": run_id,
                "parents": list(parents),
                "apart": list(apart),
                "nodes": json.dumps({key: place for place, key in enumerate(nodes)}),
                "edges": json.dumps({key: place for place, (key, _label) in enumerate(edges)}),
                "gates": list(gates),
                "examples": OPENED + _EXEMPLARS_OF_TROUBLE + 1,
                "trouble": list(_TROUBLE),
            },
        )
        found = cursor.fetchall()
    labels = [label for _edge_id, label in edges]
    groups: list[GroupFacts] = []
    told: list[str] = []
    untold = found[GROUPS_TOLD:]
    visits = sum(row[8] for row in untold)
    for row in found[:GROUPS_TOLD]:
        group, examples = _group(row, nodes, labels, open_groups)
        told += examples
        if group is not None:
            groups.append(group)
            visits += row[8] * group.tokens // row[7]
    return Siblings(
        groups=tuple(groups),
        told=tuple(told),
        tokens=sum(group.tokens for group in groups) + sum(row[7] for row in untold),
        visits=visits,
        groups_untold=len(untold),
        tokens_untold=sum(row[7] for row in untold),
    )


def group_key(  # noqa: PLR0913  # a signature has this many parts
    *,
    parent_id: str,
    made: str,
    branch_name: str | None,
    path: Sequence[PathStep],
    outcome: str | None,
    sink_name: str | None,
) -> str:
    """A short name of a group that is the same in every request."""
    signature = [
        parent_id,
        made,
        branch_name,
        outcome,
        sink_name,
        [[s.node_id, s.step_index, s.status, s.retried, s.label] for s in path],
    ]
    return hashlib.sha256(json.dumps(signature).encode()).hexdigest()[:12]


def _group(
    row: Sequence[Any], nodes: Sequence[str], labels: Sequence[str], open_groups: Collection[str]
) -> tuple[GroupFacts | None, list[str]]:
    parent, made, group_id, branch, path_text, outcome, sink, many, _visits, examples, spread = row
    path = _path(path_text, nodes, labels)
    key = group_key(
        parent_id=parent,
        made=made,
        branch_name=branch,
        path=path,
        outcome=outcome or None,
        sink_name=sink,
    )
    alone = _EXEMPLARS_OF_TROUBLE if outcome in _TROUBLE else 1
    told = examples[: alone + (OPENED if key in open_groups else 0)]
    # A group of one would take a lane as well: it is told by itself.
    if many - len(told) <= 1:
        return None, examples[:many]
    p50, p95 = spread or (None, None)
    worst = {step.status for step in path}
    return GroupFacts(
        group_key=key,
        parent_id=parent,
        made=made,
        group_id=group_id,
        branch_name=branch,
        path=path,
        outcome=outcome or None,
        sink_name=sink,
        tokens=many - len(told),
        example_id=examples[0],
        p50_ms=p50,
        p95_ms=p95,
        worst_status=next((word for word in _WORST_FIRST if word in worst), None),
    ), told


def _path(text: str, nodes: Sequence[str], labels: Sequence[str]) -> tuple[PathStep, ...]:
    steps = []
    for part in text.split(";") if text else ():
        node, step, status, retried, chosen = part.split(" ")
        steps.append(
            PathStep(
                node_id=nodes[int(node)],
                step_index=int(step),
                status=status,
                retried=retried == "1",
                label=", ".join(labels[int(one)] for one in chosen.split(",") if one) or None,
            )
        )
    return tuple(steps)
