"""Lineages as nobody should record them: answered in words. How fast: benchmarks/lineage.py."""

import pytest
from django.db import connection

from audit.lineage.closure import gather_closure, gather_row
from audit.recorder.bulk import without_time_limits
from tests.builders import make_child, make_outcome, make_parent, make_row, make_token, make_world

pytestmark = pytest.mark.django_db

# The importer refuses cycles; no constraint of the database can.
_MANY = """
INSERT INTO tokens (run_id, token_id, row_id, expand_group_id, created_at)
SELECT %(run)s, 'k' || lpad(n::text, 6, '0'), %(row)s, 'e', now() FROM generate_series(1, %(n)s) n;
INSERT INTO token_parents (run_id, token_id, parent_token_id, ordinal)
SELECT %(run)s, 'k' || lpad(n::text, 6, '0'),
       CASE WHEN %(chain)s AND n > 1 THEN 'k' || lpad((n - 1)::text, 6, '0') ELSE %(root)s END,
       CASE WHEN %(chain)s THEN 0 ELSE n END FROM generate_series(1, %(n)s) n
"""


@pytest.fixture
def grow():
    def grow_(root, many, *, chain):
        without_time_limits()
        about = {"run": root.run_id, "row": root.row_id, "root": root.token_id}
        with connection.cursor() as cursor:
            for statement in _MANY.split(";"):
                cursor.execute(statement, about | {"n": many, "chain": chain})

    return grow_


class TestGatherClosure:
    def test_a_cycle_ends_where_it_closes(self):
        world = make_world(rows=1)
        first = make_child(world.tokens[0])
        second = make_child(first)
        make_parent(first, second, 1)

        found = gather_closure(run_id=first.run_id, token_id=first.token_id)

        assert set(found.tokens) == {world.tokens[0].token_id, first.token_id, second.token_id}
        assert second.token_id in found.ancestors

    def test_a_row_whose_tokens_all_descend_from_each_other_is_told(self):
        world = make_world(rows=0)
        first = make_token(make_row(world.source))
        second = make_child(first)
        make_parent(first, second)

        found = gather_row(run_id=first.run_id, row_id=first.row_id)

        assert set(found.tokens) == {first.token_id, second.token_id}

    def test_ten_thousand_generations(self, grow):
        world = make_world(rows=1)
        (root,) = world.tokens
        grow(root, 10_000, chain=True)

        found = gather_closure(run_id=root.run_id, token_id="k010000")

        assert len(found.tokens) == 10_001
        assert len(found.ancestors) == 10_000
        assert found.limits == ()

    def test_says_how_many_are_deeper_than_it_tells(self, grow):
        world = make_world(rows=1)
        (root,) = world.tokens
        grow(root, 10_050, chain=True)

        found = gather_closure(run_id=root.run_id, token_id=root.token_id)

        assert len(found.tokens) == 10_001
        (words,) = found.limits
        assert "10,000 generations" in words
        assert "50 tokens" in words
        assert found.ghosts == set()

    def test_a_hundred_thousand_children(self, grow):
        world = make_world(rows=1)
        (root,) = world.tokens
        grow(root, 100_000, chain=False)

        found = gather_closure(run_id=root.run_id, token_id=root.token_id)

        assert found.tokens_total == 100_001
        assert [group.tokens for group in found.groups] == [99_999]

    def test_words_of_a_writer_are_only_words(self):
        world = make_world(rows=0)
        token = make_token(make_row(world.source), token_id="<script>'\"; DROP")
        child = make_child(token, branch_name="</svg>\u202e")
        make_outcome(child, "routed", sink_name="{{ sink }}")

        found = gather_closure(run_id=token.run_id, token_id=token.token_id)

        assert found.tokens[child.token_id].branch_name == "</svg>\u202e"
        assert found.tokens[child.token_id].sink_name == "{{ sink }}"
