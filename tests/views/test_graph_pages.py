"""The run graph on the run page and as a file, and the page of a node."""

import itertools
import json
import re
from datetime import timedelta
from typing import NamedTuple
from xml.etree import ElementTree as ET

import pytest
from django.urls import reverse

from audit import lineage
from audit.models import Edge, Node, Run, RunSummary, Token
from tests.builders import (
    NOON,
    make_edge,
    make_node,
    make_route,
    make_row,
    make_run,
    make_state,
    make_token,
    make_world,
    new_id,
    summarise,
)

pytestmark = pytest.mark.django_db

HOSTILE = "<script>alert(1)</script>\"'><b>\u202e\u200b\x07&"


def address(name, run, *keys):
    return reverse(f"audit:{name}", args=[run.run_id, *keys])


def words(text):
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


class Gated(NamedTuple):
    run: Run
    source: Node
    gate: Node
    tokens: list[Token]


@pytest.fixture
def gated():
    """Four rows through a gate, one of them away; a node that nobody reached."""
    world = make_world(rows=4)
    gate = make_node(world.run, "amount", "gate", config_json='{"condition":"x > 1"}')
    make_node(world.run, "unused")
    make_edge(world.source, world.transform)
    make_edge(world.transform, gate)
    high = make_edge(gate, world.sink, "true")
    rest = make_edge(gate, world.sink)
    for index, token in enumerate(world.tokens):
        if index == 0:
            make_state(token, gate, 4, status="failed", error_json='{"reason":"no 1"}')
        state = make_state(token, gate, 4, attempt=1)
        make_route(state, high if index == 0 else rest)
    summarise(world.run)
    return Gated(world.run, world.source, gate, world.tokens)


class TestTheRunGraph:
    def test_draws_and_lists_every_node_and_edge_of_the_tables(self, signed_in, gated):
        run = gated.run

        text = signed_in.get(address("run", run)).text

        drawing = text[text.index('<svg class="graph"') : text.index("graph-key")]
        linked = set(re.findall(r'<a class="at[^"]*" href="([^"]+)"', drawing))
        nodes = Node.objects.filter(run_id=run.run_id)
        assert linked == {address("node", run, node.node_id) for node in nodes}
        assert drawing.count("<path") == Edge.objects.filter(run_id=run.run_id).count()
        graph = lineage.read_graph(run.run_id)
        assert {one.node.node_id for one in graph.nodes} == {node.node_id for node in nodes}
        assert {edge.edge_id for edge in graph.edges} == set(
            Edge.objects.filter(run_id=run.run_id).values_list("edge_id", flat=True)
        )

    def test_writes_counts_and_marks_what_was_routed_away_or_never_reached(self, signed_in, gated):
        text = signed_in.get(address("run", gated.run)).text

        assert len(re.findall(r'class="way away"', text)) == 1
        assert text.count("never-reached") == 1
        assert "true 1</text>" in text
        assert "✕ 1 failed" in text

    def test_heat_changes_tint_and_figure_and_never_the_layout(self, signed_in, gated):
        pages = {
            heat: signed_in.get(address("run", gated.run), {"heat": heat}).text
            for heat in ("count", "p95", "errors", "retries")
        }

        places = {tuple(re.findall(r'<svg x="[^"]+" y="[^"]+"', text)) for text in pages.values()}
        assert len(places) == 1
        assert "↻ 4 retried" in pages["retries"]
        assert "✕" not in pages["retries"]
        assert "p95 20 ms" in pages["p95"]
        assert "5 visits" in pages["count"]
        assert signed_in.get(address("run", gated.run), {"heat": "fire"}).status_code == 400

    def test_says_counting_while_a_large_run_is_not_counted(self, signed_in, gated, monkeypatch):
        RunSummary.objects.all().delete()
        small = signed_in.get(address("run", gated.run)).text
        monkeypatch.setattr("audit.lineage.graphs.COUNTED_LIVE", 3)
        large = signed_in.get(address("run", gated.run)).text

        assert 'class="figures" x="8" y="52">counting' not in small
        assert 'class="figures" x="8" y="52">counting' in large
        assert "never-reached" not in large

    def test_says_why_a_graph_is_not_drawn_and_lists_it(self, signed_in):
        run = make_run()
        nodes = [make_node(run, f"step{n:03}") for n in range(410)]
        for one, other in itertools.pairwise(nodes):
            make_edge(one, other)
        summarise(run)

        answer = signed_in.get(address("run", run))
        file = signed_in.get(address("dag", run))

        assert "it has 410 nodes and 409 edges; at most 300 and 900 are drawn" in answer.text
        assert '<svg class="graph"' not in answer.text
        assert answer.text.count("never reached") >= 410
        assert b"No drawing: it has 410 nodes" in file.content

    def test_reads_no_more_than_it_shows(self, monkeypatch):
        monkeypatch.setattr("audit.lineage.graphs.NODES_SHOWN", 2)
        world = make_world()

        graph = lineage.read_graph(world.run.run_id)

        assert (len(graph.nodes), graph.nodes_cut) == (2, True)

    @pytest.mark.parametrize("name", ["run", "dag"])
    def test_does_not_mind_a_run_without_nodes(self, signed_in, name):
        assert signed_in.get(address(name, make_run())).status_code == 200

    def test_draws_a_cycle(self, signed_in):
        run = make_run()
        one, other = make_node(run, "one"), make_node(run, "other")
        make_edge(one, other)
        make_edge(other, one)
        make_edge(one, one, "again")
        summarise(run)

        assert signed_in.get(address("run", run)).text.count('<path class="way') == 3

    def test_orders_nodes_from_sources_to_sinks(self):
        run = make_run()
        make_node(run, "out", "sink")
        make_node(run, "late", registered_at=NOON + timedelta(seconds=2))
        make_node(run, "early", registered_at=NOON + timedelta(seconds=1))
        make_node(run, "first", sequence_in_pipeline=1, registered_at=NOON + timedelta(hours=1))
        make_node(run, "in", "source", registered_at=NOON + timedelta(hours=2))

        graph = lineage.read_graph(run.run_id)

        assert [one.node.name for one in graph.nodes] == ["in", "first", "early", "late", "out"]

    def test_counts_anew_what_an_older_program_counted(self, signed_in, gated):
        RunSummary.objects.update(version=2, graph_json=json.dumps({}))

        assert signed_in.get(address("run", gated.run)).status_code == 200


