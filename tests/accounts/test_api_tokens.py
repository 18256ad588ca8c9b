"""API tokens: shown once, never more than their owner may, and all that give nothing alike."""

import hashlib
import json
import logging
import re
import secrets
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse
from django.views.debug import ExceptionReporter

from audit import credentials
from audit.errors import TooManyTokens
from audit.models import AccessEvent, ApiToken
from tests.access.world import planted
from tests.accounts.conftest import sign_in
from tests.builders import make_run

pytestmark = pytest.mark.django_db

API = "/api/v1/"
PAGE = "/accounts/tokens/"
NOW = datetime.now(UTC)


def bearer(token, **more):
    return {"headers": {"Authorization": f"Bearer {token}"}} | more


def made(owner, *scopes, days=30, at=None):
    return credentials.make_token(
        user_id=owner.pk,
        name="nightly",
        scopes=scopes or ("read",),
        days=days,
        at=at or datetime.now(UTC),
    )[1]


def asks(token, path="runs/", **more):
    return Client().get(API + path, **bearer(token, **more))


def events(action):
    fields = ("user_name", "result", "kind", "reason")
    return list(AccessEvent.objects.filter(action=action).values_list(*fields))


@pytest.fixture(autouse=True)
def _nobody_works(monkeypatch):
    monkeypatch.setattr("audit.tasks._ring", lambda *_: None)


class TestThePage:
    def test_shows_a_token_once_and_keeps_its_hash_alone(self, member):
        ada = member("ada", "viewer")
        sign_in(client := Client(), "ada")
        assert "You have no tokens yet." in client.get(PAGE).text
        assert PAGE in client.get("/accounts/").text

        order = {"name": "night <b>run</b>", "days": "90", "read": "on"}
        answer = client.post(reverse("audit:make-api-token"), order)

        (token,) = re.findall(r"lsk_[\w-]{43}", answer.text)
        assert (answer.status_code, "no-store" in answer["Cache-Control"]) == (200, True)
        assert "<b>run" not in answer.text
        assert asks(token).status_code == 200
        assert token not in client.get(PAGE).text
        kept = ApiToken.objects.get()
        assert kept.token_hash == hashlib.sha256(token.encode()).hexdigest()
        assert (kept.user_id, kept.scopes) == (ada.pk, ["read"])
        assert kept.expires_at - kept.made_at == timedelta(days=90)
        everything = json.dumps(list(ApiToken.objects.values()), default=str)
        assert token[4:] not in everything + json.dumps(
            list(AccessEvent.objects.values()), default=str
        )
        assert events("token_made") == [
            ("ada", "given", "api-token", "night <b>run</b>: read, 90 days")
        ]

    def test_takes_who_just_proved_who_they_are_and_what_a_token_can_be(self, member, client_of):
        member("ada", "viewer")
        sign_in(client := Client(), "ada")
        make = reverse("audit:make-api-token")
        good = {"name": "n", "days": "1", "read": "on"}
        for bad, why in (
            ({"days": "91"}, "less than or equal to 90"),
            ({"days": "0"}, "greater than or equal to 1"),
            ({"name": ""}, "required"),
            ({"name": "n" * 65}, "at most 64"),
            ({"read": ""}, "Choose what"),
        ):
            answer = client.post(make, {k: v for k, v in (good | bad).items() if v})
            assert (answer.status_code, why in answer.text) == (400, True), bad
        assert client.post(make, good | {"admin": "on"}).status_code == 400
        stale = client_of("viewer").post(make, good)
        assert (stale.status_code, "reauthenticate" in stale["Location"]) == (302, True)
        assert not ApiToken.objects.exists()

        for _ in range(credentials.MOST_LIVE):
            assert client.post(make, good).status_code == 200
        assert "revoke one first" in client.post(make, good).text
        assert ApiToken.objects.count() == credentials.MOST_LIVE

    def test_ends_ones_own_and_nobody_elses(self, member):
        ada, eve = member("ada", "viewer"), member("eve", "viewer")
        token, hers = made(ada), made(eve)
        sign_in(client := Client(), "ada")
        first, second = ApiToken.objects.order_by("token_id")

        for each in (first, first, second):
            client.post(reverse("audit:revoke-api-token", args=[each.pk]))

        assert (asks(token).status_code, asks(hers).status_code) == (401, 200)
        assert events("token_revoked") == [("ada", "given", "api-token", "nightly")]
        assert "revoked" in client.get(PAGE).text


