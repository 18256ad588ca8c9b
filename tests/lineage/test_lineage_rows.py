"""The rows of a run and the story of one."""

from datetime import timedelta

import pytest

from audit import lineage
from audit.errors import NotRecorded, RunMismatch
from tests.builders import (
    NOON,
    digest,
    make_child,
    make_finding,
    make_node,
    make_outcome,
    make_payload,
    make_purged,
    make_refusal,
    make_row,
    make_run,
    make_state,
    make_token,
    make_world,
    summarise,
)

pytestmark = pytest.mark.django_db


def indexes(run, **asked):
    return [line.row_index for line in lineage.list_rows(run_id=run.run_id, **asked).lines]


class TestListRows:
    def test_refuses_a_run_that_is_not_there(self):
        with pytest.raises(NotRecorded, match="run nowhere"):
            lineage.list_rows(run_id="nowhere")

    def test_follows_the_order_of_the_source_page_by_page(self):
        source = make_node(run := make_run(), "csv", "source")
        for index in (7, 0, 3, 2_000_000_000_000):
            make_row(source, index)

        first = lineage.list_rows(run_id=run.run_id, limit=2)

        assert [line.row_index for line in first.lines] == [0, 3]
        assert first.next_after == 3
        assert indexes(run, after=3, limit=2) == [7, 2_000_000_000_000]
        assert lineage.list_rows(run_id=run.run_id, after=3, limit=2).next_after is None

    def test_does_not_see_the_rows_of_another_run(self):
        mine, other = make_world(rows=1), make_world(rows=3)

        assert indexes(mine.run) == [0]
        assert indexes(other.run) == [0, 1, 2]

    def test_counts_tokens_outcomes_and_failures_of_each_row(self):
        world = make_world(rows=1)
        row = make_row(world.source, 1)
        root = make_token(row)
        make_outcome(root, "forked")
        for branch in ("a", "b"):
            child = make_child(root, branch_name=branch, ordinal=ord(branch))
            make_state(child, world.transform, 1, status="failed", error_json="{}")
            make_outcome(child, "failed")

        line = lineage.list_rows(run_id=world.run.run_id).lines[1]

        assert line.tokens == 3
        assert [(one.outcome, one.tokens) for one in line.outcomes] == [
            ("forked", 1),
            ("failed", 2),
        ]
        assert line.failed_visits == 2

    def test_takes_the_final_verdict_before_a_later_buffered_one(self):
        world = make_world(rows=0)
        token = make_token(make_row(world.source))
        make_outcome(token, "consumed_in_batch", recorded_at=NOON)
        make_outcome(token, "buffered", recorded_at=NOON + timedelta(seconds=9))

        (line,) = lineage.list_rows(run_id=world.run.run_id).lines

        assert [one.outcome for one in line.outcomes] == ["consumed_in_batch"]

    def test_tells_how_long_a_row_took_from_its_visits(self):
        world = make_world(rows=1)

        (line,) = lineage.list_rows(run_id=world.run.run_id).lines

        assert line.duration_ms == pytest.approx(1020)

    @pytest.mark.parametrize(
        ("columns", "word"),
        [
            ({}, "hash_only"),
            ({"source_data_ref": digest("there")}, "available"),
            ({"source_data_ref": digest("purged")}, "purged"),
            ({"source_data_ref": digest("lost")}, "not_looked_for"),
        ],
    )
    def test_tells_what_became_of_the_payload(self, columns, word):
        make_payload(digest("there"))
        make_purged(digest("purged"))
        run = make_run()
        make_row(make_node(run, "csv", "source"), **columns)

        (line,) = lineage.list_rows(run_id=run.run_id).lines

        assert line.payload == word

    @pytest.mark.parametrize(
        ("outcome", "expected"),
        [("completed", [0]), ("failed", [1]), ("buffered", [2]), ("none", [3]), ("routed", [])],
    )
    @pytest.mark.parametrize("rare", [0, 1000])
    def test_keeps_the_rows_with_a_token_that_ended_so(self, outcome, expected, rare, monkeypatch):
        monkeypatch.setattr("audit.lineage.rows.RARE_IS_ONE_IN", rare)
        world = make_world(rows=1)
        failed, buffered, consumed = (
            make_token(make_row(world.source, index)) for index in (1, 2, 4)
        )
        make_token(make_row(world.source, 3))
        make_outcome(failed, "failed")
        make_outcome(buffered, "buffered")
        make_outcome(consumed, "buffered")
        make_outcome(consumed, "consumed_in_batch")
        summarise(world.run)

        assert indexes(world.run, outcome=outcome) == expected

    def test_costs_the_same_at_every_size_and_position(self, count_queries):
        small, large = make_world(rows=2), make_world(rows=60)

        costs = {
            count_queries(
                lambda run=run, after=after: lineage.list_rows(
                    run_id=run.run_id, after=after, limit=10
                )
            )
            for run, after in ((small.run, None), (large.run, None), (large.run, 45))
        }

        assert len(costs) == 1


