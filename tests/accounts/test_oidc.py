"""Signing in by an identity provider: a process of its own, which lies where it is told to."""

from __future__ import annotations

import http.client
import importlib
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from allauth.mfa.totp.internal.auth import TOTP
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.conf import settings as site
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client
from django.urls import clear_url_caches, reverse

from audit.models import AccessEvent
from landscape_site import env, urls
from landscape_site.accounts import discovery
from tests.accounts.conftest import SECRET, code
from tests.accounts.identity_provider import CLIENT, PERSON
from tests.accounts.identity_provider import SECRET as CLIENT_SECRET
from tests.running import free_port

pytestmark = pytest.mark.django_db

BEGIN, BACK = "/accounts/oidc/", "/accounts/oidc/callback/"


def route():
    importlib.reload(urls)
    clear_url_caches()


@pytest.fixture(scope="module")
def issuer():
    """The provider's address; while it runs, Landscape knows it."""
    script = Path(__file__).with_name("identity_provider.py")
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().strip()
        with pytest.MonkeyPatch.context() as patch:
            known = env.IdentityProvider(
                issuer=address, client_id=CLIENT, client_secret=CLIENT_SECRET, name="Example House"
            )
            patch.setattr(site, "IDENTITY_PROVIDER", known)
            route()
            yield address
        route()
        process.kill()


@pytest.fixture(autouse=True)
def provider(issuer, monkeypatch):
    """Say what the provider does next; nothing said, all is well, and nobody has asked it yet."""
    monkeypatch.setattr(discovery, "_said", {})

    def order(**orders):
        talk(issuer, "POST", "/next", json.dumps(orders))

    order()
    return order


def talk(issuer, method, path, body=None):
    connection = http.client.HTTPConnection(urlsplit(issuer).netloc, timeout=10)
    connection.request(method, path, body)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def begin(client, **asked):
    """Where the button leads."""
    page = client.post(BEGIN, asked)
    assert page.status_code == 200, page.headers
    return page["Refresh"].removeprefix("0; url=")


def sent_back(client, **asked):
    """Where the provider sends somebody who pressed the button."""
    there = urlsplit(begin(client, **asked))
    answer = talk(f"http://{there.netloc}", "GET", f"{there.path}?{there.query}")
    assert answer.status == 302
    return answer.headers["Location"].removeprefix("http://testserver")


def sign_in(client, **asked):
    return client.get(sent_back(client, **asked))


def is_signed_in(client):
    return "_auth_user_id" in client.session


def refusals():
    return AccessEvent.objects.filter(action="sign_in_refused").count()


class TestSomebodyNew:
    def test_gets_an_account_of_no_role_and_the_same_one_next_time(self, issuer, caplog):
        client = Client()
        done = sign_in(client, next="/runs/?status=failed")

        assert done["Location"] == "/runs/?status=failed"
        assert client.get("/runs/").status_code == 403
        grace = SocialAccount.objects.get(provider=issuer, uid="7").user
        assert (grace.username, grace.get_full_name()) == (
            PERSON["preferred_username"],
            "Grace Hopper",
        )
        rights = (grace.groups.exists(), grace.is_superuser, grace.has_usable_password())
        assert not any(rights)
        assert client.get("/accounts/").status_code == 200
        kept = AccessEvent.objects.get(action="signed_in")
        assert (kept.user_id, kept.kind, kept.result) == (
            grace.pk,
            "account_oidc_callback",
            "given",
        )

        again = Client()
        assert sign_in(again, next="//evil.example/")["Location"] == "/"
        assert again.session["_auth_user_id"] == str(grace.pk)
        # Nothing of what was said between the houses stays.
        assert SocialToken.objects.count() + SocialApp.objects.count() == 0
        held = str([each.get_decoded() for each in Session.objects.all()])
        assert "planted" not in held + caplog.text

    def test_never_gets_an_account_that_exists(self, member, provider, django_user_model):
        ada = member("ada", superuser=True)
        ada.email = "ada@example.com"
        ada.save()
        said = {"email": "ada@example.com", "email_verified": True, "preferred_username": "ADA"}
        provider(userinfo=said, claims=said)

        assert sign_in(client := Client())["Location"] == "/"

        made = django_user_model.objects.exclude(pk=ada.pk).get()
        assert client.session["_auth_user_id"] == str(made.pk)
        assert made.username.upper() != "ADA"
        assert made.email == ""

    def test_may_be_called_anything(self, provider, django_user_model):
        provider(userinfo={"preferred_username": ["x"], "name": "\0<b>" * 200, "given_name": 7})

        assert sign_in(Client())["Location"] == "/"
        assert len(django_user_model.objects.get().first_name) <= 150


