"""Errors of a run by class, counted in SQL: kind, node, and what an error says but for its numbers.

Asked of a run that goes on by its page, of one that ended once, by its summary. Writes nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

# Classes of a kind that are told.
CLASSES_TOLD = 20

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

_KINDS = {
    "validation": _VALIDATION,
    "transform": _TRANSFORM,
    "visit": _VISITS,
    "call": _CALLS,
    "operation": _OPERATIONS,
}
KINDS = tuple(_KINDS)


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorClass:
    """Errors alike, the least key among them as an example, and how many `rows` they befell."""

    node_id: str | None
    records: int
    rows: int
    first_at: datetime
    last_at: datetime
    example: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Classes:
    """The most frequent classes of one kind, how many there are, and how many records."""

    told: tuple[ErrorClass, ...]
    classes: int
    records: int


def count(*, run_id: str, records: int | None = None) -> dict[str, Classes]:
    """The errors of a run by kind: five queries. Of each table so many records, or all."""
    asked: dict[str, Any] = {"run": run_id, "records": records, "classes": CLASSES_TOLD}
    found = {}
    with connection.cursor() as cursor:
        for kind, query in _KINDS.items():
            cursor.execute(_CLASSED + query + _BY_CLASS, asked)
            rows = cursor.fetchall()
            found[kind] = Classes(
                told=tuple(
                    ErrorClass(
                        node_id=row[0],
                        records=row[1],
                        rows=row[2],
                        first_at=row[3],
                        last_at=row[4],
                        example=row[5],
                    )
                    for row in rows
                ),
                classes=rows[0][6] if rows else 0,
                records=int(rows[0][7]) if rows else 0,
            )
    return found


def kept(found: dict[str, Classes]) -> str:
    """What a summary keeps of it."""
    return json.dumps(
        {
            kind: {
                "classes": one.classes,
                "records": one.records,
                "told": [
                    [
                        each.node_id,
                        each.records,
                        each.rows,
                        each.first_at.isoformat(),
                        each.last_at.isoformat(),
                        each.example,
                    ]
                    for each in one.told
                ],
            }
            for kind, one in found.items()
        }
    )


def read(text: str) -> dict[str, Classes]:
    """What a summary kept."""
    return {
        kind: Classes(
            told=tuple(
                ErrorClass(
                    node_id=node_id,
                    records=records,
                    rows=rows,
                    first_at=datetime.fromisoformat(first),
                    last_at=datetime.fromisoformat(last),
                    example=example,
                )
                for node_id, records, rows, first, last, example in one["told"]
            ),
            classes=one["classes"],
            records=one["records"],
        )
        for kind, one in json.loads(text).items()
    }
