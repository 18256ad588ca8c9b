"""The columns of a pipeline: how far each node is from the source, over its edges."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import connection

from audit.lineage.closure_facts import PlacedNode
from audit.lineage.nodes import node_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NODES_READ = 2_000
EDGES_READ = 20_000

_PIPELINE = """
SELECT n.node_id, n.node_type, n.plugin_name, n.plugin_version, n.determinism,
       n.sequence_in_pipeline,
       (SELECT json_agg(json_build_array(e.edge_id, e.label, e.to_node_id) ORDER BY e.edge_id)
        FROM (SELECT * FROM edges WHERE run_id = n.run_id AND from_node_id = n.node_id
              ORDER BY label LIMIT %(edges)s) e)::text
FROM nodes n WHERE n.run_id = %(run)s
ORDER BY n.sequence_in_pipeline, n.node_id LIMIT %(nodes)s
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pipeline:
    """Nodes with their columns, edges as (edge id, label), and the nodes that have edges."""

    nodes: Mapping[str, PlacedNode]
    edges: tuple[tuple[str, str], ...]
    choosing: tuple[str, ...]
    cut: bool


def read_pipeline(*, run_id: str) -> Pipeline:
    """The pipeline of a run, each node in its column. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_PIPELINE, {"run": run_id, "nodes": NODES_READ + 1, "edges": EDGES_READ})
        found = cursor.fetchall()
    cut, found = len(found) > NODES_READ, found[:NODES_READ]
    leaving = {row[0]: json.loads(row[6]) if row[6] else [] for row in found}
    targets = {
        node: [to for _edge, _label, to in edges if to in leaving]
        for node, edges in leaving.items()
    }
    layer_of = layers({row[0]: row[5] for row in found}, targets)
    return Pipeline(
        nodes={
            row[0]: PlacedNode(
                node_id=row[0],
                name=node_name(row[0]),
                kind=row[1],
                plugin=row[2],
                version=row[3],
                determinism=row[4],
                layer=layer_of[row[0]],
            )
            for row in found
        },
        edges=tuple((edge, label) for edges in leaving.values() for edge, label, _to in edges),
        choosing=tuple(node for node, edges in leaving.items() if edges),
        cut=cut,
    )


def layers(
    sequences: Mapping[str, int | None], targets: Mapping[str, Sequence[str]]
) -> dict[str, int]:
    """The longest way to each node. Nodes on a cycle, or without edges, go by their sequence."""
    waiting: dict[str, int] = defaultdict(int)
    for node in sequences:
        for target in targets.get(node, ()):
            waiting[target] += 1
    joined = {node for node in sequences if targets.get(node) or waiting[node]}
    placed = {
        node: 0 if node in joined else (sequence or 0) for node, sequence in sequences.items()
    }
    free = [node for node in sequences if node in joined and not waiting[node]]
    done = set()
    while free:
        node = free.pop()
        done.add(node)
        for target in targets.get(node, ()):
            placed[target] = max(placed[target], placed[node] + 1)
            waiting[target] -= 1
            if not waiting[target]:
                free.append(target)
    for node in joined - done:
        placed[node] = max(placed[node], sequences[node] or 0)
    return placed
