"""Second factors: who must have one, what proves somebody, how long a proof holds."""

import re
import time

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.sessions.backends.base import SessionBase
from django.test import Client, RequestFactory
from django.urls import reverse

from tests.accounts.conftest import PASSWORD, code, sign_in

pytestmark = pytest.mark.django_db


def signed_in_with_factor(name) -> Client:
    client = Client()
    sign_in(client, name)
    client.post(reverse("mfa_authenticate"), {"code": code()})
    return client


def is_signed_in(client) -> bool:
    return "_auth_user_id" in client.session


def age_proofs(client, *, seconds):
    session = client.session
    for record in session["account_authentication_methods"]:
        record["at"] -= seconds
    session.save()


class TestSigningIn:
    def test_takes_the_password_and_the_code(self, member):
        member("ada", factor=True)
        client = Client()

        asked = sign_in(client, "ada")
        assert asked["Location"] == reverse("mfa_authenticate")
        assert not is_signed_in(client)
        assert client.get(reverse("audit:account")).status_code == 302

        done = client.post(reverse("mfa_authenticate"), {"code": code()})

        assert done["Location"] == "/"
        assert is_signed_in(client)

    @pytest.mark.parametrize("steps", [-3, 3])
    def test_refuses_a_code_of_another_time(self, member, steps):
        member("ada", factor=True)
        client = Client()
        sign_in(client, "ada")

        client.post(reverse("mfa_authenticate"), {"code": code(steps=steps)})

        assert not is_signed_in(client)

    @pytest.mark.parametrize("written", ["the same", "again with a dash"])
    def test_takes_a_code_once_however_it_is_written(self, member, written):
        member("ada", factor=True)
        used = code()
        first, second = Client(), Client()
        for client in (first, second):
            sign_in(client, "ada")
        again = f"{used[:3]}-{used[3:]}" if "dash" in written else used

        first.post(reverse("mfa_authenticate"), {"code": used})
        second.post(reverse("mfa_authenticate"), {"code": again})

        assert is_signed_in(first)
        assert not is_signed_in(second)

    def test_takes_each_recovery_code_once(self, member):
        ada = member("ada", factor=True)
        kept = Authenticator.objects.get(user=ada, type="recovery_codes").wrap().get_unused_codes()
        first, second = Client(), Client()

        for client in (first, second):
            sign_in(client, "ada")
            client.post(reverse("mfa_authenticate"), {"code": kept[0]})

        assert is_signed_in(first)
        assert not is_signed_in(second)

    def test_counts_wrong_codes(self, member):
        member("ada", factor=True)
        client = Client()
        sign_in(client, "ada")
        for _ in range(10):
            client.post(reverse("mfa_authenticate"), {"code": "000000"})

        client.post(reverse("mfa_authenticate"), {"code": code()})

        assert not is_signed_in(client)


