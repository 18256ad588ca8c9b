"""The recorder under kill -9 and under races: no half group, nothing lost, nothing doubled.

Victims are forked from a process that has everything imported, so a kill costs a fraction of a
second. What a victim was told is on record goes to a pipe after the call returned; the checker
compares that with what a second connection sees.
"""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest
from django.db import connection, connections, transaction

from audit import recorder
from audit.errors import AlreadyRecorded, DatabaseBusy, DatabaseUnavailable, TokenEnded
from audit.models import (
    AUDIT_MODELS,
    Call,
    Checkpoint,
    NodeState,
    Row,
    Token,
    TokenOutcome,
    TokenParent,
)
from audit.recorder import NewRow, RunRecorder
from tests.recorder.world import (
    NOON,
    SHA,
    end_state,
    end_token,
    make_run,
    make_state,
    make_token,
)

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _var(settings, tmp_path):
    settings.LANDSCAPE_VAR = tmp_path / "var"


def fork(work):
    """Run `work(tell)` in a process of its own; return its id and the end of its pipe."""
    connections.close_all()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reader)
            work(lambda words: os.write(writer, f"{words}\n".encode()))
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    return pid, reader


def reap(pid, reader):
    """Wait for a process; return how it ended and what it told."""
    _pid, status = os.waitpid(pid, 0)
    with os.fdopen(reader) as told:
        return status, told.read().splitlines()


@contextmanager
def killed_at(statement):
    """Kill this process when it is about to send statement number n, or has just sent it."""
    number, sent = statement // 2, 0

    def strike(execute, sql, params, many, context):
        nonlocal sent
        sent += 1
        if sent == number + 1 and statement % 2 == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        result = execute(sql, params, many, context)
        if sent == number + 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    with connection.execute_wrapper(strike):
        yield


def a_world():
    make_run()
    for index in range(3):
        make_token(f"t{index}", index=index)
    recorder.create_batch(run_id="r", batch_id="b", aggregation_node_id="batcher", at=NOON)
    recorder.add_batch_members(run_id="r", batch_id="b", token_ids=["t1", "t2"], at=NOON)
    recorder.begin_batch(run_id="r", batch_id="b", trigger_type="count", at=NOON)
    make_state("t1", "batcher", 2)
    end_state("t1@batcher")
    make_state("t0", "gate", 1)
    make_state("t0", "sink", 2)


COMPOSITES = {
    "fork": lambda: recorder.fork_token(
        run_id="r", token_id="t0", branches=["a", "b", "c"], fork_group_id="g", at=NOON
    ),
    "expand": lambda: recorder.expand_token(
        run_id="r", token_id="t0", count=5, expand_group_id="g", at=NOON
    ),
    "coalesce": lambda: recorder.coalesce_tokens(
        run_id="r", token_ids=["t0"], join_group_id="g", at=NOON
    ),
    "batch": lambda: recorder.complete_batch(
        run_id="r", batch_id="b", aggregation_state_id="t1@batcher", outputs=2, at=NOON
    ),
    "members": lambda: (
        recorder.add_batch_members(
            run_id="r",
            batch_id=recorder.create_batch(
                run_id="r", batch_id="b2", aggregation_node_id="batcher", at=NOON
            ).batch_id,
            token_ids=["t0"],
            at=NOON,
        )
        and recorder.fail_batch(run_id="r", batch_id="b2", error="e", at=NOON)
    ),
    "routing": lambda: recorder.record_routing_events(
        run_id="r",
        state_id="t0@gate",
        routes=[recorder.Routing("gate>small", "copy"), recorder.Routing("gate>large", "copy")],
        reason={"why": 1},
        routing_group_id="g",
        at=NOON,
    ),
    "call": lambda: recorder.record_call(
        run_id="r",
        state_id="t0@gate",
        call_id="c",
        call_type="llm",
        status="success",
        request=1,
        response=2,
        at=NOON,
    ),
    "artifact": lambda: recorder.register_artifact(
        run_id="r",
        artifact_id="f",
        sink_node_id="sink",
        artifact_type="file",
        path_or_uri="file:///x",
        content_hash=SHA,
        size_bytes=1,
        members=[recorder.Member("t0", "t0@sink")],
        at=NOON,
    ),
    "rows": lambda: recorder.create_rows_batch(
        run_id="r",
        source_node_id="source",
        rows=[
            NewRow(row_index=10 + i, data={"id": i}, row_id=f"x{i}", token_id=f"x{i}")
            for i in range(5)
        ],
        at=NOON,
    ),
    "complete": lambda: recorder.complete_run(run_id="r", status="failed", at=NOON),
}
# Events of several calls: between two of them either both sides are legal.
STEPS = {"members": 3}


