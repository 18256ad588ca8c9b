"""Holds against purges, and purges that are killed."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import closing

import psycopg
import pytest
from django.db import connection, connections

from audit import payloads, retention
from audit.models import Payload, PayloadPurge, PurgeCertificate, PurgeItem, Row
from audit.retention import certificates, purging, standing
from tests.builders import NOON, make_node, make_payload, make_run
from tests.retention.worlds import LATER, approved_plan, make_policy, make_two, record_run

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _no_wait(settings, tmp_path):
    settings.LANDSCAPE_PURGE_WAIT = 0
    settings.LANDSCAPE_VAR = tmp_path


def one_run_each(count):
    """As many runs as payloads, each of a pipeline of its own."""
    refs = [f"{number:064x}" for number in range(count)]
    for number, ref in enumerate(refs):
        run = make_run(run_id=f"run{number}", settings_json=f'{{"pipeline": "p{number}"}}')
        source = make_node(run, "csv", "source")
        Row.objects.create(
            run_id=run.run_id, row_id="r", source_node_id=source.node_id, row_index=0,
            source_data_hash=ref, source_data_ref=ref, created_at=NOON,
        )  # fmt: skip
        make_payload(ref)
    return refs


class TestHoldAgainstPurge:
    def test_never_violates_a_hold_that_committed(self, rounds):
        """Raw SQL of both, at random offsets: the guard row and the trigger have to do it alone."""
        dice = random.Random(6)
        trials = rounds(300)
        refs = one_run_each(trials)
        planner, approver = make_two()
        make_policy(planner)
        plan = approved_plan(planner, approver)
        retention.begin(plan_id=plan.plan_id, by=planner.pk, at=LATER)
        parameters = connection.get_connection_params()
        parameters.pop("cursor_factory", None)
        parameters.pop("context", None)
        levels = list(psycopg.IsolationLevel)[1:]
        outcomes = {"held": 0, "purged": 0}
        with (
            closing(psycopg.connect(**parameters)) as one,
            closing(psycopg.connect(**parameters)) as two,
        ):
            for number, ref in enumerate(refs):
                one.isolation_level = two.isolation_level = levels[number % 3]
                scope = [("run", f"run{number}"), ("pipeline", f"p{number}")][number // 3 % 2]
                offset = dice.uniform(-0.004, 0.004)
                told = {}

                def hold(two=two, scope=scope, ref=ref, told=told, offset=offset):
                    time.sleep(max(0, offset))
                    state = "SELECT state FROM payloads WHERE content_hash = %s"
                    try:
                        two.execute(state, [ref])
                        two.execute(
                            "INSERT INTO legal_holds (status, scope, scope_value, matter, reason, "
                            "placed_by, placed_at) VALUES ('active', %s, %s, 'm', 'r', 1, now())",
                            scope,
                        )
                        told["seen"] = two.execute(state, [ref]).fetchone()[0]
                        two.commit()
                        told["held"] = True
                    except psycopg.Error:
                        two.rollback()

                thread = threading.Thread(target=hold)
                thread.start()
                time.sleep(max(0, -offset))
                try:
                    one.execute("SELECT count(*) FROM legal_holds")
                    one.execute(
                        "UPDATE payloads SET state = 'purged', purged_at = now(), "
                        "purge_plan_id = %s WHERE content_hash = %s",
                        [plan.plan_id, ref],
                    )
                    one.commit()
                except psycopg.Error:
                    one.rollback()
                thread.join()
                state = Payload.objects.get(content_hash=ref).state
                outcomes["purged"] += state == "purged"
                if told.get("held") and told["seen"] == "available":
                    outcomes["held"] += 1
                    assert state == "available", f"trial {number}: {scope} was violated"
        assert all(outcomes.values()), outcomes


class TestKilledPurge:
    def test_leaves_each_payload_or_its_tombstone(self, rounds, monkeypatch):
        dice = random.Random(60)
        monkeypatch.setattr(purging, "BATCH", 10)
        rows = 120
        record_run("r", rows=rows)
        planner, approver = make_two()
        make_policy(planner)
        plan = approved_plan(planner, approver)
        retention.begin(plan_id=plan.plan_id, by=planner.pk, at=LATER)
        kills = 0
        for _round in range(rounds(60)):
            kills += self._killed(plan.plan_id, after=dice.uniform(0.01, 0.15))
            for payload in Payload.objects.all():
                if payload.state == "available":
                    payloads.read(payload.content_hash)
                else:
                    assert (payload.state, payload.purge_plan_id) == ("purged", plan.plan_id)
        retention.execute(plan_id=plan.plan_id, clock=lambda: LATER)

        plan.refresh_from_db()
        assert kills
        assert (plan.status, plan.items, plan.purged_items) == ("executed", rows, rows)
        assert PayloadPurge.objects.count() == rows
        assert set(PurgeItem.objects.values_list("status", flat=True)) == {"erased"}
        for payload in Payload.objects.all():
            with pytest.raises(payloads.PayloadMissing):
                payloads.read(payload.content_hash)
        told = PurgeCertificate.objects.get()
        assert certificates.make(plan_id=plan.plan_id, at=LATER) == told
        undisturbed = "".join(
            f"{item.content_hash} {item.size_bytes} {item.policy_id} erased\n"
            for item in PurgeItem.objects.order_by("content_hash")
        )
        assert "".join(retention.item_lines(plan_id=plan.plan_id)) == undisturbed
        assert certificates.outcome_sha256(plan_id=plan.plan_id) in told.statement_json

    def test_deletes_again_what_a_crash_of_the_machine_brought_back(self, monkeypatch):
        planner, approver = make_two()
        make_policy(planner)
        record_run("r", rows=2)
        plan = approved_plan(planner, approver)
        retention.begin(plan_id=plan.plan_id, by=planner.pk, at=LATER)
        content = payloads.read(Payload.objects.first().content_hash)
        confirm = purging._confirm

        def after_a_crash(plan_id):
            payloads.store(content)
            confirm(plan_id)

        monkeypatch.setattr(purging, "_confirm", after_a_crash)
        retention.execute(plan_id=plan.plan_id, clock=lambda: LATER)

        assert payloads.existing(Payload.objects.values_list("content_hash", flat=True)) == []

    def _killed(self, plan_id, *, after):
        """Execute in a child that is killed; whether it was still at it."""
        connections.close_all()
        child = os.fork()
        if not child:
            try:
                retention.execute(plan_id=plan_id, clock=lambda: LATER)
            finally:
                os._exit(0)
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
        _pid, status = os.waitpid(child, 0)
        return os.WIFSIGNALED(status)


class TestRecordedMeanwhile:
    def test_contents_recorded_again_are_there(self, monkeypatch):
        """Between the tombstone and the deletion of the bytes, and after it."""
        planner, approver = make_two()
        make_policy(planner)
        record_run("old", rows=2)
        plan = approved_plan(planner, approver)
        retention.begin(plan_id=plan.plan_id, by=planner.pk, at=LATER)
        erase = purging._erase

        def meanwhile(plan_id):
            if Payload.objects.filter(state="purged").count() == 2:
                record_run("new", rows=1, shared="old", status="running")
            erase(plan_id)

        monkeypatch.setattr(purging, "_erase", meanwhile)
        retention.execute(plan_id=plan.plan_id, clock=lambda: LATER)

        again = Payload.objects.get(state="available")
        assert payloads.read(again.content_hash)
        assert again.purge_plan_id == plan.plan_id
        assert sorted(PurgeItem.objects.values_list("status", flat=True)) == [
            "erased",
            "recorded_again",
        ]
        record_run("newer", rows=2, shared="old", status="running")
        for payload in Payload.objects.all():
            assert payloads.read(payload.content_hash)
            assert payload.state == "available"

    def test_what_is_used_by_then_is_left_and_nothing_is_added(self):
        planner, approver = make_two()
        make_policy(planner)
        record_run("old", rows=3)
        plan = approved_plan(planner, approver)
        retention.begin(plan_id=plan.plan_id, by=planner.pk, at=LATER)
        record_run("new", rows=1, shared="old", status="running")
        record_run("late", rows=2)

        retention.execute(plan_id=plan.plan_id, clock=lambda: LATER)

        plan.refresh_from_db()
        assert (plan.purged_items, plan.skipped_items) == (2, 1)
        left = PurgeItem.objects.get(status="skipped")
        assert left.skipped_for == "not_over"
        told = standing.explain_plan(plan_id=plan.plan_id)
        assert [(each.rule, each.payloads, each.size_bytes) for each in told.skipped] == [
            ("not_over", 1, left.size_bytes)
        ]
        assert [(each.words, each.payloads, each.size_bytes) for each in told.goes] == [
            ("claims v1: 100 days after the end of the run", 3, plan.bytes)
        ]
        assert Payload.objects.filter(state="available").count() == 3
