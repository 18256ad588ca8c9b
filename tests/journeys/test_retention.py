"""What an auditor sees of retention: empty, planned, deleted; and a file that is the original."""

from __future__ import annotations

import pytest

from audit import canonical, retention
from audit.models import Call
from tests.retention.worlds import LATER, make_policy, make_two, purge, record_run

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_an_auditor_reads_what_was_deleted(
    page, dark_page, axe, screenshot, settings, tmp_path, open_page
):
    settings.LANDSCAPE_PURGE_WAIT = 0
    settings.LANDSCAPE_VAR = tmp_path
    page.goto("/retention/")
    assert "nothing is ever deleted" in page.inner_text(".answer")
    screenshot(page, "retention-empty")

    planner, approver = make_two()
    record_run("old", rows=4, call=True)
    record_run("sharing", rows=2, shared="old")
    record_run("held", rows=3)
    make_policy(planner)
    retention.place_hold(
        scope="run",
        scope_value="held",
        matter="Matter 2026-17",
        reason="Hartmann covers 12 claims",
        by=planner.pk,
        at=LATER,
    )
    plan = purge(planner, approver)
    waiting = retention.preview(by=planner.pk, at=LATER)
    for name, address in (
        ("retention", "/retention/"),
        ("retention-policies", "/retention/policies/"),
        ("retention-plan", f"/retention/plans/{plan.plan_id}/"),
        ("retention-waiting", f"/retention/plans/{waiting.plan_id}/?kept=legal_hold"),
        ("retention-certificate", f"/retention/plans/{plan.plan_id}/certificate/"),
    ):
        for each, theme in ((page, "light"), (dark_page, "dark")):
            each.goto(address)
            assert axe(each) == []
            screenshot(each, f"{name}-{theme}")
    narrow = open_page(width=320)
    narrow.goto(f"/retention/plans/{plan.plan_id}/")
    assert narrow.evaluate("document.documentElement.scrollWidth") <= 320

    call = Call.objects.get(run_id="old")
    page.goto(f"/runs/old/calls/{call.call_id}/")
    assert f"plan {plan.plan_id}" in page.inner_text("main")
    original = page.locator(f"[data-original='{call.response_ref}']")
    original.locator("summary").click()
    kept = tmp_path / "answer.json"
    kept.write_bytes(canonical.canonical_bytes({"answer": "old"}))
    original.locator("[data-file]").set_input_files(kept)
    original.get_by_text("This is the original").wait_for()
    other = tmp_path / "other.json"
    other.write_bytes(b"another")
    original.locator("[data-file]").set_input_files(other)
    original.get_by_text("This is another file").wait_for()
    screenshot(page, "retention-original")
