"""Why PostgreSQL refused a run: every offending key, found by the rules of the database itself.

The run is loaded once more into temporary tables without rules; then each foreign key, unique
rule and check of the real tables is asked which records it would refuse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection
from psycopg import sql

from audit.imports.shapes import MAX_LISTED, Problem, problem
from audit.recorder import bulk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.db import models

_RULES = """
SELECT k.conname, k.contype::text, pg_get_expr(k.conbin, k.conrelid),
       (SELECT array_agg(a.attname ORDER BY p.place) FROM unnest(k.conkey) WITH ORDINALITY
        p(attnum, place) JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = p.attnum),
       (SELECT array_agg(a.attname ORDER BY p.place) FROM unnest(k.confkey) WITH ORDINALITY
        p(attnum, place) JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = p.attnum),
       (SELECT relname FROM pg_class WHERE oid = k.confrelid),
       coalesce(obj_description(k.oid, 'pg_constraint'), '')
FROM pg_constraint k
WHERE k.conrelid = %(table)s::regclass AND k.contype IN ('p', 'u', 'f', 'c')
UNION ALL
SELECT i.relname, 'u', pg_get_expr(x.indpred, x.indrelid),
       (SELECT array_agg(a.attname ORDER BY p.place) FROM unnest(x.indkey) WITH ORDINALITY
        p(attnum, place) JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = p.attnum),
       NULL, NULL, coalesce(obj_description(i.oid, 'pg_class'), '')
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
WHERE x.indrelid = %(table)s::regclass AND x.indisunique AND NOT EXISTS (
    SELECT 1 FROM pg_constraint k WHERE k.conindid = x.indexrelid)
ORDER BY 1
"""


def offending(staged: Sequence[type[models.Model]]) -> Iterator[Problem]:
    """Every record that a rule of its table would refuse, up to 10,000 a rule."""
    names = {model._meta.db_table for model in staged}
    with connection.cursor() as cursor:
        for model in staged:
            cursor.execute(_RULES, {"table": f'public."{model._meta.db_table}"'})
            for name, kind, expression, columns, to_columns, to_table, why in cursor.fetchall():
                if kind == "f" and to_table not in names:
                    continue
                if kind == "f":
                    statement = _dangling(model, columns, to_table, to_columns)
                elif kind == "c":
                    statement = _refused(model, expression)
                else:
                    statement = _doubled(model, columns, expression)
                own = [column for column in columns if column != "run_id"] or columns
                cursor.execute(statement)
                for key, value in cursor.fetchall():
                    yield _told(
                        model,
                        name=name,
                        kind=kind,
                        key=key,
                        value=value,
                        columns=own,
                        to_table=to_table,
                        why=why,
                    )


def _told(  # noqa: PLR0913  # one sentence with this many parts
    model: type[models.Model],
    *,
    name: str,
    kind: str,
    key: str,
    value: str,
    columns: list[str],
    to_table: str | None,
    why: str,
) -> Problem:
    table = model._meta.db_table
    column = ", ".join(columns)
    code, words = {
        "f": ("DANGLING", f"points to {to_table} {value}, which this run does not have"),
        "p": ("DUPLICATE", f"stands more than once: {value}"),
        "u": ("DUPLICATE", f"has a twin with the same {value}. {why}"),
        "c": ("CHECK", f"holds {value}. {why}"),
    }[kind]
    return problem(
        code=code,
        table=table,
        key=key,
        column=column,
        message=f"{table} {key}: {column} {words.rstrip('. ')} ({name})",
    )


def _values(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL("left(concat_ws(', ', {}), 120)").format(
        sql.SQL(", ").join(sql.Identifier("s", column) for column in columns)
    )


def _dangling(
    model: type[models.Model], columns: list[str], to_table: str, to_columns: list[str]
) -> sql.Composed:
    return sql.SQL(
        "SELECT {key}, {values} FROM {staged} s WHERE {present} AND NOT EXISTS "
        "(SELECT 1 FROM {there} p WHERE {same}) ORDER BY 1 LIMIT {limit}"
    ).format(
        key=bulk.key_text(model, "s"),
        values=_values([column for column in columns if column != "run_id"] or columns),
        staged=bulk.staged_name(model),
        present=sql.SQL(" AND ").join(
            sql.SQL("{} IS NOT NULL").format(sql.Identifier("s", column)) for column in columns
        ),
        there=sql.Identifier("staged_" + to_table),
        same=sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier("s", own), sql.Identifier("p", other))
            for own, other in zip(columns, to_columns, strict=True)
        ),
        limit=sql.Literal(MAX_LISTED),
    )


def _refused(model: type[models.Model], expression: str) -> sql.Composed:
    """Records for which the check is false; PostgreSQL itself printed the expression."""
    checked = [
        field.column
        for field in model._meta.concrete_fields
        if field.column and f"{field.column}" in expression
    ]
    return sql.SQL(
        "SELECT {key}, {values} FROM {staged} s WHERE NOT ({expression}) ORDER BY 1 LIMIT {limit}"
    ).format(
        key=bulk.key_text(model, "s"),
        values=_values(checked),
        staged=bulk.staged_name(model),
        expression=sql.SQL(expression),
        limit=sql.Literal(MAX_LISTED),
    )


def _doubled(model: type[models.Model], columns: list[str], condition: str | None) -> sql.Composed:
    names = sql.SQL(", ").join(sql.Identifier("s", column) for column in columns)
    return sql.SQL(
        "SELECT key, value FROM (SELECT {key} AS key, {values} AS value, "
        "count(*) OVER (PARTITION BY {names}) AS twins FROM {staged} s WHERE {condition}) x "
        "WHERE twins > 1 ORDER BY 1 LIMIT {limit}"
    ).format(
        key=bulk.key_text(model, "s"),
        values=_values([column for column in columns if column != "run_id"] or columns),
        names=names,
        staged=bulk.staged_name(model),
        # Nulls are never twins; PostgreSQL itself printed the condition.
        condition=sql.SQL(condition or "true"),
        limit=sql.Literal(MAX_LISTED),
    )