class TestSettingUp:
    def test_goes_from_the_picture_to_the_codes(self, member):
        member("ada")
        client = Client()
        sign_in(client, "ada")

        shown = client.get(reverse("mfa_activate_totp")).content.decode()
        secret = client.session["mfa.totp.secret"]
        assert 'src="data:image/svg+xml;base64,' in shown
        assert secret in shown
        from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value

        right = format_hotp_value(hotp_value(secret, int(time.time()) // 30))
        done = client.post(reverse("mfa_activate_totp"), {"code": right}, follow=True)

        kept = Authenticator.objects.get(type="totp").data["secret"]
        codes = re.findall(r"^(?:.*>)?(\d{8})$", done.content.decode(), re.MULTILINE)
        assert secret not in kept
        assert len(codes) == 10, done.content.decode()
        assert done["Cache-Control"].count("no-store") == 1
        # Once, and never again.
        again = client.get(reverse("mfa_view_recovery_codes")).content.decode()
        assert not [each for each in codes if each in again]

    def test_asks_who_it_is_when_the_sign_in_is_old(self, member):
        member("ada")
        client = Client()
        sign_in(client, "ada")
        age_proofs(client, seconds=16 * 60)

        answer = client.get(reverse("mfa_activate_totp"))

        assert answer["Location"].startswith(reverse("account_reauthenticate"))


class TestWhoMustHaveOne:
    @pytest.fixture(autouse=True)
    def _required(self, settings):
        settings.LANDSCAPE_REQUIRE_MFA = True

    @pytest.mark.parametrize("group", ["retention approver", "administrator", None])
    def test_is_led_to_set_it_up_and_can_do_nothing_else(self, member, group):
        member("ada", *([group] if group else []), superuser=group is None)
        client = Client()
        sign_in(client, "ada")
        wanted = reverse("mfa_activate_totp")

        for name in ("audit:home", "audit:runs", "audit:account", "audit:public-keys"):
            assert client.get(reverse(name))["Location"] == wanted
        assert client.post(reverse("audit:end-other-sessions"))["Location"] == wanted
        assert client.get("/api/v1/runs/").status_code == 403
        assert client.get(wanted).status_code == 200
        assert client.get(reverse("audit:ready")).status_code == 200
        assert client.post(reverse("account_logout")).status_code == 302

    def test_cannot_remove_it(self, member):
        member("ada", "administrator", factor=True)
        client = signed_in_with_factor("ada")

        client.post(reverse("mfa_deactivate_totp"))

        assert Authenticator.objects.filter(type="totp").exists()

    def test_is_nobody_else(self, member):
        member("ada", "auditor")
        client = Client()
        sign_in(client, "ada")

        assert client.get(reverse("audit:account")).status_code == 200

    def test_asks_the_database_once(self, member, count_queries, settings):
        member("ada", "auditor")
        client = Client()
        sign_in(client, "ada")
        page = reverse("audit:account")
        client.get(page)

        with_rule = count_queries(lambda: client.get(page))
        settings.LANDSCAPE_REQUIRE_MFA = False

        assert with_rule == count_queries(lambda: client.get(page)) + 1


class TestFresh:
    """`credentials.is_fresh`, by which the doors `fresh` decide, asked with a real session."""

    def ask(self, client, *, method="get", path="/runs/", **headers):
        from django.contrib.auth import get_user
        from django.contrib.messages.storage.fallback import FallbackStorage
        from django.http import HttpResponse

        from audit.views.doors import fresh

        request = getattr(RequestFactory(), method)(path, **headers)
        request.session = client.session
        request.user = get_user(request)
        request._messages = FallbackStorage(request)
        return fresh(lambda _request: HttpResponse("done"))(request)

    def test_lets_through_who_just_signed_in(self, member):
        member("ada")
        client = Client()
        sign_in(client, "ada")

        assert self.ask(client).status_code == 200

    def test_asks_again_after_a_quarter_of_an_hour(self, member):
        member("ada")
        client = Client()
        sign_in(client, "ada")
        age_proofs(client, seconds=15 * 60 + 1)

        answer = self.ask(client)

        assert answer["Location"] == f"{reverse('account_reauthenticate')}?next=%2Fruns%2F"
        client.post(reverse("account_reauthenticate"), {"password": PASSWORD})
        assert self.ask(client).status_code == 200

    def test_takes_the_second_factor_of_who_has_one_and_nothing_less(self, member):
        member("ada", factor=True)
        client = signed_in_with_factor("ada")
        assert self.ask(client).status_code == 200
        age_proofs(client, seconds=15 * 60 + 1)

        client.post(reverse("account_reauthenticate"), {"password": PASSWORD})
        assert self.ask(client)["Location"].startswith(reverse("mfa_reauthenticate"))

        client.post(reverse("mfa_reauthenticate"), {"code": code(steps=1)})
        assert self.ask(client).status_code == 200

    def test_brings_a_form_back_to_its_page_and_does_nothing(self, member):
        member("ada")
        client = Client()
        sign_in(client, "ada")
        age_proofs(client, seconds=15 * 60 + 1)

        for referer, back in (
            ("http://testserver/retention/plans/7/?a=b", "%2Fretention%2Fplans%2F7%2F%3Fa%3Db"),
            ("http://evil.example/x", "%2F"),
            ("http://testserver//evil.example/", "%2Fevil.example%2F"),
            ("nonsense", "%2F"),
        ):
            answer = self.ask(client, method="post", path="/approve/", HTTP_REFERER=referer)
            assert answer["Location"].endswith(f"?next={back}")

    def test_does_not_believe_proofs_of_somebody_else(self, member):
        member("ada")
        client = Client()
        sign_in(client, "ada")
        session: SessionBase = client.session
        session["account_authentication_methods_user"] = "999"
        session.save()

        assert self.ask(client).status_code == 302
