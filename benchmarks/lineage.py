"""How fast a whole lineage is gathered, beside the original's way of explaining one token.

    .venv/bin/python benchmarks/lineage.py [--states 2000000] [--asked 300]

The original asks 8 queries for a token and 2 for each of its states, and tells its parents' ids
only; its queries are sent here by plain prepared psycopg, without the layers that it has above.
Ours gathers the whole closure. Runs on a PostgreSQL of its own under var/bench.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var" / "bench"
STEPS = 10
P95_MS = 25
HALF = 0.5
WARM = 20
# Closures of a wide fan-out: (children, how often asked, goal in milliseconds or none).
WIDE = ((504, 10, 100), (50_004, 3, 1_000))

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
    CASE WHEN i %% 1000 = 0 THEN repeat('1', 64) END FROM generate_series(1, %(n)s) i
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
        return measure(asked.states, asked.asked)


def measure(states: int, asked: int) -> int:
    """Every figure, each against its goal."""
    import psycopg
    from django.db import connection

    from audit.lineage import gather_closure

    run_id, tokens = grow(states), states // STEPS
    fans = [(many, times, goal, fan_out(many)) for many, times, goal in WIDE]
    chosen = [f"t{1 + each}" for each in random.Random(1).sample(range(tokens), asked + WARM)]
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as bare:
        cursor = psycopg.Cursor(bare)
        theirs = timed(lambda token: original(cursor, run_id, token), chosen)
    ours = timed(lambda token: gather_closure(run_id=run_id, token_id=token), chosen)
    missed = say("the original's 28 queries, bare psycopg", theirs)
    missed |= say(f"whole closure, {STEPS} states, among {states:,}", ours, p95=P95_MS)
    ratio = statistics.median(ours) / statistics.median(theirs)
    missed |= ratio > HALF
    print(
        f"{'… / the original, medians':50} {ratio:8.2f}  at most {HALF}"
        f"{'  MISSED' if ratio > HALF else ''}"
    )
    for many, times, goal, fan in fans:
        wide = timed(
            lambda token, fan=fan: gather_closure(run_id=fan, token_id=token),
            ["root"] * (times + 1),
            warm=1,
        )
        missed |= say(f"closure of {many + 1:,} tokens", wide, p95=goal)
    return int(missed)


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


def original(cursor: Any, run_id: str, token: str) -> None:
    """What the original asks to explain a token: one by one, 8 + 2 for each state."""

    def ask(statement: str, *values: object) -> list[Any]:
        found: list[Any] = cursor.execute(statement, values, prepare=True).fetchall()
        return found

    here = "WHERE run_id = %s AND"
    (row_id,) = ask(f"SELECT row_id FROM tokens {here} token_id = %s", run_id, token)[0]
    ask(f"SELECT * FROM token_outcomes {here} token_id = %s", run_id, token)
    row = ask(
        f"SELECT source_data_hash, source_data_ref FROM rows {here} row_id = %s", run_id, row_id
    )[0]
    ask(f"SELECT * FROM tokens {here} token_id = %s", run_id, token)
    states = ask(
        f"SELECT * FROM node_states {here} token_id = %s ORDER BY step_index, attempt",
        run_id,
        token,
    )
    for state in states:
        ask(f"SELECT * FROM routing_events {here} state_id = %s ORDER BY ordinal", run_id, state[1])
    for state in states:
        ask(f"SELECT * FROM calls {here} state_id = %s ORDER BY call_index", run_id, state[1])
    ask(f"SELECT * FROM token_parents {here} token_id = %s ORDER BY ordinal", run_id, token)
    ask(f"SELECT * FROM validation_errors {here} row_hash = %s", run_id, row[0])
    ask(f"SELECT * FROM transform_errors {here} token_id = %s", run_id, token)


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
