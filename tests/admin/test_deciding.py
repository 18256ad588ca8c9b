"""Retention at the desk: who may decide what, and that each decision leaves its event."""

from __future__ import annotations

import time
from datetime import timedelta
from urllib.parse import quote

import pytest
from allauth.mfa.totp.internal.auth import TOTP
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audit import retention
from audit.models import AccessEvent, LegalHold, PurgePlan, RetentionPolicy, RunHiding
from audit.vocabulary import AccessAction, Role
from tests.retention.worlds import LATER, record_run

pytestmark = pytest.mark.django_db(transaction=True)

PLANNER, APPROVER = Role.RETENTION_ADMINISTRATOR, Role.RETENTION_APPROVER


@pytest.fixture(autouse=True)
def _no_wait(settings, tmp_path):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.LANDSCAPE_PURGE_WAIT = 0
    settings.LANDSCAPE_VAR = tmp_path


@pytest.fixture
def at_desk(client_of):
    """A client of somebody with these roles who has just signed in."""

    def make(*roles, signed_in_now=True, **asked) -> Client:
        client = client_of(*roles, **asked)
        if signed_in_now:
            session = client.session
            session["account_authentication_methods"] = [{"method": "password", "at": time.time()}]
            session["account_authentication_methods_user"] = session["_auth_user_id"]
            session.save()
        return client

    return make


def url(name, number=None):
    return reverse(f"admin:{name}", kwargs={} if number is None else {"number": number})


def actions():
    return list(AccessEvent.objects.order_by("pk").values_list("action", flat=True))


POLICY = {"name": "claims", "scope": "all", "scope_value": "", "keep_days": 1,
          "delete_after_days": 2, "reason": "the law"}  # fmt: skip
HOLD = {"scope": "everything", "scope_value": "", "matter": "M 17", "reason": "asked by Legal"}


class TestPolicies:
    def test_are_set_versioned_and_ended(self, at_desk):
        planner = at_desk(PLANNER)

        for _ in range(2):
            assert planner.post(url("set-policy"), POLICY).status_code == 302
        policy = RetentionPolicy.objects.latest("policy_id")
        assert b"in force" in planner.get(url("policy", policy.pk)).content
        planner.post(url("end-policy", policy.pk), {"reason": "over"})

        assert [each.version for each in RetentionPolicy.objects.order_by("policy_id")] == [1, 2, 3]
        assert not RetentionPolicy.objects.in_force().exists()
        assert actions() == [AccessAction.POLICY_SET] * 3
        assert b"claims v3" in planner.get(url("policies")).content

    def test_leave_nothing_where_they_are_refused(self, at_desk):
        wrong = POLICY | {"keep_days": 9}

        answer = at_desk(PLANNER).post(url("set-policy"), wrong)

        assert answer.status_code == 400
        assert b"Nothing is deleted before it may be" in answer.content
        assert (actions(), RetentionPolicy.objects.count()) == ([], 0)


class TestHolds:
    def test_are_placed_by_one_and_released_by_two(self, at_desk):
        planner, approver = at_desk(PLANNER), at_desk(APPROVER)
        both = at_desk(PLANNER, APPROVER, name="both")

        approver.post(url("place-hold"), HOLD)
        hold = LegalHold.objects.get()
        both.post(url("ask-release", hold.pk), {"reason": "settled"})
        both.post(url("confirm-release", hold.pk))
        hold.refresh_from_db()
        assert hold.status == "release_asked"
        assert b"another person has to confirm it" in both.get(url("hold", hold.pk)).content
        planner.post(url("withdraw-release", hold.pk))
        planner.post(url("ask-release", hold.pk), {"reason": "settled"})
        approver.post(url("confirm-release", hold.pk))

        hold.refresh_from_db()
        assert hold.status == "released"
        assert AccessAction.HOLD_RELEASED in actions()
        assert actions().count(AccessAction.HOLD_RELEASED) == 1
        assert b"released" in planner.get(url("holds")).content

    def test_an_auditor_places_one(self, at_desk):
        auditor = at_desk(Role.AUDITOR)

        assert auditor.post(url("place-hold"), HOLD).status_code == 302
        assert auditor.get(url("holds")).status_code == 200
        assert auditor.post(url("ask-release", LegalHold.objects.get().pk), {}).status_code == 403


