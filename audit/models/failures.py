"""What was refused: source rows that failed validation, rows that a transform rejected."""

from __future__ import annotations

from django.db import models

from audit.models.fields import (
    ReasonedIndex,
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
    row_hash = hash_field()
    row_data_json = text_field(null=True)
    error = text_field()
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

    class Meta:
        db_table = "validation_errors"
        constraints = [
            points_to("runs", "run_id", name="validation_errors_run"),
            points_to("nodes", "run_id", "node_id", name="validation_errors_node"),
            one_of("schema_mode", SchemaMode, name="validation_errors_mode_known"),
            finite("created_at", name="validation_errors_times_finite"),
        ]
        indexes = [
            ReasonedIndex(
                fields=["run_id", "row_hash"],
                name="validation_errors_by_hash",
                reason="The row page: errors of rows with the same content.",
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
    row_hash = hash_field()
    row_data_json = text_field(null=True)
    error_details_json = text_field(null=True)
    destination = text_field()
    created_at = instant_field()
    token = link("audit.Token", "run_id", "token_id", back="transform_errors")
    node = link("audit.Node", "run_id", "transform_id", to_columns=("run_id", "node_id"))

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
            finite("created_at", name="transform_errors_times_finite"),
        ]
        indexes = [
            ReasonedIndex(
                fields=["run_id", "token_id"],
                name="transform_errors_by_token",
                reason="The token page: what was rejected and why.",
            ),
        ]

    def __str__(self) -> str:
        return str(self.error_id)