class TestWhatTheProviderSays:
    @pytest.mark.parametrize(
        "orders",
        [
            {"claims": {"iss": "https://evil.example"}},
            {"claims": {"aud": "somebody else"}},
            {"claims": {"aud": [CLIENT, "other"], "azp": "other"}},
            {"claims": {"nonce": "of another visit"}},
            {"claims": {"nonce": None}},
            {"claims": {"exp": 1_000_000_000}},
            {"claims": {"exp": None}},
            {"claims": {"sub": None}},
            {"claims": {"sub": "7" * 200}, "userinfo": {"sub": "7" * 200}},
            {"userinfo": {"sub": "8"}},
            {"sign": "by another"},
            {"sign": "with the secret"},
            {"sign": "not at all"},
            {"named": "a key that is not shown"},
        ],
        ids=str,
    )
    def test_is_refused_where_it_is_wrong(self, provider, orders, django_user_model):
        provider(**orders)

        answer = sign_in(client := Client())

        assert answer["Location"] == site.LOGIN_URL
        assert not is_signed_in(client)
        assert not django_user_model.objects.exists()
        kept = AccessEvent.objects.get()
        assert (kept.action, kept.result, kept.user_id, kept.reason) == (
            "sign_in_refused", "refused", None, "identity provider",
        )  # fmt: skip
        assert "Example House did not sign you in" in client.get(site.LOGIN_URL).text

    def test_leaves_no_more_events_than_wrong_passwords_would(self, provider):
        provider(sign="by another")
        for _ in range(22):
            sign_in(Client())

        assert refusals() == 20

    @pytest.mark.parametrize("forged", ["made up", "none", "twice", "of another browser"])
    def test_is_an_answer_to_our_question_and_once(self, forged):
        client = Client()
        back = sent_back(client)
        asking = Client() if forged == "of another browser" else client
        if forged == "made up":
            back = f"{BACK}?code=x&state=abcdefgh"
        elif forged == "none":
            back = f"{BACK}?code=x"
        elif forged == "twice":
            client.get(back)
            client.post(reverse("account_logout"))

        answer = asking.get(back)

        assert answer["Location"] == site.LOGIN_URL
        assert not is_signed_in(asking)
        assert refusals() == 0

    def test_may_be_no(self, provider):
        provider(refuse=True)

        assert sign_in(client := Client())["Location"] == site.LOGIN_URL
        assert not is_signed_in(client)

    @pytest.mark.parametrize("how", ["calls itself otherwise", "is away"])
    def test_is_not_asked_for_where_it_is_not_itself(self, provider, how, settings, issuer):
        provider(issuer="https://evil.example")
        if how == "is away":
            settings.IDENTITY_PROVIDER = env.IdentityProvider(
                issuer=f"http://127.0.0.1:{free_port()}", client_id="x", client_secret="x", name="X"
            )

        answer = Client().post(BEGIN, follow=True)

        assert answer.redirect_chain == [(site.LOGIN_URL, 302)]
        assert "cannot be reached" in answer.text
        assert not Session.objects.exists()

    def test_is_not_asked_for_where_it_was_not_itself_a_moment_ago(self, provider, monkeypatch):
        provider(issuer="https://evil.example")
        Client().post(BEGIN)
        provider()

        assert Client().post(BEGIN)["Location"] == site.LOGIN_URL
        later = SimpleNamespace(monotonic=lambda: time.monotonic() + 11)
        monkeypatch.setattr(discovery, "time", later)
        assert sign_in(Client())["Location"] == "/"

    def test_may_become_unfit_while_somebody_is_there(self, provider):
        client = Client()
        back = sent_back(client)
        discovery._said.clear()
        provider(issuer="https://evil.example")

        answer = client.get(back, follow=True)

        assert answer.redirect_chain == [(site.LOGIN_URL, 302)]
        assert "Example House cannot be reached" in answer.text

    def test_is_not_believed_from_what_processes_share(self, issuer):
        # As whoever writes to Valkey would have it: their keys, and a door that learns our secret.
        evil = dict.fromkeys(
            ("authorization_endpoint", "token_endpoint", "jwks_uri"),
            f"http://127.0.0.1:{free_port()}",
        )
        cache.set(f"oidc:{issuer}", evil | {"issuer": issuer}, 600)

        assert sign_in(Client())["Location"] == "/"

    def test_is_asked_again_when_it_signs_with_a_new_key(self, provider):
        sign_in(Client())
        provider(shown="two", named="two")

        assert sign_in(Client())["Location"] == "/"

    @pytest.mark.parametrize(
        "told",
        [
            {"issuer": "https://evil.example"},
            {"token_endpoint": "http://here.example/"},
            {"jwks_uri": "http://here.example/"},
            {"userinfo_endpoint": None},
            {"authorization_endpoint": 7},
            {"token_endpoint_auth_methods_supported": None},
        ],
        ids=str,
    )
    def test_is_not_used_where_its_doors_are_unfit(self, told):
        doors = ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint")
        well = dict.fromkeys(doors, "https://here.example/") | {"issuer": "https://here.example"}
        assert discovery.check_doors(well, issuer="https://here.example") == well

        with pytest.raises(discovery.Refused):
            discovery.check_doors(well | told, issuer="https://here.example")


