"""The pages of retention: with data, empty, and what they cost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from django.urls import reverse

from audit import retention
from audit.evidence import seals, signing
from audit.exports import verify
from audit.models import Call
from audit.vocabulary import Role
from tests.admin.test_jobs import FAILED, make_export, make_upload
from tests.builders import NOON, make_finding
from tests.retention.worlds import (
    LATER,
    make_person,
    make_policy,
    make_two,
    purge,
    record_run,
)

DESK = (
    "index",
    "jobs",
    "people",
    "imports",
    "policies",
    "holds",
    "hidden-runs",
    "plans",
    "audit_run_changelist",
    "audit_payload_changelist",
    "audit_seallogentry_changelist",
    "audit_finding_changelist",
)


@pytest.mark.django_db(transaction=True)
class TestPages:
    def test_tell_a_purge_from_the_policy_to_the_certificate(self, signed_in, tmp_path):
        assert b"nothing is ever deleted" in signed_in.get("/retention/").content
        assert b"No policy was ever made" in signed_in.get("/retention/policies/").content
        planner, approver = make_two()
        record_run("old", rows=3, call=True)
        record_run("held", rows=2)
        record_run("going", rows=1, status="running")
        make_policy(planner)
        retention.place_hold(
            scope="run", scope_value="held", matter="M 17", reason="law", by=planner.pk, at=LATER
        )
        plan = purge(planner, approver)
        retention.hide_run(run_id="held", reason="a trial", by=planner.pk, at=LATER)

        pages = {
            name: signed_in.get(reverse(f"audit:{name}", args=args))
            for name, args in (
                ("retention", []),
                ("retention-policies", []),
                ("plan", [plan.plan_id]),
                ("certificate", [plan.plan_id]),
            )
        }

        assert {each.status_code for each in pages.values()} == {200}
        assert b"M 17" in pages["retention"].content
        assert b"claims v1" in pages["retention-policies"].content
        assert (
            b"5</a> of 5" in pages["plan"].content
            or b"5 payloads</a> of 5" in pages["plan"].content
        )
        assert b"1 run can no longer be replayed" in pages["plan"].content
        assert planner.username.encode() in pages["certificate"].content
        assert b"held" not in signed_in.get("/runs/").content
        assert signed_in.get("/runs/held/").status_code == 200
        call = signed_in.get("/runs/old/calls/" + _call("old") + "/")
        assert f"plan {plan.plan_id}".encode() in call.content
        assert b"sha256sum FILE" in call.content

        told = signed_in.get(reverse("audit:certificate-file", args=[plan.plan_id]))
        items = signed_in.get(reverse("audit:plan-list", args=[plan.plan_id]))
        file, listed = tmp_path / "x.certificate.json", tmp_path / "list.txt"
        file.write_bytes(told.content)
        listed.write_bytes(b"".join(items.streaming_content))
        key = str(signing.known_keys()[0].key)
        verified = [sys.executable, Path(verify.__file__), file, "--list", listed, "--key", key]
        done = subprocess.run(verified, capture_output=True, text=True, check=False)
        assert done.returncode in {0, 3}, done.stdout
        assert "the list is the one that was approved" in done.stdout
        listed.write_bytes(listed.read_bytes().replace(b"erased", b"skippe", 1))
        assert subprocess.run(verified, capture_output=True, check=False).returncode == 1
        file.write_bytes(told.content.replace(b"A", b"B", 1))
        assert subprocess.run(verified, capture_output=True, check=False).returncode in {1, 2}

    def test_and_lists_of_the_desk_cost_the_same_at_two_sizes(self, client_of, count_queries):
        planner, approver = make_two()
        client = client_of(*Role.values)

        def grow(name, many):
            for number in range(many):
                key = f"{name}{number}"
                run = record_run(key, rows=many, call=True)
                seals.seal_run(run_id=key, at=NOON)
                make_policy(planner, key)
                retention.place_hold(
                    scope="pipeline", scope_value=key, matter=key, reason="law",
                    by=planner.pk, at=NOON,
                )  # fmt: skip
                retention.hide_run(run_id=key, reason="a trial", by=planner.pk, at=NOON)
                make_finding(run)
                make_upload()
                make_export(run, make_person(key).pk, **FAILED)
            return purge(planner, approver)

        def costs(plan):
            number = plan.plan_id
            pages = [reverse(f"admin:{name}") for name in DESK]
            pages += [reverse(f"audit:{name}") for name in ("retention", "retention-policies")]
            pages += [reverse(f"audit:{name}", args=[number]) for name in ("plan", "certificate")]
            pages += [reverse("admin:plan", args=[number])]
            return {
                page.replace(f"/{number}/", "/plan/"): count_queries(
                    lambda page=page: client.get(page)
                )
                for page in pages
            }

        small = grow("a", 1)
        costs(small)
        few = costs(small)
        many = costs(grow("b", 3))

        assert many == few

    @pytest.mark.parametrize(
        "address", ["/retention/plans/x/", "/retention/plans/7/", "/retention/plans/7/certificate/"]
    )
    def test_answer_404_for_what_is_not_there(self, signed_in, address):
        assert signed_in.get(address).status_code == 404


def _call(run_id):
    return Call.objects.get(run_id=run_id).call_id
