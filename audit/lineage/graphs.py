"""The pipeline of a run as a graph: its nodes and edges, and what went through them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Case, F, Value, When

from audit import traffic
from audit.lineage.nodes import NodeFacts, node_facts, node_name
from audit.lineage.runs import RunFacts, describe_run
from audit.models import Edge, Node, NodeState, RunSummary
from audit.vocabulary import NodeType, RoutingMode

if TYPE_CHECKING:
    from collections.abc import Mapping

NODES_SHOWN = 500
EDGES_SHOWN = 1000

# A run with more visits than this waits for its summary: it is not counted while a page is asked.
COUNTED_LIVE = 5_000

# Where a node has one way on, it is called by one of these: not worth writing on an edge.
PLAIN_LABELS = ("continue", "on_success")


@dataclass(frozen=True, kw_only=True)
class NodeTraffic:
    """What happened at one node; durations are None where none was told.

    `durations` counts visits by the bins of `traffic.DURATION_BINS`; `slowest` are state ids,
    and `failures` counts visits by class of error, with the id of an example.
    """

    visits: int = 0
    tokens: int = 0
    completed: int = 0
    failed: int = 0
    unfinished: int = 0
    retried: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    durations: tuple[int, ...] = ()
    slowest: tuple[str, ...] = ()
    failures: tuple[tuple[int, str], ...] = ()
    failure_kinds: int = 0


@dataclass(frozen=True, kw_only=True)
class GraphNode:
    """A node; `traffic` is None while the run is still to be counted."""

    node: NodeFacts
    traffic: NodeTraffic | None

    @property
    def never_reached(self) -> bool:
        """Counted, and nothing came here."""
        return self.traffic is not None and not (self.traffic.visits or self.traffic.tokens)


@dataclass(frozen=True, kw_only=True)
class GraphEdge:
    """An edge; `tokens` went along it, `share` of all that left its node; None if not counted."""

    edge_id: str
    source: str
    target: str
    label: str
    mode: str
    routed_away: bool
    tokens: int | None
    share: float | None

    @property
    def source_name(self) -> str:
        """The node it leaves, by name."""
        return node_name(self.source)

    @property
    def target_name(self) -> str:
        """The node it leads to, by name."""
        return node_name(self.target)

    @property
    def is_plain(self) -> bool:
        """Whether its label says nothing but: onwards."""
        return self.label in PLAIN_LABELS


@dataclass(frozen=True, kw_only=True)
class Stray:
    """Tokens that were seen to move between two nodes without an edge on record."""

    source: str
    target: str
    tokens: int


@dataclass(frozen=True, kw_only=True)
class RunGraph:
    """Nodes in the order of the pipeline, and edges. What is cut is not read at all."""

    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
    strays: tuple[Stray, ...]
    counted: bool
    nodes_cut: bool
    edges_cut: bool


def explain_graph(*, run_id: str) -> tuple[RunFacts, RunGraph]:
    """The run, and its graph, in a fixed number of queries.

    Raises:
        NotRecorded: there is no such run.
    """
    return describe_run(run_id=run_id), read_graph(run_id)


def read_graph(run_id: str) -> RunGraph:
    """The graph of a run. Three queries with a summary, at most a dozen without."""
    figures = read_traffic(run_id)
    ends = {NodeType.SOURCE: 0, NodeType.SINK: 2}
    # Sources first and sinks last; between them the place in the pipeline, which most writers
    # leave empty; then the order of registration, which is topological in practice.
    nodes = list(
        Node.objects.filter(run_id=run_id)
        .defer("config_json")
        .order_by(
            Case(*(When(node_type=kind, then=Value(at)) for kind, at in ends.items()), default=1),
            F("sequence_in_pipeline").asc(nulls_last=True),
            "registered_at",
            "node_id",
        )[: NODES_SHOWN + 1]
    )
    edges = list(
        Edge.objects.filter(run_id=run_id).order_by("from_node_id", "label")[: EDGES_SHOWN + 1]
    )
    kinds = {node.node_id: node.node_type for node in nodes}
    place = {node.node_id: at for at, node in enumerate(nodes)}
    edges.sort(key=lambda edge: (place.get(edge.from_node_id, 0), place.get(edge.to_node_id, 0)))
    return RunGraph(
        nodes=tuple(
            GraphNode(node=node_facts(node), traffic=node_traffic(figures, node.node_id))
            for node in nodes[:NODES_SHOWN]
        ),
        edges=tuple(graph_edge(edge, kinds, figures) for edge in edges[:EDGES_SHOWN]),
        strays=tuple(
            Stray(source=node_name(source), target=node_name(target), tokens=tokens)
            for source, target, tokens in (figures or {}).get("strays", [])
        ),
        counted=figures is not None,
        nodes_cut=len(nodes) > NODES_SHOWN,
        edges_cut=len(edges) > EDGES_SHOWN,
    )


def read_traffic(run_id: str) -> Mapping[str, Any] | None:
    """What `traffic` told of a run: as kept, else counted now if it is small, else None."""
    kept = (
        RunSummary.objects.current()
        .filter(run_id=run_id)
        .values_list("graph_json", flat=True)
        .first()
    )
    if kept is not None:
        figures: dict[str, Any] = json.loads(kept)
        return figures
    visits = NodeState.objects.filter(run_id=run_id).order_by()[: COUNTED_LIVE + 1].count()
    return traffic.measure(run_id=run_id) if visits <= COUNTED_LIVE else None


def node_traffic(figures: Mapping[str, Any] | None, node_id: str) -> NodeTraffic | None:
    """The figures of one node, out of those of its run."""
    if figures is None:
        return None
    told = dict(figures["nodes"].get(node_id, {}))
    failures = tuple((one["visits"], one["state"]) for one in told.pop("failures", ()))
    for name in ("durations", "slowest"):
        told[name] = tuple(told.get(name, ()))
    return NodeTraffic(**told, failures=failures)


def graph_edge(
    edge: Edge, kinds: Mapping[str, str], figures: Mapping[str, Any] | None
) -> GraphEdge:
    """One edge with its figures; `kinds` tells the kind of its nodes."""
    told = figures["edges"].get(edge.edge_id, {}) if figures else {}
    sent_off = (
        kinds.get(edge.from_node_id) == NodeType.GATE
        and kinds.get(edge.to_node_id) == NodeType.SINK
        and edge.default_mode == RoutingMode.MOVE
        and edge.label not in PLAIN_LABELS
    )
    return GraphEdge(
        edge_id=edge.edge_id,
        source=edge.from_node_id,
        target=edge.to_node_id,
        label=edge.label,
        mode=edge.default_mode,
        routed_away=sent_off or edge.default_mode == RoutingMode.DIVERT,
        tokens=told.get("tokens", 0) if figures else None,
        share=told.get("share", 0.0) if figures else None,
    )
