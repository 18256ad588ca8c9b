"""The story of one token."""

import pytest

from audit import lineage
from audit.errors import RunMismatch
from tests.builders import (
    digest,
    make_artifact,
    make_batch,
    make_call,
    make_child,
    make_edge,
    make_finding,
    make_node,
    make_outcome,
    make_parent,
    make_payload,
    make_rejection,
    make_route,
    make_row,
    make_state,
    make_token,
    make_world,
)

pytestmark = pytest.mark.django_db


def explain(token):
    return lineage.explain_token(run_id=token.run_id, token_id=token.token_id)


class TestExplainToken:
    def test_refuses_a_token_of_another_run_and_says_so(self):
        mine, other = make_world(rows=1), make_world(rows=1)

        with pytest.raises(RunMismatch, match=f"belongs to run {other.run.run_id}"):
            lineage.explain_token(run_id=mine.run.run_id, token_id=other.tokens[0].token_id)

    def test_says_that_an_id_names_something_else(self):
        world = make_world(rows=1)

        with pytest.raises(lineage.OtherKind, match="is a row, not a token"):
            lineage.explain_token(run_id=world.run.run_id, token_id=world.rows[0].row_id)

    def test_tells_visits_in_the_order_of_steps_and_attempts(self):
        world = make_world(rows=0)
        token = make_token(make_row(world.source))
        make_state(token, world.sink, 2)
        make_state(token, world.transform, 1, attempt=1)
        make_state(token, world.transform, 1, status="failed", error_json="{}")

        visits = explain(token).visits

        assert [(v.node.name, v.attempt, v.attempts, v.status) for v in visits] == [
            ("tidy", 1, 2, "failed"),
            ("tidy", 2, 2, "completed"),
            ("output", 1, 1, "completed"),
        ]

    def test_tells_which_hashes_are_equal(self):
        world = make_world(rows=0)
        token = make_token(row := make_row(world.source))
        source, changed = row.source_data_hash, digest("changed")
        make_state(token, world.transform, 1, input_hash=source, status="failed")
        make_state(token, world.transform, 1, attempt=1, input_hash=source, output_hash=changed)
        make_state(token, make_node(world.run, "gate", "gate"), 2, input_hash=changed)
        make_state(token, world.sink, 3, input_hash=digest("unexpected"))

        visits = explain(token).visits

        assert [(visit.input_mark, visit.output_mark) for visit in visits] == [
            ("same as source row", None),
            ("same as attempt before", "changed"),
            ("same as previous output", "same as input"),
            ("differs from previous output", "same as input"),
        ]

    def test_tells_where_a_gate_sent_it(self):
        world = make_world(rows=1)
        gate = make_node(world.run, "large", "gate")
        state = make_state(world.tokens[0], gate, 3)
        make_route(state, make_edge(gate, world.sink, "true"))

        (route,) = explain(world.tokens[0]).visits[-1].routes

        assert (route.label, route.mode, route.node.name) == ("true", "move", "output")

    def test_lists_calls_with_the_state_of_their_bytes(self):
        world = make_world(rows=1)
        state = make_state(world.tokens[0], make_node(world.run, "model"), 3)
        make_payload(digest("request"))
        make_call(state, request_ref=digest("request"), response_ref=digest("response"))
        make_call(state, 1, status="error", response_hash=None, error_json='{"type":"Timeout"}')

        story = explain(world.tokens[0])

        answered, failed = story.visits[-1].calls
        assert (answered.request, answered.response) == ("available", "not_looked_for")
        assert (failed.request, failed.response) == ("hash_only", "none_recorded")
        assert failed.error.headline == "Timeout"
        assert story.calls_total == 2

    def test_puts_the_final_verdict_last(self):
        world = make_world(rows=0)
        token = make_token(make_row(world.source))
        make_outcome(token, "consumed_in_batch")
        make_outcome(token, "buffered")

        story = explain(token)

        assert [one.outcome for one in story.verdicts] == ["buffered", "consumed_in_batch"]
        assert story.verdict.outcome == "consumed_in_batch"

    def test_has_no_verdict_where_none_was_recorded(self):
        world = make_world(rows=0)

        assert explain(make_token(make_row(world.source))).verdict is None

    def test_knows_parents_and_children_in_order(self):
        world = make_world(rows=1)
        (root,) = world.tokens
        left, right = make_child(root, 0), make_child(root, 1)
        merged = make_child(left, 0, join_group_id="j")
        make_parent(merged, right, 1)

        assert [token.token_id for token in explain(root).children.shown] == [
            left.token_id,
            right.token_id,
        ]
        assert [token.token_id for token in explain(merged).parents.shown] == [
            left.token_id,
            right.token_id,
        ]

    def test_shows_a_hundred_of_many_children_and_says_how_many(self):
        world = make_world(rows=1)
        for ordinal in range(105):
            make_child(world.tokens[0], ordinal)

        children = explain(world.tokens[0]).children

        assert (len(children.shown), children.total) == (100, 105)

    def test_tells_the_place_in_a_batch_and_who_carried_its_result(self):
        world = make_world(rows=3)
        node = make_node(world.run, "totals", "aggregation")
        flush = make_state(world.tokens[0], node, 3)
        make_batch(node, *world.tokens, aggregation_state_id=flush.state_id)

        carrier, member = (explain(token).batches[0] for token in world.tokens[:2])

        assert (carrier.ordinal, carrier.carried, carrier.members_total) == (0, True, 3)
        assert (member.ordinal, member.carried) == (1, False)
        assert list(member.members) == [t.token_id for t in world.tokens]

    def test_tells_outputs_and_which_of_them_are_inferred(self):
        world = make_world(rows=2)
        states = [make_state(token, world.sink, 3, attempt=1) for token in world.tokens]
        make_artifact(*states)

        first, second = (explain(token).outputs for token in world.tokens)

        assert [output.inferred for output in (*first, *second)] == [False, True]

    def test_tells_what_a_transform_rejected(self):
        world = make_world(rows=1)
        make_rejection(world.tokens[0], world.transform)

        (rejection,) = explain(world.tokens[0]).rejections

        assert rejection.node.name == "tidy"
        assert rejection.details.headline == "blocked_content"

    def test_shows_findings_on_the_token_its_visits_and_its_verdicts(self):
        world = make_world(rows=1)
        (token,) = world.tokens
        story = explain(token)
        keys = [token.token_id, story.visits[0].state_id, story.verdicts[0].outcome_id]
        for key in (*keys, "somewhere else"):
            make_finding(world.run, key)

        found = {finding.record_key for finding in explain(token).findings}

        assert found == set(keys)

    def test_reads_no_more_of_an_error_than_it_shows(self):
        world = make_world(rows=1)
        make_state(
            world.tokens[0], world.sink, 3, attempt=1, status="failed", error_json="x" * 50_000
        )

        error = explain(world.tokens[0]).visits[-1].error

        assert (len(error.text), error.cut) == (20_000, 30_000)

    def test_costs_the_same_for_a_short_and_a_long_story(self, count_queries):
        world = make_world(rows=2)
        batch_node = make_node(world.run, "totals", "aggregation")
        gate = make_node(world.run, "gate", "gate")
        edge = make_edge(gate, world.sink)
        for token, size in zip(world.tokens, (1, 30), strict=True):
            for number in range(size):
                state = make_state(token, gate, 3, attempt=number)
                make_route(state, edge, number)
                make_call(state, response_ref=digest("response"))
                make_child(token, number)
                make_rejection(token, world.transform)
                make_finding(world.run, state.state_id)
                make_batch(batch_node, token)

        costs = {count_queries(lambda token=token: explain(token)) for token in world.tokens}

        assert len(costs) == 1

    def test_only_reads(self, read_only):
        world = make_world()

        with read_only():
            explain(world.tokens[0])
