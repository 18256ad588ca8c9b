"""What the database refuses, asked by raw SQL with the application's login."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.db.utils import DatabaseError

from audit import retention
from audit.errors import NotRecorded, RetentionRefused
from audit.models import LegalHold, Payload, PurgeItem, PurgePlan, RunGrade
from audit.recorder.retention_guards import REF_COLUMNS
from audit.retention import grading
from tests.builders import NOON
from tests.retention.worlds import (
    LATER,
    approved_plan,
    make_person,
    make_policy,
    make_two,
    record_run,
)

pytestmark = pytest.mark.django_db


def refusal(statement, *values):
    """The SQLSTATE of a refusal; None where it is done."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, values)
            return None
    except DatabaseError as error:
        return error.__cause__.sqlstate


APPROVE = (
    "UPDATE purge_plans SET status = 'approved', approved_by = {by}, approved_at = now(), "
    "approved_digest = {digest}, typed_count = {count}, may_begin_at = now() WHERE plan_id = {plan}"
)


@pytest.fixture
def proposed():
    """Who planned, who may approve, and a plan of two payloads."""
    planner, approver = make_two()
    make_policy(planner)
    record_run("r")
    return planner, approver, retention.preview(by=planner.pk, at=LATER)


class TestApproval:
    @pytest.mark.parametrize(
        "who", ["self", "nobody", "superuser", "viewer", "inactive", "was approver", "gone"]
    )
    def test_is_refused_to(self, proposed, who):
        planner, approver, plan = proposed
        if who == "self":
            planner.groups.add(Group.objects.get(name="retention approver"))
            by = planner.pk
        elif who == "inactive":
            by = make_person("asleep", "approve_retention", is_active=False).pk
        elif who == "was approver":
            approver.user_permissions.clear()
            by = approver.pk
        elif who == "viewer":
            viewer = make_person("viewing")
            viewer.groups.add(Group.objects.get(name="viewer"))
            by = viewer.pk
        elif who == "superuser":
            by = make_person("root", is_superuser=True, is_staff=True).pk
        else:
            by = 987_654 if who == "gone" else make_person("anybody").pk
        raw = APPROVE.format(by=by, digest="digest", count="items", plan=plan.plan_id)

        assert refusal(raw) == "LS004"
        with pytest.raises(RetentionRefused):
            retention.approve(
                plan_id=plan.plan_id,
                digest=plan.digest,
                count=plan.items,
                reason="",
                by=by,
                at=LATER,
            )
        assert PurgePlan.objects.get().status == "proposed"

    @pytest.mark.parametrize(
        ("digest", "count"), [("repeat('0', 64)", "items"), ("digest", "items + 1"), ("NULL", "0")]
    )
    def test_is_bound_to_the_list(self, proposed, digest, count):
        _planner, approver, plan = proposed

        raw = APPROVE.format(by=approver.pk, digest=digest, count=count, plan=plan.plan_id)

        assert refusal(raw) == "LS004"

    def test_by_a_group_is_enough(self, proposed):
        plan, person = proposed[2], make_person("grouped")
        person.groups.add(Group.objects.get(name="retention approver"))
        raw = APPROVE.format(by=person.pk, digest="digest", count="items", plan=plan.plan_id)

        assert refusal(raw) is None


