"""What was refused: source rows that failed validation, rows that a transform rejected."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from audit.models.fields import (
    ReasonedIndex,
    RefIndex,
    finite,
    hash_field,
    id_field,
    instant_field,
    link,
    one_of,
    points_to,
    text_field,
    word_field,
)
from audit.vocabulary import SchemaMode


class ValidationError(models.Model):
    """A source record that failed validation, discarded or sent to a sink."""

    pk = models.CompositePrimaryKey("run_id", "error_id")
    run_id = id_field()
    error_id = id_field()
    node_id = id_field(null=True)
    # The very row that failed, where there is one; equal content is not the same row.
    row_id = id_field(null=True)
    row_hash = hash_field()
    # Inline in imported runs; ours keeps both as payloads, so that they can be erased.
    row_data_json = text_field(null=True)
    row_data_ref = text_field(null=True)
    error = text_field(null=True)
    error_hash = hash_field(null=True)
    error_ref = text_field(null=True)
    schema_mode = word_field(SchemaMode)
    destination = text_field()
    created_at = instant_field()
    violation_type = text_field(null=True)
    original_field_name = text_field(null=True)
    normalized_field_name = text_field(null=True)
    expected_type = text_field(null=True)
    actual_type = text_field(null=True)
    run = link("audit.Run", "run_id", back="validation_errors")
    node = link("audit.Node", "run_id", "node_id", null=True)
    row = link("audit.Row", "run_id", "row_id", null=True, back="validation_errors")

    class Meta:
        db_table = "validation_errors"
        constraints = [
            points_to("runs", "run_id", name="validation_errors_run"),
            points_to("nodes", "run_id", "node_id", name="validation_errors_node"),
            points_to("rows", "run_id", "row_id", name="validation_errors_row"),
            models.CheckConstraint(
                condition=Q(error__isnull=False) | Q(error_hash__isnull=False),
                name="validation_errors_say_why",
                violation_error_message="A refusal says why, inline or as a payload.",
            ),
            one_of("schema_mode", SchemaMode, name="validation_errors_mode_known"),
            finite("created_at", name="validation_errors_times_finite"),
        ]
        indexes = [
            RefIndex("row_data_ref", name="validation_errors_row_ref"),
            RefIndex("error_ref", name="validation_errors_error_ref"),
            ReasonedIndex(
                fields=["run_id", "row_hash"],
                name="validation_errors_by_hash",
                reason="The row page: errors of rows with the same content.",
            ),
            ReasonedIndex(
                fields=["run_id", "row_id"],
                name="validation_errors_by_row",
                reason="The row page: errors of this very row.",
            ),
        ]

    def __str__(self) -> str:
        return str(self.error_id)


class TransformError(models.Model):
    """A row that a transform rejected; `transform_id` is the id of the node."""

    pk = models.CompositePrimaryKey("run_id", "error_id")
    run_id = id_field()
    error_id = id_field()
    token_id = id_field()
    transform_id = id_field()
    # The attempt that rejected it; null in what was imported.
    state_id = id_field(null=True)
    row_hash = hash_field()
    # Inline in imported runs; ours keeps both as payloads, so that they can be erased.
    row_data_json = text_field(null=True)
    row_data_ref = text_field(null=True)
    error_details_json = text_field(null=True)
    error_details_hash = hash_field(null=True)
    error_details_ref = text_field(null=True)
    destination = text_field()
    created_at = instant_field()
    token = link("audit.Token", "run_id", "token_id", back="transform_errors")
    node = link("audit.Node", "run_id", "transform_id", to_columns=("run_id", "node_id"))
    state = link("audit.NodeState", "run_id", "state_id", null=True)

    class Meta:
        db_table = "transform_errors"
        constraints = [
            points_to("tokens", "run_id", "token_id", name="transform_errors_token"),
            points_to(
                "nodes",
                "run_id",
                "transform_id",
                to_columns=("run_id", "node_id"),
                name="transform_errors_node",
            ),
            points_to("node_states", "run_id", "state_id", name="transform_errors_state"),
            finite("created_at", name="transform_errors_times_finite"),
        ]
        indexes = [
            RefIndex("row_data_ref", name="transform_errors_row_ref"),
            RefIndex("error_details_ref", name="transform_errors_details_ref"),
            ReasonedIndex(
                fields=["run_id", "token_id"],
                name="transform_errors_by_token",
                reason="The token page: what was rejected and why.",
            ),
        ]

    def __str__(self) -> str:
        return str(self.error_id)
