"""From a run's page to the verdict on its export, and what else can be dropped there."""

from __future__ import annotations

import json
import re
import shutil
import zipfile

import pytest
from django.contrib.auth.models import Group

from audit import exports, payloads
from audit.evidence import signing
from audit.exports import proofs, verify
from audit.models import Export
from tests.builders import after_noon, make_payload, make_row, make_world, summarise
from tests.exports import forging

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _var(settings, tmp_path, monkeypatch, auditor):
    settings.LANDSCAPE_VAR = tmp_path / "var"
    settings.SIGNING_KEY_FILE = tmp_path / "var" / "secrets" / "signing_key.pem"
    monkeypatch.setattr("audit.tasks._ring", lambda *_: None)
    auditor.groups.add(Group.objects.get(name="exporter"))


def kept_row(source, index, content):
    """A row whose content is kept."""
    ref = payloads.store(content)
    make_payload(ref)
    return make_row(source, index, source_data_ref=ref, source_data_hash=ref)


@pytest.fixture
def world():
    """A run with a payload that is kept and one that is lost."""
    world = make_world(rows=3)
    source = world.rows[0].source_node
    kept_row(source, 10, b'{"claim":"kept"}')
    make_row(source, 11, source_data_ref="ab" * 32)
    summarise(world.run)
    return world


def exported(world, tmp_path, **options):
    """A bag of the run, as a ZIP file."""
    told = {"folder": tmp_path / "out", "at": after_noon(1000), "zipped": True, **options}
    return exports.export_run(run_id=world.run.run_id, **told).path


def drop(page, *paths):
    page.set_input_files("[data-files]", list(paths))
    page.locator("[data-verdict], [data-singles]").first.wait_for()


def verdict(page):
    return page.locator("[data-verdict]").get_attribute("data-verdict")


def states(page):
    """How each check ended."""
    lines = page.locator("[data-step]").all()
    return {
        each.get_attribute("data-step"): each.locator(".chip").inner_text().strip()
        for each in lines
    }


def test_from_the_run_to_the_verdict(page, dark_page, world, screenshot, axe, tmp_path):
    page.goto(f"/runs/{world.run.run_id}/")
    page.locator("select[name=format]").select_option("both")
    page.get_by_role("button", name="Export", exact=True).click()
    page.get_by_text("waits for a worker").wait_for()
    exports.produce(export_id=Export.objects.get().pk, owner="w")
    with page.expect_download() as caught:
        page.get_by_role("link", name=re.compile("^Download")).click()
    path = tmp_path / caught.value.suggested_filename
    caught.value.save_as(path)

    page.get_by_role("complementary", name="Steps").get_by_role("link", name="Verify").click()
    assert axe(page) == []
    screenshot(page, "verify-empty")
    drop(page, path)

    assert verdict(page) == "VERIFIED"
    assert states(page) | {"form": "skipped", "payloads": "skipped", "previous": "skipped"} == (
        dict.fromkeys(states(page), "verified")
        | {"form": "skipped", "payloads": "skipped", "previous": "skipped"}
    )
    assert axe(page) == []
    screenshot(page, "verify-verified")
    with page.expect_download() as caught:
        page.get_by_role("button", name="Report .json").click()
    report = json.loads(caught.value.path().read_text())
    theirs = verify.verify(str(path), keys=[str(signing.trusted()[-1])]).as_json()
    differing = {"key_trusted_because"}
    assert {k: v for k, v in report.items() if k in theirs and k not in differing} == {
        k: v for k, v in theirs.items() if k not in differing
    }
    page.get_by_role("button", name="Check another").click()
    page.get_by_text("Drop it here").wait_for()
    dark_page.goto("/verify/")
    screenshot(dark_page, "verify-empty-dark")
    drop(dark_page, path)
    screenshot(dark_page, "verify-verified-dark")


def test_findings_faults_and_doubts(page, dark_page, world, screenshot, axe, tmp_path):
    path = exported(world, tmp_path, with_payloads=True, csv=True)
    page.goto("/verify/")
    page.locator("[data-strict]").check()

    drop(page, path)
    assert verdict(page) == "VERIFIED WITH FINDINGS"
    assert states(page)["payloads"] == "missing"
    assert states(page)["form"] == "verified"
    assert "1 payload is missing" in page.locator("[data-verdict]").inner_text()
    assert page.get_by_text("ab" * 32).count() == 1
    screenshot(page, "verify-findings")

    folder = tmp_path / "opened"
    with zipfile.ZipFile(path) as file:
        file.extractall(folder)
    (inner,) = folder.iterdir()
    records = inner / "data" / "records" / "000000.jsonl"
    records.write_bytes(records.read_bytes().replace(b'"row_index":"1"', b'"row_index":"7"', 1))
    spoilt = shutil.make_archive(str(tmp_path / "spoilt"), "zip", folder, inner.name)
    for each in (page, dark_page):
        each.goto("/verify/")
        drop(each, spoilt)
        assert verdict(each) == "FAILED"
        screenshot(each, f"verify-failed{'-dark' if each is dark_page else ''}")
    assert states(page)["files"] == "failed"
    assert axe(page) == []

    other = tmp_path / "other.pem"
    other.write_text(forging.pem(forging.OTHER))
    page.goto("/verify/")
    page.set_input_files("[data-key-file]", other)
    page.get_by_text("Only what you loaded counts").wait_for()
    drop(page, path)
    assert verdict(page) == "CANNOT TELL"
    assert "no key that you trust" in page.locator("[data-verdict]").inner_text()
    assert states(page)["tree"] == "not reached"
    screenshot(page, "verify-cannot-tell")

    page.get_by_role("button", name="Check another").click()
    page.set_input_files("[data-key-file]", path)
    page.get_by_text("There is no Ed25519 key in").wait_for()
    page.get_by_role("button", name="Back to the keys of this page").click()
    drop(page, path)
    assert verdict(page) == "VERIFIED WITH FINDINGS"


