"""The only writer of `run_summaries` and `run_journeys`: what would need a scan, counted once."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Left

from audit import error_classes, traffic
from audit.errors import NotRecorded
from audit.models import SUMMARY_VERSION, Import, Run, RunSummary
from audit.summaries import journeys, ledger
from audit.summaries.facts import UNACCOUNTED, told
from audit.vocabulary import RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from django.db.backends.utils import CursorWrapper
    from django.db.models import QuerySet

    from audit.postgresql.base import DatabaseWrapper

# Two never count one run at once.
_TURN = "hashtextextended('summary ' || %s, 0)"
_LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")

_COUNTS = """
SELECT (SELECT count(*) FROM rows WHERE run_id = %(run)s),
       (SELECT count(*) FROM tokens WHERE run_id = %(run)s),
       (SELECT count(*) FROM calls WHERE run_id = %(run)s),
       (SELECT count(*) FROM validation_errors WHERE run_id = %(run)s)
"""

_OUTCOMES = "SELECT outcome, count(*) FROM told_tokens GROUP BY outcome ORDER BY outcome"

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
# Settings of any ordinary size, and a name that is one.
_SETTINGS_READ = 1_000_000
_LONGEST_NAME = 120


@transaction.atomic
def refresh(*, run_id: str, at: datetime) -> None:
    """Count the run and keep the figures, in place of earlier ones; joins the transaction.

    Scans the run a few times; memory does not grow with it. Two at once take turns.

    Raises:
        NotRecorded: there is no such run.
    """
    run = Run.objects.filter(run_id=run_id).only("run_id", "status", "completed_at").first()
    if run is None:
        raise NotRecorded("run", run_id)
    asked = {"run": run_id}
    with _scanning() as cursor:
        cursor.execute(f"SELECT pg_advisory_xact_lock({_TURN})", [run_id])
        cursor.execute(_COUNTS, asked)
        rows, tokens, calls, errors = cursor.fetchone()
        cursor.execute(_NODES, asked)
        nodes = {node_id: list(figures) for node_id, *figures in cursor.fetchall()}
        cursor.execute(_PIPELINE, asked)
        pipeline = _named(run_id, _in_words(cursor.fetchall()))
        with told(cursor, run_id=run_id, status=run.status):
            cursor.execute(_OUTCOMES)
            outcomes = dict(cursor.fetchall())
            account = ledger.take(cursor, run_id=run_id)
            paths = journeys.keep(cursor, run_id=run_id)
        graph = traffic.measure(run_id=run_id)
        mishaps = error_classes.count(run_id=run_id)
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
            "ledger_json": json.dumps(account),
            "graph_json": json.dumps(graph),
            "errors_json": error_classes.kept(mishaps),
            "journeys": paths.journeys,
            "rows_alone": paths.alone,
            "unaccounted": account["rows_out"].get(UNACCOUNTED, 0),
            "unconfirmed": account["unconfirmed"],
            "run_status": run.status,
            "run_completed_at": run.completed_at,
            "version": SUMMARY_VERSION,
            "computed_at": at,
        },
    )


def due(*, limit: int | None) -> list[str]:
    """Runs that ended and were not counted since, the oldest first.

    An imported run that says running has ended as far as anybody here can know.
    """
    waiting = _waiting().order_by(F("completed_at"), "run_id")
    return list(waiting.values_list("run_id", flat=True)[:limit])


@transaction.atomic
def refresh_if_due(*, run_id: str, at: datetime) -> bool:
    """Count the run unless it is not due, or somebody is at it.

    Bells ring more than once: the second finds nothing to do.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_try_advisory_xact_lock({_TURN})", [run_id])
        (mine,) = cursor.fetchone()
    if not mine or not _waiting().filter(run_id=run_id).exists():
        return False
    refresh(run_id=run_id, at=at)
    return True


def _waiting() -> QuerySet[Run]:
    current = RunSummary.objects.current().filter(run_id=OuterRef("run_id"))
    origin = Import.objects.filter(run_id=OuterRef("run_id"))
    ended = ~Q(status=RunStatus.RUNNING) | Q(Exists(origin))
    return Run.objects.filter(ended, ~Exists(current))


@contextmanager
def _scanning() -> Iterator[CursorWrapper]:
    """A cursor for questions to whole runs: no time limit, no nested loops, no walks by index.

    What was just loaded is not analysed: PostgreSQL would believe it small. What the caller's
    transaction had set is put back.
    """
    wanted = {
        "enable_nestloop": "off",
        # Row by row along an index the whole table is read at random: bitmaps read it in order.
        "enable_indexscan": "off",
        "work_mem": "64MB",
        "jit": "off",
    }
    wanted |= dict.fromkeys(_LIMITS, "0")
    with connection.cursor() as cursor:
        cast("DatabaseWrapper", connection).be_patient()
        before = {}
        for name, value in wanted.items():
            cursor.execute(
                "SELECT current_setting(%s), set_config(%s, %s, true)", [name, name, value]
            )
            before[name] = cursor.fetchone()[0]
        yield cursor
        for name, value in before.items():
            cursor.execute("SELECT set_config(%s, %s, true)", [name, value])


def _named(run_id: str, chain: str) -> str:
    """The name that the settings give the pipeline on a line above the chain of its nodes."""
    settings = (
        Run.objects.filter(run_id=run_id)
        .annotate(settings=Left("settings_json", _SETTINGS_READ))
        .values_list("settings", flat=True)
        .get()
    )
    try:
        told = json.loads(settings)
    except (ValueError, RecursionError):
        return chain
    name = told.get("pipeline") if isinstance(told, dict) else None
    name = " ".join(name.split()) if isinstance(name, str) else ""
    if not name or "\0" in name:
        return chain
    return f"{name[:_LONGEST_NAME]}\n{chain}"


def _in_words(nodes: list[tuple[str, str]]) -> str:
    sources = [name for kind, name in nodes if kind == "source"]
    steps = [name for kind, name in nodes if kind not in ("source", "sink")]
    sinks = [name for kind, name in nodes if kind == "sink"]
    if len(steps) > _MAX_STEPS:
        steps = [*steps[:_MAX_STEPS], f"{len(steps) - _MAX_STEPS} more"]
    parts = [", ".join(sources), *steps, ", ".join(sinks)]
    return " ".join(" → ".join(part for part in parts if part).split())
