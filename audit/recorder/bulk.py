"""Whole runs at once: COPY into the trail, and a run that was still going when last seen.

Records come as tuples in the order of the columns named, text for text: nothing is parsed or
rewritten on the way, so what is stored is what was in the source.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from django.db import connection
from psycopg import sql

from audit.models import Batch, Checkpoint, NodeState, Operation, Run
from audit.recorder.guards import AFTER_THE_END, MUTABLE_COLUMNS
from audit.vocabulary import BatchStatus, NodeStateStatus, OperationStatus, RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from django.db import models

    from audit.postgresql.base import DatabaseWrapper

# A stored record in one of these states may move on; any other is final.
OPEN_STATES: dict[type[models.Model], tuple[str, ...]] = {
    Run: (RunStatus.RUNNING, RunStatus.FAILED, RunStatus.INTERRUPTED),
    NodeState: (NodeStateStatus.OPEN, NodeStateStatus.PENDING),
    Batch: (BatchStatus.DRAFT, BatchStatus.EXECUTING),
    Operation: (OperationStatus.OPEN, OperationStatus.PENDING),
}
# A step that the file took between two imports; the guards want to see it.
_STEPS_BETWEEN: dict[type[models.Model], str] = {
    # It was resumed.
    Run: "UPDATE {table} m SET status = 'running', "
    "completed_at = CASE WHEN s.status = 'running' THEN s.completed_at END FROM {staged} s "
    "WHERE {same} AND m.status IN ('failed', 'interrupted') "
    "AND ROW(m.status, m.completed_at) IS DISTINCT FROM ROW(s.status, s.completed_at)",
    Batch: "UPDATE {table} m SET status = 'executing' FROM {staged} s "
    "WHERE {same} AND m.status = 'draft' AND s.status = 'completed'",
}
_MAX_LISTED = 1_000
_MINUTES = 10


@dataclass(frozen=True)
class Contradiction:
    """A record on file and the same record on record do not go together."""

    table: str
    key: str
    message: str


def copy_records(
    model: type[models.Model], columns: Sequence[str], records: Iterable[Sequence[object]]
) -> int:
    """COPY records into a table of the trail and return how many there were.

    Memory does not grow with their number. Errors of PostgreSQL come out as Django's
    IntegrityError or DataError and leave the transaction aborted.
    """
    return _copy(sql.Identifier(model._meta.db_table), columns, records)


def stage_records(
    model: type[models.Model], columns: Sequence[str], records: Iterable[Sequence[object]]
) -> int:
    """COPY records into a temporary table without any rule, for comparison or diagnosis.

    The table lives until the transaction ends.
    """
    staged = staged_name(model)
    with connection.cursor() as cursor:
        # The caller's transaction may have staged before.
        cursor.execute(sql.SQL("DROP TABLE IF EXISTS pg_temp.{}").format(staged))
        cursor.execute(
            sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT * FROM {} LIMIT 0").format(
                staged, sql.Identifier(model._meta.db_table)
            )
        )
    count = _copy(staged, columns, records)
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("ANALYZE {}").format(staged))
    return count


def staged_name(model: type[models.Model]) -> sql.Identifier:
    """The temporary table that `stage_records` fills."""
    return sql.Identifier("staged_" + model._meta.db_table)


def _copy(
    table: sql.Identifier, columns: Sequence[str], records: Iterable[Sequence[object]]
) -> int:
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        table, sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    count = 0
    # Django's cursor turns psycopg's errors into its own on this way too.
    with (
        connection.cursor() as cursor,
        connection.wrap_database_errors,
        cursor.copy(statement) as copy,
    ):
        write_row = copy.write_row
        for record in records:
            write_row(record)
            count += 1
    return count


def contradictions(staged: Sequence[type[models.Model]], *, run_id: str) -> list[Contradiction]:
    """What keeps the staged run from being the stored one, grown.

    Stored records must be in the file and equal, except that open ones may have moved on; a run
    that has ended takes no new ones. At most 1,000 of a kind are listed. Reads each table once.
    """
    found: list[Contradiction] = []
    with connection.cursor() as cursor:
        growing = Run.objects.filter(run_id=run_id, status__in=OPEN_STATES[Run]).exists()
        for model in staged:
            # The original deletes a run's checkpoints when it completes.
            if model is not Checkpoint:
                cursor.execute(_gone(model), {"run": run_id})
                found += _told(model, cursor.fetchall(), "is on record but not in the file")
            cursor.execute(_changed(model), {"run": run_id})
            found += _told(model, cursor.fetchall(), "differs from what is on record")
            if not growing:
                cursor.execute(_new(model), {"run": run_id})
                found += _told(model, cursor.fetchall(), "is new, but the run on record has ended")
    return found


def extend_run(staged: Sequence[type[models.Model]], *, run_id: str) -> dict[str, int]:
    """Let the stored run become the staged one; return added and moved-on records by table.

    Call `contradictions` first: only where it is empty does this keep what is on record.
    """
    added: dict[str, int] = {}
    with connection.cursor() as cursor:
        for model in staged:
            table, name = sql.Identifier(model._meta.db_table), model._meta.db_table
            count = 0
            if columns := MUTABLE_COLUMNS.get(model):
                if model in _STEPS_BETWEEN:
                    cursor.execute(
                        sql.SQL(_STEPS_BETWEEN[model]).format(
                            table=table, staged=staged_name(model), same=_same_key(model)
                        ),
                        {"run": run_id},
                    )
                    count = cursor.rowcount
                cursor.execute(
                    sql.SQL(
                        "UPDATE {table} m SET {assignments} FROM {staged} s "
                        "WHERE {same} AND ({old}) IS DISTINCT FROM ({new})"
                    ).format(
                        table=table,
                        staged=staged_name(model),
                        same=_same_key(model),
                        assignments=sql.SQL(", ").join(
                            sql.SQL("{0} = s.{0}").format(sql.Identifier(column))
                            for column in columns
                        ),
                        old=_row("m", columns),
                        new=_row("s", columns),
                    ),
                    {"run": run_id},
                )
                # Some of these took the step between as well.
                count = max(count, cursor.rowcount)
            names = _columns(model)
            cursor.execute(
                sql.SQL(
                    "INSERT INTO {table} ({columns}) SELECT {values} FROM {staged} s "
                    "WHERE NOT EXISTS (SELECT 1 FROM {table} m WHERE {same})"
                ).format(
                    table=table,
                    columns=sql.SQL(", ").join(sql.Identifier(column) for column in names),
                    values=sql.SQL(", ").join(sql.Identifier("s", column) for column in names),
                    staged=staged_name(model),
                    same=_same_key(model),
                ),
                {"run": run_id},
            )
            count += cursor.rowcount
            if count:
                added[name] = count
    return added


def without_time_limits() -> None:
    """Let this transaction take as long as it takes: a big run is loaded in minutes."""
    with connection.cursor() as cursor:
        for setting in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            cursor.execute(f"SET LOCAL {setting} = 0")
    cast("DatabaseWrapper", connection).be_patient()


def allow_minutes() -> None:
    """Let statements of this transaction take ten minutes: they look at a whole run."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = %s", [f"{_MINUTES * 60}s"])
    cast("DatabaseWrapper", connection).be_patient(_MINUTES * 60 + 1)


