"""An auditor looks at the run graph and goes from it to a node and to a visit."""

import shutil
from pathlib import Path

import pytest
from django.core.management import call_command
from django.urls import reverse

from audit.models import Node, Run

DATA = Path(__file__).resolve().parent.parent.parent.parent / "shared" / "data"
REAL = ("era-a/fork_coalesce", "era-a/calls", "era-b/error_routing", "era-b/fork_coalesce")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no real databases in {DATA}"),
]


@pytest.fixture
def runs(tmp_path):
    """Runs of real databases, imported from copies, by the folder they came from."""
    found = {}
    for name in REAL:
        copy = tmp_path / name / "audit.db"
        copy.parent.mkdir(parents=True)
        shutil.copyfile(DATA / name / "audit.db", copy)
        known = set(Run.objects.values_list("run_id", flat=True))
        call_command("import_audit", copy, verbosity=0)
        found[name] = Run.objects.exclude(run_id__in=known).newest_first().first()
    return found


def busiest(run):
    return Node.objects.filter(run_id=run.run_id, node_type__in=["gate", "transform"]).first()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_is_readable_in_both_schemes(open_page, runs, axe, screenshot, scheme):
    page = open_page(color_scheme=scheme)
    for name, run in runs.items():
        page.goto(reverse("audit:run", args=[run.run_id]))
        screenshot(page, f"graph-{name.replace('/', '-')}-{scheme}")
        assert axe(page) == []
    run = runs["era-b/error_routing"]
    for heat in ("count", "p95", "retries"):
        page.goto(reverse("audit:run", args=[run.run_id]) + f"?heat={heat}")
        screenshot(page, f"graph-{heat}-{scheme}")
        assert axe(page) == []
    page.goto(reverse("audit:node", args=[run.run_id, busiest(run).node_id]))
    screenshot(page, f"node-{scheme}")
    assert axe(page) == []


def test_leads_from_node_to_visit_by_keyboard_alone(page, runs):
    run = runs["era-b/error_routing"]
    page.goto(reverse("audit:run", args=[run.run_id]))
    node = page.locator("a.at").filter(has_text="content_filter").first
    node.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/nodes/**")

    page.get_by_role("link", name="4 failed").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**status=failed**")
    page.locator("#visits tbody a").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/states/**")


def test_scrolls_in_its_frame_and_never_the_page(open_page, runs):
    for width in (320, 1280):
        page = open_page(width=width)
        run = runs["era-b/fork_coalesce"]
        for address in (
            reverse("audit:run", args=[run.run_id]),
            reverse("audit:node", args=[run.run_id, busiest(run).node_id]),
        ):
            page.goto(address)
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_downloads_a_drawing_that_opens_as_a_file(page, runs, tmp_path, screenshot):
    page.goto(reverse("audit:run", args=[runs["era-b/error_routing"].run_id]))
    with page.expect_download() as caught:
        page.get_by_role("link", name=".svg").click()
    file = tmp_path / "dag.svg"
    caught.value.save_as(file)

    page.goto(file.as_uri())

    assert page.locator("a").count() == 9
    page.goto("about:blank")
    page.set_content(file.read_text())
    screenshot(page, "graph-file")
