"""Why each visit of a lineage sent its token where it did, and whether a hash proves it."""

import json

import pytest

from audit import blobs, canonical, lineage, payloads
from audit.models import Run
from tests.builders import (
    NOON,
    digest,
    make_edge,
    make_node,
    make_purged,
    make_route,
    make_row,
    make_state,
    make_token,
    make_world,
)

pytestmark = pytest.mark.django_db

CONFIG = json.dumps({"condition": "row['amount'] > 1000", "routes": {"true": "a", "false": "b"}})


@pytest.fixture
def decide():
    """Let a gate decide once; what was recorded with it is given."""
    world = make_world(rows=0)
    gate = make_node(world.run, "gate", "gate", config_json=CONFIG)
    edge = make_edge(gate, world.sink, "true")

    def decide_(**reason):
        state = make_state(make_token(make_row(world.source, decide_.made)), gate, 1)
        decide_.made += 1
        make_route(state, edge, **reason)
        return state

    decide_.made = 0
    return decide_


def choices(*states):
    return lineage.read_choices(
        run_id=states[0].run_id, states=[state.state_id for state in states]
    )


def keep(content):
    ref = payloads.store(content)
    blobs.keep(contents={ref: content}, at=NOON)
    return ref


class TestReadChoices:
    def test_reads_a_recorded_reason_that_its_hash_proves(self, decide):
        ref = keep(b'{"condition": "row[\'amount\'] > 5", "result": "true"}')

        (choice,) = choices(decide(reason_ref=ref, reason_hash=ref)).told

        assert (choice.reason.words, choice.reason.how) == ("amount > 5", "recorded")
        assert choice.doubt is None

    def test_doubts_a_reason_with_another_hash_than_was_recorded(self, decide):
        ref = keep(b'{"condition": "x", "result": "true"}')

        (choice,) = choices(decide(reason_ref=ref, reason_hash=digest("other"))).told

        assert choice.reason.how == "configured"
        assert choice.doubt == "what is kept has another hash than was recorded"

    def test_makes_a_reason_again_and_compares_its_hash(self, decide):
        version = Run.objects.get().canonical_version
        made = {"condition": "row['amount'] > 1000", "result": "true"}
        hash_ = canonical.stable_hash(made, version=version)

        (choice,) = choices(decide(reason_hash=hash_)).told

        assert (choice.reason.words, choice.reason.how) == ("amount > 1000", "reconstructed")
        assert choice.doubt is None

    @pytest.mark.parametrize(
        ("reason", "doubt"),
        [
            ({}, "no reason is recorded"),
            (
                {"reason_hash": digest("unknown")},
                "only the hash of the reason was kept, and the configuration does not give it",
            ),
            ({"reason_ref": digest("gone")}, "the reason that was kept is purged"),
        ],
    )
    def test_tells_as_configured_what_nothing_proves(self, decide, reason, doubt):
        make_purged(digest("gone"))

        (choice,) = choices(decide(**reason)).told

        assert (choice.reason.how, choice.doubt) == ("configured", doubt)

    def test_reads_a_hundred_and_says_so(self, decide):
        states = [decide(reason_ref=digest(str(number))) for number in range(101)]

        found = choices(*states)

        assert len(found.told) == 101
        assert found.limits == ("101 reasons are kept; the first 100 are read.",)
        assert found.told[-1].doubt == "the reason that was kept has not been read here"

    def test_costs_two_queries_at_any_size(self, decide, count_queries):
        one = [decide(reason_ref=digest("a"))]
        many = [decide(reason_ref=digest(str(number))) for number in range(20)]

        assert {count_queries(lambda s=s: choices(*s)) for s in (one, many)} == {2}