class TestTheFile:
    def test_is_a_drawing_that_stands_alone(self, signed_in, gated):
        answer = signed_in.get(address("dag", gated.run), {"heat": "p95"})

        root = ET.fromstring(answer.content)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert answer["Content-Disposition"] == 'attachment; filename="dag.svg"'
        assert f"run {gated.run.run_id}".encode() in answer.content
        assert b"drawn 20" in answer.content
        hrefs = [one.get("href") for one in root.iter("{http://www.w3.org/2000/svg}a")]
        assert hrefs
        assert all(href.startswith("http://testserver/runs/") for href in hrefs)

    def test_stays_well_formed_whatever_is_recorded(self, signed_in):
        run = make_run(run_id=HOSTILE)
        hostile, other = make_node(run, node_id=HOSTILE), make_node(run, "数据" * 20)
        make_edge(hostile, other, HOSTILE * 50)
        summarise(run)

        answer = signed_in.get(address("dag", run))

        root = ET.fromstring(answer.content)
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert tags == {"svg", "title", "style", "rect", "text", "path", "a"}
        assert not {"\u202e", "\u200b", "\x07"}.intersection(answer.text)

    def test_only_reads(self, signed_in, gated, read_only):
        with read_only():
            assert signed_in.get(address("dag", gated.run)).status_code == 200

    def test_is_not_for_strangers(self, client, gated):
        assert client.get(address("dag", gated.run)).status_code == 302


class TestTheNodePage:
    def test_tells_what_happened_there(self, signed_in, gated):
        text = signed_in.post(address("node", gated.run, gated.gate.node_id)).text
        said = words(text)

        assert "4 tokens came here in 5 visits ; 1 failed and 4 were retries ." in said
        assert "x &gt; 1" in text
        assert "no 1" in said
        assert "25.0 %" in said
        assert "75.0 %" in said

    def test_says_when_nothing_came(self, signed_in, gated):
        unused = Node.objects.get(run_id=gated.run.run_id, plugin_name="unused")

        said = words(signed_in.get(address("node", gated.run, unused.node_id)).text)

        assert "Nothing reached this node." in said
        assert "No visit is recorded." in said

    def test_tells_a_source_by_its_rows(self, signed_in, gated):
        said = words(signed_in.get(address("node", gated.run, gated.source.node_id)).text)

        assert "It delivered 4 rows; no visit of its own is on record." in said

    def test_filters_by_status_and_attempt(self, gated):
        def found(**asked):
            key = {"run_id": gated.run.run_id, "node_id": gated.gate.node_id}
            return len(lineage.explain_node(**key, **asked).visits)

        assert found() == 5
        assert found(status="failed") == 1
        assert found(attempt="first") == 1
        assert found(attempt="again") == 4
        assert found(attempt="again", status="failed") == 0

    def test_pages_without_gap_or_repetition(self, signed_in, monkeypatch):
        monkeypatch.setattr("audit.lineage.node_story.VISITS_A_PAGE", 3)
        run = make_run()
        source, node = make_node(run, "csv", "source"), make_node(run)
        ids = []
        for index in range(8):
            token = make_token(make_row(source, index))
            at = NOON + timedelta(seconds=index // 3)
            ids.append(make_state(token, node, started_at=at, state_id=new_id()).state_id)
        seen, after = [], None

        while True:
            story = lineage.explain_node(run_id=run.run_id, node_id=node.node_id, after=after)
            seen += [visit.state_id for visit in story.visits]
            if (after := story.next_after) is None:
                break

        assert seen == ids
        first = signed_in.get(address("node", run, node.node_id)).text
        assert f"?after={ids[2]}#visits" in first
        nowhere = signed_in.get(address("node", run, node.node_id), {"after": "nowhere"})
        assert nowhere.status_code == 404

    def test_shows_a_duration_that_is_no_time(self, signed_in, gated):
        make_state(gated.tokens[0], gated.gate, 9, attempt=7, duration_ms=float("inf"))
        summarise(gated.run)

        answer = signed_in.get(address("node", gated.run, gated.gate.node_id))

        assert answer.status_code == 200
        assert "not a time" in answer.text