def test_one_record_without_the_others_and_single_files(page, world, screenshot, axe, tmp_path):
    path = exported(world, tmp_path, with_payloads=True)
    proven = proofs.prove_record(
        run_id=world.run.run_id, record_type="row", key=world.rows[1].row_id
    )
    record, proof = tmp_path / "row.json", tmp_path / "row.json.tlog-proof"
    record.write_bytes(proven.line)
    proof.write_text(proven.proof.text)
    page.goto("/verify/")

    drop(page, record, proof)
    assert verdict(page) == "VERIFIED"
    assert f"number {proven.proof.index} of" in page.locator("[data-verdict]").inner_text()
    assert axe(page) == []
    screenshot(page, "verify-record")

    page.get_by_role("button", name="Check another").click()
    parcel = exports.parcel(proven)
    (tmp_path / parcel.name).write_bytes(parcel.content)
    drop(page, tmp_path / parcel.name)
    assert verdict(page) == "VERIFIED"
    assert "number " in page.locator("[data-verdict]").inner_text()

    page.get_by_role("button", name="Check another").click()
    record.write_bytes(proven.line.replace(b"row", b"raw", 1))
    drop(page, proof, record)
    assert verdict(page) == "FAILED"

    page.get_by_role("button", name="Check another").click()
    page.set_input_files("[data-files]", proof)
    page.get_by_text("drop the record that it proves together with it").wait_for()

    payload = tmp_path / "claim.json"
    payload.write_bytes(b'{"claim":"kept"}')
    drop(page, payload)
    assert "Nothing to look it up in" in page.locator("[data-singles]").inner_text()
    page.get_by_role("button", name="Check another").click()
    drop(page, path, payload)
    said = page.locator("[data-singles]").inner_text()
    assert "Byte for byte what" in said
    assert "source_data_ref" in said
    screenshot(page, "verify-single-file")
    page.get_by_role("button", name="Check another").click()
    payload.write_bytes(b"other")
    drop(page, payload)
    assert "has or names this hash" in page.locator("[data-singles]").inner_text()


def test_saved_it_needs_neither_us_nor_a_network(
    settings, stranger_page, world, chromium, screenshot, axe, tmp_path
):
    path = exported(world, tmp_path)
    stranger_page.goto("/verify/")
    with stranger_page.expect_download() as caught:
        stranger_page.get_by_role("link", name="save this page as one file").click()
    saved = tmp_path / caught.value.suggested_filename
    caught.value.save_as(saved)
    assert saved.name == "landscape-verify.html"

    context = chromium.new_context(offline=True, viewport={"width": 1280, "height": 900})
    alone = context.new_page()
    complaints = []
    alone.on("pageerror", lambda error: complaints.append(str(error)))
    alone.on("console", lambda message: complaints.append(message.text))
    alone.on("request", lambda request: complaints.append(request.url))
    alone.goto(saved.as_uri())
    drop(alone, path)
    assert verdict(alone) == "VERIFIED"
    screenshot(alone, "verify-alone")
    # axe is put into the page by a way that its policy forbids; the served one was asked.
    assert complaints == [saved.as_uri()]

    # As a browser saves a page with all its files.
    (tmp_path / "saved.html").write_text(stranger_page.content().replace('"/static/', '"static/'))
    shutil.copytree(settings.BASE_DIR / "static", tmp_path / "static")
    alone.goto((tmp_path / "saved.html").as_uri())
    drop(alone, path)
    assert verdict(alone) == "VERIFIED"
    context.close()


def test_without_javascript_and_on_a_telephone(open_page, screenshot, axe):
    plain = open_page(javascript=False, signed_in=False)
    plain.goto("/verify/")
    assert plain.locator("noscript p").is_visible()
    assert plain.get_by_text("python3 verify.py EXPORT.zip").is_visible()
    assert plain.locator("[data-drop]").is_hidden()
    screenshot(plain, "verify-plain")

    small = open_page(signed_in=False, width=320, height=640)
    small.goto("/verify/")
    assert small.evaluate("document.documentElement.scrollWidth") <= 320
    assert axe(small) == []
    screenshot(small, "verify-small")