class TestKillAtEveryStatement:
    @pytest.mark.parametrize("name", COMPOSITES)
    def test_leaves_all_or_nothing_and_telling_again_completes_it(self, name):
        a_world()
        before = counts()
        seen = []
        for statement in range(200):

            def die(_tell, statement=statement):
                with killed_at(statement):
                    COMPOSITES[name]()

            status, _told = reap(*fork(die))
            seen.append(counts())
            if status == 0:
                break

        assert status == 0
        assert statement > 3
        states = [before] + [state for state in seen if state != before]
        distinct = [state for i, state in enumerate(states) if i == 0 or state != states[i - 1]]
        assert len(distinct) <= 1 + STEPS.get(name, 1)
        after = counts()
        COMPOSITES[name]()
        assert counts() == after


def counts():
    return {model._meta.db_table: model.objects.count() for model in AUDIT_MODELS}


ROWS = 40


def pipeline(run_id, tell):
    """Record 40 rows, telling again what it told before it died."""
    here = RunRecorder(run_id, now=lambda: NOON)
    for index in range(ROWS):
        with here.transaction():
            make_token(f"t{index}", run_id, index)
            if here.get_token_outcome(token_id=f"t{index}") is None:
                make_state(f"t{index}", run_id=run_id)
                here.record_call(
                    call_id=f"c{index}",
                    state_id=f"t{index}@model",
                    call_type="llm",
                    status="success",
                    request={"q": index},
                    response={"a": index},
                )
                end_state(f"t{index}@model", run_id=run_id)
                if index % 4 == 0:
                    for child in here.fork_token(token_id=f"t{index}", branches=["a", "b"]):
                        end_token(child.token_id, run_id)
                else:
                    end_token(f"t{index}", run_id)
        tell(index)


def logical(run_id):
    """What was recorded of a run, without generated ids."""

    def told(model, *columns):
        return sorted(model.objects.filter(run_id=run_id).values_list(*columns), key=str)

    return {
        "rows": told(Row, "row_id", "row_index", "source_data_hash"),
        "tokens": told(Token, "row_id", "branch_name"),
        "parents": told(TokenParent, "parent_token_id", "ordinal", "token__branch_name"),
        "states": told(NodeState, "state_id", "token_id", "attempt", "status", "output_hash"),
        "calls": told(Call, "call_id", "state_id", "call_index", "response_hash"),
        "outcomes": told(TokenOutcome, "token__row_id", "token__branch_name", "outcome"),
    }


class TestKillAtRandom:
    def test_loses_nothing_that_was_acknowledged_and_doubles_nothing(self, rounds):
        make_run("control")
        pipeline("control", lambda _index: None)
        dice, kills, runs = random.Random(20_261_122), 0, ["r0"]
        make_run("r0")
        acknowledged = set()
        while kills < rounds(200) or len(acknowledged) < ROWS:
            pid, reader = fork(lambda tell: pipeline(runs[-1], tell))
            if kills < rounds(200):
                time.sleep(dice.uniform(0.02, 0.3))
                os.kill(pid, signal.SIGKILL)
            status, told = reap(pid, reader)
            assert status in {0, signal.SIGKILL}
            kills += status == signal.SIGKILL

            acknowledged |= {int(line) for line in told}
            on_record = TokenOutcome.objects.filter(run_id=runs[-1], is_terminal=True)
            assert acknowledged <= set(on_record.values_list("token__row__row_index", flat=True))
            if status == 0 and kills < rounds(200):
                runs.append(f"r{len(runs)}")
                make_run(runs[-1])
                acknowledged = set()

        assert kills >= rounds(200)
        for run_id in runs:
            assert logical(run_id) == logical("control"), run_id


