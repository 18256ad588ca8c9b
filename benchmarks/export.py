"""How fast a run is sealed and exported, beside the bare COPY of the same lines, and verified.

    .venv/bin/python benchmarks/export.py [--rows 100000] [--small 10000] [--keep]

A run of so many rows has twice as many tokens, six times as many visits and calls. Real Celery
workers make its first export, seal included, with one process and with two, then another one.
Everything runs on a PostgreSQL and a Valkey of their own under var/bench-export, durable, thrown
away at the end. Prints one line for each figure and exits 1 where a promise is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var" / "bench-export"
TOLD = VAR / "told"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SEGMENT = 65_536

FILL = """
INSERT INTO runs (run_id, started_at, completed_at, config_hash, settings_json, canonical_version,
                  status)
VALUES (%(run)s, %(noon)s, %(noon)s, repeat('0', 64), '{}', 'sha256-rfc8785-v1', 'completed');
INSERT INTO nodes (run_id, node_id, plugin_name, node_type, plugin_version, determinism,
                   config_hash, config_json, registered_at)
SELECT %(run)s, 'node ' || n, 'place', CASE n WHEN 0 THEN 'source' ELSE 'transform' END, '1',
       'deterministic', repeat('0', 64), '{}', %(noon)s
  FROM generate_series(0, 6) n;
INSERT INTO edges (run_id, edge_id, from_node_id, to_node_id, label, default_mode, created_at)
SELECT %(run)s, 'edge ' || n, 'node ' || n, 'node ' || n + 1, 'on', 'move', %(noon)s
  FROM generate_series(0, 5) n;
INSERT INTO rows (run_id, row_id, source_node_id, row_index, source_data_hash, created_at)
SELECT %(run)s, md5('row' || n), 'node 0', n, encode(sha256(n::text::bytea), 'hex'),
       %(noon)s + n * interval '1.037 ms'
  FROM generate_series(0, %(rows)s - 1) n;
INSERT INTO tokens (run_id, token_id, row_id, branch_name, fork_group_id, created_at)
SELECT run_id, md5(part || row_id), row_id, CASE part WHEN 1 THEN 'left' END,
       CASE part WHEN 1 THEN md5('fork' || row_id) END, created_at
  FROM rows, generate_series(0, 1) part WHERE run_id = %(run)s;
INSERT INTO token_parents (run_id, token_id, parent_token_id, ordinal)
SELECT run_id, md5(1 || row_id), md5(0 || row_id), 0 FROM rows WHERE run_id = %(run)s;
INSERT INTO token_outcomes (run_id, outcome_id, token_id, outcome, is_terminal, recorded_at,
                            sink_name)
SELECT run_id, 'out_' || token_id, token_id, 'completed', true, created_at, 'output'
  FROM tokens WHERE run_id = %(run)s;
INSERT INTO node_states (run_id, state_id, token_id, node_id, step_index, attempt, status,
                         input_hash, output_hash, duration_ms, started_at, completed_at)
SELECT t.run_id, md5(step || t.token_id), t.token_id, 'node ' || step, step, 0, 'completed',
       encode(sha256(t.token_id::bytea), 'hex'), encode(sha256(t.row_id::bytea), 'hex'),
       20.125 + step / 7.0, t.created_at, t.created_at + interval '0.21 ms'
  FROM tokens t, generate_series(1, 3) step WHERE t.run_id = %(run)s;
INSERT INTO calls (run_id, call_id, state_id, call_index, call_type, status, request_hash,
                   request_ref, response_hash, response_ref, latency_ms, created_at)
SELECT run_id, md5('call' || state_id), state_id, 0, 'llm', 'success', input_hash, input_hash,
       output_hash, output_hash, duration_ms * 0.75, started_at
  FROM node_states WHERE run_id = %(run)s;
INSERT INTO routing_events (run_id, event_id, state_id, edge_id, routing_group_id, ordinal, mode,
                            created_at)
SELECT run_id, md5('event' || state_id), state_id, 'edge 1', md5('group' || state_id), 0, 'move',
       started_at
  FROM node_states WHERE run_id = %(run)s AND step_index = 2
 ORDER BY state_id LIMIT %(rows)s / 10