@contextlib.contextmanager
def planned_for_scans() -> Iterator[None]:
    """Plan what follows for whole runs; needs a transaction.

    What was just loaded is not analysed yet: PostgreSQL believes it small and would join it by
    nested loops, 540 s instead of 1 s for a million records.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '64MB'")
        cursor.execute("SET LOCAL enable_nestloop = off")
        yield
        cursor.execute("SET LOCAL enable_nestloop = on")
        cursor.execute("SET LOCAL work_mem = DEFAULT")


def infer_artifact_members(*, run_id: str) -> None:
    """Link the artifacts of a run to every token of their write.

    One sink write gives every token's state the same duration, to the last bit, so the states
    that share sink and duration with the producing state are the write (domain rule of the
    original's engine). Links other than the recorded one are marked as inferred. Where two
    artifacts share sink and duration, only the recorded link is kept.
    """
    with connection.cursor() as cursor:
        cursor.execute(_INFER, {"run": run_id})


_INFER = """
WITH writes AS MATERIALIZED (
    SELECT a.artifact_id, a.sink_node_id, s.duration_ms, s.state_id, s.token_id,
           count(*) OVER (PARTITION BY a.sink_node_id, s.duration_ms) AS claims
    FROM artifacts a
    JOIN node_states s ON s.run_id = a.run_id AND s.state_id = a.produced_by_state_id
    WHERE a.run_id = %(run)s
), members AS (
    SELECT DISTINCT ON (w.artifact_id, m.token_id)
           w.artifact_id, m.token_id, m.state_id, m.state_id <> w.state_id AS inferred
    FROM writes w
    JOIN node_states m ON m.run_id = %(run)s AND m.node_id = w.sink_node_id
         AND ((m.status = 'completed' AND m.duration_ms = w.duration_ms AND w.claims = 1)
              OR m.state_id = w.state_id)
    ORDER BY w.artifact_id, m.token_id, m.state_id <> w.state_id
)
INSERT INTO artifact_members (run_id, artifact_id, token_id, state_id, ordinal, inferred)
SELECT %(run)s, x.artifact_id, x.token_id, x.state_id,
       row_number() OVER (PARTITION BY x.artifact_id ORDER BY r.row_index, t.created_at, x.token_id)
       - 1, x.inferred
FROM members x
JOIN tokens t ON t.run_id = %(run)s AND t.token_id = x.token_id
JOIN rows r ON r.run_id = %(run)s AND r.row_id = t.row_id
WHERE NOT EXISTS (SELECT 1 FROM artifact_members k
                  WHERE k.run_id = %(run)s AND k.artifact_id = x.artifact_id)
"""


def _columns(model: type[models.Model]) -> list[str]:
    return [str(field.column) for field in model._meta.concrete_fields]


def _key(model: type[models.Model]) -> tuple[str, ...]:
    return tuple(getattr(model._meta.pk, "field_names", ())) or (str(model._meta.pk.name),)


def _same_key(model: type[models.Model]) -> sql.Composed:
    parts = [
        sql.SQL("m.{0} = s.{0}").format(sql.Identifier(part))
        for part in _key(model)
        if part != "run_id"
    ]
    return sql.SQL(" AND ").join([sql.SQL("m.run_id = %(run)s"), *parts])


def key_text(model: type[models.Model], alias: str) -> sql.Composed:
    """A record's own key as text, parts joined by a comma; the run is left out."""
    parts = [part for part in _key(model) if part != "run_id"] or ["run_id"]
    return sql.SQL("concat_ws(',', {})").format(
        sql.SQL(", ").join(sql.Identifier(alias, part) for part in parts)
    )


def _row(alias: str, columns: Sequence[str]) -> sql.Composed:
    return sql.SQL("ROW({})").format(
        sql.SQL(", ").join(sql.Identifier(alias, column) for column in columns)
    )


def _gone(model: type[models.Model]) -> sql.Composed:
    return sql.SQL(
        "SELECT {key} FROM {table} m WHERE m.run_id = %(run)s AND NOT EXISTS "
        "(SELECT 1 FROM {staged} s WHERE {same}) ORDER BY 1 LIMIT {limit}"
    ).format(
        key=key_text(model, "m"),
        table=sql.Identifier(model._meta.db_table),
        staged=staged_name(model),
        same=_same_key(model),
        limit=sql.Literal(_MAX_LISTED),
    )


def _changed(model: type[models.Model]) -> sql.Composed:
    """Records that differ in what must stay, or in what may move when theirs is already final."""
    every = _columns(model)
    mutable = MUTABLE_COLUMNS.get(model, ())
    fixed = [column for column in every if column not in mutable]
    condition = sql.SQL("{} IS DISTINCT FROM {}").format(_row("m", fixed), _row("s", fixed))
    if mutable:
        late = AFTER_THE_END.get(model, ())
        final = [column for column in mutable if column not in late]
        condition = sql.SQL(
            "{fixed} OR (m.status <> ALL({open}) AND {old} IS DISTINCT FROM {new})"
        ).format(
            fixed=condition,
            open=sql.Literal(list(OPEN_STATES[model])),
            old=_row("m", final),
            new=_row("s", final),
        )
    return sql.SQL(
        "SELECT {key} FROM {table} m JOIN {staged} s ON {same} WHERE {condition} "
        "ORDER BY 1 LIMIT {limit}"
    ).format(
        key=key_text(model, "m"),
        table=sql.Identifier(model._meta.db_table),
        staged=staged_name(model),
        same=_same_key(model),
        condition=condition,
        limit=sql.Literal(_MAX_LISTED),
    )


def _new(model: type[models.Model]) -> sql.Composed:
    return sql.SQL(
        "SELECT {key} FROM {staged} s WHERE NOT EXISTS "
        "(SELECT 1 FROM {table} m WHERE {same}) ORDER BY 1 LIMIT {limit}"
    ).format(
        key=key_text(model, "s"),
        table=sql.Identifier(model._meta.db_table),
        staged=staged_name(model),
        same=_same_key(model),
        limit=sql.Literal(_MAX_LISTED),
    )


def _told(
    model: type[models.Model], rows: Iterable[tuple[str]], message: str
) -> list[Contradiction]:
    table = model._meta.db_table
    return [Contradiction(table, key, f"{table} {key} {message}") for (key,) in rows]
