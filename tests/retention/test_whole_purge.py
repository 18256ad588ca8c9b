"""One purge from the policy to the certificate, on runs that were sealed before."""

from __future__ import annotations

import pytest

from audit.evidence import seals
from audit.integrity import trail
from audit.models import Payload, PayloadPurge, PurgeItem, Run, RunGrade, Seal
from tests.retention.worlds import LATER, make_policy, make_two, purge, record_run


@pytest.mark.django_db(transaction=True)
class TestPurge:
    def test_deletes_the_list_and_proves_it(self, settings):
        planner, approver = make_two()
        old = record_run("old", rows=3, call=True)
        record_run("sharing", rows=3, shared="old")
        for run_id in ("old", "sharing"):
            seals.seal_run(run_id=run_id, at=LATER)
        make_policy(planner)

        plan = purge(planner, approver)

        assert (plan.status, plan.items, plan.purged_items, plan.skipped_items) == (
            "executed",
            5,
            5,
            0,
        )
        assert set(Payload.objects.values_list("state", flat=True)) == {"purged"}
        assert not [
            path for path in (settings.LANDSCAPE_VAR / "payloads").rglob("*") if path.is_file()
        ]
        assert set(PurgeItem.objects.values_list("status", flat=True)) == {"erased"}
        assert PayloadPurge.objects.filter(run_id="old").count() == 5
        assert PayloadPurge.objects.filter(run_id="sharing").count() == 3
        fallen = RunGrade.objects.get()
        assert (old.reproducibility_grade, fallen.run_id) == ("replay_reproducible", "old")
        assert Run.objects.get(run_id="old").reproducibility_grade == "attributable_only"
        for run_id in ("old", "sharing"):
            report = trail.check_run(run_id=run_id, at=LATER)
            assert (report.ok, report.epoch, report.pending) == (True, 2, 0)
        assert [each.reason for each in Seal.objects.order_by("run_id", "epoch")] == [
            "run_failed",
            "payload_purged",
        ] * 2
