"""The whole lineage of a token or a row."""

import pytest

from audit.errors import NotRecorded, RunMismatch
from audit.lineage.closure import gather_closure, gather_row
from audit.lineage.lanes import lay_lanes
from tests.builders import (
    after_noon,
    digest,
    make_batch,
    make_call,
    make_child,
    make_edge,
    make_node,
    make_outcome,
    make_parent,
    make_route,
    make_row,
    make_state,
    make_token,
    make_world,
)

pytestmark = pytest.mark.django_db


def closure_of(token, **more):
    return gather_closure(run_id=token.run_id, token_id=token.token_id, **more)


@pytest.fixture
def merged():
    """A token forked into two that were merged: root, left, right, merged."""
    world = make_world(rows=1)
    (root,) = world.tokens
    left, right = make_child(root, 0, branch_name="a"), make_child(root, 1, branch_name="b")
    join = make_child(left, 0, join_group_id="j")
    make_parent(join, right, 1)
    return root, left, right, join


class TestGatherClosure:
    def test_is_the_same_whichever_token_is_looked_at(self, merged):
        found = [closure_of(token) for token in merged]

        assert {frozenset(one.tokens) for one in found} == {
            frozenset(token.token_id for token in merged)
        }
        assert len({one.links for one in found}) == 1

    def test_knows_the_ancestors_of_the_focus_alone(self, merged):
        root, left, right, join = merged

        assert closure_of(root).ancestors == set()
        assert closure_of(left).ancestors == {root.token_id}
        assert closure_of(join).ancestors == {root.token_id, left.token_id, right.token_id}

    def test_refuses_a_token_of_another_run(self):
        mine, other = make_world(rows=1), make_world(rows=1)

        with pytest.raises(RunMismatch, match=other.run.run_id):
            gather_closure(run_id=mine.run.run_id, token_id=other.tokens[0].token_id)

    def test_says_what_an_id_of_another_kind_is(self):
        world = make_world(rows=1)

        with pytest.raises(NotRecorded, match="is a row, not a token"):
            gather_closure(run_id=world.run.run_id, token_id=world.rows[0].row_id)

    def test_refuses_what_nobody_recorded(self):
        world = make_world(rows=1)

        with pytest.raises(NotRecorded, match="no token nothing"):
            gather_closure(run_id=world.run.run_id, token_id="nothing")

    def test_costs_at_most_twelve_queries_at_any_size(self, count_queries):
        small, wide = make_world(rows=1), make_world(rows=1)
        for number in range(300):
            child = make_child(wide.tokens[0], number, expand_group_id="e")
            make_child(child, 0, expand_group_id="f")

        cost = count_queries(lambda: closure_of(small.tokens[0]))
        more = count_queries(lambda: closure_of(wide.tokens[0]))

        assert (cost, more) == (6, 8)

    def test_groups_equal_siblings_of_a_wide_fan_out(self):
        world = make_world(rows=1)
        (root,) = world.tokens
        gate = make_node(world.run, "large", "gate")
        edge = make_edge(gate, world.sink, "true")
        kids = [make_child(root, number, expand_group_id="e") for number in range(250)]
        for number, kid in enumerate(kids):
            state = make_state(kid, gate, 1)
            make_route(state, edge)
            if number < 5:
                make_state(kid, world.transform, 2, status="failed")
                make_outcome(kid, "failed", error_hash=digest("x"))
            else:
                make_outcome(kid, "completed", sink_name="output")

        found = closure_of(root)

        assert found.tokens_total == 251
        assert found.visits_total == 2 + 250 + 5
        bad, good = sorted(found.groups, key=lambda group: group.tokens)
        assert (bad.tokens, bad.outcome, bad.worst_status) == (2, "failed", "failed")
        assert (good.tokens, good.outcome, good.sink_name) == (244, "completed", "output")
        assert [(s.node_id, s.step_index, s.status, s.retried, s.label) for s in good.path] == [
            (gate.node_id, 1, "completed", False, "true")
        ]
        assert len(found.tokens) == 1 + 3 + 1
        assert good.example_id == kids[5].token_id
        assert found.limits == ()

        opened = closure_of(root, open_groups={good.group_key})

        assert len(opened.tokens) == 1 + 3 + 101
        assert opened.tokens_total == 251
        assert {g.group_key for g in opened.groups} == {bad.group_key, good.group_key}

    def test_of_attempts_at_one_place_a_group_tells_the_last(self):
        world = make_world(rows=1)
        (root,) = world.tokens
        gate = make_node(world.run, "large", "gate")
        edges = [make_edge(gate, world.sink, label) for label in ("true", "false")]
        kids = [make_child(root, number, expand_group_id="e") for number in range(202)]
        for number, kid in enumerate(kids):
            # Some once, some twice, some three times; in the end all went the same way.
            for attempt in range(number % 3):
                make_state(kid, gate, 1, status="failed", attempt=attempt)
            last = make_state(kid, gate, 1, attempt=number % 3)
            for ordinal, edge in enumerate(edges):
                make_route(last, edge, ordinal)

        found = closure_of(root)

        assert sorted(
            (group.tokens, *((s.status, s.retried, s.label) for s in group.path))
            for group in found.groups
        ) == [
            (67, ("completed", False, "true, false")),
            (133, ("completed", True, "true, false")),
        ]
        assert found.visits_total == 2 + 68 + 67 * 2 + 67 * 3

    def test_counts_how_many_of_a_group_were_at_work(self):
        world = make_world(rows=1)
        kids = [make_child(world.tokens[0], n, expand_group_id="e") for n in range(201)]
        for number, kid in enumerate(kids):
            # All begin at once; one in three goes on ten times as long as the others.
            make_state(
                kid,
                world.transform,
                started_at=after_noon(100),
                completed_at=after_noon(200 if number % 3 == 0 else 110),
            )

        (group,) = closure_of(world.tokens[0]).groups

        assert (group.started_at, group.ended_at) == (after_noon(100), after_noon(200))
        assert group.at_work == (201,) * 11 + (67,) * 89

    def test_brings_the_visit_that_worked_a_batch_where_its_member_is_folded(self):
        world = make_world(rows=1)
        totals = make_node(world.run, "totals", "aggregation")
        kids = [make_child(world.tokens[0], n, expand_group_id="e") for n in range(201)]
        *_others, works = (make_state(kid, totals, 1) for kid in kids[-3:])
        make_batch(totals, *kids, aggregation_state_id=works.state_id)

        found = closure_of(world.tokens[0])
        (lane,) = (one for one in lay_lanes(found).lanes if one.batch)

        assert works.token_id not in found.tokens
        assert (lane.cells[0].state_id, lane.cells[0].duration_ms) == (works.state_id, 20.0)

    def test_never_groups_the_focus(self):
        world = make_world(rows=1)
        kids = [make_child(world.tokens[0], n, expand_group_id="e") for n in range(250)]

        found = closure_of(kids[77])

        assert kids[77].token_id in found.tokens
        assert found.tokens_total == 251

    def test_says_what_a_cap_left_out(self):
        world = make_world(rows=1)
        token = world.tokens[0]
        for _ in range(20):
            token = make_child(token)

        found = closure_of(token, cap=10)

        assert len(found.tokens) == 10
        assert found.limits == ("The lineage has more than 10 tokens; the nearest 10 are told.",)

    def test_goes_through_a_batch_to_what_came_out(self):
        world = make_world(rows=0)
        node = make_node(world.run, "sum", "aggregation")
        members = [make_token(make_row(world.source, n)) for n in range(3)]
        state = make_state(members[0], node, 1, input_hash=digest("b"), output_hash=digest("sum"))
        batch = make_batch(node, *members, aggregation_state_id=state.state_id)
        for token in members[:2]:
            make_outcome(token, "consumed_in_batch", batch_id=batch.batch_id)
        sink = make_state(members[2], world.sink, 2, input_hash=digest("sum"))
        make_outcome(members[2], "completed", sink_name="output")

        found = closure_of(members[2])

        assert set(found.tokens) == {token.token_id for token in members}
        assert found.ancestors == {token.token_id for token in members[:2]}
        (told,) = found.batches
        assert told.outputs == (("token", members[2].token_id),)
        assert told.inferred
        assert [place for _key, place in told.members] == [0, 1, 2]
        assert set(closure_of(members[1]).tokens) == {members[1].token_id, members[2].token_id}
        assert sink.state_id in {hop.to_state for hop in found.hops}
        assert not {hop.verdict for hop in found.hops} & {"breaks"}

    def test_counts_calls_and_tells_routes(self):
        world = make_world(rows=1)
        gate = make_node(world.run, "large", "gate")
        state = make_state(world.tokens[0], gate, 3)
        make_route(state, edge := make_edge(gate, world.sink, "<b>true</b>"))
        make_call(state)
        make_call(state, 1, status="error", response_hash=None)

        visit = closure_of(world.tokens[0]).visits[world.tokens[0].token_id][-1]

        assert (visit.calls, visit.calls_failed) == (2, 1)
        (route,) = visit.routes
        assert (route.label, route.edge_id, route.mode) == ("<b>true</b>", edge.edge_id, "move")

    def test_places_nodes_by_the_longest_way(self):
        world = make_world(rows=1)
        make_edge(world.source, world.transform, "continue")
        make_edge(world.source, world.sink, "early")
        make_edge(world.transform, world.sink, "continue")

        nodes = closure_of(world.tokens[0]).nodes

        assert {node.name: node.layer for node in nodes.values()} == {
            "csv": 0,
            "tidy": 1,
            "output": 2,
        }


class TestGatherRow:
    def test_tells_the_whole_tree(self, merged):
        root = merged[0]

        found = gather_row(run_id=root.run_id, row_id=root.row_id)

        assert set(found.tokens) == {token.token_id for token in merged}
        assert found.focus_id is None
        assert found.ancestors == set()

    def test_keeps_what_ended_in_a_sink(self):
        world = make_world(rows=1)
        (root,) = world.tokens
        left, right = make_child(root, 0), make_child(root, 1)
        make_outcome(left, "routed", sink_name="<one>")
        make_outcome(right, "routed", sink_name="two")

        found = gather_row(run_id=root.run_id, row_id=root.row_id, sink="<one>")

        assert set(found.tokens) == {root.token_id, left.token_id}

    def test_a_row_without_tokens_is_a_lineage_of_nothing(self):
        world = make_world(rows=0)
        row = make_row(world.source)

        found = gather_row(run_id=row.run_id, row_id=row.row_id)

        assert (found.row_ids, found.tokens, found.tokens_total) == ((row.row_id,), {}, 0)
