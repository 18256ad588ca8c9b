"""An auditor reads real runs in a browser: by mouse, by keys, in the dark, without scripts."""

import hashlib
import shutil
from pathlib import Path

import pytest
from django.core.management import call_command

from audit.models import Import, NodeState, Run
from tests.builders import (
    digest,
    make_child,
    make_import,
    make_row,
    make_run,
    make_token,
    make_world,
)

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = ROOT.parent / "shared" / "data"
FORKS = DATA / "era-a" / "fork_coalesce" / "audit.db"
RETRIES = DATA / "era-a" / "retries" / "audit.db"
CALLS = DATA / "era-a" / "calls" / "audit.db"
EDGES = DATA / "era-a" / "recorder_edges" / "audit.db"
ROUTING = DATA / "era-b" / "error_routing" / "audit.db"

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

real_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real databases in {DATA}")


@pytest.fixture
def bring_in(tmp_path):
    """Import copies of real databases: the originals stay as they are."""

    def bring(*paths):
        for path in paths:
            copy = tmp_path / path.parent.name / path.name
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, copy)
            call_command("import_audit", copy, verbosity=0)

    return bring


def run_from(path):
    """The newest run that was imported from a file."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    ids = Import.objects.filter(source_sha256=sha256).values("run_id")
    return Run.objects.filter(run_id__in=ids).newest_first().first()


@pytest.fixture
def look(axe, screenshot):
    """Keep a picture of a page and ask axe about it."""

    def at(page, name):
        screenshot(page, name)
        return axe(page)

    return at


def scrolls_sideways(page):
    return page.evaluate("document.documentElement.scrollWidth > window.innerWidth")


def walk(page):
    """From the login to a token, by what is written on the links; yields at every page."""
    page.goto("/")
    yield "login"
    page.get_by_label("Username").fill("auditor")
    page.get_by_label("Password").fill("a good long passphrase")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/runs/")
    yield "runs"
    page.get_by_role("row").filter(has_text="splitter").first.get_by_role("link").first.click()
    page.get_by_role("heading", name="What the rows went through").wait_for()
    yield "run"
    page.locator(".answer").get_by_role("link", name="12 rows").click()
    page.get_by_role("heading", name="Rows", exact=True).wait_for()
    yield "rows"
    page.get_by_role("region", name="Rows of this run").get_by_role("link").first.click()
    page.get_by_role("heading", name="Row 0").wait_for()
    yield "row"
    page.get_by_role("row").filter(has_text="by a merge").get_by_role("link").first.click()
    page.get_by_role("heading", name="Token of row 0").wait_for()
    yield "token"


@real_data
class TestFromTheLoginToAToken:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_with_nothing_for_axe_to_report(self, open_page, auditor, bring_in, look, scheme):
        bring_in(FORKS, RETRIES, EDGES)
        page = open_page(signed_in=False, color_scheme=scheme)

        reports = {}
        for place in walk(page):
            reports[place] = look(page, f"{place}-{scheme}")

        assert list(reports) == ["login", "runs", "run", "rows", "row", "token"]
        assert {place: report for place, report in reports.items() if report} == {}

    def test_without_javascript(self, open_page, auditor, bring_in):
        bring_in(FORKS)
        page = open_page(signed_in=False, javascript=False)

        places = list(walk(page))

        assert places[-1] == "token"
        assert "Merged from 2 tokens of row 0" in page.locator(".answer").inner_text()
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/accounts/login/**")

    def test_on_a_narrow_screen_without_scrolling_sideways(self, open_page, auditor, bring_in):
        bring_in(FORKS, RETRIES)
        page = open_page(signed_in=False, width=320, height=640)

        wide = [place for place in walk(page) if scrolls_sideways(page)]

        assert wide == []

    def test_back_from_a_token_to_its_parents_and_its_run(self, page, bring_in):
        bring_in(FORKS)
        run = run_from(FORKS)
        page.goto(f"/runs/{run.run_id}/rows/")
        page.get_by_role("region", name="Rows of this run").get_by_role("link").first.click()
        page.get_by_role("row").filter(has_text="by a merge").get_by_role("link").first.click()

        page.locator("#parents a").first.click()
        assert "branch" in page.locator(".answer").inner_text()
        page.locator("#parents a").first.click()
        assert "because its rule said so" in page.locator(".answer").inner_text()
        page.get_by_role("button", name="Reveal").click()
        assert (
            "into 2 tokens because its condition is always true"
            in page.locator(".answer").inner_text()
        )
        page.get_by_role("link", name=f"run {run.run_id[:12]}").click()

        page.get_by_role("heading", name="Where it came from").wait_for()


@real_data
class TestTellingPages:
    """Pages with much to say, looked at by axe and kept as pictures."""

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_of_failures_calls_and_findings(self, open_page, bring_in, look, scheme):
        bring_in(RETRIES, CALLS, EDGES, ROUTING)
        page = open_page(color_scheme=scheme)
        failed = NodeState.objects.filter(run_id=run_from(RETRIES).run_id, attempt=2).first()
        called = NodeState.objects.filter(run_id=run_from(CALLS).run_id, status="failed").first()
        edges = Import.objects.filter(records_json__contains="transform_errors").values("run_id")
        pages = {
            "token-retried": f"/runs/{failed.run_id}/tokens/{failed.token_id}/",
            "token-calls": f"/runs/{called.run_id}/tokens/{called.token_id}/",
            "runs-all": "/runs/",
            "run-findings": f"/runs/{edges.first()['run_id']}/",
            "run-routing": f"/runs/{run_from(ROUTING).run_id}/",
            "rows-failed": f"/runs/{failed.run_id}/rows/?outcome=failed",
            "not-there": "/runs/nowhere/",
            "not-understood": "/runs/?nonsense=1",
            "password": "/accounts/password/change/",
        }

        reports = {}
        for name, address in pages.items():
            page.goto(address)
            for fold in page.locator("details").all():
                fold.evaluate("fold => { fold.open = true; }")
            reports[name] = look(page, f"{name}-{scheme}")

        assert {name: report for name, report in reports.items() if report} == {}


class TestFirstStart:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_says_how_to_begin(self, open_page, axe, screenshot, scheme):
        page = open_page(color_scheme=scheme)

        page.goto("/")

        screenshot(page, f"first-start-{scheme}")
        assert "make run AUDIT_DB=path/to/audit.db" in page.locator("main").inner_text()
        assert axe(page) == []

    def test_fits_a_narrow_screen(self, open_page):
        page = open_page(width=320, height=640)

        page.goto("/")

        assert not scrolls_sideways(page)


class TestKeys:
    def test_move_through_the_lines_and_open_one(self, page):
        world = make_world(rows=3)
        page.goto(f"/runs/{world.run.run_id}/rows/")

        for key in ("j", "j", "j", "k", "Enter"):
            page.keyboard.press(key)

        page.get_by_role("heading", name="Row 1", exact=True).wait_for()

    def test_find_the_filter_and_leave_writing_alone(self, page):
        make_run()
        page.goto("/runs/")

        page.keyboard.press("/")
        page.keyboard.type("jk?/")

        assert page.get_by_role("searchbox").input_value() == "jk?/"

    def test_are_listed_on_request(self, page, axe):
        make_run()
        page.goto("/runs/")

        page.keyboard.press("?")

        page.get_by_role("dialog").wait_for()
        assert axe(page) == []
        page.keyboard.press("Escape")
        assert page.get_by_role("dialog").count() == 0

    def test_need_no_script_to_reach_a_line(self, plain_page):
        make_run()
        plain_page.goto("/runs/")

        plain_page.get_by_role("region", name="Runs").get_by_role("link").first.focus()
        plain_page.keyboard.press("Enter")

        plain_page.get_by_role("heading", name="Configuration").wait_for()


class TestFilters:
    def test_stand_in_the_address(self, page):
        make_run(status="failed")
        make_run()
        page.goto("/runs/")

        page.get_by_label("status").select_option("failed")
        page.get_by_role("button", name="Filter").click()

        page.wait_for_url("**/runs/?status=failed&**")
        assert page.get_by_role("row").count() == 2


class TestHostileData:
    def test_neither_runs_nor_bends_the_page(self, page):
        name = "\u202e<img src=x onerror=\"document.title='owned'\">" * 20
        world = make_world(rows=0)
        token = make_child(make_token(make_row(world.source)), branch_name=name)
        make_import(world.run, source_name=name, source_sha256=digest(name))

        for address in (
            f"/runs/{world.run.run_id}/",
            f"/runs/{world.run.run_id}/tokens/{token.token_id}/",
        ):
            page.goto(address)
            assert page.title() != "owned"
            assert "‹U+202E›<img" in page.locator("main").inner_text()
            assert not scrolls_sideways(page)
