"""Contents: withheld until they are revealed, revealed only once that is kept."""

from __future__ import annotations

import re
from datetime import timedelta

import psycopg
import pytest
from django.db import connection, connections

from audit import access, exports
from audit.models import AccessEvent, Token
from audit.vocabulary import AccessAction, Role
from tests.access.world import CANARY, NEVER_SHOWN, PARAMETERS, planted
from tests.builders import NOON, make_world
from tests.tampering import unwritable


@pytest.fixture(autouse=True)
def _var(settings, tmp_path, monkeypatch):
    settings.LANDSCAPE_VAR = tmp_path / "var"
    settings.SIGNING_KEY_FILE = tmp_path / "var" / "secrets" / "signing_key.pem"
    monkeypatch.setattr("audit.tasks._ring", lambda *_: None)


def crawl(client, world):
    """Every address that answers a GET, with the ways in which pages show more."""
    more = {
        "audit:token": ["?axis=time", "?axis=table", f"?visit={world.keys['state_id']}"],
        "audit:row": ["?part=timeline"],
        "audit:lineage_svg": ["?keep=errors"],
    }
    for route in PARAMETERS:
        if not route.startswith("audit:") or "(unnamed)" in route:
            continue
        for query in ("", *more.get(route, ())):
            answer = client.get(world.address(route) + query)
            body = b"".join(answer) if answer.streaming else answer.content
            yield route + query, answer, body.decode("utf-8", "replace")


@pytest.mark.django_db
class TestWithheld:
    @pytest.mark.parametrize("role", ["viewer", "auditor", "exporter", "administrator", None])
    def test_not_one_content_is_in_any_answer_before_the_reveal(self, client_of, role):
        world = planted(requested_by=1)
        client = client_of(role) if role else client_of(superuser=True)

        found = [
            (where, re.findall(f"{CANARY}-[a-z-]+", text + str(answer.headers)))
            for where, answer, text in crawl(client, world)
            if CANARY in text + str(answer.headers)
        ]

        assert found == []

    def test_everything_planted_is_there_to_be_revealed(self, client_of):
        world = planted(requested_by=1)
        client = client_of("auditor")

        texts = ""
        for route, _answer, _text in list(crawl(client, world)):
            if route.startswith("audit:api:"):
                continue
            answer = client.post(
                world.address(route.split("?")[0]) + "".join(route.partition("?")[1:])
            )
            if answer.status_code == 200:
                assert answer["Cache-Control"] == "no-store, private"
                texts += answer.text
        shown = set(re.findall(f"{CANARY}-([a-z-]+)", texts))

        assert shown >= {
            "settings",
            "export-error",
            "rule",
            "reason",
            "visit-error",
            "visit-error-kept",
            "before",
            "after",
            "success",
            "call-error",
            "request",
            "response",
            "trigger",
            "event",
            "rejection",
            "refusal",
            "operation",
        }
        assert not shown & NEVER_SHOWN

    def test_pages_say_who_may_reveal_them_and_offer_it_to_those(self, client_of):
        address = planted(requested_by=1).address("audit:call")

        viewer, auditor = client_of("viewer").get(address), client_of("auditor").get(address)

        assert "members of the group auditor may reveal them" in viewer.text
        assert 'aria-label="Reveal contents"' not in viewer.text
        assert 'aria-label="Reveal contents"' in auditor.text
        for answer in (viewer, auditor):
            assert answer.text.count('data-state="withheld"') == 2

    def test_a_reveal_is_kept_with_its_reason_before_it_is_given(self, client_of, person):
        world = planted(requested_by=1)
        address = world.address("audit:call")

        answer = client_of("auditor").post(address, {"reason": "case 7"})

        assert f"{CANARY}-response" in answer.text
        event = AccessEvent.objects.get(action=AccessAction.CONTENTS_REVEALED)
        assert (event.kind, event.object_id) == ("call", world.keys["call_id"])
        assert (event.user_name, event.reason, event.result) == ("auditor", "case 7", "given")
        assert event.size_bytes == len(answer.content)
        assert event.request_id == answer["X-Request-Id"]
        assert event.address == "127.0.0.1"

    @pytest.mark.parametrize("role", sorted({*Role.values} - {"auditor"}))
    def test_a_reveal_is_refused_to_others_and_kept_as_such(self, client_of, role):
        world = planted(requested_by=1)

        answer = client_of(role).post(world.address("audit:call"))

        assert answer.status_code == 403
        assert CANARY not in answer.text
        event = AccessEvent.objects.get()
        assert (event.action, event.result) == (AccessAction.CONTENTS_REVEALED, "refused")
        assert event.object_id == world.keys["call_id"]


@pytest.mark.django_db(transaction=True)
class TestUnkept:
    """The log cannot be written: not one byte is given."""

    def test_nothing_is_revealed_shown_or_downloaded(self, person, client_of):
        somebody = person("auditor", name="ann")
        ready = self.exported(somebody)
        token = Token.objects.filter(run_id=ready.run_id).values_list("token_id", flat=True)[0]
        record = f"/runs/{ready.run_id}/records/token/{token}/"
        world = planted(requested_by=somebody.pk)
        client = client_of("auditor")
        with unwritable("access_events"):
            answers = [
                client.post(world.address("audit:call")),
                client.get(world.address("audit:call")),
                client.get(world.address("audit:api:token-lineage")),
                client.get(f"/exports/{ready.pk}/download/"),
                client.get(f"{record}proof.zip"),
                client.get(f"/api/v1{record}"),
                client.get("/access/log.csv"),
            ]

        for answer in answers:
            assert answer.status_code == 503
            assert not answer.streaming
            assert CANARY not in answer.text
            assert world.keys["call_id"] not in answer.text
            assert token not in answer.text
        assert not AccessEvent.objects.exists()
        for given in (f"/exports/{ready.pk}/download/", f"{record}proof.zip", f"/api/v1{record}"):
            answer = client.get(given)
            assert (answer.status_code, b"".join(answer) != b"") == (200, True)

    def test_nothing_is_revealed_while_the_log_is_locked(self, client_of):
        world = planted(requested_by=1)
        client = client_of("auditor")
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
        try:
            with psycopg.connect(**connections["owner"].get_connection_params()) as other:
                other.execute("LOCK TABLE access_events IN EXCLUSIVE MODE")
                answer = client.post(world.address("audit:call"))
        finally:
            connection.close()

        assert answer.status_code == 503
        assert CANARY not in answer.text

    def exported(self, somebody):
        job = exports.open_job(
            run_id=make_world().run.run_id,
            requested_by=somebody.pk,
            with_csv=False,
            with_payloads=False,
            at=NOON,
        )
        exports.produce(export_id=job.pk, owner="w")
        return job


