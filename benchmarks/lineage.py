"""How fast a whole lineage is gathered, beside the original's way of explaining one token.

    .venv/bin/python benchmarks/lineage.py [--states 2000000] [--asked 300]

The original asks 8 queries for a token and 2 for each of its states, each in a transaction of its
own, and tells its parents' ids only. Its queries are sent here as it sends them, by SQLAlchemy
Core, without the layers that it has above; and once more by bare prepared psycopg, to compare.
Ours gathers the whole closure. Runs on a PostgreSQL of its own under var/bench.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import statistics
import sys
import time
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    # Table, column, its value, order.
    Ask = Callable[[str, str, object, Sequence[str]], Sequence[Any]]

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var" / "bench"
STEPS = 10
P95_MS = 25
HALF = 0.5
WARM = 20
# A wide fan-out: children, how often asked, goals in milliseconds of the closure and the page.
WIDE = ((504, 20, 50, 100), (50_004, 3, 1_000, 1_500), (100_000, 3, 1_500, 2_000))
PAGE_KB = 40
# As nobody should record it: generations, how often asked, goal in milliseconds.
DEEP = (10_000, 3, 2_000)

ASKED = (
    "tokens",
    "token_outcomes",
    "rows",
    "node_states",
    "routing_events",
    "calls",
    "token_parents",
    "validation_errors",
    "transform_errors",
)

_GROW = """
INSERT INTO rows (run_id, row_id, source_node_id, row_index, source_data_hash, created_at)
SELECT %(run)s, 'r' || i, 'n0', i, repeat('0', 64), now() FROM generate_series(1, %(n)s) i;
INSERT INTO tokens (run_id, token_id, row_id, created_at)
SELECT %(run)s, 't' || i, 'r' || i, now() FROM generate_series(1, %(n)s) i;
INSERT INTO node_states (run_id, state_id, token_id, node_id, step_index, attempt, status,
    input_hash, output_hash, duration_ms, started_at, completed_at)
SELECT %(run)s, 's' || i || '-' || k, 't' || i, 'n' || k, k, 0, 'completed', repeat('0', 64),
    repeat('0', 64), 1, now(), now() FROM generate_series(1, %(n)s) i, generate_series(1, %(k)s) k;
INSERT INTO token_outcomes (run_id, outcome_id, token_id, outcome, is_terminal, recorded_at,
    sink_name)
SELECT %(run)s, 'o' || i, 't' || i, 'completed', true, now(), 'out' FROM generate_series(1, %(n)s) i
"""
_FAN_OUT = """
INSERT INTO rows (run_id, row_id, source_node_id, row_index, source_data_hash, created_at)
VALUES (%(run)s, 'row', 'n0', 0, repeat('0', 64), now());
INSERT INTO tokens (run_id, token_id, row_id, created_at) VALUES (%(run)s, 'root', 'row', now());
INSERT INTO tokens (run_id, token_id, row_id, expand_group_id, created_at)
SELECT %(run)s, 'c' || i, 'row', 'e', now() FROM generate_series(1, %(n)s) i;
INSERT INTO token_parents (run_id, token_id, parent_token_id, ordinal)
SELECT %(run)s, 'c' || i, 'root', i FROM generate_series(1, %(n)s) i;
INSERT INTO node_states (run_id, state_id, token_id, node_id, step_index, attempt, status,
    input_hash, output_hash, duration_ms, started_at, completed_at)
SELECT %(run)s, 'c' || i || '-' || k, 'c' || i, 'n' || k, k, 0,
    CASE WHEN i %% 1000 = 0 AND k = 3 THEN 'failed' ELSE 'completed' END,
    repeat('0', 64), repeat('0', 64), i %% 50, now(), now() + (i %% 50) * interval '1 ms'
FROM generate_series(1, %(n)s) i, generate_series(1, 3) k;
INSERT INTO token_outcomes (run_id, outcome_id, token_id, outcome, is_terminal, recorded_at,
    sink_name, error_hash)
SELECT %(run)s, 'o' || i, 'c' || i, CASE WHEN i %% 1000 = 0 THEN 'failed' ELSE 'completed' END,
    true, now(), CASE WHEN i %% 1000 = 0 THEN NULL ELSE 'out' END,
    CASE WHEN i %% 1000 = 0 THEN repeat('1', 64) END FROM generate_series(1, %(n)s) i;
