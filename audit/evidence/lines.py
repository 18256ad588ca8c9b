"""Canonical lines of a run: written by PostgreSQL through COPY, finished here where they must be.

A line is one record as RFC 8785 writes it. PostgreSQL's `row_to_json` over columns in ASCII order
gives the very bytes, save for some doubles: it writes -0, and below 1e-4 and from 1e15 on it
uses other forms. Such a line comes marked and is written anew in Python; so does one with a time
outside the years 1 to 9999, which has no form at all. Memory does not grow with the run.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Any, cast

import rfc8785
from django.db import connection, transaction
from psycopg import sql

from audit.errors import CannotBeSealed
from audit.evidence.records import RECORD_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from audit.evidence.records import RecordType
    from audit.postgresql.base import DatabaseWrapper

_MARK = ord("!")
_TIME = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
_TIME_LENGTH = 27

_SESSION = {
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "jit": "off",
    # A big run takes minutes, and nothing waits for a reader.
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}


@contextmanager
def snapshot(*, of: str = "") -> Iterator[None]:
    """A transaction in which the database holds still, and prints numbers and times our way.

    `of` names what another session shares: then both see the same, for as long as that one lasts.

    Raises:
        RuntimeError: another transaction is going on; its snapshot would not be ours.
        DatabaseError: nobody shares this snapshot any more.
    """
    begin = ["SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"]
    if of:
        begin.append(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(of).as_string())
    begin += [f"SET LOCAL {name} = '{value}'" for name, value in _SESSION.items()]
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("; ".join(begin))
        cast("DatabaseWrapper", connection).be_patient()
        yield


def share_snapshot() -> str:
    """The name under which other sessions can see what this transaction sees, until it ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_export_snapshot()")
        return str(cursor.fetchone()[0])


def count_records(run_id: str) -> dict[str, int]:
    """How many records of each type the run has, in one statement."""
    counts = sql.SQL(", ").join(
        sql.SQL("(SELECT count(*) FROM {} WHERE run_id = %(run)s)").format(
            sql.Identifier(kind.table)
        )
        for kind in RECORD_TYPES
    )
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT {}").format(counts), {"run": run_id})
        return dict(zip((kind.name for kind in RECORD_TYPES), cursor.fetchone(), strict=True))


def lines(
    kind: RecordType,
    run_id: str,
    *,
    where: Mapping[str, object] | None = None,
    between: tuple[Sequence[object] | None, Sequence[object] | None] = (None, None),
    strict: bool = False,
) -> Iterator[bytes]:
    """The records of one type in leaf order, each a line with its end; one statement.

    To be read to its end, inside `snapshot`. `where` narrows it to the record with this key,
    `between` to those from one key up to, not including, another. A time without a form comes as
    PostgreSQL writes it, unlike anything that was ever sealed.

    Raises:
        CannotBeSealed: there is such a time, and `strict` was asked for.
    """
    doubles = kind.of_type("double")
    # In the statement, not beside it: the cursor that Django wraps for debugging takes no values.
    statement = _statement(kind, run_id, _narrowed(kind, where or {}, between))
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for data in copy:
            line = bytes(data)
            if line[0] == _MARK:
                line = _finished(line[1:], doubles)
                if strict:
                    _require_times(kind, line)
            yield line


def keys_at(kind: RecordType, run_id: str, places: Sequence[int]) -> list[list[Any]]:
    """The keys of the records at these places, which lie at equal distances; one statement.

    Places that are not there are left out.
    """
    distance = places[1] - places[0] if len(places) > 1 else 0
    statement = sql.SQL(
        "SELECT {key} FROM (SELECT {key}, row_number() OVER (ORDER BY {key}) - 1 AS place "
        "FROM {table} WHERE run_id = {run}) x "
        "WHERE place >= {first} AND CASE {distance} WHEN 0 THEN place = {first} "
        "ELSE (place - {first}) % nullif({distance}, 0) = 0 END AND place <= {last} ORDER BY place"
    ).format(
        key=sql.SQL(", ").join(map(sql.Identifier, kind.key)),
        table=sql.Identifier(kind.table),
        run=sql.Literal(run_id),
        first=sql.Literal(places[0]),
        last=sql.Literal(places[-1]),
        distance=sql.Literal(distance),
    )
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return [list(key) for key in cursor.fetchall()]


def _narrowed(
    kind: RecordType,
    where: Mapping[str, object],
    between: tuple[Sequence[object] | None, Sequence[object] | None],
) -> sql.Composed:
    conditions: list[sql.Composable] = [
        sql.SQL(" AND {} = {}").format(sql.Identifier("t", name), sql.Literal(value))
        for name, value in where.items()
    ]
    key = sql.SQL(", ").join(sql.Identifier("t", name) for name in kind.key)
    for sign, bound in zip((">=", "<"), between, strict=True):
        if bound is not None:
            value = sql.SQL(", ").join(map(sql.Literal, bound))
            conditions.append(sql.SQL(" AND ({}) {} ({})").format(key, sql.SQL(sign), value))
    return sql.SQL("").join(conditions)


