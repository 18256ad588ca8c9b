"""Fixtures for journeys through the pages: chromium, a live server, axe and screenshots."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from tests.services_plugin import VAR

SCREENSHOTS = VAR / "screenshots"

_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The system's chromium, or a skip that LANDSCAPE_REQUIRE_BROWSER=1 makes a failure."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        reason = "chromium is not installed (apt-get install chromium)"
        if os.environ.get("LANDSCAPE_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright keeps an event loop in this thread; Django would take it for async code.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, live_server, request) -> Iterator[Callable[..., Any]]:
    """Open a page on the live server; fails if a script broke, or broke the content policy.

    `open_page(signed_in=True, color_scheme="light", javascript=True, width=1280, height=900)`
    returns a Playwright page with `base_url` set, so `page.goto("/runs/")` works. The signed-in
    user is the fixture `auditor`, or whoever is given as `person`.
    """
    contexts = []
    complaints: list[str] = []

    def open_(
        *,
        signed_in: bool = True,
        person: Any = None,
        color_scheme: str = "light",
        javascript: bool = True,
        width: int = 1280,
        height: int = 900,
    ) -> Any:
        context = chromium.new_context(
            base_url=live_server.url,
            color_scheme=color_scheme,
            java_script_enabled=javascript,
            viewport={"width": width, "height": height},
            reduced_motion="reduce",
            locale="en-GB",
            timezone_id="UTC",
        )
        contexts.append(context)
        context.set_default_timeout(15_000)
        if signed_in:
            client = Client()
            client.force_login(person or request.getfixturevalue("auditor"))
            session = client.cookies[settings.SESSION_COOKIE_NAME].value
            context.add_cookies(
                [
                    {
                        "name": settings.SESSION_COOKIE_NAME,
                        "value": session,
                        "url": live_server.url,
                    }
                ]
            )
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(f"script: {error}"))
        page.on("console", _policy_complaints(complaints))
        page.on("response", _missing_files(complaints))
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(open_page) -> Any:
    """A page of a signed-in auditor in the light theme."""
    return open_page()


@pytest.fixture
def dark_page(open_page) -> Any:
    """The same in the dark theme."""
    return open_page(color_scheme="dark")


@pytest.fixture
def plain_page(open_page) -> Any:
    """The same with JavaScript off."""
    return open_page(javascript=False)


@pytest.fixture
def stranger_page(open_page) -> Any:
    """A page of somebody who is not signed in."""
    return open_page(signed_in=False)


@pytest.fixture
def axe() -> Callable[[Any], list[str]]:
    """Ask axe about a page: one line for each violation, so `assert axe(page) == []`."""
    from axe_playwright_python.sync_playwright import Axe

    def violations(page: Any) -> list[str]:
        found = Axe().run(page).response["violations"]
        return [
            f"{violation['id']} ({violation['impact']}): {node['html']} — {node['failureSummary']}"
            for violation in found
            for node in violation["nodes"]
        ]

    return violations


@pytest.fixture
def screenshot() -> Callable[..., Path]:
    """Save a picture of a page as var/test/screenshots/NAME.png and return its path."""

    def save(page: Any, name: str, *, full_page: bool = True) -> Path:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        page.screenshot(path=path, full_page=full_page, animations="disabled")
        return path

    return save


def _policy_complaints(complaints: list[str]) -> Callable[[Any], None]:
    def listen(message: Any) -> None:
        if message.type == "error" and "Content Security Policy" in message.text:
            complaints.append(message.text)

    return listen


def _missing_files(complaints: list[str]) -> Callable[[Any], None]:
    def listen(response: Any) -> None:
        if response.status >= 400 and settings.STATIC_URL in response.url:
            complaints.append(f"{response.status} for {response.url}")

    return listen