INSERT INTO edges (run_id, edge_id, from_node_id, to_node_id, label, default_mode, created_at)
SELECT %(run)s, 'e' || k, 'n2', 'n' || k, 'way ' || k, 'move', now() FROM generate_series(3, 4) k;
INSERT INTO routing_events (run_id, event_id, state_id, edge_id, routing_group_id, ordinal, mode,
    created_at)
SELECT %(run)s, 'v' || i, 'c' || i || '-2', 'e' || 3 + i %% 2, 'g' || i, 0, 'move', now()
FROM generate_series(1, %(n)s) i
"""

_CHAIN = """
INSERT INTO rows (run_id, row_id, source_node_id, row_index, source_data_hash, created_at)
VALUES (%(run)s, 'row', 'n0', 0, repeat('0', 64), now());
INSERT INTO tokens (run_id, token_id, row_id, created_at)
SELECT %(run)s, 'c' || i, 'row', now() FROM generate_series(0, %(n)s) i;
INSERT INTO token_parents (run_id, token_id, parent_token_id, ordinal)
SELECT %(run)s, 'c' || i, 'c' || i - 1, 0 FROM generate_series(1, %(n)s) i
"""


def main() -> int:
    """Measure and print; return 1 if a figure misses its goal."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--states", type=int, default=2_000_000)
    arguments.add_argument("--asked", type=int, default=300)
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
        as_a_page_does()
        return measure(asked.states, asked.asked)


def as_a_page_does() -> None:
    """Commands give up sooner than pages do, and note every statement for their tracebacks."""
    from django.conf import settings
    from django.db import connection

    settings.DEBUG = False
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '15s'")
    cast("Any", connection).be_patient(16)


def measure(states: int, asked: int) -> int:
    """Every figure, each against its goal."""
    import psycopg
    import sqlalchemy
    from django.db import connection

    from audit.lineage import gather_closure

    run_id, tokens = grow(states), states // STEPS
    fans = [(*each, fan_out(each[0])) for each in WIDE]
    chain_run = _filled(_CHAIN, DEEP[0])
    chosen = [f"t{1 + each}" for each in random.Random(1).sample(range(tokens), asked + WARM)]
    parameters = connection.get_connection_params()
    with psycopg.connect(**parameters, autocommit=True) as bare:
        cursor = psycopg.Cursor(bare)

        def ask(table: str, key: str, value: object, order: Sequence[str]) -> Sequence[Any]:
            by = f" ORDER BY {', '.join(order)}" if order else ""
            statement = f"SELECT * FROM {table} WHERE run_id = %s AND {key} = %s{by}"
            return cursor.execute(statement, (run_id, value), prepare=True).fetchall()

        alone = timed(lambda token: original(ask, token), chosen)
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(**parameters)
    )
    tables = sqlalchemy.MetaData()
    tables.reflect(engine, only=ASKED)

    def ask_core(table: str, key: str, value: object, order: Sequence[str]) -> Sequence[Any]:
        here = tables.tables[table]
        asked = sqlalchemy.select(here).where(here.c.run_id == run_id, here.c[key] == value)
        with engine.begin() as transaction:
            return transaction.execute(asked.order_by(*(here.c[name] for name in order))).fetchall()

    theirs = timed(lambda token: original(ask_core, token), chosen)
    engine.dispose()
    ours = timed(lambda token: gather_closure(run_id=run_id, token_id=token), chosen)
    missed = say("the original's 28 queries, bare prepared psycopg", alone)
    missed |= say("the original's 28 queries, as it sends them", theirs)
    missed |= say(f"whole closure, {STEPS} states, among {states:,}", ours, p95=P95_MS)
    ratio = statistics.median(ours) / statistics.median(theirs)
    missed |= ratio > HALF
    print(
        f"{'… / the original, medians':50} {ratio:8.2f}  at most {HALF}"
        f"{'  MISSED' if ratio > HALF else ''}"
    )
    page = token_page()
    for many, times, goal, page_goal, fan in fans:
        wide = timed(
            lambda token, fan=fan: gather_closure(run_id=fan, token_id=token),
            ["root"] * (times + 1),
            warm=1,
        )
        missed |= say(f"closure of {many + 1:,} tokens", wide, p95=goal)
        asked_page = timed(lambda token, fan=fan: page(fan, token), ["root"] * (times + 3), warm=3)
        missed |= say(f"token page of {many + 1:,} tokens", asked_page, p95=page_goal)
        weight = len(gzip.compress(page(fan, "root"))) / 1_000
        missed |= weight > PAGE_KB
        print(f"{'… gzipped':50} {weight:8.1f} kB  at most {PAGE_KB}", flush=True)
    generations, times, goal = DEEP
    deep = timed(
        lambda token: gather_closure(run_id=chain_run, token_id=token),
        [f"c{generations}"] * (times + 1),
        warm=1,
    )
    missed |= say(f"closure of {generations:,} generations", deep, p95=goal)
    return int(missed)


