"""How fast the recorder records, beside what bare prepared psycopg does with the same statements.

    .venv/bin/python benchmarks/recording.py [--rows 1500] [--big 600000]

Runs on a PostgreSQL of its own under var/bench, durable, and prints one line for each figure.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var" / "bench"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
PER_TRANSACTION = 100


def main() -> int:
    """Measure and print; return 1 if a figure misses its goal."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rows", type=int, default=1_500)
    arguments.add_argument("--big", type=int, default=600_000)
    asked = arguments.parse_args()
    os.environ["LANDSCAPE_VAR"] = str(VAR)
    os.environ["DJANGO_SETTINGS_MODULE"] = "landscape_site.settings"
    sys.path.insert(0, str(ROOT))
    from landscape_site import services

    with ExitStack() as held:
        held.enter_context(services.held(VAR))
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        return measure(asked.rows, asked.big)


def measure(rows: int, big: int) -> int:
    """Every figure, each against its goal."""
    figures = Figures()
    alone = [recorded(rows) for _ in range(3)]
    bare = [bare_psycopg(rows) for _ in range(3)]
    rate = statistics.median(alone)
    figures.say("recorder, 100 rows a transaction", rate, "rows/s", at_least=300)
    figures.say("bare prepared psycopg, same statements", statistics.median(bare), "rows/s")
    figures.say("recorder / bare", rate / statistics.median(bare), "", at_least=0.3)
    batch, transactions = rows_batch(10_000)
    figures.say("create_rows_batch with tokens", batch, "rows/s", at_least=10_000)
    figures.say("transactions for 10,000 rows", transactions, "", at_most=25)
    grow_a_big_run(big)
    beside = statistics.median(recorded(rows) for _ in range(3))
    figures.say(f"recorder, beside an analysed run of {big:,} states", beside, "rows/s")
    figures.say("… / alone", beside / rate, "", at_least=0.8)
    with ten_readers() as answers:
        watched = statistics.median(recorded(rows) for _ in range(3))
    figures.say("recorder, ten readers of run and token pages", watched, "rows/s")
    figures.say("… / without them", watched / beside, "", at_least=0.5)
    figures.say("pages that they read", answers[0], "")
    figures.say("answers other than 200", answers[1], "", at_most=0)
    return figures.missed


class Figures:
    """Prints figures and counts those that miss their goal."""

    def __init__(self) -> None:
        self.missed = 0

    def say(self, name: str, value: float, unit: str, **goal: float) -> None:
        """Print one figure."""
        good = goal.get("at_least", 0) <= value <= goal.get("at_most", float("inf"))
        self.missed |= not good
        told = f"{value:,.0f}" if value >= 10 else f"{value:.2f}"  # noqa: PLR2004
        wanted = ", ".join(f"{word.replace('_', ' ')} {limit:g}" for word, limit in goal.items())
        print(f"{name:55} {told:>8} {unit:7} {wanted}{'' if good else '  MISSED'}", flush=True)


@contextmanager
def ten_readers() -> Iterator[list[int]]:
    """Ten auditors, each asking the web server for a run or token page once a second.

    Gives, when the block is over, how many pages they had and how many were no answer.
    """
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import Group
    from django.test import Client

    from audit.models import Token
    from landscape_site.management.commands.up import listen, web_child
    from landscape_site.supervisor import Supervisor

    # The default settings, told: a production web server would ask for TLS.
    os.environ["LANDSCAPE_DEBUG"] = "true"
    auditor, _new = get_user_model().objects.get_or_create(username="watcher", is_staff=True)
    auditor.groups.add(Group.objects.get(name="viewer"))
    visitor = Client()
    visitor.force_login(auditor)
    cookie = visitor.cookies[settings.SESSION_COOKIE_NAME].value
    tokens = list(Token.objects.values_list("run_id", "token_id").order_by("pk")[:1000])
    pages = [f"/runs/{run}/" for run in {run for run, _token in tokens}]
    pages += [f"/runs/{run}/tokens/{token}/" for run, token in tokens]
    answers = [0, 0]
    done = threading.Event()
    with listen(0) as listener:
        server = Supervisor([web_child(listener)])
        server.start()
        port = listener.getsockname()[1]
        readers = [
            threading.Thread(target=read, args=(port, cookie, pages[n::10], done, answers))
            for n in range(10)
        ]
        for reader in readers:
            reader.start()
        try:
            yield answers
        finally:
            done.set()
            for reader in readers:
                reader.join()
            server.stop()


def read(
    port: int, cookie: str, pages: list[str], done: threading.Event, answers: list[int]
) -> None:
    """One page a second until it is over; the time of a page counts."""
    for page in itertools.cycle(pages):
        began = time.monotonic()
        asked = Request(f"http://127.0.0.1:{port}{page}", headers={"Cookie": f"sessionid={cookie}"})
        try:
            with urlopen(asked, timeout=30) as answer:
                good = answer.status == HTTPStatus.OK and b"<h1" in answer.read()
        except OSError:
            good = False
        answers[0 if good else 1] += 1
        if done.wait(max(0, 1 - (time.monotonic() - began))):
            return


