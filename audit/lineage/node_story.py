"""One node of a pipeline: its configuration, what happened there, and its visits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Q

from audit.errors import NotRecorded
from audit.lineage.excerpts import ERROR_LIMIT, Excerpt, excerpt, reading
from audit.lineage.graphs import (
    EDGES_SHOWN,
    GraphEdge,
    NodeTraffic,
    graph_edge,
    node_traffic,
    read_traffic,
)
from audit.lineage.nodes import NodeFacts, node_facts, read_nodes
from audit.lineage.runs import RunFacts, describe_run
from audit.models import Edge, Node, NodeState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

CONFIG_LIMIT = 200_000
VISITS_A_PAGE = 100

# A filter: the first attempts, or those after a failure.
FIRST_ATTEMPT = "first"
LATER_ATTEMPT = "again"
ATTEMPTS = (FIRST_ATTEMPT, LATER_ATTEMPT)


@dataclass(frozen=True, kw_only=True)
class NodeVisit:
    """One visit of a node; `attempt` counts from one, `error` is None where none is inline."""

    state_id: str
    token_id: str
    step: int
    attempt: int
    status: str
    started_at: datetime
    completed_at: datetime | None
    duration_ms: float | None
    error: Excerpt | None
    error_hash: str | None


@dataclass(frozen=True, kw_only=True)
class ErrorClass:
    """Failed visits whose errors differ only in their numbers, and one of them."""

    visits: int
    example: NodeVisit


@dataclass(frozen=True, kw_only=True)
class NodeStory:
    """Everything the page of one node tells; `traffic` is None while the run is not counted."""

    run: RunFacts
    node: NodeFacts
    config: Excerpt
    config_hash: str
    traffic: NodeTraffic | None
    into: tuple[GraphEdge, ...]
    out_of: tuple[GraphEdge, ...]
    slowest: tuple[NodeVisit, ...]
    failures: tuple[ErrorClass, ...]
    visits: tuple[NodeVisit, ...]
    next_after: str | None


def explain_node(
    *,
    run_id: str,
    node_id: str,
    status: str | None = None,
    attempt: str | None = None,
    after: str | None = None,
) -> NodeStory:
    """Gather what the page of one node shows, in a fixed number of queries.

    Visits come in the order of time, a hundred at a time, after the visit `after`; a filter
    looks along the visits of this node only.

    Raises:
        NotRecorded: there is no such run, no such node in it, or no visit `after` of the node.
    """
    run = describe_run(run_id=run_id)
    node = (
        Node.objects.filter(run_id=run_id, node_id=node_id)
        .defer("config_json")
        .annotate(**reading("config_json", limit=CONFIG_LIMIT))
        .first()
    )
    if node is None:
        raise NotRecorded("node", node_id)
    config = excerpt(node, "config_json")
    assert config is not None  # the column is NOT NULL
    figures = read_traffic(run_id)
    here = node_traffic(figures, node_id)
    into, out_of = _edges(run_id, node_id, figures)
    named = _named(run_id, here)
    visits, next_after = _page(run_id, node_id, status, attempt, after)
    return NodeStory(
        run=run,
        node=node_facts(node),
        config=config,
        config_hash=node.config_hash,
        traffic=here,
        into=into,
        out_of=out_of,
        slowest=tuple(named[key] for key in (here.slowest if here else ()) if key in named),
        failures=tuple(
            ErrorClass(visits=count, example=named[key])
            for count, key in (here.failures if here else ())
            if key in named
        ),
        visits=visits,
        next_after=next_after,
    )


def _edges(
    run_id: str, node_id: str, figures: Mapping[str, Any] | None
) -> tuple[tuple[GraphEdge, ...], tuple[GraphEdge, ...]]:
    found = list(
        Edge.objects.filter(
            Q(from_node_id=node_id) | Q(to_node_id=node_id), run_id=run_id
        ).order_by("from_node_id", "label")[:EDGES_SHOWN]
    )
    ends = {end for edge in found for end in (edge.from_node_id, edge.to_node_id)}
    kinds = {node.node_id: node.kind for node in read_nodes(run_id, ends).values()}
    edges = [graph_edge(edge, kinds, figures) for edge in found]
    return (
        tuple(edge for edge in edges if edge.target == node_id),
        tuple(edge for edge in edges if edge.source == node_id),
    )


def _named(run_id: str, here: NodeTraffic | None) -> dict[str, NodeVisit]:
    named = {*here.slowest, *(key for _, key in here.failures)} if here else set()
    states = NodeState.objects.filter(run_id=run_id, state_id__in=named)
    return {visit.state_id: visit for visit in map(_visit, _readable(states))}


def _page(
    run_id: str, node_id: str, status: str | None, attempt: str | None, after: str | None
) -> tuple[tuple[NodeVisit, ...], str | None]:
    states = NodeState.objects.filter(run_id=run_id, node_id=node_id)
    if after is not None:
        anchor = states.filter(state_id=after).only("run_id", "state_id", "started_at").first()
        if anchor is None:
            raise NotRecorded("visit", after)
        states = states.filter(
            Q(started_at__gt=anchor.started_at)
            | Q(started_at=anchor.started_at, state_id__gt=anchor.state_id),
            started_at__gte=anchor.started_at,
        )
    if status is not None:
        states = states.filter(status=status)
    if attempt is not None:
        states = states.filter(attempt=0) if attempt == FIRST_ATTEMPT else states.exclude(attempt=0)
    ordered = states.order_by("run_id", "node_id", "started_at", "state_id")
    page = list(_readable(ordered)[: VISITS_A_PAGE + 1])
    more, page = len(page) > VISITS_A_PAGE, page[:VISITS_A_PAGE]
    return tuple(map(_visit, page)), page[-1].state_id if more else None


def _readable(states: Any) -> Any:
    return states.defer("context_before_json", "context_after_json", "error_json").annotate(
        **reading("error_json", limit=ERROR_LIMIT)
    )


def _visit(state: NodeState) -> NodeVisit:
    return NodeVisit(
        state_id=state.state_id,
        token_id=state.token_id,
        step=state.step_index,
        attempt=state.attempt + 1,
        status=state.status,
        started_at=state.started_at,
        completed_at=state.completed_at,
        duration_ms=state.duration_ms,
        error=excerpt(state, "error_json"),
        error_hash=state.error_hash,
    )
