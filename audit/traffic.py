"""What moved through a run's pipeline: figures of every node and every edge, by scans.

Only asks. `summaries` keeps the answer of a run that has ended; lineage asks here for runs
that are small enough to be counted while somebody waits.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from django.db import connection

from audit.models import Edge
from audit.vocabulary import RoutingMode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Upper bounds of the histogram's bins, in milliseconds; the last bin has none.
DURATION_BINS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000)

NAMED_VISITS = 5
NAMED_FAILURES = 10
NAMED_STRAYS = 20

_FAILED = "status IN ('failed', 'rejected')"

# A database of somebody else may hold durations that are not a time.
_TIMED = "duration_ms >= 0 AND duration_ms < 'Infinity'"

_NODES = f"""
SELECT node_id, count(*), count(DISTINCT token_id),
       count(*) FILTER (WHERE status = 'completed'),
       count(*) FILTER (WHERE {_FAILED}),
       count(*) FILTER (WHERE status IN ('open', 'pending')),
       count(*) FILTER (WHERE attempt > 0),
       percentile_disc(0.5) WITHIN GROUP (ORDER BY duration_ms) FILTER (WHERE {_TIMED}),
       percentile_disc(0.95) WITHIN GROUP (ORDER BY duration_ms) FILTER (WHERE {_TIMED})
FROM node_states WHERE run_id = %(run)s GROUP BY node_id
"""
NODE_FIGURES = (
    "visits",
    "tokens",
    "completed",
    "failed",
    "unfinished",
    "retried",
    "p50_ms",
    "p95_ms",
)

# A source has no visits of its own: what it delivered is what passed it.
_DELIVERED = "SELECT source_node_id, count(*) FROM rows WHERE run_id = %(run)s GROUP BY 1"

_DURATIONS = f"""
SELECT node_id, width_bucket(duration_ms, %(bins)s::float8[]), count(*)
FROM node_states WHERE run_id = %(run)s AND {_TIMED} GROUP BY 1, 2
"""

_SLOWEST = f"""
SELECT node_id, state_id FROM (
    SELECT node_id, state_id, row_number() OVER (
        PARTITION BY node_id ORDER BY duration_ms DESC, state_id) AS place
    FROM node_states WHERE run_id = %(run)s AND {_TIMED}
) ranked WHERE place <= %(named)s ORDER BY node_id, place
"""

# Errors that differ only in their numbers and hashes are one class. The text itself stays where
# it is recorded, so that nothing that may be erased is kept twice.
_FAILURES = f"""
SELECT node_id, visits, example, kinds FROM (
    SELECT node_id, count(*) AS visits, min(state_id) AS example,
           count(*) OVER (PARTITION BY node_id) AS kinds,
           row_number() OVER (PARTITION BY node_id ORDER BY count(*) DESC, min(state_id)) AS place
    FROM node_states WHERE run_id = %(run)s AND {_FAILED}
    GROUP BY node_id, coalesce(
        regexp_replace(left(error_json, 2000), '[0-9a-f]{{8,}}|[0-9]+', '#', 'g'), error_hash)
) ranked WHERE place <= %(named)s ORDER BY node_id, place
"""

_DECIDED = """
SELECT e.edge_id, count(DISTINCT s.token_id)
FROM routing_events e
JOIN node_states s ON s.run_id = %(run)s AND s.state_id = e.state_id
WHERE e.run_id = %(run)s GROUP BY e.edge_id
"""

# From node to node, without the attempts at one step. The original leaves two gaps: a flush at
# the end of the source is written as step 0, and the members of a batch have no visit where they
# were gathered. Sinks come last whatever their step says. A token that was made from others
# comes from where they ended; one of the source's own from the source, which some eras visit.
_MOVES = """
WITH visit AS MATERIALIZED (
    SELECT s.token_id, s.node_id, s.status, s.attempt, n.node_type = 'sink' AS at_end,
           CASE WHEN n.node_type = 'aggregation' AND s.step_index = 0
                THEN 2147483647 ELSE s.step_index END AS step
    FROM node_states s JOIN nodes n ON n.run_id = %(run)s AND n.node_id = s.node_id
    WHERE s.run_id = %(run)s
    UNION ALL
    SELECT DISTINCT m.token_id, b.aggregation_node_id, 'completed', 0, false, coalesce(
        (SELECT nullif(max(step_index), 0) FROM node_states
         WHERE run_id = %(run)s AND state_id = b.aggregation_state_id), 2147483647)
    FROM batch_members m
    JOIN batches b ON b.run_id = %(run)s AND b.batch_id = m.batch_id
    WHERE m.run_id = %(run)s AND NOT EXISTS (
        SELECT FROM node_states s
        WHERE s.run_id = %(run)s AND s.token_id = m.token_id
          AND s.node_id = b.aggregation_node_id)
), walk AS MATERIALIZED (
    SELECT token_id, node_id, step, status,
           lag(node_id) OVER way AS before, lag(step) OVER way AS step_before,
           lag(status) OVER way AS status_before, lead(node_id) OVER way AS behind
    FROM visit
    WINDOW way AS (PARTITION BY token_id ORDER BY at_end, step, attempt, node_id)
), move AS (
    SELECT token_id, before AS source, node_id AS target,
           status_before IN ('failed', 'rejected') AS failed
    FROM walk WHERE before IS NOT NULL AND (step <> step_before OR node_id <> before)
    UNION ALL
    SELECT w.token_id, r.source_node_id, w.node_id, false
    FROM walk w
    JOIN tokens t ON t.run_id = %(run)s AND t.token_id = w.token_id
    JOIN rows r ON r.run_id = %(run)s AND r.row_id = t.row_id
    WHERE w.before IS NULL AND w.node_id <> r.source_node_id AND NOT EXISTS (
        SELECT FROM token_parents p WHERE p.run_id = %(run)s AND p.token_id = w.token_id)
    UNION ALL
    SELECT w.token_id, last.node_id, w.node_id, false
    FROM walk w
    JOIN token_parents p ON p.run_id = %(run)s AND p.token_id = w.token_id
    JOIN walk last ON last.token_id = p.parent_token_id AND last.behind IS NULL
    WHERE w.before IS NULL
)
SELECT m.source, m.target, m.failed, t.branch_name, count(DISTINCT m.token_id)
FROM move m JOIN tokens t ON t.run_id = %(run)s AND t.token_id = m.token_id
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""


