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
    from collections.abc import Collection, Iterable, Sequence

# The time of a group, from its first start to its last end, is told in so many equal parts.
PARTS_OF_TIME = 100
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

# Children by the index on their parent; then of each table everything that is recorded of them,
# by one walk along an index with all their ids, and in the order of that index. What the tables
# say is put together by FULL JOIN: nothing is ever missing on the left, and it is the one join
# that PostgreSQL cannot do by comparing each with each. A run of yesterday has no statistics, so
# it takes fifty thousand children for one. Edges are looked up by visit in one object.
_GROUPED = r"""
WITH kids AS MATERIALIZED (
    SELECT DISTINCT ON (p.token_id) p.token_id, p.parent_token_id AS parent
    FROM token_parents p
    WHERE p.run_id = %(run)s AND p.parent_token_id = ANY(%(parents)s)
      AND p.token_id <> ALL(%(apart)s)
    ORDER BY p.token_id, p.ordinal, p.parent_token_id
), keys AS MATERIALIZED (
    SELECT array_agg(token_id)::text[] AS them FROM kids
), born AS MATERIALIZED (
    SELECT t.token_id,
           CASE WHEN t.join_group_id IS NOT NULL THEN 'merge'
                WHEN t.fork_group_id IS NOT NULL THEN 'fork'
                WHEN t.expand_group_id IS NOT NULL THEN 'expansion' ELSE 'unknown' END AS made,
           CASE WHEN t.join_group_id IS NULL
                THEN coalesce(t.fork_group_id, t.expand_group_id) END AS group_id,
           t.branch_name AS branch
    FROM tokens t WHERE t.run_id = %(run)s AND t.token_id = ANY((SELECT them FROM keys)::text[])
), verdicts AS MATERIALIZED (
    SELECT DISTINCT ON (x.token_id) x.token_id, x.outcome, x.sink_name AS sink
    FROM token_outcomes x
    WHERE x.run_id = %(run)s AND x.token_id = ANY((SELECT them FROM keys)::text[])
    ORDER BY x.token_id, x.is_terminal DESC, x.recorded_at DESC, x.outcome_id DESC
), visits AS MATERIALIZED (
    SELECT s.token_id, s.state_id, s.node_id, s.step_index, s.attempt, s.status, s.started_at,
           s.completed_at
    FROM node_states s
    WHERE s.run_id = %(run)s AND s.token_id = ANY((SELECT them FROM keys)::text[])
    ORDER BY s.token_id, s.step_index, s.attempt
), chosen AS MATERIALIZED (
    SELECT jsonb_object_agg(state_id, numbers) AS at FROM (
        SELECT e.state_id, string_agg(%(edges)s::jsonb ->> e.edge_id, ',' ORDER BY
                                      e.created_at, e.routing_group_id, e.ordinal) AS numbers
        FROM routing_events e
        WHERE e.run_id = %(run)s AND e.state_id = ANY(ARRAY(
            SELECT state_id::text FROM visits WHERE node_id = ANY(%(gates)s)))
        GROUP BY e.state_id) c
), went AS MATERIALIZED (
    SELECT token_id,
           string_agg((%(nodes)s::jsonb ->> node_id) || ' ' || step_index || ' ' || status || ' '
                      || (attempt > 0)::int || ' '
                      || coalesce((SELECT at FROM chosen) ->> state_id, ''),
                      ';' ORDER BY step_index, attempt) AS path,
           max(attempt) AS attempts, count(*) AS visits,
           min(started_at) AS began, max(completed_at) AS ended
    FROM visits GROUP BY token_id
), told AS (
    SELECT token_id, k.parent, b.made, b.group_id, b.branch,
           -- An attempt with a later one behind it, at the same node and step, is left out.
           coalesce(CASE WHEN w.attempts > 0 THEN regexp_replace(
               w.path, '(^|;)([0-9]+ -?[0-9]+ )([^;]*;\2)+', '\1\2', 'g') ELSE w.path END, '')
               AS path,
           coalesce(v.outcome, '') AS outcome, v.sink, w.visits, w.began, w.ended
    FROM kids k FULL JOIN born b USING (token_id) FULL JOIN verdicts v USING (token_id)
    FULL JOIN went w USING (token_id)
), grouped AS (
    SELECT parent, made, group_id, branch, path, outcome, sink, count(*) AS tokens,
           coalesce(sum(visits), 0)::bigint AS visits, min(token_id) AS first,
           min(began) AS began, max(coalesce(ended, began)) AS ended,
           array_agg(token_id::text) AS ids, array_agg(began) AS starts, array_agg(ended) AS ends
    FROM told GROUP BY parent, made, group_id, branch, path, outcome, sink
)
SELECT parent, made, group_id, branch, path, outcome, sink, tokens, visits,
       (SELECT array_agg(id ORDER BY id) FROM (
           SELECT id FROM unnest(ids) AS id ORDER BY id LIMIT %(examples)s) e),
       (SELECT percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (
            ORDER BY date_part('epoch', t.b - t.a) * 1000) FROM unnest(starts, ends) AS t(a, b)),
       began, ended,
       (SELECT json_agg(json_build_array(place, begun, over))::text FROM (
           SELECT least(%(bins)s, width_bucket(
                      date_part('epoch', edge.at - began), 0,
                      greatest(date_part('epoch', ended - began), 0.000001), %(bins)s)) - 1
                      AS place,
                  sum(edge.begun) AS begun, sum(1 - edge.begun) AS over
           FROM unnest(starts, ends) AS t(a, b)
           CROSS JOIN LATERAL (VALUES (t.a, 1), (coalesce(t.b, t.a), 0)) AS edge(at, begun)
           WHERE edge.at IS NOT NULL GROUP BY place) p)
FROM grouped
ORDER BY outcome <> ALL(%(trouble)s), tokens, first
"""


@dataclass(kw_only=True)
class Siblings:
    """The groups, the tokens to be told one by one, and what the groups stand for.

    `visits` are those of all the children, told one by one or not.
    """

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
                "bins": PARTS_OF_TIME,
            },
        )
        found = cursor.fetchall()
    labels = [label for _edge_id, label in edges]
    groups: list[GroupFacts] = []
    told: list[str] = []
    untold = found[GROUPS_TOLD:]
    for row in found[:GROUPS_TOLD]:
        group, examples = _group(row, nodes, labels, open_groups)
        told += examples
        if group is not None:
            groups.append(group)
    return Siblings(
        groups=tuple(groups),
        told=tuple(told),
        tokens=sum(group.tokens for group in groups) + sum(row[7] for row in untold),
        visits=sum(row[8] for row in found),
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
    parent, made, group_id, branch, path_text, outcome, sink, many, _visits, examples = row[:10]
    spread, began, ended, moves = row[10:]
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
        started_at=began,
        ended_at=ended,
        at_work=_at_work(json.loads(moves)) if moves else (),
    ), told


def _at_work(moves: Iterable[tuple[int, int, int]]) -> tuple[int, ...]:
    """How many were under way in each part of the time, from how many began and ended in it."""
    begun, over = [0] * PARTS_OF_TIME, [0] * PARTS_OF_TIME
    for place, started, stopped in moves:
        begun[place], over[place] = started, stopped
    counts = []
    here = 0
    for started, stopped in zip(begun, over, strict=True):
        here += started
        counts.append(here)
        here -= stopped
    return tuple(counts)


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
