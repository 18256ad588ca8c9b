"""Lanes: what is folded, what never is, in which order, and what is said of the rest."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.lineage.lanes import LANES_SHOWN, View, lay_lanes
from tests.lineage.made_closures import Story, expanded, node, shuffled

# That drawing examples is slow on a busy machine says nothing of what is tested.
on_a_busy_machine = settings(suppress_health_check=[HealthCheck.too_slow])


def keys(lanes):
    return [lane.key for lane in lanes.lanes]


def told(lanes):
    """How many tokens the lanes stand for."""
    shown = sum(lane.kind == "token" for lane in lanes.lanes)
    return shown + lanes.folded_tokens + lanes.left_out_tokens + lanes.beyond_tokens


class TestFolding:
    def test_tells_five_hundred_siblings_in_fifteen_lanes_at_most(self):
        story = expanded(500, failed={7, 8, 9, 10, 300}, away={46})

        lanes = lay_lanes(story.closure("part0046"))

        assert len(lanes.lanes) <= 15
        assert told(lanes) == 501

    def test_puts_errors_first_then_what_went_elsewhere(self):
        story = expanded(20, failed={13}, away={11})

        lanes = lay_lanes(story.closure("root"))

        assert keys(lanes)[:4] == ["root", "part0013", "part0011", "part0000"]
        assert lanes.lanes[4].fold.tokens == 17

    def test_shows_three_of_each_kind_of_trouble(self):
        story = expanded(20, failed=set(range(10)))

        lanes = lay_lanes(story.closure("root"))

        assert keys(lanes)[1:4] == ["part0000", "part0001", "part0002"]
        assert lanes.lanes[4].fold.tokens == 7
        assert lanes.lanes[4].severity == 0

    def test_never_folds_the_focus(self):
        lanes = lay_lanes(expanded(500).closure("part0123"))

        assert keys(lanes)[:3] == ["root", "part0000", "part0123"]
        assert lanes.lanes[2].is_focus

    def test_never_folds_what_the_focus_came_from(self):
        story = expanded(50)
        for number in range(50):
            story.token(f"child{number}", f"part{number:04}", made="expansion")

        lanes = lay_lanes(story.closure("child31"))

        assert {"root", "part0031", "child31"} <= set(keys(lanes))
        assert all(lane.on_path for lane in lanes.lanes if lane.key in {"root", "part0031"})

    def test_folds_what_came_of_the_folded_with_them(self):
        story = expanded(50)
        for number in range(50):
            story.token(f"child{number:02}", f"part{number:04}", made="expansion")

        lanes = lay_lanes(story.closure("root"))

        assert keys(lanes)[:3] == ["root", "part0000", "child00"]
        assert lanes.lanes[3].fold.tokens == 49
        assert lanes.folded_tokens == 98
        assert told(lanes) == 101

    def test_shows_an_error_among_what_came_of_equal_siblings(self):
        story = expanded(50)
        for number in range(50):
            outcome = "failed" if number == 40 else "completed"
            story.token(f"child{number:02}", f"part{number:04}", made="expansion", outcome=outcome)

        assert keys(lay_lanes(story.closure("root")))[:3] == ["root", "part0040", "child40"]

    def test_leaves_two_equal_siblings_alone(self):
        lanes = lay_lanes(expanded(2).closure("root"))

        assert keys(lanes) == ["root", "part0000", "part0001"]

    def test_opens_a_hundred_at_a_time_and_moves_no_other_lane(self):
        closure = expanded(500, failed={3}).closure("root")
        before = lay_lanes(closure)
        key = next(lane.fold.key for lane in before.lanes if lane.fold)

        after = lay_lanes(closure, view=View(opened=frozenset({key})))

        assert len(after.lanes) == len(before.lanes) + 100
        assert [one for one in keys(after) if one in keys(before)] == keys(before)
        assert after.lanes[-1].fold.tokens == before.lanes[-1].fold.tokens - 100
        assert after.columns == before.columns
        assert after.lanes[-1].folds_again == key

    def test_tells_branches_of_a_fork_apart(self):
        story = Story(node("a", 1))
        story.token("root", outcome="forked")
        for place in range(5):
            story.token(f"b{place}", "root", made="fork", branch=f"way {place}", ordinal=place)

        assert len(lay_lanes(story.closure("root")).lanes) == 6


class TestOrder:
    def test_puts_a_merged_token_behind_all_its_parents(self):
        story = Story(node("a", 1))
        story.token("root", outcome="forked")
        for place, branch in enumerate("xyz"):
            story.token(branch, "root", made="fork", branch=branch, ordinal=place)
        story.token("joined", "x", "y", "z", made="merge")

        lanes = lay_lanes(story.closure("joined"))

        assert keys(lanes) == ["root", "x", "y", "z", "joined"]
        assert [lane.depth for lane in lanes.lanes] == [0, 1, 1, 1, 0]
        assert {(edge.start, edge.end) for edge in lanes.edges} == {
            (1, 2),
            (1, 3),
            (1, 4),
            (2, 5),
            (3, 5),
            (4, 5),
        }

    @pytest.mark.parametrize("seed", range(20))
    def test_does_not_depend_on_the_order_of_the_telling(self, seed):
        story = expanded(40, failed={3, 4, 5, 6}, away={11, 12, 20})
        story.token("late", "part0001", "part0002", made="merge")
        story.batch("b1", "price", ["part0008", "part0009"])
        closure = story.closure("part0030")

        assert lay_lanes(shuffled(closure, random.Random(seed))) == lay_lanes(closure)

    def test_cuts_a_circle_and_says_so(self):
        story = Story(node("a", 1))
        story.token("a", "b", made="fork")
        story.token("b", "a", made="fork")
        story.token("c", "b", made="fork")

        lanes = lay_lanes(story.closure("c"))

        assert sorted(keys(lanes)) == ["a", "b", "c"]
        assert lanes.circular

    def test_survives_a_token_that_is_its_own_parent(self):
        story = Story(node("a", 1))
        story.token("a", "a", made="fork")

        assert keys(lay_lanes(story.closure("a"))) == ["a"]

    def test_draws_a_parent_that_is_elsewhere(self):
        story = Story(node("a", 1))
        story.token("a", "gone", made="fork")
        story.ghosts.add("gone")

        lanes = lay_lanes(story.closure("a"))

        assert [(lane.kind, lane.key) for lane in lanes.lanes] == [
            ("ghost", "gone"),
            ("token", "a"),
        ]


class TestBatches:
    def world(self, members=5):
        story = Story(node("read", 1), node("sum", 2, "aggregation"), node("out", 3, "sink"))
        names = [f"m{number}" for number in range(members)]
        for number, key in enumerate(names):
            story.token(
                key, outcome="consumed_in_batch", batch="b", row_index=number, row_id=f"r{number}"
            )
            story.visit(key, "read")
        story.visit("m0", "sum", 2, state="worked")
        story.token("total", *names, made="batch", outcome="completed", sink="out")
        story.visit("total", "out", 3)
        story.batch("b", "sum", names, ["total"], state="worked")
        return story

    def test_have_a_lane_between_members_and_result(self):
        lanes = lay_lanes(self.world(2).closure("total"))

        assert keys(lanes) == ["m0", "m1", "b", "total"]
        assert {edge.kind for edge in lanes.edges} == {"membership"}
        assert {(edge.start, edge.end) for edge in lanes.edges} == {(1, 3), (2, 3), (3, 4)}

    def test_have_the_visit_that_worked_them(self):
        lanes = lay_lanes(self.world(2).closure("total"))

        assert [cell.state_id for cell in lanes.lanes[2].cells] == ["worked"]
        assert [cell.state_id for cell in lanes.lanes[0].cells] == ["m0-read-1-0"]

    def test_fold_their_members_even_on_the_path(self):
        lanes = lay_lanes(self.world(500).closure("total"))

        assert [lane.kind for lane in lanes.lanes] == ["token", "fold", "batch", "token"]
        assert lanes.lanes[1].fold.tokens == 499

    def test_fold_where_many_are_equal(self):
        story = Story(node("sum", 1, "aggregation"))
        story.token("root", outcome="buffered")
        for number in range(30):
            story.batch(f"b{number:02}", "sum", ["root"])

        lanes = lay_lanes(story.closure("root"))

        assert [lane.kind for lane in lanes.lanes] == ["token", "batch", "fold"]
        assert lanes.lanes[2].fold.tokens == 29


class TestCap:
    def test_shows_three_hundred_and_counts_the_rest(self):
        story = Story(node("a", 1))
        story.token("root", outcome="forked")
        for number in range(700):
            story.token(
                f"b{number:03}", "root", made="fork", branch=f"way {number}", ordinal=number
            )

        lanes = lay_lanes(story.closure("b650"))

        assert len(lanes.lanes) == LANES_SHOWN
        assert keys(lanes)[-1] == "b650"
        assert lanes.beyond_lanes == 401
        assert told(lanes) == 701

    def test_keeps_the_focus_at_the_end_of_ten_thousand_generations(self):
        story = Story(node("a", 1))
        story.token("t00000")
        for number in range(1, 10_000):
            story.token(f"t{number:05}", f"t{number - 1:05}", made="fork")
        closure = story.closure()
        closure = type(closure)(
            **{
                name: getattr(closure, name)
                for name in closure.__slots__
                if name not in {"focus_id", "ancestors"}
            },
            focus_id="t09999",
            ancestors=frozenset(list(story.tokens)[:-1]),
        )

        lanes = lay_lanes(closure)

        assert len(lanes.lanes) == LANES_SHOWN
        assert keys(lanes)[-1] == "t09999"
        assert keys(lanes)[0] == "t09700"


class TestViews:
    def test_of_errors_keep_the_focus_and_what_it_came_from(self):
        closure = expanded(50, failed={9}).closure("part0003")

        lanes = lay_lanes(closure, view=View(keep="errors"))

        assert keys(lanes) == ["root", "part0009", "part0003"]
        assert lanes.left_out_lanes == 2
        assert told(lanes) == 51

    def test_of_a_text_unfold_what_it_finds(self):
        closure = expanded(50).closure("root")

        lanes = lay_lanes(closure, view=View(text="part0033"))

        assert keys(lanes) == ["root", "part0033"]

    def test_find_a_part_by_its_number(self):
        assert "part0007" in keys(lay_lanes(expanded(50).closure("root"), view=View(text="7")))


class TestColumns:
    def test_are_shared_by_nodes_beside_each_other(self):
        story = Story(node("x", 2), node("y", 2))
        story.token("root")
        for place, name in enumerate("xy"):
            story.token(f"t{name}", "root", made="fork", branch=name, ordinal=place)
            story.visit(f"t{name}", name)

        lanes = lay_lanes(story.closure("root"))

        assert [[one.name for one in column.nodes] for column in lanes.columns] == [["x", "y"]]

    def test_count_the_steps_that_nobody_took(self):
        story = Story(
            node("a", 1), *(node(f"n{layer}", layer) for layer in (2, 3, 4)), node("z", 5)
        )
        story.token("t")
        story.visit("t", "a", 1)
        story.visit("t", "z", 5)

        lanes = lay_lanes(story.closure("t"))

        assert [(column.kind, column.skipped) for column in lanes.columns] == [
            ("step", 0),
            ("skipped", 3),
            ("step", 0),
        ]

    def test_stand_beside_each_other_where_a_node_is_visited_again(self):
        story = Story(node("a", 1))
        story.token("t")
        story.visit("t", "a", 1)
        story.visit("t", "a", 2)

        lanes = lay_lanes(story.closure("t"))

        assert [cell.column for cell in lanes.lanes[0].cells] == [0, 1]

    def test_leave_the_sink_to_the_ending(self):
        lanes = lay_lanes(expanded(1).closure("root"))

        assert [one.name for column in lanes.columns for one in column.nodes] == ["split", "price"]
        assert lanes.lanes[1].ending.sink == "out"
        assert lanes.lanes[1].ending.cell.state_id == "part0000-out-3-0"


class TestAttempts:
    def test_share_a_cell(self):
        story = Story(node("a", 1))
        story.token("t")
        story.visit("t", "a", 1, "failed", attempt=0)
        story.visit("t", "a", 1, "completed", attempt=1)

        (cell,) = lay_lanes(story.closure("t")).lanes[0].cells

        assert (cell.attempt, cell.attempts, cell.status) == (2, 2, "completed")
        assert cell.older == ("t-a-1-0",)


@st.composite
def lineages(draw):
    """Any lineage: forks, expansions, merges, batches, failures."""
    story = Story(*(node(name, layer) for layer, name in enumerate("abcd", 1)))
    size = draw(st.integers(1, 30))
    names = [f"t{number:02}" for number in range(size)]
    for number, key in enumerate(names):
        parents = (
            draw(st.lists(st.sampled_from(names[:number]), unique=True, max_size=3))
            if number
            else []
        )
        made = "source" if not parents else "merge" if len(parents) > 1 else "expansion"
        story.token(
            key,
            *parents,
            made=made,
            ordinal=number,
            outcome=draw(st.sampled_from(["completed", "failed", "routed", None])),
        )
        for step, name in enumerate(draw(st.lists(st.sampled_from("abcd"), max_size=3)), 1):
            story.visit(key, name, step)
    for number in range(draw(st.integers(0, 3))):
        members = draw(st.lists(st.sampled_from(names), unique=True, min_size=1, max_size=4))
        story.batch(f"batch{number}", "d", members)
    return story.closure(draw(st.sampled_from(names)))


class TestAnyLineage:
    @on_a_busy_machine
    @given(lineages())
    def test_is_told_whole(self, closure):
        lanes = lay_lanes(closure)

        assert told(lanes) == len(closure.tokens)
        assert closure.focus_id in keys(lanes)

    @on_a_busy_machine
    @given(lineages(), st.randoms())
    def test_stands_in_one_order(self, closure, random_):
        assert lay_lanes(shuffled(closure, random_)) == lay_lanes(closure)

    @on_a_busy_machine
    @given(lineages())
    def test_has_every_parent_above_its_child(self, closure):
        lanes = lay_lanes(closure)

        assert all(edge.start < edge.end for edge in lanes.edges)

    @on_a_busy_machine
    @given(lineages())
    def test_shows_each_link_whose_two_ends_have_lanes(self, closure):
        lanes = lay_lanes(closure)
        number = {lane.key: lane.number for lane in lanes.lanes if lane.kind == "token"}
        walked = {
            (number[link.parent_id], number[link.token_id])
            for link in closure.links
            if link.parent_id in number and link.token_id in number
        }

        drawn = {
            (edge.start, edge.end)
            for edge in lanes.edges
            if edge.kind == "creation"
            and lanes.lanes[edge.start - 1].kind == lanes.lanes[edge.end - 1].kind == "token"
        }

        assert drawn == walked
