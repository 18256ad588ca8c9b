"""From the run page to the file, with and without JavaScript."""

from __future__ import annotations

import re
import zipfile

import pytest

from audit import exports
from audit.exports import jobs
from audit.models import Export
from tests.builders import make_world, summarise

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _var(settings, tmp_path, monkeypatch, auditor):
    settings.LANDSCAPE_VAR = tmp_path / "var"
    settings.SIGNING_KEY_FILE = tmp_path / "var" / "secrets" / "signing_key.pem"
    monkeypatch.setattr("audit.tasks._ring", lambda *_: None)


def test_ask_watch_and_take_home(page, dark_page, screenshot, axe, tmp_path):
    world = make_world(rows=3)
    summarise(world.run)
    page.goto(f"/runs/{world.run.run_id}/")
    screenshot(page, "run-export-form")
    page.locator("select[name=format]").select_option("both")
    page.get_by_role("button", name="Export", exact=True).click()
    page.get_by_text("waits for a worker").wait_for()
    assert axe(page) == []
    screenshot(page, "export-requested")

    claim = jobs.claim(export_id=Export.objects.get().pk, owner="w")
    jobs.hold(claim, step="writing", done=9, total=20)
    page.get_by_text("9 of 20 records").first.wait_for()
    screenshot(page, "export-writing")
    jobs.retry_later(claim, code="disk_full", text="There is no room: 7 bytes are free.")
    page.get_by_text("7 bytes are free").first.wait_for()
    screenshot(page, "export-waiting")
    Export.objects.update(due_at=None, status="cancelled", finished_at=claim.export.started_at)

    page.get_by_role("button", name="Export again").click()
    page.get_by_text("waits for a worker").wait_for()
    exports.produce(export_id=Export.objects.live().get().pk, owner="w")
    with page.expect_download() as caught:
        page.get_by_role("link", name=re.compile("^Download")).click()
    caught.value.save_as(tmp_path / "bag.zip")

    assert zipfile.ZipFile(tmp_path / "bag.zip").testzip() is None
    assert axe(page) == []
    screenshot(page, "export-ready")
    for each, name in ((page, "exports"), (dark_page, "exports-dark")):
        each.goto("/exports/")
        assert axe(each) == []
        screenshot(each, name)
    dark_page.get_by_role("table").get_by_role("link").first.click()
    screenshot(dark_page, "export-ready-dark")


def test_without_javascript(plain_page, tmp_path):
    world = make_world(rows=1)
    plain_page.goto(f"/runs/{world.run.run_id}/")
    plain_page.get_by_role("button", name="Export", exact=True).click()
    exports.produce(export_id=Export.objects.get().pk, owner="w")

    # It reloads itself.
    plain_page.get_by_role("link", name=re.compile("^Download")).wait_for()
