"""The one token of a row that an answer about the row can rest on."""

import pytest

from audit import lineage
from audit.errors import NotRecorded, RunMismatch, TokenAmbiguous
from tests.builders import make_child, make_outcome, make_row, make_token, make_world

pytestmark = pytest.mark.django_db


def forked(branches):
    """A row that was forked; each branch ended at the sink of its name."""
    row = make_row(make_world(rows=0).source)
    root = make_token(row)
    make_outcome(root, "forked")
    children = []
    for place in range(branches):
        child = make_child(root, place, branch_name=f"b{place}")
        make_outcome(child, "completed", sink_name=f"sink{place}")
        children.append(child)
    return row, children


def ask(row, **asked):
    return lineage.token_for_row(run_id=row.run_id, row_id=row.row_id, **asked)


class TestTokenForRow:
    def test_is_the_only_token(self):
        world = make_world(rows=1)

        assert ask(world.rows[0]) == world.tokens[0].token_id

    def test_is_no_token_that_became_others(self):
        row, (child,) = forked(1)

        assert ask(row) == child.token_id

    def test_names_every_candidate_where_there_are_several(self):
        row, children = forked(2)

        with pytest.raises(TokenAmbiguous) as caught:
            ask(row)

        assert caught.value.total == 2
        told = {"branch": "b0", "outcome": "completed", "sink": "sink0"}
        assert {"token_id": children[0].token_id} | told in caught.value.candidates
        assert f"{children[0].token_id} (branch b0, completed, sink sink0)" in str(caught.value)

    def test_finds_the_one_of_a_sink(self):
        row, children = forked(2)

        assert ask(row, sink="sink1") == children[1].token_id
        with pytest.raises(NotRecorded, match="at sink nowhere"):
            ask(row, sink="nowhere")

    def test_names_fifty_and_counts_the_rest(self):
        row, _children = forked(52)

        with pytest.raises(TokenAmbiguous, match=r"ended in 52 tokens.*and 2 more") as caught:
            ask(row)

        assert len(caught.value.candidates) == 50

    def test_refuses_a_row_of_another_run(self):
        mine, other = make_world(rows=1), make_world(rows=1)

        with pytest.raises(RunMismatch):
            lineage.token_for_row(run_id=mine.run.run_id, row_id=other.rows[0].row_id)
        with pytest.raises(NotRecorded, match="no row nothing"):
            lineage.token_for_row(run_id=mine.run.run_id, row_id="nothing")

    def test_costs_at_most_three_queries(self, count_queries):
        def cost(row):
            def call():
                with pytest.raises(TokenAmbiguous):
                    ask(row)

            return count_queries(call)

        assert [cost(forked(branches)[0]) for branches in (2, 50, 60)] == [1, 1, 2]
