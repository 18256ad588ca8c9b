"""What went wrong in a run, by class: kind, node, and what the error says but for its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connection

from audit.lineage.bodies import read_errors
from audit.lineage.excerpts import ERROR_LIMIT, Excerpt, excerpt, reading
from audit.lineage.nodes import NodeFacts, read_nodes
from audit.lineage.runs import RunFacts, describe_run
from audit.models import Call, NodeState, Operation, TransformError, ValidationError

if TYPE_CHECKING:
    from datetime import datetime

    from django.db import models

# Classes of a kind that are told; the texts of as many are read.
CLASSES_SHOWN = 20
# Records of a table that are looked through; what lies behind them is said not to be.
RECORDS_READ = 300_000

# Records are read as they lie, because in the order of their keys it takes ten times as long. What
# another table has of them is looked up one by one: a run of yesterday has no statistics, and
# PostgreSQL would join it by whatever index is at hand.
_VALIDATION = """
SELECT node_id, error_id AS key, created_at AS at, row_id, error AS said, error_hash AS digest
FROM (SELECT * FROM validation_errors WHERE run_id = %(run)s LIMIT %(records)s) v
"""
_TRANSFORM = """
SELECT e.transform_id, e.error_id, e.created_at, t.row_id, e.error_details_json,
       e.error_details_hash
FROM (SELECT * FROM transform_errors WHERE run_id = %(run)s LIMIT %(records)s) e
CROSS JOIN LATERAL (SELECT t.row_id FROM tokens t
                    WHERE t.run_id = e.run_id AND t.token_id = e.token_id OFFSET 0) t
"""
_VISITS = """
SELECT s.node_id, s.state_id, s.started_at, t.row_id, s.error_json, s.error_hash
FROM (SELECT * FROM node_states WHERE run_id = %(run)s LIMIT %(records)s) s
CROSS JOIN LATERAL (SELECT t.row_id FROM tokens t
                    WHERE t.run_id = s.run_id AND t.token_id = s.token_id OFFSET 0) t
WHERE s.status IN ('failed', 'rejected')
"""
_CALLS = """
SELECT coalesce(s.node_id, o.node_id), c.call_id, c.created_at, s.row_id, c.error_json,
       c.error_hash
FROM (SELECT * FROM calls WHERE run_id = %(run)s LIMIT %(records)s) c
LEFT JOIN LATERAL (SELECT s.node_id, t.row_id FROM node_states s
                   JOIN tokens t ON t.run_id = s.run_id AND t.token_id = s.token_id
                   WHERE s.run_id = c.run_id AND s.state_id = c.state_id OFFSET 0) s ON true
LEFT JOIN LATERAL (SELECT o.node_id FROM operations o
                   WHERE o.run_id = c.run_id AND o.operation_id = c.operation_id OFFSET 0) o
          ON true
WHERE c.status = 'error'
"""
_OPERATIONS = """
SELECT node_id, operation_id, started_at, NULL::text, error_message, error_hash
FROM (SELECT * FROM operations WHERE run_id = %(run)s LIMIT %(records)s) o
WHERE status = 'failed'
"""

# Errors that differ only in their numbers and hashes are one class. Of texts that are kept as
# payloads only the hash is in the trail, and that is what tells them apart.
_CLASSED = """
SELECT node_id, count(*), count(DISTINCT row_id), min(at), max(at), min(key),
       count(*) OVER (), sum(count(*)) OVER ()
FROM ("""
_BY_CLASS = """) AS found (node_id, key, at, row_id, said, digest)
GROUP BY node_id,
    coalesce(md5(regexp_replace(left(said, 200), '[0-9a-f]{8,}|[0-9]+', '#', 'g')), digest)
ORDER BY count(*) DESC, min(key) LIMIT %(classes)s
"""
_LOOKED_THROUGH = """
SELECT EXISTS (SELECT FROM validation_errors WHERE run_id = %(run)s OFFSET %(records)s),
       EXISTS (SELECT FROM transform_errors WHERE run_id = %(run)s OFFSET %(records)s),
       EXISTS (SELECT FROM node_states WHERE run_id = %(run)s OFFSET %(records)s),
       EXISTS (SELECT FROM calls WHERE run_id = %(run)s OFFSET %(records)s),
       EXISTS (SELECT FROM operations WHERE run_id = %(run)s OFFSET %(records)s)
