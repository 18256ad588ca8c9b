"""One graph through Graphviz, in a process of its own: JSON in, JSON out.

Run as a script by `layout`. Graphviz is C, works on one graph at a time, and may take minutes
for a tangled one: here it can be stopped, and can crash, without anybody else. It sees numbers
only; no name that somebody recorded reaches it.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

import pygraphviz

_POINTS_AN_INCH = 72
_MEMORY = 1 << 30
_LABEL_HEIGHT = 14

_GRAPH = {"rankdir": "LR", "nodesep": "0.15", "ranksep": "0.3", "splines": "spline"}
_EDGE = {"arrowhead": "none", "tailport": "e", "headport": "w"}


def place(box: list[float], nodes: int, edges: list[list[int]]) -> dict[str, Any]:
    """Positions of the nodes' centres and of the edges' curves, from the lower left corner."""
    width, height = (str(side / _POINTS_AN_INCH) for side in box)
    graph = pygraphviz.AGraph(directed=True, strict=False)
    graph.graph_attr.update(_GRAPH)
    graph.node_attr.update(shape="box", fixedsize="true", width=width, height=height, label="")
    graph.edge_attr.update(_EDGE)
    for place in range(nodes):
        graph.add_node(place)
    for key, (source, target, room) in enumerate(edges):
        graph.add_edge(source, target, key=key, label=_label(room))
    graph.layout(prog="dot")
    lines = []
    for key, (source, target, _) in enumerate(edges):
        found = graph.get_edge(source, target, key=key).attr
        lines.append({"curve": _points(found["pos"]), "label": _points(found["lp"])[0]})
    return {
        "size": [float(side) for side in graph.graph_attr["bb"].split(",")[2:]],
        "centres": [_points(graph.get_node(place).attr["pos"])[0] for place in range(nodes)],
        "lines": lines,
    }


def _label(room: int) -> str:
    # An empty table of fixed size: room for a label without asking any font.
    return (
        f'<<table border="0" fixedsize="true" width="{room}" height="{_LABEL_HEIGHT}">'
        "<tr><td></td></tr></table>>"
    )


def _points(text: str) -> list[list[float]]:
    return [[float(part) for part in point.split(",")] for point in text.split()]


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    json.dump(place(**json.load(sys.stdin)), sys.stdout)