def begin(name: str) -> str:
    """A run with a source and a transform."""
    from audit import recorder

    run_id = f"{name}-{time.time_ns()}"
    recorder.begin_run(run_id=run_id, settings={}, at=NOON)
    for sequence, (node_id, kind) in enumerate({"source": "source", "t": "transform"}.items()):
        recorder.register_node(
            run_id=run_id,
            node_id=node_id,
            plugin_name=node_id,
            node_type=kind,
            plugin_version="1",
            determinism="deterministic",
            sequence=sequence,
            config={},
            at=NOON,
        )
    return run_id


def recorded(rows: int) -> float:
    """Row, token, one visit begun and completed, outcome: five statements and more a row."""
    from django.db import transaction

    from audit import recorder

    run_id, began, index = begin("bench"), time.perf_counter(), 0
    while index < rows:
        with transaction.atomic():
            for _ in range(PER_TRANSACTION):
                data = {"id": index, "name": "Alice", "amount": 12.5}
                row = recorder.create_row(
                    run_id=run_id,
                    source_node_id="source",
                    row_index=index,
                    data=data,
                    keep_data=False,
                    at=NOON,
                )
                token = recorder.create_token(run_id=run_id, row_id=row.row_id, at=NOON)
                state = recorder.begin_node_state(
                    run_id=run_id,
                    token_id=token.token_id,
                    node_id="t",
                    step_index=1,
                    attempt=0,
                    input_data=data,
                    at=NOON,
                )
                recorder.complete_node_state(
                    run_id=run_id,
                    state_id=state.state_id,
                    status="completed",
                    output_data=data,
                    duration_ms=1.0,
                    at=NOON,
                )
                recorder.record_token_outcome(
                    run_id=run_id,
                    token_id=token.token_id,
                    outcome="completed",
                    sink_name="out",
                    at=NOON,
                )
                index += 1
    return rows / (time.perf_counter() - began)


def bare_psycopg(rows: int) -> float:
    """The statements of `recorded`, noted once and sent again by psycopg alone."""
    import psycopg
    from django.db import connection

    noted: list[tuple[Any, Any]] = []

    def note(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        noted.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        recorded(PER_TRANSACTION)
    starts = [n for n, (sql, _params) in enumerate(noted) if 'INTO "rows"' in sql]
    one_row = noted[starts[0] : starts[1]]
    run_id = begin("bare")
    began = time.perf_counter()
    with psycopg.connect(**connection.get_connection_params()) as bare:
        cursor = psycopg.Cursor(bare)
        for index in range(rows):
            ids = {"row_id": f"r{index}", "token_id": f"t{index}", "state_id": f"s{index}"}
            for sql, params in one_row:
                mine = {"run_id": run_id, "row_index": index, "outcome_id": f"o{index}"} | ids
                mine["live_token"] = ids["token_id"]
                given = params | {name: mine[name] for name in mine if name in params}
                cursor.execute(sql, given, prepare=True)
                assert cursor.rowcount == 1, sql
            if index % PER_TRANSACTION == PER_TRANSACTION - 1:
                bare.commit()
    return rows / (time.perf_counter() - began)


def rows_batch(count: int) -> tuple[float, int]:
    """Rows and tokens by `create_rows_batch`, and how many transactions that took."""
    from django.db import connection

    from audit import recorder

    run_id = begin("batch")
    rows = [
        recorder.NewRow(row_index=i, data={"id": i, "name": "Alice", "amount": 12.5})
        for i in range(count)
    ]
    began = time.perf_counter()
    recorder.create_rows_batch(
        run_id=run_id, source_node_id="source", rows=rows, keep_data=False, at=NOON
    )
    rate = count / (time.perf_counter() - began)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT xmin::text) FROM rows WHERE run_id = %s", [run_id])
        return rate, int(cursor.fetchone()[0])


_BIG_RUN = """
INSERT INTO rows (run_id, row_id, source_node_id, row_index, source_data_hash, created_at)
SELECT %(run)s, 'r' || i, 'source', i, repeat('0', 64), now() FROM generate_series(1, %(n)s) i;
INSERT INTO tokens (run_id, token_id, row_id, created_at)
SELECT %(run)s, 't' || i, 'r' || i, now() FROM generate_series(1, %(n)s) i;
INSERT INTO node_states (run_id, state_id, token_id, node_id, step_index, attempt, status,
    input_hash, output_hash, duration_ms, started_at, completed_at)
SELECT %(run)s, 's' || i, 't' || i, 't', 1, 0, 'completed', repeat('0', 64), repeat('0', 64), 1,
    now(), now() FROM generate_series(1, %(n)s) i;
INSERT INTO token_outcomes (run_id, outcome_id, token_id, outcome, is_terminal, recorded_at,
    sink_name)
SELECT %(run)s, 'o' || i, 't' || i, 'completed', true, now(), 'out'
FROM generate_series(1, %(n)s) i
"""


def grow_a_big_run(states: int) -> None:
    """One finished run of many states, analysed: what a new run must not suffer from."""
    from django.db import connections

    run_id = begin("big")
    with connections["owner"].cursor() as cursor:
        for statement in _BIG_RUN.split(";"):
            cursor.execute(statement, {"run": run_id, "n": states})
        cursor.execute("ANALYZE")


if __name__ == "__main__":
    sys.exit(main())