WORKERS = 8


def race(work):
    """Run the same work in eight processes at once; each must end well."""
    started = [fork(lambda tell, n=n: work(n, tell)) for n in range(WORKERS)]
    ended = [reap(*each) for each in started]
    assert [status for status, _told in ended] == [0] * WORKERS
    return [line for _status, told in ended for line in told]


class TestRaces:
    def test_calls_of_one_state_are_numbered_without_gap_or_double(self, rounds):
        a_world()
        count = rounds(500)

        def work(worker, tell):
            for number in range(count):
                call = recorder.record_call(
                    run_id="r",
                    state_id="t0@gate",
                    call_type="llm",
                    status="success",
                    request={"worker": worker, "number": number % 7},
                    response={"a": 1},
                    at=NOON + timedelta(seconds=number),
                )
                tell(call.call_index)

        told = race(work)

        everyone = list(range(WORKERS * count))
        assert sorted(map(int, told)) == everyone
        numbers = Call.objects.order_by("call_index").values_list("call_index", flat=True)
        assert list(numbers) == everyone

    def test_checkpoints_of_a_run_have_one_order(self, rounds):
        a_world()
        count = rounds(100)

        def work(_worker, tell):
            for _ in range(count):
                recorder.create_checkpoint(
                    run_id="r",
                    token_id="t0",
                    node_id="sink",
                    upstream_topology_hash=SHA,
                    node_config_hash=SHA,
                    at=NOON,
                )

        race(work)

        numbers = Checkpoint.objects.values_list("sequence_number", flat=True)
        assert sorted(numbers) == list(range(WORKERS * count))
        assert recorder.get_latest_checkpoint(run_id="r").sequence_number == WORKERS * count - 1

    def test_one_of_eight_ends_a_token(self):
        a_world()

        def work(worker, tell):
            try:
                recorder.fork_token(
                    run_id="r", token_id="t0", branches=[f"b{worker}", "c"], at=NOON
                )
                tell("forked")
            except TokenEnded:
                tell("refused")

        told = race(work)

        assert sorted(told) == ["forked"] + ["refused"] * 7
        assert TokenParent.objects.filter(parent_token_id="t0").count() == 2

    def test_attempts_of_a_token_are_numbered(self):
        a_world()

        def work(worker, tell):
            try:
                with transaction.atomic():
                    state = make_state("t0", step=10 + worker, attempt=None, state_id=f"w{worker}")
                tell(state.attempt)
            except AlreadyRecorded:
                tell("again")

        told = race(work)

        numbers = sorted(int(line) for line in told if line != "again")
        assert numbers == list(range(len(numbers)))
        assert numbers


class TestHungDatabase:
    def test_a_lock_that_nobody_releases_is_an_error_within_five_seconds(self):
        a_world()
        with psycopg.connect(**connection.get_connection_params()) as other:
            other.execute("SELECT 1 FROM node_states WHERE state_id = 't0@gate' FOR UPDATE")
            began = time.monotonic()

            with pytest.raises(DatabaseBusy, match="lock timeout"):
                COMPOSITES["call"]()

            assert time.monotonic() - began < 5
        assert Call.objects.count() == 0

    def test_a_session_that_was_ended_is_an_error_and_the_next_call_records(self):
        a_world()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pid = cursor.fetchone()[0]
        with psycopg.connect(**connection.get_connection_params(), autocommit=True) as same_login:
            same_login.execute("SELECT pg_terminate_backend(%s)", [pid])
        with pytest.raises(DatabaseUnavailable):
            COMPOSITES["call"]()

        COMPOSITES["call"]()
        assert Call.objects.count() == 1
