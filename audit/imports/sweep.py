"""What no constraint can see: habits of the eras (Q01-Q24) and broken invariants.

Each check is one statement over one stored run that yields (key, detail) for every record
concerned. The first ones are told one by one, the rest is counted, so a sweep costs a fixed
number of statements and little memory whatever it finds.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from django.db import connection

from audit.findings import Found, further
from audit.imports.habits import QUIRKS
from audit.imports.invariants import INVARIANTS
from audit.models import Edge
from audit.vocabulary import FindingLevel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.backends.utils import CursorWrapper

    from audit.imports.checks import Check
    from audit.vocabulary import Era

MAX_TOLD = {FindingLevel.INFO: 100, FindingLevel.ERROR: 1_000}

# Pipelines have tens of edges; a hostile one is not worth more memory than this.
MAX_EDGES = 100_000

# Errors first, so that a reader meets them first.
CHECKS = sorted((*QUIRKS, *INVARIANTS), key=lambda check: check.level != FindingLevel.ERROR)


def sweep(*, run_id: str, era: Era) -> Iterator[Found]:
    """Look for everything in one run; errors first. Best inside `bulk.planned_for_scans`."""
    with connection.cursor() as cursor:
        for check in CHECKS:
            if era in check.eras:
                yield from _found(cursor, check, run_id)


def pipeline_cycle(*, run_id: str) -> Iterator[Found]:
    """A pipeline goes forward; an edge that closes a circle contradicts it."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    edges = Edge.objects.filter(run_id=run_id).order_by("edge_id")
    for edge in edges[:MAX_EDGES].iterator():
        sorter.add(edge.to_node_id, edge.from_node_id)
    try:
        sorter.prepare()
    except CycleError as error:
        nodes = " → ".join(error.args[1])
        yield Found(
            "GRAPH", FindingLevel.ERROR, "edges", run_id, f"the pipeline runs in a circle: {nodes}"
        )


def _found(cursor: CursorWrapper, check: Check, run_id: str) -> Iterator[Found]:
    limit = MAX_TOLD[check.level]
    cursor.execute(
        f"SELECT key, detail, count(*) OVER () FROM ({check.statement}) found (key, detail) "
        "ORDER BY key LIMIT %(limit)s",
        {"run": run_id, "limit": limit},
    )
    rows = cursor.fetchall()
    for key, detail, _total in rows:
        yield Found(check.code, check.level, check.table, key, detail)
    if rows and (more := rows[0][2] - len(rows)):
        yield further(check.code, check.level, check.table, rows[0][1], more)
