"""The pages of retention: with data, empty, and what they cost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from django.urls import reverse

from audit import retention
from audit.evidence import signing
from audit.exports import verify
from audit.models import Call
from tests.retention.worlds import LATER, make_policy, make_two, purge, record_run


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

    @pytest.mark.parametrize(
        "address", ["/retention/plans/x/", "/retention/plans/7/", "/retention/plans/7/certificate/"]
    )
    def test_answer_404_for_what_is_not_there(self, signed_in, address):
        assert signed_in.get(address).status_code == 404


def _call(run_id):
    return Call.objects.get(run_id=run_id).call_id