class TestExplainRow:
    def test_refuses_a_row_of_another_run_and_says_so(self):
        mine, other = make_world(rows=1), make_world(rows=1)

        with pytest.raises(RunMismatch, match=f"belongs to run {other.run.run_id}"):
            lineage.explain_row(run_id=mine.run.run_id, row_id=other.rows[0].row_id)

    def test_tells_how_each_token_was_made(self):
        world = make_world(rows=1)
        (root,) = world.tokens
        later = {"created_at": NOON + timedelta(seconds=1)}
        fork = make_child(root, 0, branch_name="a", **later)
        make_child(root, 1, expand_group_id="e", created_at=NOON + timedelta(seconds=2))
        make_child(fork, 0, join_group_id="j", created_at=NOON + timedelta(seconds=3))

        story = lineage.explain_row(run_id=world.run.run_id, row_id=root.row_id)

        assert [(line.made.how, line.made.branch, line.first_parent) for line in story.tokens] == [
            ("initial", None, None),
            ("fork", "a", root.token_id),
            ("expansion", None, root.token_id),
            ("merge", None, fork.token_id),
        ]

    def test_shows_many_tokens_in_parts(self):
        world = make_world(rows=1)
        (root,) = world.tokens
        for ordinal in range(120):
            make_child(root, ordinal)
        asked = {"run_id": world.run.run_id, "row_id": root.row_id}

        first = lineage.explain_row(**asked)
        second = lineage.explain_row(**asked, after=first.next_after)

        assert (first.tokens_total, len(first.tokens), len(second.tokens)) == (121, 100, 21)
        assert second.next_after is None
        ids = {line.token_id for line in (*first.tokens, *second.tokens)}
        assert len(ids) == 121

    def test_refuses_to_go_on_after_a_token_of_another_row(self):
        world = make_world(rows=2)

        with pytest.raises(NotRecorded, match="token"):
            lineage.explain_row(
                run_id=world.run.run_id,
                row_id=world.rows[0].row_id,
                after=world.tokens[1].token_id,
            )

    def test_shows_refused_records_of_the_same_content_only(self):
        world = make_world(rows=1)
        same = make_refusal(world.run, row_hash=world.rows[0].source_data_hash)
        make_refusal(world.run, row_hash=digest("something else"))

        story = lineage.explain_row(run_id=world.run.run_id, row_id=world.rows[0].row_id)

        assert [refusal.error_id for refusal in story.same_content] == [same.error_id]

    def test_tells_its_own_refusals_from_those_of_its_twin(self):
        world = make_world(rows=2)
        row, twin = world.rows
        own = make_refusal(world.run, row_id=row.row_id, row_hash=row.source_data_hash)
        other = make_refusal(world.run, row_id=twin.row_id, row_hash=row.source_data_hash)

        story = lineage.explain_row(run_id=world.run.run_id, row_id=row.row_id)

        assert [refusal.error_id for refusal in story.refused] == [own.error_id]
        assert [refusal.error_id for refusal in story.same_content] == [other.error_id]

    def test_knows_its_neighbours(self):
        world = make_world(rows=3)
        ids = [row.row_id for row in world.rows]

        stories = [lineage.explain_row(run_id=world.run.run_id, row_id=key) for key in ids]

        assert [(story.previous_row_id, story.next_row_id) for story in stories] == [
            (None, ids[1]),
            (ids[0], ids[2]),
            (ids[1], None),
        ]

    def test_shows_what_was_found_about_it(self):
        world = make_world(rows=2)
        make_finding(world.run, world.rows[0].row_id)
        make_finding(world.run, world.rows[1].row_id)

        story = lineage.explain_row(run_id=world.run.run_id, row_id=world.rows[0].row_id)

        assert [found.record_key for found in story.findings] == [world.rows[0].row_id]

    def test_costs_the_same_for_one_token_and_for_many(self, count_queries):
        world = make_world(rows=2)
        for ordinal in range(50):
            make_child(world.tokens[1], ordinal)
        # One child, so that both rows have something to ask about.
        make_child(world.tokens[0], 0)

        costs = {
            count_queries(
                lambda row=row: lineage.explain_row(run_id=world.run.run_id, row_id=row.row_id)
            )
            for row in world.rows
        }

        assert len(costs) == 1
