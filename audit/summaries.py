"""The only writer of `run_summaries`: figures that would need a scan, computed once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from django.db import connection

from audit.models import Run, RunSummary
from audit.vocabulary import RunStatus

if TYPE_CHECKING:
    from datetime import datetime

_COUNTS = """
SELECT (SELECT count(*) FROM rows WHERE run_id = %(run)s),
       (SELECT count(*) FROM tokens WHERE run_id = %(run)s),
       (SELECT count(*) FROM calls WHERE run_id = %(run)s),
       (SELECT count(*) FROM validation_errors WHERE run_id = %(run)s)
"""

# A token's last word: its final outcome, else that it is buffered, else nothing.
_OUTCOMES = """
SELECT outcome, count(*) FROM (
    SELECT t.token_id, coalesce(
        max(o.outcome) FILTER (WHERE o.is_terminal), max(o.outcome), '') AS outcome
    FROM tokens t
    LEFT JOIN token_outcomes o ON o.run_id = %(run)s AND o.token_id = t.token_id
    WHERE t.run_id = %(run)s GROUP BY t.token_id
) last GROUP BY outcome ORDER BY outcome
"""

_NODES = """
SELECT node_id, count(*), count(*) FILTER (WHERE status = 'completed'),
       count(*) FILTER (WHERE status IN ('failed', 'rejected')),
       count(*) FILTER (WHERE status IN ('open', 'pending')),
       count(*) FILTER (WHERE attempt > 0)
FROM node_states WHERE run_id = %(run)s GROUP BY node_id ORDER BY node_id
"""

# “csv → amount_threshold → high_values, output”: what a reader recognises a pipeline by.
_PIPELINE = """
SELECT node_type, regexp_replace(
    regexp_replace(node_id, '_[0-9a-f]{12}(_\\d+)?$', ''),
    '^(source|transform|sink|config_gate|gate|aggregation|coalesce)_', '')
FROM nodes WHERE run_id = %(run)s
ORDER BY CASE node_type WHEN 'source' THEN 0 WHEN 'sink' THEN 2 ELSE 1 END,
         sequence_in_pipeline NULLS LAST, registered_at, node_id
"""

_MAX_STEPS = 6


def refresh(*, run_id: str, at: datetime) -> None:
    """Count the run and keep the figures; joins the caller's transaction.

    Four queries, each one scan of the run: about a second per million records.
    """
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS, {"run": run_id})
        rows, tokens, calls, errors = cursor.fetchone()
        cursor.execute(_OUTCOMES, {"run": run_id})
        outcomes = dict(cursor.fetchall())
        cursor.execute(_NODES, {"run": run_id})
        nodes = {node_id: list(figures) for node_id, *figures in cursor.fetchall()}
        cursor.execute(_PIPELINE, {"run": run_id})
        pipeline = _in_words(cursor.fetchall())
    RunSummary.objects.update_or_create(
        run_id=run_id,
        defaults={
            "pipeline": pipeline,
            "rows": rows,
            "tokens": tokens,
            "states": sum(figures[0] for figures in nodes.values()),
            "calls": calls,
            # A rejected row is one failed visit and one transform error: counted as a visit.
            "errors": errors + sum(figures[2] for figures in nodes.values()),
            "outcomes_json": json.dumps(outcomes),
            "nodes_json": json.dumps(nodes),
            "computed_at": at,
        },
    )


def due(*, limit: int) -> list[str]:
    """Runs that have ended and have no figures yet."""
    waiting = Run.objects.exclude(status=RunStatus.RUNNING).filter(summary=None)
    return list(waiting.order_by("completed_at", "run_id").values_list("run_id", flat=True)[:limit])


def _in_words(nodes: list[tuple[str, str]]) -> str:
    sources = [name for kind, name in nodes if kind == "source"]
    steps = [name for kind, name in nodes if kind not in ("source", "sink")]
    sinks = [name for kind, name in nodes if kind == "sink"]
    if len(steps) > _MAX_STEPS:
        steps = [*steps[:_MAX_STEPS], f"{len(steps) - _MAX_STEPS} more"]
    parts = [", ".join(sources), *steps, ", ".join(sinks)]
    return " → ".join(part for part in parts if part)