"""


def main() -> int:
    """Measure and print; return 1 if a figure misses its goal."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rows", type=int, default=100_000)
    arguments.add_argument("--small", type=int, default=10_000)
    arguments.add_argument("--keep", action="store_true", help="leave everything in place")
    arguments.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    os.environ["LANDSCAPE_VAR"] = str(VAR)
    os.environ["LANDSCAPE_DEBUG"] = "true"
    os.environ["DJANGO_SETTINGS_MODULE"] = "landscape_site.settings"
    sys.path.insert(0, str(ROOT))
    if asked.worker:
        work(asked.worker)
        return 0
    from landscape_site import services

    if not asked.keep:
        shutil.rmtree(VAR, ignore_errors=True)
    try:
        with services.held(VAR):
            import django

            django.setup()
            from django.core.management import call_command

            call_command("migrate", verbosity=0)
            return measure(asked.rows, asked.small)
    finally:
        if not asked.keep:
            shutil.rmtree(VAR, ignore_errors=True)


def measure(rows: int, small: int) -> int:
    """Every figure, each against its goal."""
    from audit.evidence import seals

    figures = Figures()
    for each in (small, rows):
        fill(f"rows-{each}", each)
    big = f"rows-{rows}"
    copies = [copied(big) for _ in range(2)]
    with workers(1) as worker:
        little = exported(f"rows-{small}", worker)
    with workers(1) as worker:
        first = exported(big, worker)
        again = exported(big, worker)
    sealed = [f"rows-{small}", big]
    root = seals.seals_of(big)[-1].root
    unseal()
    with workers(2) as worker:
        shared = exported(big, worker)
    assert [seals.seals_of(each)[-1].size for each in sealed[1:]] == [first.records]
    assert seals.seals_of(big)[-1].root == root, "another root with two workers"
    copies += [copied(big)]
    copy = sum(copies) / len(copies)
    segments = -(-first.records // SEGMENT)
    figures.say("records of the run", first.records, "")
    figures.say("ordered COPY of the row_to_json lines", copy, "s")
    figures.say("first export, seal included, one worker", first.seconds, "s")
    figures.say("… / COPY", first.seconds / copy, "", at_most=3)
    figures.say("first export, two workers", shared.seconds, "s")
    figures.say("… / one worker", shared.seconds / first.seconds, "", at_most=0.99)
    figures.say("statements of one worker", first.statements, "", at_most=60 + 5 * segments)
    figures.say("… of two, which look what the other does", shared.statements, "")
    figures.say(f"peak memory of the worker, {rows:,} rows", first.peak, "MB", at_most=200)
    figures.say(
        "… / of a fresh one that exported a tenth", first.peak / little.peak, "", at_most=1.1
    )
    figures.say("second export of the sealed run", again.seconds, "s")
    figures.say("… / the first", again.seconds / first.seconds, "", at_most=0.7)
    seconds, peak = verified(again.path)
    figures.say("verify.py", again.records / seconds, "rec/s", at_least=200_000)
    figures.say("peak memory of verify.py", peak, "MB", at_most=60)
    return figures.missed


class Figures:
    """Prints figures and counts those that miss their goal."""

    def __init__(self) -> None:
        self.missed = 0

    def say(self, name: str, value: float, unit: str, **goal: float) -> None:
        """Print one figure."""
        good = goal.get("at_least", 0) <= value <= goal.get("at_most", float("inf"))
        self.missed |= not good
        told = f"{value:,.0f}" if value >= 100 else f"{value:.2f}"  # noqa: PLR2004
        wanted = ", ".join(f"{word.replace('_', ' ')} {limit:g}" for word, limit in goal.items())
        print(f"{name:50} {told:>10} {unit:6} {wanted}{'' if good else '  MISSED'}", flush=True)


def fill(run_id: str, rows: int) -> None:
    """Store a run that has ended; foreign keys are asked for by nobody, which saves minutes."""
    from audit.models import Run

    if Run.objects.filter(run_id=run_id).exists():
        return
    with superuser() as cursor:
        cursor.execute("SET session_replication_role = replica")
        for statement in FILL.split(";"):
            cursor.execute(statement, {"run": run_id, "rows": rows, "noon": NOON})
        cursor.execute("VACUUM ANALYZE")


@contextmanager
def superuser() -> Iterator[Any]:
    """A cursor that may do everything."""
    import psycopg

    from landscape_site import places, postgres

    here = places.Places(VAR)
    login = postgres.CLUSTER_LOGIN
    with psycopg.connect(
        host=str(here.sockets),
        dbname=postgres.DATABASE,
        user=login,
        password=here.password(login).read_text(),
        autocommit=True,
    ) as held:
        yield psycopg.ClientCursor(held)


def unseal() -> None:
    """As if nothing had ever been sealed."""
    with superuser() as cursor:
        for table in ("seal_log", "seal_checks", "seals"):
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER landscape_append_only")
            cursor.execute(f"DELETE FROM {table}")
            cursor.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER landscape_append_only")
    shutil.rmtree(VAR / "seals")


def copied(run_id: str) -> float:
    """Seconds for the lines of a run, as row_to_json writes them, ordered, read by psycopg."""
    import psycopg
    from django.db import connection

    from audit.evidence.records import RECORD_TYPES

    began = time.perf_counter()
    with psycopg.connect(**connection.get_connection_params()) as bare:
        bare.execute("SET statement_timeout = 0")
        for kind in RECORD_TYPES:
            columns = ", ".join(sorted(name for name, _form in kind.columns))
            statement = (
                f"COPY (SELECT row_to_json(x) FROM (SELECT {columns} FROM {kind.table}"
                f" WHERE run_id = '{run_id}' ORDER BY {', '.join(kind.key)}) x) TO STDOUT"
            )
            with bare.cursor().copy(statement) as copy:
                for _line in copy:
                    pass
    return time.perf_counter() - began


class Done:
    """An export that was made, and what it took."""

    def __init__(self, export: Any, told: list[dict[str, Any]]) -> None:
        self.records = export.records_total
        self.seconds = (export.finished_at - export.started_at).total_seconds()
        self.statements = sum(each["statements"] for each in told)
        self.peak = max(each["peak"] for each in told) / 1024
        self.path = VAR / "exports" / "files" / f"{export.file_sha256}.zip"


def exported(run_id: str, worker: subprocess.Popen[bytes]) -> Done:
    """Ask for an export as a page does, wait for it, and tell what its workers said."""
    from audit import exports, tasks
    from audit.models import Export

    TOLD.write_text("")
    job = exports.open_job(
        run_id=run_id, requested_by=1, with_csv=False, with_payloads=False, at=NOON
    )
    tasks.enqueue_export(job.export_id)
    while job.is_live:
        assert worker.poll() is None, "the worker is gone"
        time.sleep(0.2)
        job = Export.objects.get(pk=job.pk)
    assert job.status == "succeeded", job.error_text
    time.sleep(1)  # what workers tell of themselves comes last
    return Done(job, [json.loads(line) for line in TOLD.read_text().splitlines()])


@contextmanager
def workers(count: int) -> Iterator[subprocess.Popen[bytes]]:
    """A Celery worker with so many processes, which tell of themselves in a file."""
    TOLD.write_text("")
    worker = subprocess.Popen(
        [sys.executable, __file__, "--worker", str(count)],
        env=os.environ | {"LANDSCAPE_ROLE": "worker"},
    )
    try:
        yield worker
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait()


def work(count: int) -> None:
    """Be that worker: the one of `manage.py up`, with statements counted."""
    import psycopg
    from celery.signals import task_postrun

    from landscape_site.celery import app

    sent = 0

    def counted(method: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal sent
            sent += 1
            return method(*args, **kwargs)

        return call

    for cursor in (psycopg.Cursor, psycopg.ClientCursor):
        for name in ("execute", "copy"):
            if name in vars(cursor):
                setattr(cursor, name, counted(vars(cursor)[name]))

    @task_postrun.connect(weak=False)
    def tell(**_kwargs: Any) -> None:
        nonlocal sent
        status = Path("/proc/self/status").read_text().split()
        peak = int(status[status.index("VmHWM:") + 1])
        with TOLD.open("a") as file:
            file.write(json.dumps({"statements": sent, "peak": peak, "pid": os.getpid()}) + "\n")
        sent = 0

    arguments = ["worker", "--concurrency", str(count), "--loglevel", "warning"]
    app.worker_main([*arguments, "--without-gossip", "--without-mingle"])


def verified(path: Path) -> tuple[float, float]:
    """Seconds and megabytes of verify.py, run by a Python that has nothing installed."""
    from audit.evidence import signing

    verifier = ROOT / "audit" / "exports" / "verify.py"
    key = str(signing.trusted()[-1])
    # A child counts what its parent held as its own peak: one in between holds nothing.
    between = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], stdout=-3);"
        " print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    bare = [sys.executable, "-I", "-S"]
    began = time.perf_counter()
    told = subprocess.check_output([*bare, "-c", between, *bare, verifier, path, "--key", key])
    seconds = time.perf_counter() - began
    code, peak = map(int, told.split())
    assert code in {0, 3}, f"verify.py says {code}"
    return seconds, peak / 1024


if __name__ == "__main__":
    sys.exit(main())