class TestPlans:
    def plan(self, planner) -> PurgePlan:
        record_run("old", rows=3, call=True)
        planner.post(url("set-policy"), POLICY)
        planner.post(url("preview"))
        return PurgePlan.objects.latest("plan_id")

    def test_go_from_preview_to_certificate_by_two_people(self, at_desk, count_queries):
        planner, approver = at_desk(PLANNER), at_desk(APPROVER)
        plan = self.plan(planner)
        page = url("plan", plan.pk)
        agreed = {"digest": plan.digest, "count": str(plan.items), "reason": "due"}

        assert b"another person has to approve it" in planner.get(page).content
        assert planner.post(url("approve-plan", plan.pk), agreed).status_code == 403
        assert f"Approve deletion of {plan.items} payloads".encode() in approver.get(page).content
        for wrong in ({"count": "7"}, {"count": "many"}, {"digest": "0" * 64}):
            answer = approver.post(url("approve-plan", plan.pk), agreed | wrong)
            assert answer.status_code == 409
        assert approver.post(url("begin-plan", plan.pk)).status_code == 403
        assert planner.post(url("begin-plan", plan.pk)).status_code == 409
        assert AccessAction.PLAN_APPROVED not in actions()
        assert approver.post(url("approve-plan", plan.pk), agreed).status_code == 302
        assert planner.post(url("begin-plan", plan.pk)).status_code == 302
        assert approver.post(url("stop-plan", plan.pk)).status_code == 302
        retention.execute(plan_id=plan.pk, clock=lambda: LATER)

        plan.refresh_from_db()
        assert plan.status == "stopped"
        assert b"Certificate" in planner.get(page).content
        assert actions()[1:] == [
            AccessAction.PLAN_MADE,
            AccessAction.PLAN_APPROVED,
            AccessAction.PLAN_EXECUTED,
            AccessAction.PLAN_STOPPED,
        ]
        lines = b"".join(planner.get(url("plan-csv", plan.pk)).streaming_content).splitlines()
        assert lines[0] == b"sha256,bytes,policy_id,status,kept_by"
        assert len(lines) == plan.items + 1

    def test_are_not_approved_by_who_made_them_or_has_not_signed_in_lately(self, at_desk):
        both = at_desk(PLANNER, APPROVER, name="both")
        plan = self.plan(both)
        agreed = {"digest": plan.digest, "count": str(plan.items), "reason": "due"}
        late = at_desk(APPROVER, signed_in_now=False)

        assert both.post(url("approve-plan", plan.pk), agreed).status_code == 409
        answer = late.post(url("approve-plan", plan.pk), agreed)

        assert (answer.status_code, "reauthenticate" in answer.url) == (302, True)
        plan.refresh_from_db()
        assert plan.status == "proposed"
        assert AccessAction.PLAN_APPROVED not in actions()

    def test_are_not_begun_nor_a_hold_released_by_who_has_not_signed_in_lately(self, at_desk):
        planner, approver = at_desk(PLANNER), at_desk(APPROVER)
        plan = self.plan(planner)
        agreed = {"digest": plan.digest, "count": str(plan.items), "reason": "due"}
        approver.post(url("approve-plan", plan.pk), agreed)
        planner.post(url("place-hold"), HOLD)
        hold = LegalHold.objects.get()
        planner.post(url("ask-release", hold.pk), {"reason": "settled"})
        for client in (planner, approver):
            session = client.session
            del session["account_authentication_methods"]
            session.save()

        answers = [
            planner.post(url("begin-plan", plan.pk)),
            approver.post(url("confirm-release", hold.pk)),
        ]

        for answer in answers:
            assert (answer.status_code, "reauthenticate" in answer.url) == (302, True)
        plan.refresh_from_db()
        hold.refresh_from_db()
        assert (plan.status, hold.status) == ("approved", "release_asked")
        assert not {AccessAction.PLAN_EXECUTED, AccessAction.HOLD_RELEASED} & set(actions())

    def test_are_approved_with_the_second_factor_where_there_is_one(self, at_desk):
        plan, approver = self.plan(at_desk(PLANNER)), at_desk(APPROVER)
        agreed = {"digest": plan.digest, "count": str(plan.items), "reason": "due"}
        TOTP.activate(User.objects.get(username="retention-approver"), "A" * 32)
        page = url("plan", plan.pk)

        asked = approver.post(
            url("approve-plan", plan.pk), agreed, headers={"referer": f"http://testserver{page}"}
        )

        assert asked.url == f"{reverse('mfa_reauthenticate')}?next={quote(page, safe='')}"
        plan.refresh_from_db()
        assert plan.status == "proposed"
        session = approver.session
        session["account_authentication_methods"] += [{"method": "mfa", "at": time.time()}]
        session.save()
        assert approver.post(url("approve-plan", plan.pk), agreed).url == page
        plan.refresh_from_db()
        assert plan.status == "approved"

    def test_are_declined_with_a_reason(self, at_desk):
        planner, approver = at_desk(PLANNER), at_desk(APPROVER)
        plan = self.plan(planner)

        assert approver.post(url("decline-plan", plan.pk), {"reason": " "}).status_code == 409
        assert (
            approver.post(url("decline-plan", plan.pk), {"reason": "ask Legal"}).status_code == 302
        )
        assert b"ask Legal" in planner.get(url("plan", plan.pk)).content
        assert b"declined" in planner.get(url("plans")).content

    @pytest.mark.parametrize("role", [Role.ADMINISTRATOR, Role.AUDITOR])
    def test_are_for_retention_alone(self, at_desk, role):
        client = at_desk(role)

        assert client.get(url("plans")).status_code == 403
        assert client.post(url("preview")).status_code == 403
        assert client.get(url("plan", 10**30)).status_code == 403
        assert at_desk(PLANNER).get(url("plan", 10**30)).status_code == 404


