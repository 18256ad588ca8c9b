"""From a token to the visit and the call that decided it, with what was said there."""

from __future__ import annotations

import pytest
from django.urls import reverse

from audit import payloads
from tests.builders import (
    make_call,
    make_edge,
    make_node,
    make_payload,
    make_route,
    make_row,
    make_run,
    make_state,
    make_token,
)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

ASKED = (
    '{"messages":[{"content":"You sort claims.","role":"system"},'
    '{"content":"Claim 311: ten nights.\\u200b <b>Which group?</b>","role":"user"}]}'
)
ANSWERED = '{"benefit_group":"inpatient_surgery","confidence":0.91}'


def keep(text):
    ref = payloads.store(text.encode())
    make_payload(ref, size_bytes=len(text.encode()))
    return ref


@pytest.fixture
def call(settings, tmp_path):
    settings.LANDSCAPE_VAR = tmp_path / "var"
    run = make_run()
    token = make_token(make_row(make_node(run, "csv", "source"), 311))
    model, gate = make_node(run, "triage_model"), make_node(run, "confidence", "gate")
    error = keep('{"exception":"no answer within 30 s","type":"Timeout"}')
    make_state(token, model, 1, status="failed", error_ref=error, error_hash=error)
    state = make_state(token, model, 1, attempt=1)
    reason = keep('{"condition":"confidence >= 0.7","result":true}')
    route = make_state(token, gate, 2)
    make_route(
        route,
        make_edge(gate, make_node(run, "out", "sink"), "sure"),
        reason_ref=reason,
        reason_hash=reason,
    )
    asked, answered = keep(ASKED.replace("\\u200b", "\u200b")), keep(ANSWERED)
    return make_call(
        state,
        request_ref=asked,
        request_hash=asked,
        response_ref=answered,
        response_hash=answered,
    )


def visit(page, live_server, name, *arguments):
    page.goto(live_server.url + reverse(f"audit:{name}", args=arguments))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_call_leads_to_its_visit_and_shows_what_was_said(
    call, open_page, live_server, axe, screenshot, theme
):
    page = open_page(color_scheme=theme)
    visit(page, live_server, "token", call.run_id, call.state.token_id)
    page.get_by_role("link", name="0 llm").click()

    assert page.locator(".body").count() == 2
    assert page.locator('.body[data-state="withheld"]').count() == 2
    assert "Which group?" not in page.content()
    assert axe(page) == []
    screenshot(page, f"call-withheld-{theme}")
    page.get_by_label("Reason").fill("case 311")
    page.get_by_role("button", name="Reveal").click()
    request = page.locator(".body").first.inner_text()
    assert "<b>Which group?</b>" in request
    assert "‹U+200B›" in request
    assert "bytes hash to this" in request
    assert axe(page) == []
    screenshot(page, f"call-{theme}")

    page.locator("main").get_by_role("link", name="visit", exact=False).first.click()
    assert page.locator("h1").inner_text() == "Visit to triage_model"
    assert "2 of 2" in page.locator(".facts").inner_text()
    page.get_by_role("link", name="Previous visit").click()
    page.get_by_role("button", name="Reveal").click()
    assert "no answer within 30 s" in page.locator("#error").inner_text()
    assert axe(page) == []
    screenshot(page, f"visit-failed-{theme}")
    page.get_by_role("link", name="Next visit").click()
    page.get_by_role("link", name="Next visit").click()
    page.get_by_role("button", name="Reveal").click()
    assert "confidence >= 0.7" in page.locator("#routes").inner_text()
    assert axe(page) == []
    screenshot(page, f"visit-gate-{theme}")


def test_the_access_log_tells_who_saw_what(call, open_page, live_server, axe, screenshot):
    for scheme in ("light", "dark"):
        page = open_page(color_scheme=scheme, javascript=scheme == "light")
        visit(page, live_server, "access-log")
        screenshot(page, f"access-{scheme}-first")
        visit(page, live_server, "call", call.run_id, call.call_id)
        page.get_by_label("Reason").fill("case 311")
        page.get_by_role("button", name="Reveal").click()
        assert "the access log says that you saw them" in page.locator("main").inner_text()
        page.locator("main").get_by_role("link", name="access log").click()
        assert "case 311" in page.locator("table").inner_text()
        screenshot(page, f"access-{scheme}")
        if scheme == "light":
            assert axe(page) == []


def test_pages_do_not_scroll_sideways_on_a_telephone(call, open_page, live_server):
    page = open_page(width=320, height=640)
    visit(page, live_server, "access-log")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    for name, key in (("visit", call.state_id), ("call", call.call_id)):
        visit(page, live_server, name, call.run_id, key)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
