"""Figures of nodes and edges, counted from the records."""

import json
import shutil
from pathlib import Path

import pytest
from django.core.management import call_command

from audit import traffic
from audit.models import Edge, Node, NodeState, Run, RunSummary
from tests.builders import (
    digest,
    make_batch,
    make_child,
    make_edge,
    make_node,
    make_parent,
    make_route,
    make_row,
    make_run,
    make_state,
    make_token,
    make_world,
)

pytestmark = pytest.mark.django_db

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


def along(run, edge):
    return traffic.measure(run_id=run.run_id)["edges"][edge.edge_id]["tokens"]


class TestMeasure:
    def test_counts_the_visits_of_a_node(self):
        run = make_run()
        source, node = make_node(run, "csv", "source"), make_node(run)
        never = make_node(run, "never")
        for index, milliseconds in enumerate((10.0, 20.0, 3000.0)):
            token = make_token(make_row(source, index))
            make_state(token, node, status="failed", error_json=f'{{"reason":"row {index}"}}')
            make_state(token, node, attempt=1, duration_ms=milliseconds)
        make_state(make_token(make_row(source, 3)), node, status="open")

        found = traffic.measure(run_id=run.run_id)["nodes"]

        (slowest, *_) = found[node.node_id]["slowest"]
        assert NodeState.objects.get(state_id=slowest).duration_ms == 3000.0
        (failures,) = found[node.node_id]["failures"]
        assert failures["visits"] == 3
        counts = {name: found[node.node_id][name] for name in traffic.NODE_FIGURES}
        assert counts == {
            "visits": 7,
            "tokens": 4,
            "completed": 3,
            "failed": 3,
            "unfinished": 1,
            "retried": 3,
            "p50_ms": 20.0,
            "p95_ms": 3000.0,
        }
        assert sum(found[node.node_id]["durations"]) == 6
        assert found[source.node_id] == {"visits": 0, "tokens": 4}
        assert never.node_id not in found

    def test_leaves_out_durations_that_are_no_time(self):
        world = make_world(rows=1)
        for attempt, nonsense in enumerate((float("inf"), float("nan"), -1.0), start=1):
            make_state(world.tokens[0], world.transform, attempt=attempt, duration_ms=nonsense)

        found = traffic.measure(run_id=world.run.run_id)

        node = found["nodes"][world.transform.node_id]
        assert (node["visits"], node["p95_ms"], sum(node["durations"])) == (4, 20.0, 1)
        assert "NaN" not in json.dumps(found)

    def test_sees_tokens_move_from_the_source_and_from_node_to_node(self):
        world = make_world(rows=3)
        first = make_edge(world.source, world.transform)
        second = make_edge(world.transform, world.sink)

        edges = traffic.measure(run_id=world.run.run_id)["edges"]

        assert edges == {
            first.edge_id: {"tokens": 3, "share": 1.0},
            second.edge_id: {"tokens": 3, "share": 1.0},
        }

    def test_believes_a_gate_before_what_was_seen_to_move(self):
        world = make_world(rows=4)
        gate = make_node(world.run, "amount", "gate")
        high = make_edge(gate, world.sink, "true")
        rest = make_edge(gate, world.sink)
        for index, token in enumerate(world.tokens):
            state = make_state(token, gate, 3)
            make_route(state, high if index == 0 else rest)

        edges = traffic.measure(run_id=world.run.run_id)["edges"]

        assert edges == {
            high.edge_id: {"tokens": 1, "share": 0.25},
            rest.edge_id: {"tokens": 3, "share": 0.75},
        }

    def test_counts_a_token_once_however_often_it_was_tried(self):
        world = make_world(rows=1)
        edge = make_edge(world.transform, world.sink)
        make_state(world.tokens[0], world.transform, attempt=1)

        assert along(world.run, edge) == 1

    def test_follows_a_fork_and_its_merge(self):
        run = make_run()
        source, gate = make_node(run, "csv", "source"), make_node(run, "split", "gate")
        merge, sink = make_node(run, "merge", "coalesce"), make_node(run, "out", "sink")
        edges = [
            make_edge(source, gate),
            make_edge(gate, merge, "a", default_mode="copy"),
            make_edge(gate, merge, "b", default_mode="copy"),
            make_edge(merge, sink),
        ]
        row = make_row(source)
        parent = make_token(row)
        make_state(parent, gate, 1)
        merged = make_token(row, join_group_id=digest("join")[:32])
        for ordinal, branch in enumerate("ab"):
            child = make_child(parent, ordinal, branch_name=branch)
            make_state(child, merge, 2)
            make_parent(merged, child, ordinal)
        make_state(merged, sink, 3)

        found = traffic.measure(run_id=run.run_id)

        assert [found["edges"][edge.edge_id]["tokens"] for edge in edges] == [1, 1, 1, 1]
        assert found["strays"] == []

    def test_takes_members_through_their_batch_when_no_visit_says_so(self):
        run = make_run()
        source, totals = make_node(run, "csv", "source"), make_node(run, "totals", "aggregation")
        tidy, sink = make_node(run), make_node(run, "out", "sink")
        edges = [make_edge(source, tidy), make_edge(tidy, totals), make_edge(totals, sink)]
        tokens = [make_token(make_row(source, index)) for index in range(3)]
        for token in tokens:
            make_state(token, tidy, 1)
        flush = make_state(tokens[0], totals, 0)
        make_batch(totals, *tokens, aggregation_state_id=flush.state_id)
        make_state(tokens[2], sink, 1, attempt=1)

        found = traffic.measure(run_id=run.run_id)

        assert [found["edges"][edge.edge_id]["tokens"] for edge in edges] == [3, 3, 1]
        assert found["strays"] == []

    def test_tells_moves_that_no_edge_explains(self):
        world = make_world(rows=2)

        strays = traffic.measure(run_id=world.run.run_id)["strays"]

        assert strays == [
            [world.source.node_id, world.transform.node_id, 2],
            [world.transform.node_id, world.sink.node_id, 2],
        ]

    def test_gives_a_failed_token_the_edge_for_failures(self):
        world = make_world(rows=2)
        good = make_edge(world.transform, world.sink, "on_success")
        bad = make_edge(world.transform, world.sink, "__error_tidy__", default_mode="divert")
        lost = make_token(make_row(world.source, 2))
        make_state(lost, world.transform, 1, status="failed")
        make_state(lost, world.sink, 2)

        assert (along(world.run, good), along(world.run, bad)) == (2, 1)

    def test_costs_the_same_at_two_sizes(self, count_queries):
        small, large = make_world(rows=1), make_world(rows=20)

        costs = {
            count_queries(lambda world=world: traffic.measure(run_id=world.run.run_id))
            for world in (small, large)
        }

        assert costs == {8}


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real databases in {DATA}")
def test_real_runs_have_figures_for_every_edge_and_no_stray_but_the_known(tmp_path):
    for path in sorted(DATA.glob("era-[ab]/*/audit.db")):
        copy = tmp_path / path.parent.parent.name / path.parent.name / "audit.db"
        copy.parent.mkdir(parents=True)
        shutil.copyfile(path, copy)
        call_command("import_audit", copy, verbosity=0)

    strays = []
    for run in Run.objects.all():
        found = json.loads(RunSummary.objects.get(run_id=run.run_id).graph_json)
        ids = Node.objects.filter(run_id=run.run_id).values_list("node_id", flat=True)
        edges = Edge.objects.filter(run_id=run.run_id)
        assert set(found["edges"]) == {edge.edge_id for edge in edges}
        assert set(found["nodes"]) <= set(ids)
        strays += found["strays"]
    # The original draws no edge for what an error sends to a sink, and one run skips a gate.
    ends = sorted((source.split("_")[0], target.split("_")[0]) for source, target, _ in strays)
    assert ends == [("source", "sink"), ("t1", "agg"), ("transform", "sink")]
