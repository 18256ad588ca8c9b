"""Visits and calls: what their pages are told, and what becomes of recorded contents."""

from __future__ import annotations

import hashlib

import pytest

from audit import lineage, payloads
from audit.errors import NotRecorded
from audit.lineage import bodies
from tests.builders import (
    digest,
    make_call,
    make_edge,
    make_node,
    make_payload,
    make_purged,
    make_route,
    make_row,
    make_run,
    make_state,
    make_token,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _var(settings, tmp_path):
    settings.LANDSCAPE_VAR = tmp_path / "var"


def keep(text):
    """Store contents as a recorder does; their reference."""
    content = text if isinstance(text, bytes) else text.encode()
    ref = payloads.store(content)
    make_payload(ref, size_bytes=len(content))
    return ref


def body_of(ref, content_hash="a" * 64):
    return bodies.read_bodies(parts=[(ref, content_hash)])[ref]


@pytest.fixture
def token():
    run = make_run()
    return make_token(make_row(make_node(run, "csv", "source")))


class TestReadBodies:
    def test_shows_what_is_there_and_proves_it(self):
        ref = keep('{"a":1}')

        body = body_of(ref, ref)

        assert (body.state, body.head, body.tail) == ("available", '{\n  "a": 1\n}', None)
        assert body.hash_is_of_the_bytes

    def test_knows_a_hash_of_a_canonical_form_from_the_bytes_own(self):
        assert not body_of(keep("x"), digest("y")).hash_is_of_the_bytes

    @pytest.mark.parametrize(
        ("columns", "state"),
        [
            (None, "not_looked_for"),
            ({"state": "missing", "size_bytes": None}, "missing"),
            ({"state": "purged"}, "purged"),
            ({}, "missing"),
        ],
    )
    def test_says_why_there_is_nothing(self, columns, state):
        ref = digest("never stored")
        if state == "purged":
            make_purged(ref)
        elif columns is not None:
            make_payload(ref, **columns)

        body = body_of(ref)

        assert (body.state, body.head) == (state, None)

    def test_does_not_show_corrupted_bytes(self, settings):
        ref = keep("right")
        (settings.LANDSCAPE_VAR / "payloads" / ref[:2] / ref).write_text("wrong")

        body = body_of(ref)

        assert (body.state, body.head) == ("corrupted", None)
        assert body.actual_hash == hashlib.sha256(b"wrong").hexdigest()

    def test_touches_no_file_for_what_is_no_reference(self):
        assert body_of("../../etc/passwd").state == "not_looked_for"

    def test_has_no_text_where_the_bytes_are_none(self):
        body = body_of(keep(b"\xff\xfe"))

        assert (body.is_available, body.head) == (True, None)

    def test_says_that_a_hash_alone_was_kept_or_nothing(self):
        assert bodies.unkept("a" * 64).state == "hash_only"
        assert bodies.unkept(None).state == "none_recorded"

    @pytest.mark.parametrize(
        "text",
        ["x" * 200_001, "line\n" * 2_000, "[" + ",".join("1" * 2_000) + "]"],
        ids=["bytes", "lines", "one line that becomes many"],
    )
    def test_shows_both_ends_of_what_is_too_large(self, text):
        body = body_of(keep(text))

        shown = len(body.head) + len(body.tail)
        assert body.tail is not None
        assert body.cut_characters > 0
        assert shown <= 40_000
        assert body.head.count("\n") + body.tail.count("\n") <= 400
        assert body.excerpt.length == shown + body.cut_characters

    def test_shows_the_largest_that_fits_in_one_piece(self):
        body = body_of(keep("x" * 200_000))

        assert (len(body.head), body.tail, body.cut_characters) == (200_000, None, 0)

    def test_costs_one_query_however_many(self, count_queries):
        refs = [keep(str(number)) for number in range(20)]

        assert count_queries(lambda: bodies.read_bodies(parts=[(r, r) for r in refs])) == 1


class TestExplainVisit:
    def test_tells_attempts_and_neighbours_in_the_order_of_steps(self, token):
        node = make_node(token, "model")
        first = make_state(token, make_node(token, "tidy"), 1)
        tries = [
            make_state(token, node, 2, attempt=number, status=status)
            for number, status in enumerate(["failed", "failed", "completed"])
        ]

        story = lineage.explain_visit(run_id=token.run_id, state_id=tries[1].state_id)

        assert (story.attempt, story.attempts_total) == (2, 3)
        assert [state.state_id for state in story.attempts] == [s.state_id for s in tries]
        assert (story.before, story.behind) == (tries[0], tries[2])
        begin = lineage.explain_visit(run_id=token.run_id, state_id=first.state_id)
        assert (begin.before, begin.behind) == (None, tries[0])

    def test_tells_which_hashes_are_equal(self, token):
        first = make_state(token, make_node(token, "a"), 1, input_hash=token.row.source_data_hash)
        changed = make_state(
            token, make_node(token, "b"), 2, input_hash=first.output_hash, output_hash=digest("z")
        )

        marks = [
            (story.input_mark, story.output_mark)
            for story in (
                lineage.explain_visit(run_id=token.run_id, state_id=state.state_id)
                for state in (first, changed)
            )
        ]

        assert marks == [
            ("same as source row", "same as input"),
            ("same as previous output", "changed"),
        ]

    def test_reads_the_reason_of_a_decision_once(self, token):
        gate = make_node(token, "gate", "gate")
        state = make_state(token, gate, 1)
        ref = keep('{"amount":1500}')
        for number, name in enumerate(("left", "right")):
            edge = make_edge(gate, make_node(token, name, "sink"), name)
            make_route(state, edge, number, mode="copy", reason_ref=ref, reason_hash=ref)

        left, right = lineage.explain_visit(run_id=token.run_id, state_id=state.state_id).routes

        assert (left.reason.head, right.reason) == ('{\n  "amount": 1500\n}', None)

    def test_reads_an_error_that_is_kept_as_a_payload(self, token):
        ref = keep('{"exception":"too late","type":"Timeout"}')
        state = make_state(
            token, make_node(token), 1, status="failed", error_ref=ref, error_hash=ref
        )

        story = lineage.explain_visit(run_id=token.run_id, state_id=state.state_id)

        assert story.error_text.headline == "Timeout: too late"
        assert story.error.state == "available"

    def test_costs_the_same_at_two_sizes(self, token, count_queries):
        gate = make_node(token, "gate", "gate")
        few = make_state(token, gate, 1)
        make_call(few, 0, request_ref=keep("asked"))
        many = make_state(token, make_node(token, "model"), 2)
        for number in range(20):
            make_call(many, number, request_ref=keep(str(number)))

        costs = {
            count_queries(
                lambda s=s: lineage.explain_visit(run_id=token.run_id, state_id=s.state_id)
            )
            for s in (few, many)
        }

        assert len(costs) == 1

    def test_refuses_one_that_is_not_there(self, token):
        with pytest.raises(NotRecorded, match="visit nowhere"):
            lineage.explain_visit(run_id=token.run_id, state_id="nowhere")


class TestExplainCall:
    def test_tells_both_bodies_and_its_neighbours(self, token):
        state = make_state(token, make_node(token, "model"), 1)
        asked, answered = keep('{"q":1}'), keep('{"a":2}')
        calls = [
            make_call(
                state,
                number,
                request_ref=asked,
                request_hash=asked,
                response_ref=answered,
                response_hash=answered,
            )
            for number in range(3)
        ]

        story = lineage.explain_call(run_id=token.run_id, call_id=calls[1].call_id)

        assert (story.request.head, story.response.head) == (
            '{\n  "q": 1\n}',
            '{\n  "a": 2\n}',
        )
        assert (story.before, story.behind) == (calls[0], calls[2])
        assert story.state.state_id == state.state_id
        assert story.row == token.row

    def test_tells_a_failed_call_from_one_whose_answer_was_not_kept(self, token):
        state = make_state(token, make_node(token, "model"), 1)
        failed = make_call(state, 0, status="error", error_json="gone", response_hash=None)
        kept = make_call(state, 1)

        def story(call):
            return lineage.explain_call(run_id=token.run_id, call_id=call.call_id)

        assert story(failed).response.state == "none_recorded"
        assert story(failed).error_text.text == "gone"
        assert story(kept).response.state == "hash_only"

    def test_refuses_one_that_is_not_there(self, token):
        with pytest.raises(NotRecorded, match="call nowhere"):
            lineage.explain_call(run_id=token.run_id, call_id="nowhere")