def measure(*, run_id: str) -> dict[str, Any]:
    """Figures of a run's nodes and edges, ready for JSON. Eight queries, six of them scans.

    `nodes` has, by id, counts, milliseconds, the histogram over `DURATION_BINS`, and the visits
    to name; a node without visits is absent unless it is a source. `edges` has tokens and their
    share of what left the node, for every edge. `strays` are moves that no edge explains.
    """
    nodes = _measure_nodes(run_id)
    edges, strays = _measure_edges(run_id)
    return {"nodes": nodes, "edges": edges, "strays": strays}


def _measure_nodes(run_id: str) -> dict[str, dict[str, Any]]:
    nodes: dict[str, dict[str, Any]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_NODES, {"run": run_id})
        for node_id, *figures in cursor.fetchall():
            nodes[node_id] = dict(zip(NODE_FIGURES, figures, strict=True)) | {
                "durations": [0] * (len(DURATION_BINS) + 1),
                "slowest": [],
                "failures": [],
                "failure_kinds": 0,
            }
        cursor.execute(_DURATIONS, {"run": run_id, "bins": list(DURATION_BINS)})
        for node_id, place, visits in cursor.fetchall():
            nodes[node_id]["durations"][place] = visits
        cursor.execute(_SLOWEST, {"run": run_id, "named": NAMED_VISITS})
        for node_id, state_id in cursor.fetchall():
            nodes[node_id]["slowest"].append(state_id)
        cursor.execute(_FAILURES, {"run": run_id, "named": NAMED_FAILURES})
        for node_id, visits, example, kinds in cursor.fetchall():
            nodes[node_id]["failures"].append({"visits": visits, "state": example})
            nodes[node_id]["failure_kinds"] = kinds
        cursor.execute(_DELIVERED, {"run": run_id})
        for node_id, rows in cursor.fetchall():
            nodes.setdefault(node_id, {"visits": 0})["tokens"] = rows
    return nodes


def _measure_edges(run_id: str) -> tuple[dict[str, dict[str, Any]], list[list[Any]]]:
    edges = list(Edge.objects.filter(run_id=run_id).order_by("from_node_id", "label", "edge_id"))
    with connection.cursor() as cursor:
        cursor.execute(_DECIDED, {"run": run_id})
        decided: dict[str, int] = dict(cursor.fetchall())
        cursor.execute(_MOVES, {"run": run_id})
        tokens, strays = _along_edges(edges, decided, cursor.fetchall())
    leaving: dict[str, int] = defaultdict(int)
    for edge in edges:
        leaving[edge.from_node_id] += tokens.get(edge.edge_id, 0)
    along = {
        edge.edge_id: {
            "tokens": tokens.get(edge.edge_id, 0),
            "share": tokens.get(edge.edge_id, 0) / (leaving[edge.from_node_id] or 1),
        }
        for edge in edges
    }
    return along, strays


def _along_edges(
    edges: Sequence[Edge], decided: Mapping[str, int], moves: Sequence[tuple[Any, ...]]
) -> tuple[dict[str, int], list[list[Any]]]:
    """Tokens by edge: as a gate decided, else as tokens were seen to move between its ends."""
    between: dict[tuple[str, str], list[Edge]] = defaultdict(list)
    for edge in edges:
        between[edge.from_node_id, edge.to_node_id].append(edge)
    tokens: dict[str, int] = defaultdict(int, decided)
    # What the decisions explain is not counted again on an edge beside them.
    explained = {
        pair: sum(decided.get(edge.edge_id, 0) for edge in parallel)
        for pair, parallel in between.items()
    }
    strays: dict[tuple[str, str], int] = defaultdict(int)
    for source, target, failed, branch, seen in moves:
        pair = (source, target)
        if pair not in between:
            strays[pair] += seen
            continue
        known = min(seen, explained[pair])
        explained[pair] -= known
        undecided = [edge for edge in between[pair] if edge.edge_id not in decided]
        if seen > known and undecided:
            tokens[_likeliest(undecided, failed=failed, branch=branch).edge_id] += seen - known
    most = sorted(strays.items(), key=lambda stray: (-stray[1], stray[0]))[:NAMED_STRAYS]
    return dict(tokens), [[source, target, seen] for (source, target), seen in most]


def _likeliest(edges: Sequence[Edge], *, failed: bool, branch: str | None) -> Edge:
    """Of parallel edges the one a token took: its branch, else by failing, else the plain one."""
    return min(
        edges,
        key=lambda edge: (
            edge.label != branch,
            (edge.default_mode == RoutingMode.DIVERT) is not bool(failed),
            edge.label != "continue",
            edge.label,
        ),
    )