class TestHidingARun:
    def test_takes_it_off_lists_and_can_be_undone_and_both_are_kept(self, at_desk):
        run, planner, viewer = record_run("r1"), at_desk(PLANNER), at_desk(Role.VIEWER)
        page = reverse("audit:run", kwargs={"run_id": run.run_id})
        assert b"Hide this run" in planner.get(page).content
        assert b"Hide this run" not in viewer.get(page).content

        answer = planner.post(url("hide-run"), {"run_id": "r1", "reason": "a trial"})

        hiding = RunHiding.objects.get()
        assert answer.url == url("hiding", hiding.pk)
        told = planner.get(answer.url).content
        assert b"not erasure" in told
        assert f"{hiding.restorable_until:%Y-%m-%d}".encode() in told
        for client, way in ((viewer, False), (planner, True)):
            shown = client.get(page).content
            assert b"Hidden from lists" in shown
            assert b"a trial" in shown
            assert f"{hiding.restorable_until:%Y-%m-%d}".encode() in shown
            assert (url("hiding", hiding.pk).encode() in shown) == way
        assert b"r1" not in viewer.get(reverse("audit:runs")).content
        for _ in range(2):
            assert planner.post(url("restore-run", hiding.pk)).url == answer.url
        assert b"r1" in viewer.get(reverse("audit:runs")).content
        kept = AccessEvent.objects.filter(action__startswith="run_").order_by("pk")
        assert [(each.action, each.run_id) for each in kept] == [
            (AccessAction.RUN_HIDDEN, "r1"),
            (AccessAction.RUN_RESTORED, "r1"),
        ]

    def test_is_refused_twice_without_a_reason_and_to_others(self, at_desk):
        record_run("r1")
        planner, approver = at_desk(PLANNER), at_desk(APPROVER)
        said = {"run_id": "r1", "reason": "a trial"}
        planner.post(url("hide-run"), said)

        assert b"hidden already" in planner.post(url("hide-run"), said).content
        assert planner.post(url("hide-run"), said | {"reason": " "}).status_code == 400
        assert b"no run r2" in planner.post(url("hide-run"), said | {"run_id": "r2"}).content
        assert approver.post(url("hide-run"), said).status_code == 403
        assert approver.get(url("hidden-runs")).status_code == 200
        assert approver.post(url("restore-run", RunHiding.objects.get().pk)).status_code == 403
        assert RunHiding.objects.filter(restored_at__isnull=True).count() == 1

    def test_cannot_be_undone_when_its_time_is_over(self, at_desk):
        record_run("r1")
        retention.hide_run(
            run_id="r1", reason="a trial", by=1, at=timezone.now() - timedelta(days=31)
        )
        planner, number = at_desk(PLANNER), RunHiding.objects.get().pk

        assert b"the time in which that could be undone is over" in (
            planner.get(url("hiding", number)).content
        )
        planner.post(url("restore-run", number))
        assert RunHiding.objects.in_effect().exists()
        assert actions() == []