@pytest.mark.django_db
class TestThePage:
    def test_shows_everybodys_to_those_who_may_and_ones_own_to_others(self, client_of):
        world = planted(requested_by=1)
        viewer, auditor = client_of("viewer"), client_of("auditor")
        viewer.get(world.address("audit:token"))
        auditor.get(world.address("audit:row"))

        own, all_ = viewer.get("/access/").text, auditor.get("/access/").text

        assert world.keys["token_id"] in own
        assert world.keys["row_id"] not in own
        assert world.keys["token_id"] in all_
        assert world.keys["row_id"] in all_
        assert [event.action for event in AccessEvent.objects.order_by("event_id")][2:] == [
            AccessAction.ACCESS_LOG_READ,
            AccessAction.ACCESS_LOG_READ,
        ]

    @pytest.mark.parametrize(
        ("query", "kinds"),
        [
            ("user=viewer", {"token"}),
            ("action=contents_revealed", {"call"}),
            ("kind=run", {"run"}),
            ("object={token_id}", {"token"}),
            ("run={run_id}", {"token", "call", "run"}),
            ("since=2026-01-01&until=2999-01-01", {"token", "call", "run"}),
            ("until=2026-01-01", set()),
        ],
    )
    def test_filters(self, client_of, query, kinds):
        world = planted(requested_by=1)
        client_of("viewer").get(world.address("audit:token"))
        auditor = client_of("auditor")
        auditor.post(world.address("audit:call"))
        auditor.get(world.address("audit:run"))

        lines = auditor.get(f"/access/log.csv?{query.format(**world.keys)}").getvalue().decode()

        found = {line.split(",")[6] for line in lines.splitlines()[1:]}
        assert found - {"access", "access-csv"} == kinds

    def test_runs_no_formula_in_a_spreadsheet(self, client_of):
        auditor = client_of("auditor", name="ann")
        auditor.post(planted(requested_by=1).address("audit:call"), {"reason": "=1+1"})

        sheet = auditor.get("/access/log.csv")

        assert ",'=1+1," in sheet.getvalue().decode()
        assert sheet["Cache-Control"] == "no-store, private"

    def test_pages_by_key_at_one_cost(self, client_of, count_queries):
        auditor = client_of("auditor")
        few = count_queries(lambda: auditor.get("/access/"))
        for _ in range(120):
            auditor.get("/access/?kind=nothing")

        assert count_queries(lambda: auditor.get("/access/")) == few
        page = auditor.get("/access/").text
        older = re.search(r'href="(\?after=\d+)" rel="next"', page)[1]
        assert "No older event" in auditor.get(f"/access/{older}").text

    def test_pages_by_time_where_days_are_asked_for(self, client_of):
        for day in range(250):
            # Told out of order, as two servers may.
            access.record(
                action=AccessAction.READ,
                user_id=None,
                object_id=f"thing{day}",
                at=NOON + timedelta(days=(day * 7) % 250),
            )
        auditor, seen, query = client_of("auditor"), [], "?until=2027-06-30&since=2026-12-01"
        while query:
            page = auditor.get(f"/access/{query}").text
            seen += [int(number) for number in re.findall(r">thing(\d+)<", page)]
            older = re.search(r'href="(\?[^"]+)" rel="next"', page)
            query = older and older[1].replace("&amp;", "&")
        sheet = auditor.get("/access/log.csv?until=2027-06-30&since=2026-12-01").getvalue().decode()

        days = [(number * 7) % 250 for number in seen]
        # From the ninth day after the one of NOON, 2026-11-22, to the 220th.
        assert days == list(range(220, 8, -1))
        assert [int(number) for number in re.findall(r",thing(\d+),", sheet)] == seen

    def test_every_page_of_evidence_says_how_often_it_was_given(self, client_of):
        world = planted(requested_by=1)
        auditor = client_of("auditor")
        for route in ("run", "row", "token", "visit", "call", "artifact"):
            address = world.address(f"audit:{route}")
            assert "Viewed 0 times before, exported 0 times" in auditor.get(address).text
            assert "Viewed 1 time before" in auditor.get(address).text

    def test_does_not_believe_what_a_stranger_says_of_his_address(self, client_of, settings):
        settings.ALLAUTH_TRUSTED_PROXY_COUNT = 0
        address = planted(requested_by=1).address("audit:call")
        auditor = client_of("auditor")
        told = {"HTTP_X_FORWARDED_FOR": "192.0.2.9, 198.51.100.7"}

        auditor.get(address, **told)
        settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
        auditor.get(address, **told)

        assert list(AccessEvent.objects.order_by("event_id").values_list("address", flat=True)) == [
            "127.0.0.1",
            "198.51.100.7",
        ]
