"""The pipeline of a run: nodes and the edges between them."""

from __future__ import annotations

from django.db import models

from audit.models.fields import (
    finite,
    hash_field,
    id_field,
    instant_field,
    link,
    one_of,
    points_to,
    text_field,
    unique,
    word_field,
)
from audit.vocabulary import Determinism, NodeType, RoutingMode, SchemaMode


class Node(models.Model):
    """One plugin instance in a run's pipeline.

    `node_id` is derived from configuration and recurs from run to run: it means nothing
    without its run.
    """

    pk = models.CompositePrimaryKey("run_id", "node_id")
    run_id = id_field()
    node_id = id_field()
    plugin_name = text_field()
    node_type = word_field(NodeType)
    plugin_version = text_field()
    determinism = word_field(Determinism)
    config_hash = hash_field()
    config_json = text_field()
    schema_hash = hash_field(null=True)
    sequence_in_pipeline = models.IntegerField(null=True)
    registered_at = instant_field()
    schema_mode = word_field(SchemaMode, null=True)
    schema_fields_json = text_field(null=True)
    input_contract_json = text_field(null=True)
    output_contract_json = text_field(null=True)
    run = link("audit.Run", "run_id", back="nodes")

    class Meta:
        db_table = "nodes"
        constraints = [
            points_to("runs", "run_id", name="nodes_run"),
            one_of("node_type", NodeType, name="nodes_type_known"),
            one_of("determinism", Determinism, name="nodes_determinism_known"),
            one_of("schema_mode", SchemaMode, name="nodes_schema_mode_known"),
            finite("registered_at", name="nodes_times_finite"),
        ]

    def __str__(self) -> str:
        return str(self.node_id)


class Edge(models.Model):
    """A directed connection between two nodes, under a label unique per node it leaves."""

    pk = models.CompositePrimaryKey("run_id", "edge_id")
    run_id = id_field()
    edge_id = id_field()
    from_node_id = id_field()
    to_node_id = id_field()
    label = text_field()
    default_mode = word_field(RoutingMode)
    created_at = instant_field()
    run = link("audit.Run", "run_id", back="edges")
    from_node = link("audit.Node", "run_id", "from_node_id", to_columns=("run_id", "node_id"))
    to_node = link("audit.Node", "run_id", "to_node_id", to_columns=("run_id", "node_id"))

    class Meta:
        db_table = "edges"
        constraints = [
            points_to("runs", "run_id", name="edges_run"),
            points_to(
                "nodes",
                "run_id",
                "from_node_id",
                to_columns=("run_id", "node_id"),
                name="edges_from_node",
            ),
            points_to(
                "nodes",
                "run_id",
                "to_node_id",
                to_columns=("run_id", "node_id"),
                name="edges_to_node",
            ),
            unique(
                "run_id",
                "from_node_id",
                "label",
                name="edges_one_per_label",
                reason="A label names one edge out of a node: no decision is ambiguous.",
            ),
            one_of("default_mode", RoutingMode, name="edges_mode_known"),
            finite("created_at", name="edges_times_finite"),
        ]

    def __str__(self) -> str:
        return f"{self.from_node_id} -{self.label}-> {self.to_node_id}"