class TestWhoeverIsKnown:
    @pytest.fixture
    def grace(self, django_user_model):
        sign_in(Client())
        return django_user_model.objects.get()

    def test_is_asked_for_the_second_factor_all_the_same(self, grace):
        TOTP.activate(grace, SECRET)
        client = Client()

        assert sign_in(client)["Location"] == reverse("mfa_authenticate")
        assert not is_signed_in(client)
        assert "planted" not in str(client.session.items())
        client.post(reverse("mfa_authenticate"), {"code": code()})
        assert is_signed_in(client)

    def test_is_led_to_set_one_up_where_the_house_demands_it(self, grace, settings):
        settings.LANDSCAPE_REQUIRE_MFA = True
        grace.is_superuser = True
        grace.save()
        sign_in(client := Client())

        assert client.get("/runs/")["Location"] == reverse("mfa_activate_totp")
        assert client.get(reverse("mfa_activate_totp")).status_code == 200
        # Who can confirm with nothing here signs in anew before anything is changed.
        session = client.session
        for record in session["account_authentication_methods"]:
            record["at"] -= 16 * 60
        session.save()
        assert client.get(reverse("mfa_activate_totp"))["Location"].startswith("/accounts/logout/")

    def test_has_proved_nothing_fresh_unless_the_provider_asked_just_now(self, grace, provider):
        page, now = reverse("mfa_activate_totp"), int(time.time())
        for said, is_fresh in (
            (now - 800, True),
            (now + 30, True),
            (now - 1_000, False),
            (now + 1_000, False),
            (None, False),
            ("now", False),
            (True, False),
        ):
            provider(claims={"auth_time": said}, userinfo={"auth_time": now})
            sign_in(client := Client())

            assert is_signed_in(client)
            assert (client.get(page).status_code == 200) is is_fresh, said

    def test_is_told_that_there_is_no_password_to_change(self, grace):
        sign_in(client := Client())

        answer = client.get(reverse("account_change_password"), follow=True)

        assert answer.redirect_chain[-1] == (reverse("audit:account"), 302)
        assert "no password here that could be changed" in answer.text

    def test_stays_out_when_the_account_is_closed(self, grace):
        grace.is_active = False
        grace.save()

        assert sign_in(client := Client())["Location"] == reverse("account_inactive")
        assert not is_signed_in(client)
        assert AccessEvent.objects.latest("event_id").reason == "account is closed"

    def test_is_somebody_else_at_another_issuer(self, grace, issuer):
        SocialAccount.objects.update(provider="https://the.issuer.before")
        sign_in(client := Client())

        assert client.session["_auth_user_id"] != str(grace.pk)


class TestTheButton:
    def test_stands_on_the_page_and_is_a_form_of_ours(self):
        shown = Client().get(site.LOGIN_URL, {"next": "/runs/"}).text

        assert "Sign in with Example House" in shown
        assert shown.count('name="next" value="/runs/"') == 2
        assert Client().get(BEGIN).status_code == 405
        assert Client(enforce_csrf_checks=True).post(BEGIN).status_code == 403
        assert Client().post(BACK).status_code == 405

    def test_counts_as_an_attempt_before_anything_is_kept(self, settings):
        settings.ACCOUNT_RATE_LIMITS = {"login": "2/m/ip"}

        answers = [Client().post(BEGIN).status_code for _ in range(3)]

        assert answers == [200, 200, 429]
        assert Session.objects.count() == 2
        # Passwords are counted with it.
        assert Client().post(site.LOGIN_URL, {"login": "a", "password": "b"}).status_code == 429

    def test_takes_nothing_from_its_address(self):
        client = Client()
        page = client.post(f"{BEGIN}?process=connect&scope=admin&auth_params=nonce%3Dmine")

        assert "nonce=mine" not in page["Refresh"]
        assert "admin" not in page["Refresh"]
        assert page["Refresh"].count("nonce=") == 1
