"""An account from the sign-in to its second factor and its sessions, in a browser."""

import time

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_second_factor_is_set_up_and_used(theme, open_page, auditor, axe, screenshot):
    page = open_page(signed_in=False, color_scheme=theme, width=1280)

    def sign_in():
        page.goto("/accounts/login/")
        page.get_by_label("Username").fill("auditor")
        page.get_by_label("Password").fill("a good long passphrase")
        page.get_by_role("button", name="Sign in").click()

    def look(name):
        assert axe(page) == []
        screenshot(page, f"{name}-{theme}")

    sign_in()
    page.get_by_role("link", name="auditor").click()
    look("account")
    page.get_by_role("link", name="Set one up").click()
    look("second-factor")
    secret = page.get_by_label("Secret for the authenticator app").inner_text().strip()
    step = int(time.time()) // 30
    page.get_by_label("Authenticator code").fill(format_hotp_value(hotp_value(secret, step)))
    page.get_by_role("button", name="Set up").click()
    look("recovery-codes")
    codes = page.get_by_label("Recovery codes").inner_text().split()
    assert len(codes) == 10
    page.get_by_role("button", name="Sign out").click()

    sign_in()
    look("second-factor-asked")
    page.get_by_label("Code").fill(codes[0])
    page.get_by_role("button", name="Sign in").click()
    page.goto("/accounts/")
    page.set_viewport_size({"width": 320, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    look("account-narrow")