"""


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Where the errors of one kind are recorded."""

    kind: str
    query: str
    model: type[models.Model]
    key: str
    text: str
    ref: str


_SOURCES = (
    _Source(
        kind="validation",
        query=_VALIDATION,
        model=ValidationError,
        key="error_id",
        text="error",
        ref="error_ref",
    ),
    _Source(
        kind="transform",
        query=_TRANSFORM,
        model=TransformError,
        key="error_id",
        text="error_details_json",
        ref="error_details_ref",
    ),
    _Source(
        kind="visit",
        query=_VISITS,
        model=NodeState,
        key="state_id",
        text="error_json",
        ref="error_ref",
    ),
    _Source(
        kind="call", query=_CALLS, model=Call, key="call_id", text="error_json", ref="error_ref"
    ),
    _Source(
        kind="operation",
        query=_OPERATIONS,
        model=Operation,
        key="operation_id",
        text="error_message",
        ref="error_ref",
    ),
)


@dataclass(frozen=True, kw_only=True)
class ClassOfErrors:
    """Errors alike, and one of them; `text` is None where its contents are not there.

    `rows` they befell; 0 where no row is recorded beside them.
    """

    node: NodeFacts | None
    records: int
    rows: int
    first_at: datetime
    last_at: datetime
    example: Any
    text: Excerpt | None


@dataclass(frozen=True, kw_only=True)
class KindOfErrors:
    """The most frequent classes of one kind, and how many classes and records there are.

    `cut`: the table has more records than were looked through.
    """

    kind: str
    classes: tuple[ClassOfErrors, ...]
    classes_total: int
    records: int
    cut: bool


@dataclass(frozen=True, kw_only=True)
class ErrorsPage:
    """Everything that went wrong in a run, kind by kind; kinds without errors are among them."""

    run: RunFacts
    kinds: tuple[KindOfErrors, ...]

    @property
    def records(self) -> int:
        """How many errors were found."""
        return sum(kind.records for kind in self.kinds)


def list_errors(*, run_id: str) -> ErrorsPage:
    """The errors of a run by class, in a fixed number of queries.

    Of each table 300,000 records are looked through; of a longer one, those that lie first.

    Raises:
        NotRecorded: there is no such run.
    """
    run = describe_run(run_id=run_id)
    asked: dict[str, str | int] = {"run": run_id, "records": RECORDS_READ, "classes": CLASSES_SHOWN}
    with connection.cursor() as cursor:
        found = []
        for source in _SOURCES:
            cursor.execute(_CLASSED + source.query + _BY_CLASS, asked)
            found.append(cursor.fetchall())
        cursor.execute(_LOOKED_THROUGH, asked)
        cut = cursor.fetchone()
    named = {row[0] for rows in found for row in rows if row[0] is not None}
    nodes = read_nodes(run_id, named)
    return ErrorsPage(
        run=run,
        kinds=tuple(
            KindOfErrors(
                kind=source.kind,
                classes=_classes(source, run_id, rows, nodes),
                classes_total=rows[0][6] if rows else 0,
                records=int(rows[0][7]) if rows else 0,
                cut=more,
            )
            for source, rows, more in zip(_SOURCES, found, cut, strict=True)
        ),
    )


def _classes(
    source: _Source, run_id: str, rows: list[Any], nodes: dict[str, NodeFacts]
) -> tuple[ClassOfErrors, ...]:
    examples = {
        getattr(record, source.key): record
        for record in source.model._default_manager.filter(
            run_id=run_id, **{f"{source.key}__in": [row[5] for row in rows]}
        )
        .only("run_id", source.key, source.ref, *_LINKS[source.kind])
        .annotate(**reading(source.text, limit=ERROR_LIMIT))
    }
    kept = read_errors(refs=(getattr(record, source.ref) for record in examples.values()))
    return tuple(
        ClassOfErrors(
            node=nodes.get(node_id),
            records=records,
            rows=befell,
            first_at=first_at,
            last_at=last_at,
            example=examples[key],
            text=excerpt(examples[key], source.text)
            or kept.get(getattr(examples[key], source.ref)),
        )
        for node_id, records, befell, first_at, last_at, key, _classes, _records in rows
    )


# What the page of an example is found by.
_LINKS: dict[str, tuple[str, ...]] = {
    "validation": ("row_id", "destination"),
    "transform": ("token_id", "state_id", "destination"),
    "visit": ("token_id",),
    "call": ("state_id",),
    "operation": ("operation_type",),
}
