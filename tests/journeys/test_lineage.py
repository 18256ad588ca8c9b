"""An auditor asks why a row failed: by keyboard alone, without scripts, in both themes."""

import os
import re
import shutil
from datetime import date
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db.models import Count
from django.urls import reverse
from playwright.sync_api import expect

from audit.models import TokenParent
from tests.builders import (
    after_noon,
    make_child,
    make_edge,
    make_node,
    make_outcome,
    make_row,
    make_run,
    make_state,
    make_token,
    summarise,
)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

ROOT = Path(__file__).resolve().parent.parent.parent
AXES = ("step", "time", "table")


@pytest.fixture
def failing():
    """A row expanded into twelve parts, of which the fifth failed after three attempts."""
    run = make_run()
    source = make_node(run, "csv", "source")
    split, price = make_node(run, "split"), make_node(run, "price_line")
    sink = make_node(run, "payments", "sink")
    make_edge(source, split)
    make_edge(split, price)
    make_edge(price, sink)
    root = make_token(make_row(source))
    make_state(root, split, 1)
    make_outcome(root, "expanded")
    parts = []
    for number in range(12):
        part = make_child(root, number, expand_group_id="parts")
        parts.append(part)
        if number == 5:
            for attempt in range(3):
                make_state(
                    part,
                    price,
                    2,
                    attempt=attempt,
                    status="failed",
                    started_at=after_noon(2 + attempt),
                    completed_at=after_noon(2.8 + attempt),
                    error_json='{"reason":"code T-9901 is not in the catalogue"}',
                )
            make_outcome(part, "failed")
        else:
            make_state(part, price, 2)
            make_state(part, sink, 3)
            make_outcome(part, "completed", sink_name="payments")
    summarise(run)
    return root, parts


def place(token):
    return f"/runs/{token.run_id}/tokens/{token.token_id}/"


def scrolls_sideways(page):
    return page.evaluate("document.documentElement.scrollWidth > window.innerWidth")


class TestByKeyboardAlone:
    def test_why_a_row_failed(self, page, failing):
        root, _ = failing
        page.goto(place(root))

        page.keyboard.press("e")
        page.keyboard.press("Enter")

        panel = page.locator("#selected")
        expect(panel).to_contain_text("contents withheld")
        page.get_by_role("button", name="Reveal").focus()
        page.keyboard.press("Enter")
        expect(panel).to_contain_text("code T-9901 is not in the catalogue")
        expect(panel).to_contain_text("price_line")
        assert "visit=" in page.url

    def test_moves_from_cell_to_cell(self, page, failing):
        root, _ = failing
        page.goto(place(root))
        at = "document.activeElement.closest('[data-lane]')?.dataset.lane"

        page.keyboard.press("c")
        assert page.evaluate(at) == "2"
        page.keyboard.press("ArrowDown")
        assert page.evaluate(at) == "3"
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("p")
        assert page.evaluate(at) == "1"
        assert page.locator("[data-lane] a[tabindex='0']").count() == 1

    def test_opens_and_folds_a_lane(self, page, failing):
        root, _ = failing
        page.goto(place(root))
        before = page.locator("[data-lane]").count()

        page.locator(".more").focus()
        page.keyboard.press("o")
        page.wait_for_url("**open=**")
        assert page.locator("[data-lane]").count() > before

        page.locator(".less").first.focus()
        page.keyboard.press("o")
        page.wait_for_url(lambda url: "open=" not in url)
        assert page.locator("[data-lane]").count() == before

    def test_changes_the_axis_and_finds(self, page, failing):
        root, _ = failing
        page.goto(place(root))

        page.keyboard.press("2")
        page.wait_for_url("**axis=time**")
        page.keyboard.press("3")
        page.wait_for_url("**axis=table**")
        page.keyboard.press("/")
        page.keyboard.type("5")
        page.keyboard.press("Enter")

        page.wait_for_url("**q=5**")
        expect(page.locator("main")).to_contain_text("part 5")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_contain_text("next and previous error")

    def test_goes_back_to_what_was_picked_before(self, page, failing):
        root, _ = failing
        page.goto(place(root))
        page.locator("a[data-state]").nth(0).click()
        expect(page.locator("#selected")).to_contain_text("split")
        page.locator("a[data-bad][data-state]").first.click()
        expect(page.locator("#selected")).to_contain_text("price_line")

        page.go_back()
        expect(page.locator("#selected")).to_contain_text("split")
        page.locator("[data-close]").click()
        expect(page.locator("#selected")).to_have_count(0)


