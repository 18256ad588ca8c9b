"""The run graph as a picture: what lineage counted, where drawing placed it, how warm it is."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from audit import lineage
from audit.drawing import layout
from audit.views.doors import choice, page
from audit.views.keys import below

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from audit.lineage import GraphEdge, GraphNode, RunGraph
    from audit.lineage.graphs import NodeTraffic

HEATS = ("errors", "retries", "p95", "count")

# What is written on an edge: its label, as far as this, and a count with its commas.
LABEL_LENGTH = 16
_COUNT_LENGTH = 7
_CHARACTER = 6.4

_WIDEST = 6.0
_ABOVE = 17
_SHEET = (480, 64)
# From these shares on a node is warm, and hot: of its visits, or of the most that any node has.
_OF_VISITS = (0.0, 0.005)
_OF_THE_MOST = (0.1, 0.5)


@dataclass(frozen=True, kw_only=True)
class DrawnNode:
    """A node at its upper left corner; `tint` is a class, empty where nothing is warm."""

    shown: GraphNode
    href: str
    x: float
    y: float
    tint: str

    @property
    def top(self) -> float:
        """Where its first line of text begins."""
        return self.y - _ABOVE


@dataclass(frozen=True, kw_only=True)
class DrawnEdge:
    """An edge: the `d` of its path, its width, and the box of its label."""

    edge: GraphEdge
    path: str
    width: float
    x: float
    y: float
    room: int


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Everything that the template prints. `refused` says why there is no drawing, if so."""

    graph: RunGraph
    heat: str
    lines: tuple[tuple[str, GraphNode], ...]
    refused: str
    width: float = 0
    height: float = 0
    nodes: tuple[DrawnNode, ...] = ()
    edges: tuple[DrawnEdge, ...] = ()

    @property
    def sheet_width(self) -> float:
        """Of a file: as wide as the drawing, and as its title needs."""
        return max(self.width, _SHEET[0])

    @property
    def sheet_height(self) -> float:
        """Of a file: the drawing under three lines of title."""
        return self.height + _SHEET[1] + 24


def picture_of(graph: RunGraph, *, run_id: str, heat: str, site: str = "") -> Picture:
    """Draw a graph; links begin with `site`. Costs no query, and Graphviz once per pipeline."""
    here = site + reverse("audit:run", kwargs={"run_id": run_id}) + "nodes/"
    lines = tuple((below(here, one.node.node_id), one) for one in graph.nodes)
    told = Picture(graph=graph, heat=heat, lines=lines, refused="")
    if graph.nodes_cut or graph.edges_cut:
        return _without(told, "it has more nodes or edges than this page reads")
    places = {one.node.node_id: at for at, one in enumerate(graph.nodes)}
    rooms = [_room(edge) for edge in graph.edges]
    try:
        placed = layout.place(
            nodes=len(graph.nodes),
            edges=[
                (places[edge.source], places[edge.target], room)
                for edge, room in zip(graph.edges, rooms, strict=True)
            ],
        )
    except layout.NotDrawnError as error:
        return _without(told, str(error))
    most = {name: _most(graph, name) for name in ("p95", "count")}
    return Picture(
        graph=graph,
        heat=heat,
        lines=lines,
        refused="",
        width=placed.width,
        height=placed.height,
        nodes=tuple(
            DrawnNode(shown=one, href=href, x=x, y=y, tint=_tint(one.traffic, heat, most))
            for (href, one), (x, y) in zip(lines, placed.boxes, strict=True)
        ),
        edges=tuple(
            DrawnEdge(
                edge=edge,
                path=line.path,
                width=_width(edge.tokens),
                x=round(line.label[0] - room / 2, 1),
                y=round(line.label[1] - 9, 1),
                room=room,
            )
            for edge, line, room in zip(graph.edges, placed.lines, rooms, strict=True)
        ),
    )


@page("heat")
def dag(request: HttpRequest, run_id: str) -> HttpResponse:
    """The run graph as a file of its own: it opens without this server, links lead back here."""
    run, graph = lineage.explain_graph(run_id=run_id)
    site = request.build_absolute_uri("/").rstrip("/")
    heat = choice(request, "heat", HEATS) or HEATS[0]
    context = {
        "run": run,
        "picture": picture_of(graph, run_id=run_id, heat=heat, site=site),
        "address": site + reverse("audit:run", kwargs={"run_id": run_id}),
        "now": timezone.now(),
    }
    answer = render(
        request, "audit/graphs/dag_file.svg", context, content_type="image/svg+xml; charset=utf-8"
    )
    answer["Content-Disposition"] = 'attachment; filename="dag.svg"'
    return answer


def _without(told: Picture, reason: str) -> Picture:
    return Picture(graph=told.graph, heat=told.heat, lines=told.lines, refused=reason)


def _room(edge: GraphEdge) -> int:
    # The room must not depend on what was counted: the layout is the pipeline's, not the run's.
    label = "" if edge.is_plain else edge.label[:LABEL_LENGTH] + " "
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in label)
    return math.ceil((len(label) + wide + _COUNT_LENGTH) * _CHARACTER)


def _width(tokens: int | None) -> float:
    return min(_WIDEST, round(1 + math.log10((tokens or 0) + 1), 2))


def _most(graph: RunGraph, name: str) -> float:
    return max((_warmth(one.traffic, name) for one in graph.nodes if one.traffic), default=0)


def _warmth(traffic: NodeTraffic, heat: str) -> float:
    if heat == "p95":
        return traffic.p95_ms or 0
    if heat == "count":
        return traffic.visits
    return (traffic.failed if heat == "errors" else traffic.retried) / (traffic.visits or 1)


def _tint(traffic: NodeTraffic | None, heat: str, most: dict[str, float]) -> str:
    if traffic is None:
        return ""
    warmth = _warmth(traffic, heat) / (most.get(heat, 1) or 1)
    warm, hot = _OF_THE_MOST if heat in most else _OF_VISITS
    if not warmth or warmth < warm:
        return ""
    return "heat-2" if warmth >= hot else "heat-1"