def _require_times(kind: RecordType, line: bytes) -> None:
    record = json.loads(line)
    for name in kind.of_type("timestamp"):
        value = record[name]
        if value is not None and len(value) != _TIME_LENGTH:
            raise CannotBeSealed(
                record["run_id"],
                f"{kind.name} {key_text(kind, record)} has {name} {value}, "
                "outside the years 1 to 9999",
            )


def line_of(kind: RecordType, record: Mapping[str, Any]) -> bytes:
    """One record as a line with its end, by the same rules, in Python alone."""
    written = {"record_type": kind.name}
    for name, form in kind.columns:
        written[name] = _written(record[name], form)
    return rfc8785.dumps(written) + b"\n"


def key_of(kind: RecordType, record: Mapping[str, Any]) -> tuple[Any, ...]:
    """What orders a parsed record among those of its type: text by bytes, numbers as numbers."""
    numbers = kind.of_type("integer", "int64")
    return tuple(int(record[name]) if name in numbers else record[name] for name in kind.key)


def key_text(kind: RecordType, record: Mapping[str, Any]) -> str:
    """The same in words, for people: the parts with a slash between them."""
    return "/".join(str(record[name]) for name in kind.key)


def _written(value: Any, form: str) -> Any:
    if value is None:
        return None
    if form == "timestamp" and not isinstance(value, str):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    if form == "int64":
        return str(value)
    if form == "double":
        return _double(value)
    return value


def _double(value: Any) -> Any:
    """A double as the format has it: not finite ones are text, and there is one zero."""
    number = float(value)
    if number != number:  # noqa: PLR0124  # NaN is not itself
        return "NaN"
    if number in {float("inf"), float("-inf")}:
        return "Infinity" if number > 0 else "-Infinity"
    return number + 0.0


def _finished(line: bytes, doubles: Sequence[str]) -> bytes:
    """A marked line, its doubles as ECMAScript writes them."""
    record = json.loads(line)
    for name in doubles:
        if record[name] is not None:
            record[name] = _double(record[name])
    return rfc8785.dumps(record) + b"\n"


def _statement(kind: RecordType, run_id: str, narrowed: sql.Composable) -> sql.Composed:
    columns: dict[str, sql.Composable] = {
        "record_type": sql.SQL("{}::text").format(sql.Literal(kind.name))
    }
    for name, form in kind.columns:
        columns[name] = _column(name, form)
    # Table-qualified: the column of that name in the result may be text.
    order = sql.SQL(", ").join(sql.Identifier("t", name) for name in kind.key)
    plain = [each for name, form in kind.columns if (each := _is_plain(name, form)) is not None]
    return sql.SQL(
        "COPY (SELECT CASE WHEN {plain} THEN row_to_json(x)::text "
        "ELSE '!' || row_to_json(x)::text END "
        "FROM (SELECT {columns} FROM {table} t WHERE t.run_id = {run}{narrowed} "
        "ORDER BY {order}) x) TO STDOUT (FORMAT csv, QUOTE e'\\x01', DELIMITER e'\\x02')"
    ).format(
        plain=sql.SQL(" AND ").join([*plain, sql.SQL("true")]),
        columns=sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(columns[name], sql.Identifier(name))
            for name in sorted(columns)
        ),
        table=sql.Identifier(kind.table),
        run=sql.Literal(run_id),
        narrowed=narrowed,
        order=order,
    )


def _column(name: str, form: str) -> sql.Composable:
    column = sql.Identifier("t", name)
    if form == "timestamp":
        return sql.SQL(
            "CASE WHEN {0} >= '0001-01-01 00:00:00+00' AND {0} < '10000-01-01 00:00:00+00' "
            "THEN to_char({0} AT TIME ZONE 'UTC', {1}) ELSE {0}::text END"
        ).format(column, sql.Literal(_TIME))
    if form == "int64":
        return sql.SQL("{}::text").format(column)
    if form == "double":
        return sql.SQL("{} + 0.0").format(column)  # of two zeros, the one without sign
    return column


def _is_plain(name: str, form: str) -> sql.Composable | None:
    """That PostgreSQL's own form of this column is the right one."""
    column = sql.Identifier("x", name)
    if form == "double":
        return sql.SQL("coalesce({0} = 0 OR (abs({0}) >= 1e-4 AND abs({0}) < 1e15), true)").format(
            column
        )
    if form == "timestamp":
        return sql.SQL("coalesce(right({}, 1) = 'Z', true)").format(column)
    return None