class TestWithoutScripts:
    def test_tells_why_a_row_failed(self, plain_page, failing):
        root, _ = failing
        plain_page.goto(place(root))

        plain_page.get_by_role("link", name=re.compile("price_line ?, failed")).first.click()

        panel = plain_page.locator("#selected")
        expect(panel).to_contain_text("contents withheld")
        plain_page.get_by_role("button", name="Reveal").click()
        expect(panel).to_contain_text("code T-9901 is not in the catalogue")
        panel.get_by_role("link", name="open visit").click()
        plain_page.get_by_role("heading", name="Visit to price_line").wait_for()

    def test_opens_folds_and_changes_axes(self, plain_page, failing):
        root, _ = failing
        plain_page.goto(place(root))

        plain_page.locator(".more").click()
        assert "open=" in plain_page.url
        plain_page.get_by_role("link", name="table", exact=True).click()

        assert plain_page.locator("[data-lane]").count() == 13


class TestEveryAxis:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("axis", AXES)
    def test_has_nothing_for_axe_to_report(self, open_page, failing, axe, screenshot, scheme, axis):
        _, parts = failing
        page = open_page(color_scheme=scheme, width=1440)
        page.goto(f"{place(parts[5])}?axis={axis}")
        page.locator("a[data-bad][data-state]").first.click()
        page.locator("#selected").wait_for()

        screenshot(page, f"lineage-{axis}-{scheme}")

        assert axe(page) == []
        assert not scrolls_sideways(page)

    @pytest.mark.parametrize("axis", AXES)
    def test_fits_a_narrow_screen(self, open_page, failing, axe, screenshot, axis):
        _, parts = failing
        page = open_page(width=360, height=740)
        page.goto(f"{place(parts[5])}?axis={axis}")

        screenshot(page, f"lineage-{axis}-narrow")

        assert axe(page) == []
        assert not scrolls_sideways(page)


class TestOnPaper:
    def test_says_who_came_from_whom_instead_of_drawing_it(self, page, failing):
        root, _ = failing
        page.goto(place(root))

        page.emulate_media(media="print")

        expect(page.locator(".edges")).to_be_hidden()
        expect(page.locator("td.made-from").nth(1)).to_have_text("lane 1")
        expect(page.locator("td.made-from").nth(1)).to_be_visible()


class TestPictures:
    @pytest.mark.skipif("RENEW_PICTURES" not in os.environ, reason="draws on request")
    @pytest.mark.parametrize(("scheme", "name"), [("light", ""), ("dark", "-dark")])
    def test_draw_the_pictures_in_the_documentation(self, open_page, screenshot, scheme, name):
        call_command("demo", first_day=date(2026, 11, 20), verbosity=0)
        parts = TokenParent.objects.values("run_id", "parent_token_id").annotate(n=Count("*"))
        widest = parts.order_by("-n").first()
        line = TokenParent.objects.get(
            run_id=widest["run_id"], parent_token_id=widest["parent_token_id"], ordinal=46
        ).token
        page = open_page(color_scheme=scheme, width=1440)
        page.goto(place(line))
        page.locator("tr.focus a.cell.other").first.click()
        page.locator("#selected").wait_for()

        picture = screenshot(page, f"token-page{name}", full_page=False)

        shutil.copyfile(picture, ROOT / "docs" / "img" / f"token-page{name}.png")
        page.goto(reverse("audit:run", kwargs={"run_id": line.run_id}))
        picture = screenshot(page, f"run-page{name}", full_page=False)
        shutil.copyfile(picture, ROOT / "docs" / "img" / f"run-page{name}.png")


class TestTheDrawing:
    def test_has_its_lines_where_the_cells_are(self, page, failing):
        root, _ = failing
        page.goto(place(root))

        ends = page.evaluate(
            """() => {
              const sheet = document.querySelector(".lane-sheet").getBoundingClientRect();
              return [...document.querySelectorAll(".edges [data-edge]")].map((line) => {
                const lane = line.dataset.edge.split(" ")[2];
                const cell = document.querySelector(`[data-lane="${lane}"] td .cell`);
                const box = cell.getBoundingClientRect();
                const end = line.getPointAtLength(line.getTotalLength());
                const middle = box.top + box.height / 2;
                return [end.x - (box.left - sheet.left), end.y - (middle - sheet.top)];
              });
            }"""
        )

        assert ends
        assert all(abs(x) <= 1 and abs(y) <= 1 for x, y in ends)
