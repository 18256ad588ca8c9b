"""The pipeline of a run: nodes and edges, registered before anything travels along them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from audit.canonical import sha256
from audit.models import Edge, Node
from audit.recorder import contents, reading
from audit.recorder.writing import add, new_id, word
from audit.vocabulary import Determinism, NodeType, RoutingMode, SchemaMode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

_ID_DIGITS = 12


def register_node(
    *,
    run_id: str,
    plugin_name: str,
    node_type: NodeType | str,
    plugin_version: str,
    determinism: Determinism | str,
    sequence: int,
    config: Mapping[str, Any],
    at: datetime,
    node_id: str | None = None,
    schema_mode: SchemaMode | str | None = None,
    schema_fields: Sequence[Mapping[str, Any]] | None = None,
) -> Node:
    """Register one plugin of the pipeline, with the options it really runs with.

    Without `node_id`, one is made of type, name, place and configuration, so that a resumed run
    finds its nodes again.

    Raises:
        NotRecorded, RunEnded: no such run, or it has ended.
        ConflictingRecord: the id is on record with other content.
        ValueRefused: an unknown word, a config without canonical form, a text too long.
    """
    text = contents.inline(dict(config), name="config") or ""
    digest = sha256(text.encode())
    kind = word(NodeType, node_type, "node_type")
    made = f"{kind}_{plugin_name}"[:40] + f"_{sequence}_{digest[:_ID_DIGITS]}"
    node, _new = add(
        Node,
        {
            "run_id": run_id,
            "node_id": node_id or made,
            "plugin_name": plugin_name,
            "node_type": kind,
            "plugin_version": plugin_version,
            "determinism": word(Determinism, determinism, "determinism"),
            "config_hash": digest,
            "config_json": text,
            "sequence_in_pipeline": sequence,
            "registered_at": at,
            "schema_mode": schema_mode and word(SchemaMode, schema_mode, "schema_mode"),
            "schema_fields_json": contents.inline(
                schema_fields and list(schema_fields), name="schema_fields"
            ),
        },
        kind="node",
    )
    return node


def register_edge(
    *,
    run_id: str,
    from_node_id: str,
    to_node_id: str,
    label: str,
    mode: RoutingMode | str,
    at: datetime,
    edge_id: str | None = None,
) -> Edge:
    """Register one connection under a label that is unique among the edges leaving its node.

    Raises:
        NotRecorded, RunMismatch: a node is not there, or is another run's.
        RunEnded: the run has ended.
        AlreadyRecorded: the label is taken.
        ConflictingRecord: the id is on record with other content.
    """
    edge, _new = add(
        Edge,
        {
            "run_id": run_id,
            "edge_id": edge_id or new_id(at),
            "from_node_id": from_node_id,
            "to_node_id": to_node_id,
            "label": label,
            "default_mode": word(RoutingMode, mode, "mode"),
            "created_at": at,
        },
        kind="edge",
    )
    return edge


def get_node(*, run_id: str, node_id: str) -> Node:
    """One node; its id means nothing without its run.

    Raises:
        NotRecorded, RunMismatch: it is not there, or only in another run.
    """
    return reading.one(Node, run_id=run_id, key=node_id)


def get_nodes(*, run_id: str) -> list[Node]:
    """Every node, in the order of the pipeline.

    Raises:
        NotRecorded: there is no such run.
    """
    reading.require_run(run_id)
    nodes = Node.objects.filter(run_id=run_id)
    return list(nodes.order_by("sequence_in_pipeline", "registered_at", "node_id"))


def get_edges(*, run_id: str) -> list[Edge]:
    """Every edge, by the node it leaves and its label.

    Raises:
        NotRecorded: there is no such run.
    """
    reading.require_run(run_id)
    return list(Edge.objects.filter(run_id=run_id).order_by("from_node_id", "label"))


def get_edge_map(*, run_id: str) -> dict[tuple[str, str], str]:
    """The id of each edge by the node it leaves and its label.

    Raises:
        NotRecorded: there is no such run.
    """
    return {(edge.from_node_id, edge.label): edge.edge_id for edge in get_edges(run_id=run_id)}