def token_page() -> Callable[[str, str], bytes]:
    """Ask for the page of a token as somebody who is signed in: session, template and all."""
    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import Group
    from django.test import Client

    reader, _new = get_user_model().objects.get_or_create(username="reader")
    reader.groups.add(Group.objects.get(name="viewer"))
    visitor = Client()
    visitor.force_login(reader)

    def ask(run_id: str, token: str) -> bytes:
        answer = visitor.get(f"/runs/{run_id}/tokens/{token}/", headers={"host": "localhost"})
        assert answer.status_code == HTTPStatus.OK
        return bytes(answer.content)

    return ask


def timed(call: Callable[[str], Any], tokens: Sequence[str], *, warm: int = WARM) -> list[float]:
    """Milliseconds of each call, sorted, without the first ones."""
    took = []
    for token in tokens:
        began = time.perf_counter()
        call(token)
        took.append((time.perf_counter() - began) * 1000)
    return sorted(took[warm:])


def say(name: str, took: Sequence[float], p95: float | None = None) -> bool:
    """Print p50 and p95; return whether the goal for p95 is missed."""
    high = took[min(len(took) - 1, int(len(took) * 0.95))]
    missed = p95 is not None and high > p95
    print(
        f"{name:50} p50 {statistics.median(took):8.2f} ms  p95 {high:8.2f} ms"
        f"{f'  at most {p95}' if p95 else ''}{'  MISSED' if missed else ''}",
        flush=True,
    )
    return missed


def original(ask: Ask, token: str) -> None:
    """What the original asks to explain a token: one by one, 8 + 2 for each state."""
    (row_id,) = (found[2] for found in ask("tokens", "token_id", token, ()))
    ask("token_outcomes", "token_id", token, ())
    (row,) = ask("rows", "row_id", row_id, ())
    ask("tokens", "token_id", token, ())
    states = ask("node_states", "token_id", token, ("step_index", "attempt"))
    for state in states:
        ask("routing_events", "state_id", state[1], ("ordinal",))
    for state in states:
        ask("calls", "state_id", state[1], ("call_index",))
    ask("token_parents", "token_id", token, ("ordinal",))
    ask("validation_errors", "row_hash", row[4], ())
    ask("transform_errors", "token_id", token, ())


def grow(states: int) -> str:
    """One finished run of many states, analysed."""
    return _filled(_GROW, states // STEPS)


def fan_out(children: int) -> str:
    """One token that became this many."""
    return _filled(_FAN_OUT, children)


def _filled(statements: str, many: int) -> str:
    from django.db import connections

    from audit import recorder
    from tests.builders import NOON

    run_id = f"lineage-{time.time_ns()}"
    recorder.begin_run(run_id=run_id, settings={}, at=NOON)
    for sequence in range(STEPS + 1):
        recorder.register_node(
            run_id=run_id,
            node_id=f"n{sequence}",
            plugin_name="p",
            plugin_version="1",
            node_type="transform" if sequence else "source",
            determinism="deterministic",
            sequence=sequence,
            config={},
            at=NOON,
        )
    with connections["owner"].cursor() as cursor:
        for statement in statements.split(";"):
            cursor.execute(statement, {"run": run_id, "n": many, "k": STEPS})
        cursor.execute("ANALYZE")
    return run_id


if __name__ == "__main__":
    sys.exit(main())
