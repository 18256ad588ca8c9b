"""What each page says."""

import html
import re
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.urls import reverse

from tests.builders import (
    NOON,
    digest,
    make_child,
    make_edge,
    make_finding,
    make_import,
    make_node,
    make_outcome,
    make_refusal,
    make_route,
    make_row,
    make_run,
    make_state,
    make_token,
    make_world,
    summarise,
)

pytestmark = pytest.mark.django_db


def words(answer):
    """The text of a page as it is read: no tags, single spaces."""
    return " ".join(re.sub(r"<[^>]+>", "", answer.text).split())


def answer_line(answer):
    (line,) = re.findall(r'<p class="answer">(.*?)</p>', answer.text, re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", "", line).split())


class TestHome:
    def test_says_how_to_import_while_there_is_nothing(self, signed_in):
        answer = signed_in.get("/")

        assert "make run AUDIT_DB=path/to/audit.db" in words(answer)
        assert "manage.py import_audit path/to/audit.db" in words(answer)
        assert "landscape_app serves pages and owns nothing" in words(answer)

    def test_leads_to_the_runs_once_there_are_some(self, signed_in):
        make_run()

        answer = signed_in.get("/")

        assert (answer.status_code, answer.url) == (302, "/runs/")

    def test_sends_a_stranger_to_the_login(self, client):
        assert client.get("/").url == "/accounts/login/?next=/"


class TestHealth:
    def test_is_open_to_strangers(self, client):
        live, ready = client.get("/health/live"), client.get("/health/ready")

        assert (live.status_code, live.text) == (200, "live\n")
        assert (ready.status_code, ready.text) == (200, "ready\n")

    def test_is_not_ready_with_another_schema(self, client, monkeypatch):
        monkeypatch.setattr("audit.lineage.house.SCHEMA_VERSION", 99)

        answer = client.get("/health/ready")

        assert (answer.status_code, answer.text) == (503, "not ready\n")

    def test_tells_strangers_nothing_about_a_database_that_is_away(
        self, client, monkeypatch, caplog
    ):
        def away():
            raise OperationalError("host db.internal, login landscape_app")

        monkeypatch.setattr("audit.views.health.lineage.schema_fits", away)

        answer = client.get("/health/ready")

        assert (answer.status_code, answer.text) == (503, "not ready\n")
        assert "the database does not answer" in caplog.text

    def test_is_alive_without_asking_the_database(self, client, count_queries):
        assert count_queries(lambda: client.get("/health/live")) == 0


class TestLogin:
    def test_says_whom_to_ask_for_an_account(self, client):
        assert "An administrator of this Landscape makes accounts" in words(
            client.get("/accounts/login/")
        )

    def test_lets_an_auditor_in_and_goes_on_to_the_page_asked_for(self, client, auditor):
        answer = client.post(
            "/accounts/login/?next=/runs/",
            {"login": "auditor", "password": "a good long passphrase", "next": "/runs/"},
        )

        assert (answer.status_code, answer.url) == (302, "/runs/")

    def test_says_so_when_the_password_is_wrong(self, client, auditor):
        answer = client.post("/accounts/login/", {"login": "auditor", "password": "wrong"})

        assert answer.status_code == 200
        assert 'role="alert"' in answer.text

    def test_lets_an_auditor_out_by_post_only(self, signed_in):
        assert "Sign out" in words(signed_in.get("/accounts/logout/"))
        assert signed_in.get("/runs/").status_code == 200

        signed_in.post("/accounts/logout/")

        assert signed_in.get("/runs/").status_code == 302

    @pytest.mark.parametrize("page", ["account_change_password", "account_reauthenticate"])
    def test_has_its_other_pages_in_the_same_look(self, signed_in, page):
        answer = signed_in.get(reverse(page))

        assert 'class="stacked"' in answer.text


class TestRuns:
    def test_names_what_needs_a_person_first(self, signed_in):
        make_run(run_id="f" * 32, status="failed")
        make_import(make_run(run_id="a" * 32, status="running"))
        make_finding(make_run(run_id="b" * 32), level="error", occurrences=2)

        line = answer_line(signed_in.get("/runs/"))

        assert line == (
            "Three runs need you: ffffffffffff failed on 22 November, bbbbbbbbbbbb has"
            " 2 error findings and aaaaaaaaaaaa of 22 November has no end recorded."
        )

    def test_counts_those_it_does_not_name(self, signed_in):
        for _ in range(12):
            make_run(status="failed")

        answer = signed_in.get("/runs/")

        assert answer_line(answer).startswith("12 runs need you: ")
        assert answer_line(answer).endswith(" and 9 more.")
        assert "/runs/?status=attention" in answer.text

    def test_says_that_rows_are_unaccounted_for(self, signed_in):
        world = make_world(run_id="c" * 32)
        make_row(world.source, 2)
        summarise(world.run)

        assert answer_line(signed_in.get("/runs/")) == (
            "One run needs you: cccccccccccc has 1 row unaccounted for."
        )

    def test_says_so_when_nothing_needs_a_person(self, signed_in):
        make_run()

        assert answer_line(signed_in.get("/runs/")) == (
            "No run needs you: none of the one run failed, stopped without an end,"
            " misses a row or has an error finding."
        )

    def test_calls_an_imported_run_without_an_end_so(self, signed_in):
        make_import(make_run(status="running"))
        make_run(status="running")

        text = signed_in.get("/runs/").text

        assert re.findall(r'<span class="chip (\w+)">.*?</svg>([^<]+)', text) == [
            ("structural", "running"),
            ("care", "no end recorded"),
        ]

    def test_says_counting_while_figures_are_missing(self, signed_in):
        make_run()

        assert "counting" in words(signed_in.get("/runs/"))

    def test_keeps_filters_in_the_address_of_the_next_page(self, signed_in):
        for minute in range(51):
            make_run(started_at=NOON + timedelta(minutes=minute), status="failed")

        text = signed_in.get("/runs/?status=failed&since=2026-11-22&text=&until=").text

        (older,) = re.findall(r'href="([^"]+)" rel="next"', text)
        assert older.startswith("?status=failed&amp;since=2026-11-22&amp;after=")
        assert "Older: 1 remaining" in text

    def test_says_which_filters_found_nothing(self, signed_in):
        make_run()

        found = words(signed_in.get("/runs/?text=nothing+like+it&since=2030-01-01"))

        assert "No run matches from 2030-01-01 “nothing like it”." in found

    @pytest.mark.parametrize(
        ("query", "reason"),
        [
            ("status=perfect", "“status” may be attention, running, completed"),
            ("since=yesterday", "“since” is a day like 2026-11-22"),
            ("until=2026-02-30", "“until” is a day like 2026-11-22"),
            ("text=a%00b", "holds a NUL"),
            ("text=a&text=b", "“text” stands 2 times"),
        ],
    )
    def test_refuses_what_it_cannot_understand(self, signed_in, query, reason):
        answer = signed_in.get(f"/runs/?{query}")

        assert answer.status_code == 400
        assert reason in answer_line(answer)

    def test_cannot_go_on_after_a_run_that_is_not_there(self, signed_in):
        assert signed_in.get("/runs/?after=nowhere").status_code == 404


class TestRun:
    def ask(self, signed_in, run):
        return signed_in.post(reverse("audit:run", args=[run.run_id]))

    def test_answers_with_what_became_of_the_rows(self, signed_in):
        world = make_world(rows=20)
        for index, outcome in enumerate(["routed"] * 3 + ["failed"], start=20):
            token = make_token(make_row(world.source, index))
            if outcome == "routed":
                make_state(token, world.sink)
            make_outcome(token, outcome)
        summarise(world.run)

        assert answer_line(self.ask(signed_in, world.run)) == (
            "Of 24 rows, 20 were completed, 3 were routed and 1 failed. Every row is accounted for."
        )

    def test_says_what_is_unaccounted_for_and_what_nobody_confirms(self, signed_in):
        world = make_world(rows=0)
        root = make_token(make_row(world.source))
        make_outcome(root, "forked")
        make_outcome(make_child(root, 0), "completed")
        make_child(root, 1)
        summarise(world.run)

        assert answer_line(self.ask(signed_in, world.run)) == (
            "Nothing is known to have become of 1 row. 1 row is unaccounted for."
            " 1 token is said to be delivered and no sink visit confirms it."
        )

    @pytest.mark.parametrize(
        ("status", "imported", "ending"),
        [
            ("failed", True, "The run itself failed."),
            ("interrupted", True, "The run itself was interrupted."),
            ("running", True, "The run has no end on record."),
            ("running", False, "The run is still going."),
        ],
    )
    def test_says_how_a_run_went_that_did_not_complete(self, signed_in, status, imported, ending):
        run = make_run(status=status)
        if imported:
            make_import(run)
        summarise(run)

        line = answer_line(self.ask(signed_in, run))

        assert line == f"No row was recorded in this run. {ending}"

    def test_says_that_figures_are_being_counted(self, signed_in):
        assert answer_line(self.ask(signed_in, make_run())) == (
            "The figures of this run are still to be counted."
        )

    def test_counts_refused_records(self, signed_in):
        run = make_run()
        for _ in range(2):
            make_refusal(run)
        summarise(run)

        assert "Two records were refused by validation." in answer_line(self.ask(signed_in, run))

    def test_counts_a_row_refused_at_the_door_once(self, signed_in):
        world = make_world(rows=1)
        refused = make_row(world.source, 1)
        make_refusal(world.run, row_id=refused.row_id)
        summarise(world.run)

        assert answer_line(self.ask(signed_in, world.run)) == (
            "Of 2 rows, 1 was completed and 1 was refused by validation."
            " Every row is accounted for."
        )

    def test_shows_findings_with_errors_open_and_habits_folded(self, signed_in):
        run = make_run()
        make_finding(run, "key", code="BROKEN", level="error", table_name="nodes")
        make_finding(run, "", code="Q05", occurrences=40)
        summarise(run)

        text = self.ask(signed_in, run).text

        assert text.index("BROKEN") < text.index("<summary>40 habits of the era")
        assert "not listed one by one" in text

    def test_says_where_it_came_from(self, signed_in):
        run = make_run()
        make_import(run, rests_on_clean_close=True)

        text = words(self.ask(signed_in, run))

        assert "audit.db" in text
        assert "417.8 kB, 417,792 bytes" in text
        assert "A (January 2026)" in text
        assert "runs 1, rows 12" in text
        assert "a clean close" in text

    def test_says_that_a_recorded_run_was_not_imported(self, signed_in):
        assert "Not applicable: recorded here, not imported." in words(
            self.ask(signed_in, make_run())
        )

    @pytest.mark.parametrize(
        ("grade", "promise"),
        [
            ("full_reproducible", "can be recomputed"),
            ("replay_reproducible", "can be replayed from recordings"),
            ("attributable_only", "can be traced, not replayed"),
            (None, "not graded"),
        ],
    )
    def test_says_what_its_grade_promises(self, signed_in, grade, promise):
        assert promise in words(self.ask(signed_in, make_run(reproducibility_grade=grade)))


class TestRows:
    def ask(self, signed_in, run, query=""):
        return signed_in.get(reverse("audit:rows", args=[run.run_id]) + query)

    def test_shows_a_hundred_and_leads_on(self, signed_in):
        source = make_node(run := make_run(), "csv", "source")
        for index in range(102):
            make_row(source, index)

        first, second = self.ask(signed_in, run), self.ask(signed_in, run, "?after=99")

        assert "100 shown, index 0 to 99" in words(first)
        assert 'href="?after=99"' in first.text
        assert "2 shown, index 100 to 101" in words(second)
        assert "No further row." in words(second)

    def test_keeps_the_filter_on_the_next_page(self, signed_in):
        source = make_node(run := make_run(), "csv", "source")
        for index in range(101):
            make_token(make_row(source, index))

        answer = self.ask(signed_in, run, "?outcome=none")

        assert 'href="?outcome=none&amp;after=99"' in answer.text
        assert "only rows with a token that has no outcome recorded" in words(answer)

    @pytest.mark.parametrize("after", ["-1", "x", "1_0", "٣", "9" * 19, "1.5"])
    def test_refuses_an_index_that_is_none(self, signed_in, after):
        answer = self.ask(signed_in, make_run(), f"?after={after}")

        assert answer.status_code == 400
        assert "“after” is the index of a row" in answer_line(answer)

    def test_refuses_an_outcome_that_is_none(self, signed_in):
        assert self.ask(signed_in, make_run(), "?outcome=lost").status_code == 400

    def test_says_so_when_there_is_no_row(self, signed_in):
        assert "No row is recorded in this run." in words(self.ask(signed_in, make_run()))

    def test_says_so_when_no_row_matches(self, signed_in):
        assert "No row matches." in words(self.ask(signed_in, make_world().run, "?outcome=failed"))


class TestRow:
    def ask(self, signed_in, row):
        return signed_in.post(reverse("audit:row", args=[row.run_id, row.row_id]))

    def test_answers_for_one_token(self, signed_in):
        world = make_world(rows=1)

        assert answer_line(self.ask(signed_in, world.rows[0])) == (
            "Row 0 was completed into output, first attempt, and seen by the sink."
        )

    def test_answers_for_no_token(self, signed_in):
        world = make_world(rows=0)

        assert answer_line(self.ask(signed_in, make_row(world.source))) == (
            "Row 0 was recorded, and no token travelled for it."
        )

    def test_has_a_timeline_that_pages_by_key(self, signed_in):
        world = make_world(rows=1)
        (token,) = world.tokens
        for step in range(3, 120):
            make_state(token, world.transform, 1, attempt=step)
        url = reverse("audit:row", kwargs={"run_id": token.run_id, "row_id": token.row_id})

        first = signed_in.get(url, {"part": "timeline"})
        assert "200 events shown, there are more" in words(first)
        following = re.search(r'href="([^"]*)" rel="next"', first.text)[1]
        second = signed_in.get(url + html.unescape(following))

        assert "events shown; 1 token" in words(second)
        assert "200 events" not in words(second)

    def test_has_a_timeline_of_one_of_its_tokens_only(self, signed_in):
        world = make_world(rows=2)
        first, second = world.tokens
        url = reverse("audit:row", kwargs={"run_id": first.run_id, "row_id": first.row_id})

        def ask(**asked):
            return signed_in.get(url, {"part": "timeline"} | asked)

        assert "Timeline of a token" in words(ask(token=first.token_id))
        assert ask(token=second.token_id).status_code == 404
        assert ask(after="nowhere").status_code == 400
        assert signed_in.get(url, {"token": first.token_id}).status_code == 400

    def test_says_why_validation_refused_it(self, signed_in):
        world = make_world(rows=0)
        row = make_row(world.source)
        make_refusal(world.run, row_id=row.row_id, row_hash=row.source_data_hash)

        answer = self.ask(signed_in, row)

        assert answer_line(answer) == ("Row 0 was refused by validation: “amount: not a number”.")
        assert "this very record" in words(answer)
        assert "linked by the hash" not in words(answer)

    def test_calls_a_link_by_content_what_it_is(self, signed_in):
        world = make_world(rows=1)
        make_refusal(world.run, row_hash=world.rows[0].source_data_hash)

        answer = self.ask(signed_in, world.rows[0])

        assert answer_line(answer).endswith("Validation refused a record with the same content.")
        assert "linked by the hash of the content, not by the record" in words(answer)

    def test_shows_the_hash_in_full_in_groups(self, signed_in):
        world = make_world(rows=1)
        hash_ = world.rows[0].source_data_hash

        text = words(self.ask(signed_in, world.rows[0]))

        assert " ".join(hash_[place : place + 8] for place in range(0, 64, 8)) in text
        assert "sha256:" in text


class TestToken:
    def ask(self, signed_in, token):
        return signed_in.post(reverse("audit:token", args=[token.run_id, token.token_id]))

    def test_answers_for_a_simple_way(self, signed_in):
        world = make_world(rows=1)

        assert answer_line(self.ask(signed_in, world.tokens[0])) == (
            "Made from row 0, this token was completed into output, first attempt,"
            " and seen by the sink."
        )

    def test_answers_for_a_failed_branch(self, signed_in):
        world = make_world(rows=0)
        root = make_token(make_row(world.source, 7))
        branch = make_child(root, 0, branch_name="left")
        make_state(branch, world.transform, 1, status="failed", error_json='{"reason":"cut"}')
        make_outcome(branch, "failed", error_hash=digest("cut")[:16])

        answer = self.ask(signed_in, branch)

        assert answer_line(answer) == (
            "Made by a fork of row 7 for branch left, this token failed at tidy: “cut”."
        )
        assert "cut" in words(answer)

    def test_answers_for_a_fork(self, signed_in):
        world = make_world(rows=0)
        root = make_token(make_row(world.source))
        make_outcome(root, "forked")
        for ordinal in range(2):
            make_child(root, ordinal)

        assert answer_line(self.ask(signed_in, root)) == (
            "Made from row 0, this token was forked into 2 tokens: 2 have no outcome recorded."
        )

    def test_says_which_edge_a_gate_chose(self, signed_in):
        world = make_world(rows=1)
        gate = make_node(world.run, "large", "gate")
        make_route(
            make_state(world.tokens[0], gate, 3), make_edge(gate, world.sink, "over the limit")
        )

        assert "over the limit → output sink move" in words(self.ask(signed_in, world.tokens[0]))

    def test_marks_a_success_after_a_failure(self, signed_in):
        world = make_world(rows=0)
        token = make_token(make_row(world.source))
        make_state(token, world.transform, 1, status="failed")
        make_state(token, world.transform, 1, attempt=1)

        text = words(self.ask(signed_in, token))

        assert "completed after retry" in text
        assert "2 of 2" in text

    def test_says_that_a_visit_never_ended_in_a_run_that_did(self, signed_in):
        world = make_world(rows=0)
        token = make_token(make_row(world.source))
        make_state(token, world.transform, 1, status="open")

        assert "never ended" in words(self.ask(signed_in, token))