class TestTheList:
    @pytest.mark.parametrize(
        "attack",
        [
            "UPDATE purge_items SET size_bytes = 1",
            "UPDATE purge_items SET content_hash = repeat('0', 64)",
            "UPDATE purge_items SET policy_id = 0",
            "DELETE FROM purge_items",
            "TRUNCATE purge_items",
            (
                "INSERT INTO purge_items (plan_id, content_hash, size_bytes, policy_id, status) "
                "SELECT plan_id, repeat('0', 64), 1, 1, 'planned' FROM purge_plans"
            ),
            "UPDATE purge_plans SET items = 1",
            "UPDATE purge_plans SET goes_json = '{}'",
            "UPDATE purge_plans SET digest = repeat('0', 64)",
            "UPDATE purge_plans SET wait_seconds = 0",
            "UPDATE purge_plans SET made_by = 0",
            "UPDATE purge_plans SET status = 'executing', begun_by = 1, begun_at = now()",
            "UPDATE purge_plans SET status = 'executed', ended_at = now()",
            "DELETE FROM purge_plans",
            (
                "INSERT INTO purge_plans (status, made_by, made_at, wait_seconds, policies_json, "
                "purged_items, purged_bytes, skipped_items) "
                "VALUES ('approved', 1, now(), 0, '[]', 0, 0, 0)"
            ),
            "UPDATE payloads SET state = 'purged', purged_at = now(), purge_plan_id = 1",
            (
                "UPDATE payloads SET state = 'purged', purged_at = now(), "
                "purge_plan_id = (SELECT max(plan_id) FROM purge_plans)"
            ),
            "UPDATE payloads SET content_hash = repeat('0', 64)",
            "UPDATE payloads SET purged_at = now()",
            "DELETE FROM payloads",
            "TRUNCATE payloads",
            (
                "INSERT INTO payloads (content_hash, state, recorded_at, purged_at, purge_plan_id) "
                "VALUES (repeat('0', 64), 'purged', now(), now(), 1)"
            ),
            (
                "INSERT INTO payload_purges SELECT run_id, 'x', repeat('0', 64), now(), 'p', 'r', "
                "(SELECT max(plan_id) FROM purge_plans), 1, 2 FROM runs"
            ),
            "DELETE FROM retention_guard",
            "INSERT INTO retention_guard VALUES (2, 0)",
            "UPDATE retention_policies SET delete_after_days = 0",
            "DELETE FROM retention_policies",
        ],
    )
    @pytest.mark.parametrize("approved", [False, True])
    def test_cannot_be_touched(self, proposed, attack, approved):
        _planner, approver, plan = proposed
        if approved:
            with connection.cursor() as cursor:
                cursor.execute(
                    APPROVE.format(
                        by=approver.pk, digest="digest", count="items", plan=plan.plan_id
                    )
                )
            if "executing" in attack:
                attack = attack.replace("status = 'executing'", "status = 'stopping'")

        assert refusal(attack) in {"42501", "LS001", "LS002", "LS003", "LS004", "23514"}

    def test_waits_by_the_clock_of_the_database(self, proposed, settings):
        planner, approver, _plan = proposed
        settings.LANDSCAPE_PURGE_WAIT = 3600
        plan = approved_plan(planner, approver)

        raw = "UPDATE purge_plans SET status = 'executing', begun_by = 1, begun_at = now()"
        assert refusal(f"{raw} WHERE plan_id = %s", plan.plan_id) == "LS004"
        with pytest.raises(RetentionRefused, match="waits until"):
            retention.begin(plan_id=plan.plan_id, by=planner.pk, at=LATER)

    def test_is_not_approved_or_begun_twice(self, proposed):
        planner, approver, plan = proposed
        raw = APPROVE.format(by=approver.pk, digest="digest", count="items", plan=plan.plan_id)
        assert refusal(raw) is None

        assert refusal(raw) is not None
        retention.begin(plan_id=plan.plan_id, by=planner.pk, at=LATER)
        with pytest.raises(RetentionRefused):
            retention.begin(plan_id=plan.plan_id, by=planner.pk, at=LATER)
        assert refusal("UPDATE purge_plans SET begun_by = 0") is not None


