"""Random lineages: what the closure tells is what a naive walk of the tables finds."""

from collections import defaultdict

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.lineage.closure import gather_closure
from audit.models import (
    BatchMember,
    BatchOutput,
    NodeState,
    TokenOutcome,
    TokenParent,
)
from tests.builders import (
    make_batch,
    make_child,
    make_node,
    make_outcome,
    make_parent,
    make_row,
    make_state,
    make_token,
    make_world,
    new_id,
)

pytestmark = pytest.mark.django_db

# What happens next, to which of the tokens so far, with how many.
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["row", "fork", "expand", "merge", "batch", "carried", "retry"]),
        st.integers(0, 30),
        st.integers(1, 4),
    ),
    min_size=1,
    max_size=14,
)


class Play:
    """Writes a lineage; every act takes tokens that still live and leaves others."""

    def __init__(self, acts):
        self.world = make_world(rows=0)
        self.node = make_node(self.world.run, "sum", "aggregation")
        self.everything, self.live = [], []
        self.row(0, [], 1)
        for number, (act, which, many) in enumerate(acts, 1):
            if not self.live:
                self.row(1000 + number, [], 1)
            place = which % len(self.live)
            some = (self.live[place:] + self.live[:place])[: many + 1]
            getattr(self, act)(number, some, many)

    def lives(self, tokens):
        self.live += tokens
        self.everything += tokens

    def ends(self, tokens, outcome, **columns):
        for token in tokens:
            make_outcome(token, outcome, **columns)
            self.live.remove(token)

    def row(self, number, _some, _many):
        self.lives([make_token(make_row(self.world.source, number))])

    def retry(self, number, some, _many):
        node = make_node(self.world.run, f"step {number}")
        make_state(some[0], node, number, status="failed")
        make_state(some[0], node, number, attempt=1)

    def fork(self, _number, some, many):
        self.split(some[0], many, "forked", fork_group_id=new_id())

    def expand(self, _number, some, many):
        self.split(some[0], many, "expanded", expand_group_id=new_id())

    def split(self, token, many, outcome, **group):
        self.lives([make_child(token, place, **group) for place in range(many)])
        self.ends([token], outcome, **group)

    def merge(self, _number, some, _many):
        made = make_child(some[0], 0, join_group_id=new_id())
        for place, parent in enumerate(some[1:], 1):
            make_parent(made, parent, place)
        self.ends(some, "coalesced", join_group_id=made.join_group_id)
        self.lives([made])

    def batch(self, number, some, many):
        """As ours does; every other one without parents, so that the batch alone tells."""
        batch = make_batch(self.node, *some)
        made = [make_token(some[0].row) for _ in range(many)]
        for child in made:
            for place, parent in enumerate(some if number % 2 else []):
                make_parent(child, parent, place)
            BatchOutput.objects.create(
                run_id=batch.run_id,
                batch_output_id=new_id(),
                batch_id=batch.batch_id,
                output_type="token",
                output_id=child.token_id,
            )
        self.ends(some, "consumed_in_batch", batch_id=batch.batch_id)
        self.lives(made)

    def carried(self, _number, some, _many):
        """As the original does: the last member goes on as the result."""
        batch = make_batch(self.node, *some)
        self.ends(some[:-1], "consumed_in_batch", batch_id=batch.batch_id)
        self.ends(some[-1:], "completed", sink_name="output")


def naive(tokens):
    """The same answers by reading every table whole and walking it in Python."""
    parents, children = defaultdict(set), defaultdict(set)
    for link in TokenParent.objects.all():
        parents[link.token_id].add(link.parent_token_id)
        children[link.parent_token_id].add(link.token_id)
    final = {o.token_id: o.outcome for o in TokenOutcome.objects.filter(is_terminal=True)}
    members = defaultdict(dict)
    for member in BatchMember.objects.all():
        members[member.batch_id][member.ordinal] = member.token_id
    for batch, places in members.items():
        outputs = set(
            BatchOutput.objects.filter(batch_id=batch).values_list("output_id", flat=True)
        )
        if not outputs:
            consumed = {p for p, key in places.items() if final.get(key) == "consumed_in_batch"}
            outputs = {
                key
                for place, key in places.items()
                if final.get(key) not in {None, "consumed_in_batch", "failed", "quarantined"}
                and consumed & {place - 1, place + 1}
            }
        for output in outputs:
            parents[output] |= set(places.values())
        for key in places.values():
            children[key] |= outputs
    above = [reached({token}, parents) for token in tokens]
    return [
        (mine - {token}, reached(mine, children)) for token, mine in zip(tokens, above, strict=True)
    ]


def reached(found, beside):
    edge = set(found)
    while edge:
        edge = {key for each in edge for key in beside[each]} - found
        found = found | edge
    return found


class TestGatherClosure:
    @settings(
        max_examples=30,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(acts=ACTS)
    def test_finds_what_a_naive_walk_finds(self, acts):
        with transaction.atomic():
            tokens = Play(acts).everything
            found = [gather_closure(run_id=t.run_id, token_id=t.token_id) for t in tokens]
            expected = naive([token.token_id for token in tokens])
            links = set(TokenParent.objects.values_list("token_id", "parent_token_id", "ordinal"))
            visits = defaultdict(set)
            for token_id, state_id in NodeState.objects.values_list("token_id", "state_id"):
                visits[token_id].add(state_id)
            transaction.set_rollback(True)
        for one, (above, whole) in zip(found, expected, strict=True):
            assert one.ancestors == above
            assert set(one.tokens) == whole
            assert one.tokens_total == len(whole)
            assert {(link.token_id, link.parent_id, link.ordinal) for link in one.links} == {
                link for link in links if whole.issuperset(link[:2])
            }
            assert {v.state_id for made in one.visits.values() for v in made} == set().union(
                *(visits[key] for key in whole)
            )