class TestTheDesk:
    def test_lists_by_owner_without_hashes_and_revokes(self, member):
        ada = member("ada", "viewer")
        token = made(ada)
        made(member("eve", "viewer"))
        member("boss", "administrator")
        boss = Client()
        sign_in(boss, "boss")
        kept = ApiToken.objects.get(user=ada)

        page = boss.get(reverse("admin:api-tokens"), {"find": "ada"}).text
        assert "ada" in page
        assert ">eve<" not in page
        assert kept.token_hash not in page
        form = re.search(r'action="([^"]+/revoke/)">.*?csrfmiddlewaretoken', page, re.DOTALL)
        boss.post(form[1])

        assert asks(token).status_code == 401
        assert events("token_revoked") == [("boss", "given", "api-token", "of ada: nightly")]
        assert "revoked" in boss.get(reverse("admin:api-tokens")).text


class TestAToken:
    def test_gives_what_its_owner_may_do_at_that_moment(self, member):
        ada = member("ada", "viewer")
        token = made(ada)
        assert asks(token).status_code == 200

        ada.groups.clear()
        assert asks(token).status_code == 401
        ada.groups.set(member("bob", "viewer").groups.all())
        assert asks(token).status_code == 200
        ada.is_active = False
        ada.save()
        assert asks(token).status_code == 401
        assert [why for *_, why in events("sign_in_refused")] == ["no role", "account is closed"]

    def test_waits_for_a_second_factor_like_its_owner(self, member, settings):
        settings.LANDSCAPE_REQUIRE_MFA = True

        assert asks(made(member("boss", "administrator"))).status_code == 403
        assert [told[:2] for told in events("read")] == [("boss", "refused")]

    def test_needs_the_scope(self, member):
        ada = member("ada", "auditor")
        run = make_run()
        read, export = made(ada, "read"), made(ada, "export")
        world = planted(requested_by=ada.pk)
        export_id = world.keys["export_id"]
        wanted = {
            ("get", "runs/"): "read",
            ("get", "schema/"): "read",
            ("get", f"runs/{run.run_id}/exports/"): "read",
            ("get", f"exports/{export_id}/"): "read",
            ("get", f"exports/{export_id}/download/"): "export",
            ("head", f"exports/{export_id}/download/"): "export",
            ("post", f"runs/{world.run.run_id}/exports/"): "export",
            ("post", f"exports/{export_id}/cancel/"): "export",
        }

        # Neither a cookie nor the token of a form: no browser sends this by itself.
        client = Client(enforce_csrf_checks=True)
        for (method, path), scope in wanted.items():
            for token, has in ((read, "read"), (export, "export")):
                answer = getattr(client, method)(API + path, **bearer(token))
                assert (answer.status_code == 403) is (has != scope), (method, path, has)
                if has != scope and method != "head":
                    assert f"needs an API token with the scope {scope}" in answer.text

    def test_reveals_nothing_whoever_its_owner_is(self, member):
        root = member("root", "auditor", superuser=True)
        token = made(root, "read", "export")
        world = planted(requested_by=root.pk)
        runs = f"{API}runs/{world.run.run_id}/"
        call = f"{runs}records/call/{world.keys['call_id']}/"
        order = {"data": {"payloads": True}, "content_type": "application/json"}

        for answer in (
            Client().get(call, **bearer(token)),
            Client().post(f"{runs}exports/", **bearer(token, **order)),
        ):
            assert answer.status_code == 403
            assert answer.json()["error"]["message"].startswith("No API token gives this")
        # A page is not the API: there it is nobody's.
        for page in (reverse("audit:home"), world.address("audit:token"), "/admin/"):
            assert Client().get(page, **bearer(token)).status_code == 302

    def test_is_kept_with_what_was_given(self, member):
        token = made(member("ada", "viewer"))
        run = make_run()
        asks(token, f"runs/{run.run_id}/")

        number = ApiToken.objects.get().token_id
        assert events("read") == [("ada", "given", "api/run", f"API token {number}")]

    def test_is_taken_from_its_header_and_before_a_session(self, member, client_of):
        token = made(member("ada", "viewer"))
        signed_in = client_of("viewer", name="eve")

        for query in (f"access_token={token}", f"token={token}", f"api_key={token}"):
            answer = Client().get(f"{API}runs/?{query}")
            assert answer.status_code == 401
            assert token not in answer.text
            assert signed_in.get(f"{API}runs/?{query}").status_code == 400
        assert signed_in.get(f"{API}runs/", **bearer("lsk_wrong")).status_code == 401
        assert (
            signed_in.get(f"{API}runs/", headers={"Authorization": "Basic YTpi"}).status_code == 200
        )

    def test_costs_no_more_than_a_session_and_is_written_once_a_minute(
        self, member, client_of, count_queries
    ):
        token = made(member("ada", "viewer"))
        session = client_of("viewer", name="eve")
        asks(token)
        used = ApiToken.objects.get().last_used_at

        assert count_queries(lambda: asks(token)) < count_queries(
            lambda: session.get(f"{API}runs/")
        )
        assert ApiToken.objects.get().last_used_at == used
        ApiToken.objects.update(last_used_at=used - timedelta(seconds=61))
        asks(token)
        assert ApiToken.objects.get().last_used_at > used - timedelta(seconds=61)


