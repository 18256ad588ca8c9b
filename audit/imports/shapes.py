"""What PostgreSQL would take too kindly or refuse without a key, looked for in the file itself.

PostgreSQL reads “yes” as true and “yesterday” as a time, and SQLite keeps whatever it is given
in any column. So the kind of every value is checked where it lies, by SQLite, at its speed.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from django.db import models

from audit.errors import RunRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from audit.imports.mapping import Table
    from audit.imports.reading import Source

Problem = dict[str, str]

MAX_LISTED = 10_000
_INT_RANGE = {
    "IntegerField": (-(2**31), 2**31 - 1),
    "BigIntegerField": (-(2**63), 2**63 - 1),
}


def problem(*, code: str, table: str, key: str, column: str, message: str) -> Problem:
    """One reason to refuse a run, in the form in which reports list it."""
    return {"code": code, "table": table, "key": key, "column": column, "message": message}


def check(table: Table, *, run_id: str) -> None:
    """Refuse a run in which a value is not of its column's kind.

    One pass over the table; a second one, only when something is wrong, lists the keys.

    Raises:
        RunRefused: with table, key and column of every such value.
    """
    wrong = {str(field.column): _wrong_kind(field) for field in _checked(table)}
    anything = " OR ".join(f"({condition})" for condition in wrong.values())
    # Unreadable text makes SQLite itself fail here or in the copy; `unreadable` says where.
    found = table.source.query(
        f'SELECT EXISTS (SELECT 1 FROM "{table.name}" WHERE ({table.of_run()}) AND ({anything}))',
        run=run_id,
    ).fetchone()[0]
    if found:
        raise RunRefused(run_id, list(_listed(table, wrong, run_id=run_id, code="WRONG_TYPE")))


def misfits(table: Table, *, run_id: str) -> Iterator[Problem]:
    """What only a refusal makes worth looking for: NUL, text and numbers out of bounds."""
    conditions = {}
    for field in _checked(table):
        column = f'"{field.column}"'
        if isinstance(field, models.CharField | models.TextField):
            wrong = f"instr(CAST({column} AS BLOB), x'00') > 0"
            if field.max_length:
                wrong += f" OR length({column}) > {int(field.max_length)}"
            conditions[str(field.column)] = wrong
        elif bounds := _INT_RANGE.get(type(field).__name__):
            conditions[str(field.column)] = f"{column} NOT BETWEEN {bounds[0]} AND {bounds[1]}"
    yield from _listed(table, conditions, run_id=run_id, code="OUT_OF_BOUNDS")


def unreadable(source: Source, table: Table) -> Iterator[Problem]:
    """Values that SQLite cannot hand out: not UTF-8, or too large. Slow: a last resort."""
    key_sql = table.key_sql
    for (rowid,) in source.query(f'SELECT rowid FROM "{table.name}"').fetchall():
        for column in table.columns:
            if column not in source.tables[table.name]:
                continue
            try:
                source.query(
                    f'SELECT "{column}" FROM "{table.name}" WHERE rowid = :id', id=rowid
                ).fetchone()
            except (sqlite3.Error, UnicodeDecodeError) as error:
                yield problem(
                    code="UNREADABLE",
                    table=table.name,
                    key=_key_at(source, table.name, key_sql, rowid),
                    column=column,
                    message=(
                        f"{table.name}.{column} holds a value that cannot be read: {error!s:.120}"
                    ),
                )


def _key_at(source: Source, name: str, key_sql: str, rowid: int) -> str:
    try:
        return str(
            source.query(f'SELECT {key_sql} FROM "{name}" WHERE rowid = :id', id=rowid).fetchone()[
                0
            ]
        )
    except (sqlite3.Error, UnicodeDecodeError):
        return f"rowid {rowid}"


def _checked(table: Table) -> list[models.Field[object, object]]:
    return [field for field in table.fields if field.column != "run_id" or table.has_run_id]


def _wrong_kind(field: models.Field[object, object]) -> str:
    """A condition that holds where the value is not of the field's kind."""
    column = f'"{field.column}"'
    if isinstance(field, models.DateTimeField):
        wrong = f"{_not_an_instant(column)}"
    elif isinstance(field, models.BooleanField):
        wrong = f"typeof({column}) <> 'integer' OR {column} NOT IN (0, 1)"
    elif isinstance(field, models.IntegerField):
        wrong = f"typeof({column}) <> 'integer'"
    elif isinstance(field, models.FloatField):
        wrong = (
            f"typeof({column}) NOT IN ('real', 'integer') OR abs({column}) > 1.7976931348623157e308"
        )
    else:
        wrong = f"typeof({column}) <> 'text'"
    if field.null:
        return f"{column} IS NOT NULL AND ({wrong})"
    return f"{column} IS NULL OR {wrong}"


def _not_an_instant(column: str) -> str:
    """Not `YYYY-MM-DD HH:MM:SS[.ffffff][Z|±HH:MM]`, or a day or hour that does not exist."""
    head = f"substr({column}, 1, 19)"
    tail = f"substr({column}, 20)"
    six = "." + "[0-9]" * 6
    zone = "[+-][0-1][0-9]:[0-5][0-9]"
    tails = " OR ".join(
        [f"{tail} IN ('', 'Z')"]
        + [f"{tail} GLOB '{pattern}'" for pattern in (six, f"{six}Z", zone, six + zone)]
    )
    return (
        f"typeof({column}) <> 'text' OR NOT ({tails})"
        # The modifier makes SQLite count: without it, 30 February passes.
        f" OR datetime({head}, '+0 days') IS NOT replace({head}, 'T', ' ')"
    )


def _listed(
    table: Table, conditions: dict[str, str], *, run_id: str, code: str
) -> Iterator[Problem]:
    for column, condition in conditions.items():
        where = f"({table.of_run()}) AND ({condition})"
        found = table.source.query(
            f'SELECT {table.key_sql}, substr(CAST("{column}" AS TEXT), 1, 60), typeof("{column}") '
            f'FROM "{table.name}" WHERE {where} LIMIT {MAX_LISTED}',
            run=run_id,
        )
        for key, value, kind in found:
            yield problem(
                code=code,
                table=table.name,
                key=str(key),
                column=column,
                message=(
                    f"{table.name} {key}: column {column} holds {kind} {value!r}, which is not "
                    f"{_wanted(table, column)}"
                ),
            )


def _wanted(table: Table, column: str) -> str:
    field = next(field for field in table.fields if field.column == column)
    nullable = " or nothing" if field.null else ""
    if isinstance(field, models.DateTimeField):
        return f"a time such as 2026-01-27 12:00:00.000000{nullable}"
    if isinstance(field, models.BooleanField):
        return "0 or 1"
    if isinstance(field, models.IntegerField):
        return f"an integer in range{nullable}"
    if isinstance(field, models.FloatField):
        return f"a finite number{nullable}"
    longest = f" of at most {field.max_length} characters" if field.max_length else ""
    return f"text{longest} without NUL{nullable}"
