"""The distinct paths of a run: counted all, kept as many as a person could ever look through."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audit.models import RunJourney
from audit.summaries.facts import STANDINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.backends.utils import CursorWrapper

# A hostile run has as many journeys as rows. The most frequent and the rarest are kept, so many
# of each; the others are counted.
KEPT = 500
PATHS_KEPT = 8
STEPS_KEPT = 40
EXAMPLES_KEPT = 20

_AT_ONCE = 100
_CHOICES_KEPT = 8
_LABEL_KEPT = 80
# The order in which a story is told.
_MADE = ("source", "fork", "merge", "expansion", "batch")

_COUNT = """
CREATE TEMPORARY TABLE told_journeys ON COMMIT DROP AS
SELECT journey, min(rank) AS rank, bool_or(retried) AS retried, count(*) AS rows,
       min(row_index) AS first_index,
       percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY took_ms) AS took
FROM told_rows GROUP BY journey
"""

_KEPT = """
SELECT journey, rank, retried, rows, first_index, took[1], took[2] FROM (
    SELECT *, row_number() OVER (ORDER BY rows DESC, first_index) AS frequent,
           row_number() OVER (ORDER BY rows, first_index) AS rare
    FROM told_journeys) j
WHERE frequent <= %(kept)s OR rare <= %(kept)s ORDER BY rows DESC, first_index
"""

_EXAMPLES = """
SELECT journey, row_index, row_id FROM (
    SELECT *, row_number() OVER (PARTITION BY journey ORDER BY row_index) AS place
    FROM told_rows WHERE journey = ANY(%(journeys)s)) r
WHERE place <= %(kept)s ORDER BY journey, row_index
"""

_PATHS = """
SELECT row_id, tokens, token_id, made, branch_name, standing, outcome, sink_name, total FROM (
    SELECT row_id, count(*) AS tokens, min(token_id) AS token_id, min(made) AS made,
           min(branch_name) AS branch_name, min(standing) AS standing, min(outcome) AS outcome,
           min(sink_name) AS sink_name, count(*) OVER w AS total,
           row_number() OVER (PARTITION BY row_id ORDER BY min(rank), min(made), sign) AS place
    FROM told_tokens WHERE row_id = ANY(%(rows)s) GROUP BY row_id, sign
    WINDOW w AS (PARTITION BY row_id)) p
WHERE place <= %(kept)s
"""

# Complete, however much of the path is kept to be shown: filters go by these.
_REACHED = """
SELECT t.row_id, array_agg(DISTINCT t.outcome), array_agg(DISTINCT s.node_id)
FROM told_tokens t
LEFT JOIN node_states s ON s.run_id = %(run)s AND s.token_id = t.token_id
WHERE t.row_id = ANY(%(rows)s) GROUP BY t.row_id
"""

_STEPS = """
SELECT token_id, node_id, status, retried, choices, total FROM (
    SELECT v.*, row_number() OVER w AS place, count(*) OVER (PARTITION BY v.token_id) AS total,
           (SELECT array_agg(left(e.label, %(label)s) ORDER BY r.ordinal, r.edge_id)
            FROM (SELECT edge_id, ordinal FROM routing_events
                  WHERE run_id = %(run)s AND state_id = v.state_id
                  ORDER BY ordinal, edge_id LIMIT %(choices)s) r
            JOIN edges e ON e.run_id = %(run)s AND e.edge_id = r.edge_id) AS choices
    FROM (SELECT DISTINCT ON (token_id, step_index, node_id)
                 token_id, step_index, node_id, state_id, status, attempt > 0 AS retried
          FROM node_states WHERE run_id = %(run)s AND token_id = ANY(%(tokens)s)
          ORDER BY token_id, step_index, node_id, attempt DESC) v
    WINDOW w AS (PARTITION BY v.token_id ORDER BY v.step_index, v.node_id)) s
WHERE place <= %(kept)s ORDER BY token_id, place
"""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """How many paths the rows of a run took, and how many rows are alone on theirs."""

    journeys: int
    alone: int


def keep(cursor: CursorWrapper, *, run_id: str) -> Counted:
    """Replace the journeys of a run by those that `told_rows` tells; joins the transaction."""
    cursor.execute(_COUNT)
    cursor.execute("SELECT count(*), count(*) FILTER (WHERE rows = 1) FROM told_journeys")
    journeys, alone = cursor.fetchone()
    cursor.execute(_KEPT, {"kept": KEPT})
    kept = cursor.fetchall()
    cursor.execute("DROP TABLE told_journeys")
    RunJourney.objects.filter(run_id=run_id).delete()
    for start in range(0, len(kept), _AT_ONCE):
        RunJourney.objects.bulk_create(_described(cursor, run_id, kept[start : start + _AT_ONCE]))
    return Counted(journeys=journeys, alone=alone)


def _described(
    cursor: CursorWrapper, run_id: str, kept: Sequence[tuple[Any, ...]]
) -> list[RunJourney]:
    examples: dict[str, list[tuple[int, str]]] = defaultdict(list)
    cursor.execute(_EXAMPLES, {"journeys": [line[0] for line in kept], "kept": EXAMPLES_KEPT})
    for journey, row_index, row_id in cursor.fetchall():
        examples[journey].append((row_index, row_id))
    first = {journey: rows[0][1] for journey, rows in examples.items()}
    asked: dict[str, Any] = {"run": run_id, "rows": list(first.values()), "kept": PATHS_KEPT}
    cursor.execute(_REACHED, asked)
    reached = {row_id: (outcomes, nodes) for row_id, outcomes, nodes in cursor.fetchall()}
    cursor.execute(_PATHS, asked)
    paths: dict[str, list[dict[str, Any]]] = defaultdict(list)
    totals: dict[str, int] = {}
    tokens: dict[str, dict[str, Any]] = {}
    for row_id, count, token_id, made, branch, standing, outcome, sink, total in cursor.fetchall():
        tokens[token_id] = {
            "made": made,
            "branch": branch,
            "several": count > 1,
            "standing": standing,
            "outcome": outcome,
            "sink": sink,
            "steps": [],
            "steps_total": 0,
        }
        paths[row_id].append(tokens[token_id])
        totals[row_id] = total
    cursor.execute(
        _STEPS,
        {
            "run": run_id,
            "tokens": list(tokens),
            "kept": STEPS_KEPT,
            "label": _LABEL_KEPT,
            "choices": _CHOICES_KEPT,
        },
    )
    for token_id, node_id, status, retried, choices, total in cursor.fetchall():
        tokens[token_id]["steps"].append([node_id, status, retried, choices or []])
        tokens[token_id]["steps_total"] = total
    described = []
    for journey, rank, retried, rows, first_index, p50, p95 in kept:
        row_id = first[journey]
        outcomes, nodes = reached.get(row_id, ([], []))
        described.append(
            RunJourney(
                run_id=run_id,
                journey_id=journey,
                standing=STANDINGS[rank - 1],
                rows=rows,
                first_index=first_index,
                retried=retried,
                nodes=[node for node in nodes if node is not None],
                outcomes=outcomes,
                p50_ms=p50,
                p95_ms=p95,
                paths_json=json.dumps(sorted(paths[row_id], key=_in_story)),
                paths_total=totals.get(row_id, 0),
                examples_json=json.dumps(examples[journey]),
            )
        )
    return described


def _in_story(path: dict[str, Any]) -> tuple[int, str, int, str]:
    rank = STANDINGS.index(path["standing"])
    return (_MADE.index(path["made"]), path["branch"] or "", rank, path["sink"] or "")
