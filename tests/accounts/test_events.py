"""What the access log keeps of signing in, and what it never keeps."""

import pytest
from django.conf import settings as site
from django.test import Client
from django.urls import reverse

from audit.models import AccessEvent
from tests.accounts.conftest import PASSWORD, code, sign_in
from tests.tampering import unwritable


def kept():
    fields = ("action", "result", "user_name", "kind", "reason")
    return list(AccessEvent.objects.order_by("event_id").values_list(*fields))


@pytest.mark.django_db
class TestSigningIn:
    def test_is_kept_with_every_refusal_before_it(self, member):
        ada = member("ada", factor=True)
        client = Client()
        sign_in(client, "ada", "wrong", REMOTE_ADDR="192.0.2.7")
        sign_in(client, "ADA")
        client.post(reverse("mfa_authenticate"), {"code": "000000"})
        client.post(reverse("mfa_authenticate"), {"code": code()})

        assert kept() == [
            ("sign_in_refused", "refused", "ada", "account_login", "password"),
            ("sign_in_refused", "refused", "ada", "mfa_authenticate", "second factor"),
            ("signed_in", "given", "ada", "mfa_authenticate", None),
        ]
        assert set(AccessEvent.objects.values_list("user_id", flat=True)) == {ada.pk}
        assert AccessEvent.objects.earliest("event_id").address == "192.0.2.7"

    def test_of_a_closed_account_is_a_refusal(self, member):
        ada = member("ada")
        ada.is_active = False
        ada.save()
        sign_in(Client(), "ada")

        assert kept() == [
            ("sign_in_refused", "refused", "ada", "account_login", "account is closed")
        ]

    def test_keeps_nothing_of_what_is_no_name(self):
        sign_in(Client(), "my secret passphrase", "x")

        assert kept() == [("sign_in_refused", "refused", None, "account_login", "password")]
        assert AccessEvent.objects.get().user_id is None

    def test_asks_the_database_as_often_for_a_name_that_nobody_has(self, member, count_queries):
        member("ada")
        counts = {count_queries(lambda n=n: sign_in(Client(), n, "wrong")) for n in ("ada", "bob")}

        assert len(counts) == 1

    def test_that_throttling_turns_away_leaves_no_more_events(self, member):
        member("ada")
        for number in range(13):
            sign_in(Client(), "ada", "wrong", REMOTE_ADDR=f"10.6.{number}.1")

        assert len(kept()) == 10

    def test_is_confirmed_or_not(self, member):
        member("ada")
        sign_in(client := Client(), "ada")
        client.post(reverse("account_reauthenticate"), {"password": "wrong"})
        client.post(reverse("account_reauthenticate"), {"password": PASSWORD})

        assert kept()[1:] == [
            ("sign_in_refused", "refused", "ada", "account_reauthenticate", "password")
        ]


@pytest.mark.django_db(transaction=True)
class TestUnkept:
    """The log cannot be written."""

    def test_nobody_is_signed_in(self, member):
        member("ada")
        client = Client()
        with unwritable("access_events"):
            refused = sign_in(client, "ada", "wrong")
            answer = sign_in(client, "ada")

        assert refused.status_code == 200
        assert answer.status_code == 503
        assert "_auth_user_id" not in client.session
        assert site.DEVICE_COOKIE_NAME not in client.cookies
        assert not AccessEvent.objects.exists()
        assert client.get(reverse("audit:account")).status_code == 302
