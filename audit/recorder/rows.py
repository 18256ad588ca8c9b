"""Rows as the source delivered them: one by one, or many in few transactions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import transaction

from audit import blobs
from audit.models import Node, Row, Token
from audit.recorder import contents, reading
from audit.recorder.writing import (
    add,
    check,
    column_type,
    explain,
    new_id,
    one_event,
    prepared,
    require_running,
    wrote,
)
from audit.vocabulary import PayloadState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

CHUNK = 500

M = TypeVar("M", Row, Token)


@dataclass(frozen=True, kw_only=True)
class NewRow:
    """One row for `create_rows_batch`; ids make a repeated call harmless."""

    row_index: int
    data: Mapping[str, Any]
    row_id: str | None = None
    token_id: str | None = field(default=None)


@dataclass(frozen=True, kw_only=True)
class RowData:
    """What became of a row's data; `data` is there only when `kept.state` is available."""

    kept: blobs.Kept
    data: Any = None


def create_row(
    *,
    run_id: str,
    source_node_id: str,
    row_index: int,
    data: Mapping[str, Any],
    at: datetime,
    row_id: str | None = None,
    keep_data: bool = True,
) -> Row:
    """Record one row; its data become a payload unless `keep_data` is false.

    Raises:
        NotRecorded, RunMismatch: the source node is not there, or is another run's.
        RunEnded: the run has ended.
        AlreadyRecorded: another row has this index.
        ConflictingRecord: the id is on record with other content.
        ValueRefused: data without canonical form, with the path to the offending value.
    """
    given = contents.of(dict(data), name="data")
    with one_event():
        if keep_data:
            contents.keep(given, at=at)
        row, _new = add(
            Row,
            _values(run_id, source_node_id, row_index, given, at, row_id, keep_data),
            kind="row",
        )
    return row


def create_rows_batch(
    *,
    run_id: str,
    source_node_id: str,
    rows: Iterable[NewRow],
    at: datetime,
    with_tokens: bool = True,
    keep_data: bool = True,
) -> list[tuple[Row, Token | None]]:
    """Record many rows and their first tokens, 500 to a transaction, each all or nothing.

    Inside a transaction of the caller's everything is one. A chunk that was recorded before is
    recognised by its ids.

    Raises:
        NotRecorded, RunMismatch: the source node is not there, or is another run's.
        RunEnded: the run has ended.
        AlreadyRecorded: another row has an index.
        ConflictingRecord: an id is on record with other content.
        ValueRefused: data without canonical form, with the path to the offending value.
    """
    recorded: list[tuple[Row, Token | None]] = []
    stream = iter(rows)
    while chunk := list(islice(stream, CHUNK)):
        given = [contents.of(dict(new.data), name=f"rows[{new.row_index}].data") for new in chunk]
        values = [
            _values(run_id, source_node_id, new.row_index, each, at, new.row_id, keep_data)
            for new, each in zip(chunk, given, strict=True)
        ]
        tokens = [
            {
                "run_id": run_id,
                "token_id": new.token_id or new_id(at),
                "row_id": row["row_id"],
                "created_at": at,
            }
            for new, row in zip(chunk, values, strict=True)
            if with_tokens
        ]
        with transaction.atomic():
            require_running(run_id)
            reading.one(Node, run_id=run_id, key=source_node_id)
            if keep_data:
                contents.keep(*given, at=at)
            made = _add_many(Row, values, kind="row")
            tokens_made = _add_many(Token, tokens, kind="token")
        none: list[Token | None] = [None] * len(made)
        recorded += zip(made, tokens_made or none, strict=True)
    return recorded


def get_row(*, run_id: str, row_id: str) -> Row:
    """One row.

    Raises:
        NotRecorded, RunMismatch: it is not there, or is another run's.
    """
    return reading.one(Row, run_id=run_id, key=row_id)


def get_rows(*, run_id: str, after_index: int | None = None, limit: int = 100) -> list[Row]:
    """A page of rows by index, behind `after_index`; as fast at the end as at the beginning.

    Raises:
        NotRecorded: there is no such run.
        ValueRefused: the limit is not between 1 and 1,000.
    """
    reading.require_run(run_id)
    rows = Row.objects.filter(run_id=run_id)
    return reading.page(rows, order="row_index", after=after_index, limit=limit)


def iter_rows(*, run_id: str) -> Iterator[Row]:
    """Every row by index, with memory for one page.

    Raises:
        NotRecorded: there is no such run.
    """
    reading.require_run(run_id)
    return reading.stream(Row.objects.filter(run_id=run_id), order="row_index")


def get_row_data(*, run_id: str, row_id: str, may_read: bool = True) -> RowData:
    """What became of a row's data, and the data themselves where they are available.

    Raises:
        NotRecorded, RunMismatch: the row is not there, or is another run's.
    """
    row = get_row(run_id=run_id, row_id=row_id)
    kept = blobs.find(ref=row.source_data_ref, content_hash=row.source_data_hash, may_read=may_read)
    if kept.state != PayloadState.AVAILABLE or kept.content is None:
        return RowData(kept=kept)
    return RowData(kept=kept, data=json.loads(kept.content))


def _values(  # noqa: PLR0917  # the columns of a row
    run_id: str,
    source_node_id: str,
    row_index: int,
    given: contents.Contents,
    at: datetime,
    row_id: str | None,
    keep_data: bool,  # noqa: FBT001  # as its caller got it
) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "row_id": row_id or new_id(at),
        "source_node_id": source_node_id,
        "row_index": row_index,
        "source_data_hash": given.hash,
        "source_data_ref": given.ref if keep_data else None,
        "created_at": at,
    }


def _add_many(model: type[M], values: list[dict[str, Any]], *, kind: str) -> list[M]:
    """Add all of them in one statement, or say of the first one why not."""
    if not values:
        return []
    for each in values:
        check(model, each)
    columns = list(values[0])
    typed = ", ".join(f"{name} {column_type(model, name)}" for name in columns)
    names = ", ".join(columns)
    with prepared() as cursor:
        # One parameter, whatever the number of rows: PostgreSQL keeps the statement parsed.
        cursor.execute(
            f"INSERT INTO {model._meta.db_table} ({names}) "  # noqa: S608  # our own names
            f"SELECT {names} FROM json_to_recordset(%s::json) AS t ({typed}) "
            "ON CONFLICT DO NOTHING",
            [json.dumps(values, default=datetime.isoformat)],
        )
        written = cursor.rowcount
    wrote(written)
    if written == len(values):
        return [model(**each) for each in values]
    # Some are there already: as they were told, or as somebody else told them.
    return [explain(model, each, kind=kind) for each in values]