class TestHolds:
    @pytest.mark.parametrize(
        ("scope", "value"), [("everything", None), ("run", "r"), ("pipeline", "claims")]
    )
    def test_beat_an_approved_plan(self, scope, value):
        planner, approver = make_two()
        make_policy(planner)
        record_run("r", settings={"pipeline": " claims "})
        plan = approved_plan(planner, approver)
        retention.begin(plan_id=plan.plan_id, by=planner.pk, at=LATER)
        retention.place_hold(
            scope=scope, scope_value=value, matter="m", reason="r", by=planner.pk, at=LATER
        )

        purge = "UPDATE payloads SET state = 'purged', purged_at = now(), purge_plan_id = %s"
        assert refusal(purge, plan.plan_id) == "LS004"

        LegalHold.objects.update(
            status="release_asked",
            release_asked_by=planner.pk,
            release_asked_at=NOON,
            release_reason="over",
        )
        assert refusal(purge, plan.plan_id) == "LS004"
        release = (
            "UPDATE legal_holds SET status = 'released', released_by = %s, released_at = now()"
        )
        assert refusal(release, planner.pk) is not None
        assert refusal(release, make_person("nobody").pk) == "LS004"
        retention.confirm_release(hold_id=LegalHold.objects.get().hold_id, by=approver.pk, at=LATER)
        assert refusal(purge, plan.plan_id) is None

    def test_end_by_a_second_person_only(self):
        planner, approver = make_two()
        hold = retention.place_hold(
            scope="everything", scope_value=None, matter="m", reason="r", by=approver.pk, at=NOON
        )
        asked = {"hold_id": hold.hold_id, "at": LATER}
        with pytest.raises(RetentionRefused, match="before that is asked"):
            retention.confirm_release(by=approver.pk, **asked)
        retention.ask_release(reason="over", by=approver.pk, **asked)
        with pytest.raises(RetentionRefused, match="cannot confirm it"):
            retention.confirm_release(by=approver.pk, **asked)
        with pytest.raises(RetentionRefused, match="may not release"):
            retention.confirm_release(by=planner.pk, **asked)

        assert refusal("UPDATE legal_holds SET status = 'released'") is not None
        assert refusal("DELETE FROM legal_holds") == "42501"
        assert refusal("UPDATE legal_holds SET scope = 'run', scope_value = 'x'") == "42501"


class TestReferences:
    def test_are_all_asked(self):
        """A new column of references is asked for, and has its index, or this is red."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT table_name, column_name FROM information_schema.columns "
                "WHERE table_schema = 'public' AND column_name LIKE '%%\\_ref'"
            )
            live = set(cursor.fetchall())
            cursor.execute(
                "SELECT tablename, indexdef FROM pg_indexes WHERE indexdef ~ 'USING hash'"
            )
            indexed = {
                (table, definition.split("(")[1].rstrip(")"))
                for table, definition in cursor.fetchall()
            }

        assert live == set(REF_COLUMNS) == indexed


class TestGrades:
    def test_of_an_unknown_run_raise(self):
        with pytest.raises(NotRecorded):
            grading.lower(run_id="nobody", plan_id=1, at=NOON)

    def test_never_rise(self, proposed):
        plan = proposed[2]

        raw = "INSERT INTO run_grades VALUES ('r', 'x', now(), %s, %s, 'r', %s)"
        assert refusal(raw, "attributable_only", "replay_reproducible", plan.plan_id) == "23514"
        assert not RunGrade.objects.exists()


class TestHiding:
    def test_can_be_undone_until_the_day(self):
        planner, _approver = make_two()
        record_run("r")
        hiding = retention.hide_run(run_id="r", reason="a trial", by=planner.pk, at=NOON)
        with pytest.raises(RetentionRefused, match="hidden already"):
            retention.hide_run(run_id="r", reason="again", by=planner.pk, at=NOON)
        with pytest.raises(RetentionRefused, match="could be restored until"):
            retention.restore_run(run_id="r", by=planner.pk, at=LATER)

        retention.restore_run(run_id="r", by=planner.pk, at=hiding.restorable_until)
        with pytest.raises(NotRecorded):
            retention.restore_run(run_id="r", by=planner.pk, at=NOON)


class TestInline:
    def test_texts_are_counted(self):
        planner, _approver = make_two()
        make_policy(planner)
        record_run("r", call=True)

        plan = retention.preview(by=planner.pk, at=LATER)

        assert json.loads(plan.inline_json) == {}
        assert (Payload.objects.count(), PurgeItem.objects.count(), plan.items) == (4, 4, 4)
