"""How much a run has of what stands on pages of its own."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection

from audit.lineage.figures import COUNTED_TO

_COUNTED = """
SELECT (SELECT count(*) FROM (
           SELECT FROM artifacts WHERE run_id = %(run)s LIMIT %(far)s) x),
       (SELECT count(*) FROM (
           SELECT FROM batches WHERE run_id = %(run)s LIMIT %(far)s) x),
       (SELECT count(*) FROM (
           SELECT FROM checkpoints WHERE run_id = %(run)s LIMIT %(far)s) x),
       (SELECT count(*) FROM (
           SELECT FROM run_events WHERE run_id = %(run)s LIMIT %(far)s) x),
       (SELECT count(*) FROM (
           SELECT FROM validation_errors WHERE run_id = %(run)s LIMIT %(far)s) x),
       (SELECT count(*) FROM (
           SELECT FROM transform_errors WHERE run_id = %(run)s LIMIT %(far)s) x)
"""


@dataclass(frozen=True, kw_only=True)
class Further:
    """Records of a run by table, counted as far as `COUNTED_TO`."""

    artifacts: int
    batches: int
    checkpoints: int
    run_events: int
    validation_errors: int
    transform_errors: int


def count_further(run_id: str) -> Further:
    """Count what the page of a run leads on to. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNTED, {"run": run_id, "far": COUNTED_TO})
        artifacts, batches, checkpoints, events, refused, rejected = cursor.fetchone()
    return Further(
        artifacts=artifacts,
        batches=batches,
        checkpoints=checkpoints,
        run_events=events,
        validation_errors=refused,
        transform_errors=rejected,
    )
