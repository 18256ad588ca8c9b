"""Sessions: they begin anew, they end, and their owner sees them."""

import time
from datetime import timedelta

import pytest
from django.conf import settings as site
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.accounts.conftest import PASSWORD, sign_in

pytestmark = pytest.mark.django_db

ACCOUNT = "/accounts/"


def signed_in(name, **headers) -> Client:
    client = Client(**headers)
    sign_in(client, name)
    return client


def is_in(client) -> bool:
    return client.get(ACCOUNT).status_code == 200


def move_expiry(client, **by):
    Session.objects.filter(session_key=client.session.session_key).update(
        expire_date=timezone.now() + timedelta(**by)
    )


class TestASession:
    def test_has_a_new_key_after_signing_in(self, member):
        member("ada")
        client = Client()
        # What an attacker planted, or what was there before.
        session = client.session
        session["planted"] = "by eve"
        session.save()
        client.cookies[site.SESSION_COOKIE_NAME] = planted = session.session_key

        sign_in(client, "ada")

        assert client.session.session_key != planted
        thief = Client()
        thief.cookies[site.SESSION_COOKIE_NAME] = planted
        assert not is_in(thief)

    @pytest.mark.parametrize("key", ["a" * 32, "fixed", "../../etc", "'; DROP TABLE runs --"])
    def test_never_has_a_key_that_was_brought_along(self, member, key):
        member("ada")
        client = Client()
        client.cookies[site.SESSION_COOKIE_NAME] = key

        sign_in(client, "ada")

        assert client.session.session_key != key
        assert is_in(client)

    def test_ends_half_an_hour_after_the_last_sign_of_life(self, member):
        member("ada")
        client = signed_in("ada")

        move_expiry(client, seconds=5)
        assert is_in(client)
        kept = Session.objects.get(session_key=client.session.session_key)
        assert kept.expire_date > timezone.now() + timedelta(minutes=29)

        move_expiry(client, seconds=-1)
        assert not is_in(client)

    def test_is_written_at_most_once_a_minute(self, member, read_only):
        member("ada")
        client = signed_in("ada")

        with read_only():
            assert is_in(client)

    def test_ends_after_twelve_hours_however_busy_it_is(self, member):
        member("ada")
        client = signed_in("ada")
        session = client.session
        session["began"] = time.time() - 12 * 60 * 60 - 1
        session.save()

        assert not is_in(client)

    def test_does_not_come_back_by_being_used_while_it_is_ended(self, member):
        member("ada")
        client = signed_in("ada")
        store = client.session
        store.load()
        Session.objects.all().delete()

        store.kept_until = timezone.now()
        store.note()

        assert not Session.objects.exists()

    def test_ends_when_the_account_is_closed(self, member):
        ada = member("ada")
        client = signed_in("ada")
        ada.is_active = False
        ada.save()

        assert not is_in(client)

    def test_has_a_cookie_that_scripts_cannot_read_and_that_ends_with_the_browser(self, member):
        member("ada")
        cookie = signed_in("ada").cookies[site.SESSION_COOKIE_NAME]

        assert cookie["httponly"]
        assert cookie["samesite"] == "Lax"
        assert cookie["path"] == "/"
        assert not cookie["max-age"]
        assert not cookie["domain"]


class TestTheList:
    def test_names_each_with_address_and_agent(self, member):
        member("ada")
        hostile = "<script>alert(1)</script>"
        here = signed_in("ada", HTTP_USER_AGENT="Firefox on Linux")
        signed_in("ada", HTTP_USER_AGENT=hostile, REMOTE_ADDR="192.0.2.7")
        member("eve")
        signed_in("eve", HTTP_USER_AGENT="somebody else's")

        shown = here.get(ACCOUNT).content.decode()

        assert "Firefox on Linux" in shown
        assert "192.0.2.7" in shown
        assert hostile not in shown
        assert "somebody else" not in shown
        assert shown.count("this one") == 1

    def test_costs_the_same_for_one_and_for_many(self, member, count_queries):
        member("ada")
        here = signed_in("ada")
        here.get(ACCOUNT)
        one = count_queries(lambda: here.get(ACCOUNT))
        for _ in range(4):
            signed_in("ada")

        assert count_queries(lambda: here.get(ACCOUNT)) == one

    def test_ends_one_of_them(self, member):
        member("ada")
        here, there = signed_in("ada"), signed_in("ada")
        from allauth.usersessions.models import UserSession

        number = UserSession.objects.get(session_key=there.session.session_key).pk
        answer = here.post(reverse("audit:end-session", args=[number]))

        assert answer.status_code == 302
        assert is_in(here)
        assert not is_in(there)

    def test_does_not_end_those_of_others(self, member):
        member("ada")
        member("eve")
        ada, eve = signed_in("ada"), signed_in("eve")
        from allauth.usersessions.models import UserSession

        number = UserSession.objects.get(session_key=ada.session.session_key).pk
        theirs = eve.post(reverse("audit:end-session", args=[number]))
        nobodys = eve.post(reverse("audit:end-session", args=[number + 1000]))

        assert theirs.status_code == nobodys.status_code == 404
        assert is_in(ada)

    def test_ends_all_others(self, member):
        member("ada")
        here, *others = [signed_in("ada") for _ in range(3)]

        here.post(reverse("audit:end-other-sessions"))

        assert is_in(here)
        assert not any(is_in(each) for each in others)

    def test_has_no_others_after_a_new_password(self, member):
        member("ada")
        here, there = signed_in("ada"), signed_in("ada")
        new = "another good long passphrase"

        here.post(
            reverse("account_change_password"),
            {"oldpassword": PASSWORD, "password1": new, "password2": new},
        )

        assert is_in(here)
        assert not is_in(there)
        assert here.get(ACCOUNT).content.decode().count("this one") == 1
        assert Session.objects.count() == 1
