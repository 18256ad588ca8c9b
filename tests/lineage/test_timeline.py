"""One list of everything that was recorded of a row, and the outputs that it reached."""

from datetime import timedelta

import pytest

from audit import lineage
from tests.builders import (
    NOON,
    after_noon,
    make_artifact,
    make_batch,
    make_call,
    make_child,
    make_edge,
    make_node,
    make_outcome,
    make_refusal,
    make_rejection,
    make_route,
    make_row,
    make_state,
    make_token,
    make_world,
)

pytestmark = pytest.mark.django_db


def told(row, **asked):
    closure = lineage.gather_row(run_id=row.run_id, row_id=row.row_id)
    asked = {"tokens": closure.tokens, "rows": [row.row_id]} | asked
    return lineage.read_timeline(run_id=row.run_id, **asked)


def reached(row):
    closure = lineage.gather_row(run_id=row.run_id, row_id=row.row_id)
    return lineage.read_reached(closure=closure)


@pytest.fixture
def row():
    """A row to which everything happened that can."""
    world = make_world(rows=0)
    row = make_row(world.source)
    token = make_token(row)
    gate = make_node(world.run, "gate", "gate")
    state = make_state(
        token, gate, 1, started_at=after_noon(1), completed_at=after_noon(4), duration_ms=3000
    )
    make_call(state, 1, created_at=after_noon(2))
    make_call(state, 0, created_at=after_noon(2))
    make_route(state, make_edge(gate, world.sink, "yes"), created_at=after_noon(3))
    make_refusal(world.run, row_id=row.row_id)
    make_rejection(token, gate, created_at=after_noon(5))
    make_batch(gate, token, created_at=after_noon(6), completed_at=after_noon(7))
    written = make_state(token, world.sink, 2, started_at=after_noon(8), completed_at=after_noon(9))
    make_artifact(written, created_at=after_noon(9))
    make_outcome(token, "routed", recorded_at=after_noon(9), sink_name="output")
    return row


class TestReadTimeline:
    def test_tells_everything_in_the_order_of_time(self, row):
        events = told(row).events

        assert [(event.place.kind, event.word) for event in events] == [
            ("row", None),
            ("refused", "discard"),
            ("token", "initial"),
            ("begun", None),
            ("call", "success"),
            ("call", "success"),
            ("route", "move"),
            ("ended", "completed"),
            ("rejected", "discard"),
            ("batch", None),
            ("batch_ended", "completed"),
            ("begun", None),
            ("ended", "completed"),
            ("artifact", "recorded"),
            ("outcome", "routed"),
        ]
        assert [event.place.nth for event in events if event.place.kind == "call"] == [0, 1]

    def test_tells_equal_times_in_the_order_of_the_steps(self):
        world = make_world(rows=0)
        token = make_token(make_row(world.source))
        for step in (2, 1):
            node = make_node(world.run, f"node{step}")
            for attempt in (1, 0):
                make_state(
                    token,
                    node,
                    step,
                    attempt=attempt,
                    started_at=NOON,
                    completed_at=NOON,
                )

        events = [event for event in told(token.row).events if event.state_id]

        assert [(event.place.step, event.place.nth, event.place.kind) for event in events] == [
            (1, 0, "begun"),
            (1, 0, "ended"),
            (1, 1, "begun"),
            (1, 1, "ended"),
            (2, 0, "begun"),
            (2, 0, "ended"),
            (2, 1, "begun"),
            (2, 1, "ended"),
        ]

    def test_goes_on_page_by_page_without_gap_or_double(self, row):
        whole = told(row).events
        pages, after = [], None
        while True:
            page = told(row, after=after, limit=2)
            pages += page.events
            if page.next_after is None:
                break
            # As an address would carry it.
            after = lineage.place_of(str(page.next_after))

        assert tuple(pages) == whole

    def test_tells_what_befell_the_children(self):
        world = make_world(rows=1)
        child = make_child(world.tokens[0], 0, branch_name="b")
        make_outcome(child, "failed", recorded_at=NOON + timedelta(days=1))

        last = told(world.rows[0]).events[-1]

        assert (last.token_id, last.word) == (child.token_id, "failed")

    def test_costs_one_query_for_five_hundred_visits(self, row, count_queries):
        world = make_world(rows=0)
        token = make_token(make_row(world.source))
        for step in range(500):
            make_state(token, world.transform, 1, attempt=step)

        costs = {
            count_queries(lambda run=run, key=key: lineage.read_timeline(run_id=run, tokens=[key]))
            for run, key in (
                (token.run_id, token.token_id),
                (row.run_id, row.tokens.get().token_id),
            )
        }

        assert costs == {1}
        page = told(token.row)
        assert (len(page.events), page.next_after is None) == (200, False)

    @pytest.mark.parametrize(
        "text", ["", "x", "2026-01-01~1~1~1~row~r", "2026-01-01T00:00Z~99999999999999~1~1~row~r"]
    )
    def test_refuses_a_place_that_is_none(self, text):
        with pytest.raises(ValueError, match=r".*"):
            lineage.place_of(text)


class TestReadReached:
    def test_tells_an_output_with_the_token_by_which_it_is_reached(self):
        world = make_world(rows=1)
        (root,) = world.tokens
        child = make_child(root, 0)
        make_artifact(make_state(child, world.sink, 5), path_or_uri="file:///a.csv")

        found = reached(world.rows[0])

        assert [(one.path_or_uri, one.token_id, one.inferred) for one in found.shown] == [
            ("file:///a.csv", child.token_id, False)
        ]

    def test_says_what_is_inferred(self):
        world = make_world(rows=2)
        first, second = (make_state(token, world.sink, 5, attempt=1) for token in world.tokens)
        make_artifact(first, second)

        assert [one.inferred for one in reached(world.rows[0]).shown] == [False]
        assert [one.inferred for one in reached(world.rows[1]).shown] == [True]

    def test_of_a_token_leaves_out_those_of_its_siblings(self):
        world = make_world(rows=1)
        left, right = (make_child(world.tokens[0], place) for place in range(2))
        deeper = make_child(left, 0)
        make_artifact(make_state(deeper, world.sink, 5), path_or_uri="left")
        make_artifact(make_state(right, world.sink, 5), path_or_uri="right")

        closure = lineage.gather_closure(run_id=left.run_id, token_id=left.token_id)

        shown = lineage.read_reached(closure=closure).shown
        assert [(one.path_or_uri, one.token_id) for one in shown] == [("left", deeper.token_id)]

    def test_costs_one_query(self, count_queries):
        world = make_world(rows=1)
        closure = lineage.gather_row(run_id=world.run.run_id, row_id=world.rows[0].row_id)

        assert count_queries(lambda: lineage.read_reached(closure=closure)) == 1