class TestARefusal:
    def test_is_the_same_for_unknown_expired_and_revoked(self, member, count_queries):
        ada = member("ada", "viewer")
        expired = made(ada, days=1, at=datetime.now(UTC) - timedelta(days=1))
        revoked = made(ada)
        ApiToken.objects.filter(expires_at__gt=datetime.now(UTC)).update(
            revoked_at=datetime.now(UTC)
        )
        bad = [f"lsk_{secrets.token_urlsafe(32)}", expired, revoked, "", "lsk_é"]

        told, costs = [], set()
        for each in bad:
            costs.add(count_queries(lambda each=each: told.append(asks(each))))

        assert {(one.status_code, one["WWW-Authenticate"], one.text) for one in told} == {
            (401, "Bearer", told[0].text)
        }
        assert len(costs) == 1
        assert [(name, why.split()[-1]) for name, *_, why in events("sign_in_refused")] == [
            (None, "unknown"),
            ("ada", "expired"),
            ("ada", "revoked"),
            (None, "unknown"),
            (None, "unknown"),
        ]

    def test_is_throttled_by_address_and_fills_no_log(self, member):
        token = made(member("ada", "viewer"))

        codes = [asks(f"lsk_{number}").status_code for number in range(23)]

        assert codes == [401] * 20 + [429] * 3
        assert asks("lsk_x", REMOTE_ADDR="192.0.2.9").status_code == 401
        assert len(events("sign_in_refused")) == 21
        # Those that are good go on, and people sign in.
        assert asks(token).status_code == 200
        sign_in(client := Client(), "ada")
        assert "_auth_user_id" in client.session


@pytest.mark.django_db(transaction=True)
def test_two_at_once_are_not_both_the_last_that_is_allowed(member, monkeypatch):
    monkeypatch.setattr("audit.credentials.tokens.MOST_LIVE", 1)
    ada, ready, refused = member("ada"), threading.Barrier(4), []

    def ask():
        connection.ensure_connection()
        ready.wait()
        try:
            made(ada)
        except TooManyTokens as error:
            refused.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (ApiToken.objects.count(), len(refused)) == (1, 3)


class TestTheDatabase:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"expires_at": NOW + timedelta(days=90, microseconds=1)},
            {"expires_at": NOW},
            {"scopes": ["read", "admin"]},
            {"scopes": []},
        ],
    )
    def test_refuses_what_is_no_token(self, member, wrong):
        good = {"user": member("ada"), "name": "n", "token_hash": "0" * 64, "scopes": ["read"]}
        good |= {"made_at": NOW, "expires_at": NOW + timedelta(days=90)}
        ApiToken.objects.create(**good)

        with pytest.raises(DatabaseError), transaction.atomic():
            ApiToken.objects.create(**good | {"token_hash": "1" * 64} | wrong)

    @pytest.mark.parametrize("column", ["scopes", "expires_at", "token_hash", "user_id"])
    def test_lets_nobody_change_what_a_token_is(self, column):
        with pytest.raises(DatabaseError, match="permission denied"), connection.cursor() as cursor:
            cursor.execute(f"UPDATE api_tokens SET {column} = {column}")


class TestTheSecret:
    def test_is_in_no_log_and_no_report_of_an_error(self, member, monkeypatch, caplog):
        caplog.set_level(logging.DEBUG)
        token = made(member("ada", "viewer"))
        asks(token)
        asks(token, "nowhere/")
        asks(token + "x")

        def breaks(*_):
            raise RuntimeError("broken")

        monkeypatch.setattr("audit.credentials.tokens._hash", breaks)
        with pytest.raises(RuntimeError):
            asks(token)
        # As it is written for those who look after the site.
        (failed,) = [record for record in caplog.records if record.exc_info]
        reporter = ExceptionReporter(failed.request, *failed.exc_info)
        reports = reporter.get_traceback_text() + reporter.get_traceback_html()

        assert "recognise_token" in reports
        assert token not in reports + caplog.text
