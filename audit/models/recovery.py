"""Checkpoints: durable marks from which a failed run can go on."""

from __future__ import annotations

from django.db import models

from audit.models.fields import (
    ReasonedIndex,
    finite,
    hash_field,
    id_field,
    instant_field,
    link,
    points_to,
    text_field,
)


class Checkpoint(models.Model):
    """The last token durably written, and what the pipeline looked like then."""

    pk = models.CompositePrimaryKey("run_id", "checkpoint_id")
    run_id = id_field()
    checkpoint_id = id_field()
    token_id = id_field()
    node_id = id_field()
    sequence_number = models.IntegerField()
    aggregation_state_json = text_field(null=True)
    created_at = instant_field()
    upstream_topology_hash = hash_field()
    checkpoint_node_config_hash = hash_field()
    format_version = models.IntegerField(null=True)
    token = link("audit.Token", "run_id", "token_id")
    node = link("audit.Node", "run_id", "node_id")

    class Meta:
        db_table = "checkpoints"
        constraints = [
            points_to("tokens", "run_id", "token_id", name="checkpoints_token"),
            points_to("nodes", "run_id", "node_id", name="checkpoints_node"),
            finite("created_at", name="checkpoints_times_finite"),
        ]
        indexes = [
            ReasonedIndex(
                fields=["run_id", "sequence_number"],
                name="checkpoints_by_sequence",
                reason="The newest checkpoint of a run.",
            ),
        ]

    def __str__(self) -> str:
        return f"checkpoint {self.sequence_number} of {self.run_id}"
