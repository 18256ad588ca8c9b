"""Exports in pages and in the API: asking, watching, stopping, taking home."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse
from django.utils import timezone

from audit import credentials, exports
from audit.models import AccessEvent, Export
from audit.vocabulary import ExportJobStatus as Status
from tests.builders import NOON, make_run, make_world
from tests.exports.test_jobs import change, published, taken
from tests.tampering import unwritable

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _var(settings, tmp_path):
    settings.LANDSCAPE_VAR = tmp_path / "var"
    settings.SIGNING_KEY_FILE = tmp_path / "var" / "secrets" / "signing_key.pem"
    # Nobody hears: the sweeper would ring again.
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def _unheard(monkeypatch):
    monkeypatch.setattr("audit.tasks._ring", lambda *_: None)


@pytest.fixture
def somebody(person):
    return person("exporter")


@pytest.fixture
def exporter(somebody, client):
    client.force_login(somebody)
    return client


def ask(user=None, run=None, **asked):
    plain = {"with_csv": False, "with_payloads": False, "at": NOON}
    return exports.open_job(
        run_id=(run or make_run()).run_id,
        requested_by=user.pk if user else 99,
        **plain | asked,
    )


def page_of(export):
    return reverse("audit:export", args=[export.pk])


@pytest.fixture
def ready(somebody, transactional_db):
    """An export of a whole run, made by the producer itself."""
    export = ask(somebody, make_world().run, with_csv=True)
    exports.produce(export_id=export.pk, owner="w")
    export.refresh_from_db()
    assert export.status == Status.SUCCEEDED, export.error_text
    return export


class TestAsking:
    def test_is_on_the_run_page_of_those_who_may(self, client_of):
        address = reverse("audit:run", args=[make_world().run.run_id])

        assert 'action="/runs/' not in client_of("viewer").get(address).text
        text = client_of("exporter").get(address).text
        assert 'exports/" class="filters"' in text
        assert "with payloads" not in text
        assert "with payloads" in client_of("auditor").get(address).text

    def test_makes_a_job_and_leads_to_its_page(self, exporter, somebody):
        run = make_run()

        answer = exporter.post(f"/runs/{run.run_id}/exports/", {"format": "both"})

        export = Export.objects.get()
        assert answer.url == page_of(export)
        assert (export.run_id, export.requested_by) == (run.run_id, somebody.pk)
        assert export.with_csv
        assert not export.with_payloads
        assert "waits for a worker" in exporter.get(answer.url).text

    def test_is_refused_to_others(self, client_of, client):
        address = f"/runs/{make_run().run_id}/exports/"
        viewer = client_of("viewer")

        assert viewer.post(address).status_code == 403
        assert client.post(address).url.startswith("/accounts/login/")
        assert viewer.get("/exports/").status_code == 403
        assert client_of("administrator").post(address).status_code == 403
        assert not Export.objects.exists()

    @pytest.mark.parametrize(
        ("asked", "status"), [({"format": "xml"}, 400), ({"surprise": "1"}, 400)]
    )
    def test_refuses_what_nobody_understands(self, exporter, asked, status):
        run = make_run()

        assert exporter.post(f"/runs/{run.run_id}/exports/", asked).status_code == status
        assert exporter.post("/runs/x/exports/").status_code == 404
        assert exporter.get(f"/runs/{run.run_id}/exports/").status_code == 405


class TestSeeing:
    def test_is_for_ones_own_only(self, exporter, somebody):
        own, other = ask(somebody), ask()

        text = exporter.get("/exports/").text

        assert page_of(own) in text
        assert page_of(other) not in text
        assert exporter.get(page_of(other)).status_code == 404
        assert exporter.post(f"{page_of(other)}cancel/").status_code == 404

    def test_needs_both_rights_for_payloads(self, exporter, client_of):
        address = f"/runs/{make_run().run_id}/exports/"

        assert exporter.post(address, {"payloads": "yes"}).status_code == 403
        assert not Export.objects.exists()
        assert client_of("auditor").post(address, {"payloads": "yes"}).status_code == 302

    @pytest.mark.parametrize("group", ["auditor", "administrator"])
    def test_is_for_everybodys_in_some_groups(self, exporter, somebody, group):
        somebody.groups.add(Group.objects.get(name=group))
        other = ask()

        assert page_of(other) in exporter.get("/exports/").text
        assert exporter.get(page_of(other)).status_code == 200

    def test_only_reads_and_costs_the_same_at_two_sizes(
        self, exporter, somebody, read_only, count_queries
    ):
        ask(somebody)
        with read_only():
            few = count_queries(lambda: exporter.get("/exports/"))
        for _ in range(20):
            ask(somebody)

        assert count_queries(lambda: exporter.get("/exports/")) == few

    def test_goes_by_pages(self, somebody):
        made = [ask(somebody).pk for _ in range(5)]
        seen, after = [], None
        while True:
            found = exports.list_exports(seen_by=somebody.pk, at=NOON, after=after, limit=2)
            seen += [line.export_id for line in found.lines]
            after = found.next_after
            if after is None:
                break

        assert sorted(seen) == sorted(made)
        assert len(seen) == 5

    def test_tells_records_rate_and_what_remains(self, exporter, somebody):
        claim = taken(ask(somebody))
        change(
            claim.export,
            "records_done = 300, records_total = 1200, step = 'writing',"
            " step_at = clock_timestamp() - interval '3 seconds'",
        )

        began = Export.objects.get(pk=claim.export.pk).step_at
        line = exports.describe_export(
            export_id=claim.export.pk, seen_by=None, at=began + timedelta(seconds=3)
        )
        text = exporter.get(page_of(claim.export)).text

        assert (line.rate, line.remaining) == (100, 9)
        assert "300 of 1,200 records" in text
        assert re.search(r"\d+ records per second", text)
        assert re.search(r"about \d+ s remain", text)
        assert 'data-live="2"' in text
        assert "<noscript><meta http-equiv" in text

    @pytest.mark.parametrize("word", Status.values)
    def test_has_words_for_every_status(self, exporter, somebody, word):
        from tests.exports.test_jobs import complete

        row = complete(word) | {"requested_by": somebody.pk, "provisional": True}
        export = Export.objects.create(**row)

        text = exporter.get(page_of(export)).text

        assert "PROVISIONAL" in text
        assert exporter.get("/exports/").status_code == 200
        assert ("Cancel</button>" in text) == (
            word in {"requested", "running", "publishing", "waiting"}
        )
        assert ("Try again" in text) == (word == "failed")


class TestStopping:
    def test_cancels_and_says_so(self, exporter, somebody):
        export = ask(somebody)

        answer = exporter.post(f"{page_of(export)}cancel/", follow=True)

        assert "was stopped before there was a file" in answer.text

    def test_is_too_late_when_it_has_ended(self, exporter, somebody):
        claim = taken(ask(somebody))
        published(claim)

        answer = exporter.post(f"{page_of(claim.export)}cancel/", follow=True)

        assert "is succeeded and cannot become cancelled" in answer.text

    def test_asks_for_the_same_again(self, exporter, somebody):
        somebody.groups.add(Group.objects.get(name="auditor"))
        export = ask(somebody, with_payloads=True)
        exports.cancel(export_id=export.pk)

        answer = exporter.post(f"{page_of(export)}again/")

        new = Export.objects.exclude(pk=export.pk).get()
        assert answer.url == page_of(new)
        assert (new.run_id, new.with_payloads) == (export.run_id, True)


class TestKept:
    def test_who_asks_again_or_cancels_is_in_the_access_log(self, exporter, somebody, client_of):
        run = make_run().run_id
        exporter.post(f"/runs/{run}/exports/", {"format": "both"})
        export = Export.objects.get()
        exporter.post(f"{page_of(export)}cancel/")
        exporter.post(f"{page_of(export)}again/")
        asked = exporter.post(
            f"/api/v1/runs/{run}/exports/", {"format": "jsonl"}, content_type="application/json"
        ).json()["export_id"]
        desk = reverse("admin:cancel-export", kwargs={"export_id": asked})
        client_of("administrator").post(desk)

        new = Export.objects.exclude(pk__in=[export.pk, asked]).get()
        kept = AccessEvent.objects.order_by("event_id").exclude(action="read")
        assert [(e.action, e.object_id, e.run_id, e.user_name) for e in kept] == [
            ("export_requested", export.pk, run, somebody.username),
            ("export_cancelled", export.pk, run, somebody.username),
            ("export_requested", new.pk, run, somebody.username),
            ("export_requested", asked, run, somebody.username),
            ("export_cancelled", asked, run, "administrator"),
        ]
        assert all(each.request_id for each in kept)

    def test_a_refusal_says_what_was_tried(self, client_of):
        export = ask()
        viewer = client_of("viewer")
        viewer.post(f"/runs/{export.run_id}/exports/")

        event = AccessEvent.objects.get()
        assert (event.action, event.result) == ("export_requested", "refused")

    @pytest.mark.django_db(transaction=True)
    def test_nothing_is_asked_for_or_cancelled_that_cannot_be_kept(
        self, exporter, somebody, client_of
    ):
        export, administrator = ask(somebody), client_of("administrator")
        again = f"/runs/{make_run().run_id}/exports/"
        with unwritable("access_events"):
            answers = [
                exporter.post(again),
                exporter.post(f"/api/v1{again}", content_type="application/json"),
                exporter.post(f"{page_of(export)}cancel/"),
                administrator.post(reverse("admin:cancel-export", args=[export.pk])),
            ]

        assert [answer.status_code for answer in answers] == [503] * 4
        assert answers[1].json()["error"]["code"] == "not_kept"
        assert [each.status for each in Export.objects.all()] == [Status.REQUESTED]


class TestDownload:
    def get(self, client, export, **headers):
        return client.get(f"{page_of(export)}download/", headers=headers)

    def test_gives_the_file_under_a_name_of_ours(self, exporter, ready, somebody):
        answer = self.get(exporter, ready)
        content = b"".join(answer.streaming_content)

        assert len(content) == ready.file_bytes == int(answer["Content-Length"])
        assert content[:4] == b"PK\x03\x04"
        assert answer["ETag"] == f'"{ready.file_sha256}"'
        assert answer["Content-Disposition"] == f'attachment; filename="{ready.file_name}"'
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert "no-store" in answer["Cache-Control"]
        event = AccessEvent.objects.get()
        assert (event.user_id, event.object_id) == (somebody.pk, ready.pk)

    @pytest.mark.django_db(transaction=True)
    def test_has_a_name_of_ours_whatever_the_run_is_called(self, exporter, somebody):
        hostile = 'r"; x=\r\nSet-Cookie: evil=1\r\n\r\n\u202e\u2028\u2603/../..\\%0d%0a'
        run = make_world(run_id=hostile).run
        export = ask(somebody, run)
        exports.produce(export_id=export.pk, owner="w")

        answer = self.get(exporter, export)

        assert answer.status_code == 200
        named = re.fullmatch(
            r'attachment; filename="([\w.-]+\.zip)"', answer["Content-Disposition"]
        )
        assert named[1].isascii()
        assert b"".join(answer.streaming_content)[:2] == b"PK"
        assert "evil" not in answer.cookies

    @pytest.mark.parametrize(
        ("asked", "start", "end"),
        [("bytes=0-9", 0, 10), ("bytes=100-", 100, None), ("bytes=-7", -7, None)],
    )
    def test_gives_a_part(self, exporter, ready, asked, start, end):
        whole = b"".join(self.get(exporter, ready).streaming_content)

        answer = self.get(exporter, ready, range=asked)

        assert answer.status_code == 206
        assert b"".join(answer.streaming_content) == whole[start:end]
        first = start % len(whole)
        last = len(whole) - 1 if end is None else end - 1
        assert answer["Content-Range"] == f"bytes {first}-{last}/{len(whole)}"

    @pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "lines=1-2", "bytes=-", "bytes=9-2"])
    def test_gives_the_whole_where_a_part_makes_no_sense(self, exporter, ready, asked):
        answer = self.get(exporter, ready, range=asked)

        assert answer.status_code == 200
        assert len(b"".join(answer.streaming_content)) == ready.file_bytes

    def test_heeds_what_the_client_has_already(self, exporter, ready):
        tag = f'"{ready.file_sha256}"'

        assert self.get(exporter, ready, if_none_match=tag).status_code == 304
        assert self.get(exporter, ready, if_match='"x"').status_code == 412
        assert self.get(exporter, ready, range=f"bytes={10**9}-").status_code == 416
        other = self.get(exporter, ready, range="bytes=0-1", if_range='"x"')
        assert other.status_code == 200
        other.close()

    def test_is_over_when_it_has_expired(self, exporter, ready):
        change(ready, "expires_at = clock_timestamp(), status = 'expired'")

        answer = self.get(exporter, ready)

        assert answer.status_code == 410
        assert "Ask for it again" in answer.text

    def test_is_not_there_before_it_is_made_nor_for_others(self, exporter, somebody):
        assert self.get(exporter, ask(somebody)).status_code == 404
        assert self.get(exporter, ask()).status_code == 404
        assert not AccessEvent.objects.exists()


class TestApi:
    def test_asks_and_tells(self, exporter, somebody):
        run = make_run(status="running")
        address = f"/api/v1/runs/{run.run_id}/exports/"

        asked = exporter.post(address, {"format": "both"}, content_type="application/json")

        assert asked.status_code == 202
        told = asked.json()
        assert (told["status"], told["format"], told["provisional"]) == ("requested", "both", True)
        assert told["requested_by"] == somebody.username
        assert exporter.get(f"/api/v1/exports/{told['export_id']}/").json() == told
        assert exporter.get(address).json() == {"results": [told], "next": None}

    def test_refuses_in_the_one_shape(self, exporter):
        address = f"/api/v1/runs/{make_run().run_id}/exports/"

        for asked in ({"format": "xml"}, {"surprise": 1}):
            answer = exporter.post(address, asked, content_type="application/json")
            assert answer.status_code == 400
            assert list(answer.json()) == ["error"]
        assert exporter.get("/api/v1/runs/x/exports/").status_code == 404
        assert exporter.get("/api/v1/exports/x/").status_code == 404

    def test_stops_one_and_says_how_it_stands(self, exporter, somebody):
        address = f"/api/v1/exports/{ask(somebody).pk}/cancel/"

        assert [exporter.post(address).json()["status"] for _ in range(2)] == ["cancelled"] * 2
        assert exporter.post(f"/api/v1/exports/{ask().pk}/cancel/").status_code == 404

    def test_gives_the_file_to_a_program_with_a_token(self, client, ready, somebody):
        address = f"/api/v1/exports/{ready.pk}/download/"
        number, token = credentials.make_token(
            user_id=somebody.pk, name="n", scopes=["export"], days=1, at=timezone.now()
        )
        asked = {"authorization": f"Bearer {token}", "accept": "application/zip"}

        with unwritable("access_events"):
            unkept = client.get(address, headers=asked)
        part = client.get(address, headers=asked | {"range": "bytes=0-3"})
        whole = client.get(address, headers=asked)

        assert (unkept.status_code, unkept.json()["error"]["code"]) == (503, "not_kept")
        assert b"".join(part.streaming_content) == b"PK\x03\x04"
        assert len(b"".join(whole.streaming_content)) == ready.file_bytes
        assert whole["Content-Disposition"] == f'attachment; filename="{ready.file_name}"'
        event = AccessEvent.objects.latest("event_id")
        assert (event.action, event.user_id) == ("export_downloaded", somebody.pk)
        assert event.reason == f"API token {number}"
        change(ready, "expires_at = clock_timestamp(), status = 'expired'")
        assert client.get(address, headers=asked).status_code == 410

    def test_refuses_who_may_not(self, client_of):
        answer = client_of("viewer").post(f"/api/v1/runs/{make_run().run_id}/exports/")

        assert answer.status_code == 403
        assert "exporter" in answer.json()["error"]["message"]
