"""The page /verify/ and its copy to keep: for anybody, and of no use to a forger."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders

from audit.evidence import signing
from audit.exports import verify
from audit.views import verifying
from tests.builders import NOON, after_noon
from tests.tampering import own_var  # noqa: F401  # a fixture

pytestmark = pytest.mark.django_db

FILE = "/verify/landscape-verify.html"


@pytest.fixture
def keys(own_var):  # noqa: F811
    """Two keys: one that others may have, and the one in its place."""
    signing.current(at=NOON)
    signing.rotate(at=after_noon(60), reason="lost", compromised_since=after_noon(30))
    return signing.known_keys()


class TestPage:
    def test_is_for_anybody(self, client, signed_in):
        assert client.get("/verify/").headers["Cache-Control"] == "public, max-age=300"
        own = signed_in.get("/verify/")

        assert "private" in own.headers["Cache-Control"]
        assert '<a href="/verify/" aria-current="page">Verify</a>' in own.text

    def test_may_send_nothing(self, client):
        policy = client.get("/verify/").headers["Content-Security-Policy"]

        assert "connect-src 'none'" in policy
        assert "script-src 'self'" in policy

    def test_has_no_script_and_no_style_of_its_own(self, client):
        text = client.get("/verify/").text

        assert not re.search(r"\sstyle=|<style|\son[a-z]+=|javascript:", text)
        assert re.findall(r"<script(?![^>]*\ssrc=)", text) == []

    def test_takes_no_parameters_and_no_posts(self, client):
        for address in ("/verify/", FILE):
            assert client.get(address, {"key": "x"}).status_code == 400
            assert client.post(address).status_code == 405

    def test_carries_the_keys_but_not_what_others_may_have(self, client, keys):
        for address in ("/verify/", FILE):
            text = client.get(address).text

            assert re.findall(r'data-key="([^"]*)"', text) == [str(keys[1].key)]
            assert f'data-given-up="{keys[0].key.key_id.hex()}"' in text
            assert "others may have had it" in text

    def test_says_that_nothing_was_signed(self, client):
        assert "the page carries no key" in client.get("/verify/").text

    def test_says_what_is_not_proven(self, client):
        text = client.get("/verify/").text

        for each in verify.NOT_PROVEN:
            assert f"<li>{each}</li>" in text

    def test_alone_loads_its_program(self, client, signed_in):
        assert "js/verify/" in client.get("/verify/").text
        for address in ("/keys/", "/runs/"):
            assert "js/verify/" not in signed_in.get(address).text


class TestFile:
    def test_is_a_download_that_loads_nothing(self, client, keys):
        answer = client.get(FILE)

        assert answer.headers["Content-Disposition"] == (
            'attachment; filename="landscape-verify.html"'
        )
        assert re.findall(r"""\s(?:src|href)=["']([^"'#][^"']*)""", answer.text) == []

    def test_may_do_nothing_but_what_it_was_served_with(self, client, keys):
        text = client.get(FILE).text
        policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
        parts = dict(each.split(" ", 1) for each in policy.split("; "))

        for kind, told in (("script", parts["script-src"]), ("style", parts["style-src"])):
            inside = re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
            digests = [hashlib.sha256(each.encode()).digest() for each in inside]
            assert told.split() == [f"'sha256-{base64.b64encode(d).decode()}'" for d in digests]
            assert inside
        assert parts["default-src"] == "'none'"
        assert "connect-src" not in parts

    def test_has_every_part_of_the_program(self):
        folder = Path(finders.find("audit/js/verify/page.js")).parent

        assert {Path(each).name for each in verifying.SCRIPTS} == {
            each.name for each in folder.iterdir()
        }
        for each in folder.iterdir():
            text = each.read_text()
            assert text.startswith("/**\n")
            assert text.count("\n") < 500
            # What would end the script in the file, or take a text for markup.
            assert not re.search(
                r"</script|<!--|innerHTML|insertAdjacentHTML|\beval\b", text, re.IGNORECASE
            )

    def test_is_not_opened_by_what_others_named(self, client, keys, settings):
        settings.ALLOWED_HOSTS = ["*"]
        settings.LANDSCAPE_AUTHORITY = '"><script>alert(1)</script>'

        text = client.get(FILE).text

        assert "<script>alert" not in text
