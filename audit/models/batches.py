"""Aggregation batches: a lineage relation of their own, beside token ancestry."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from audit.models.fields import (
    ReasonedIndex,
    finite,
    id_field,
    instant_field,
    link,
    one_of,
    points_to,
    text_field,
    unique,
    word_field,
)
from audit.vocabulary import BatchStatus, OutputType, TriggerType


class Batch(models.Model):
    """Tokens gathered at an aggregation node until a trigger fired."""

    pk = models.CompositePrimaryKey("run_id", "batch_id")
    run_id = id_field()
    batch_id = id_field()
    aggregation_node_id = id_field()
    aggregation_state_id = id_field(null=True)
    trigger_reason = text_field(null=True)
    trigger_type = word_field(TriggerType, null=True)
    attempt = models.IntegerField()
    retry_of = id_field(null=True)
    status = word_field(BatchStatus)
    created_at = instant_field()
    completed_at = instant_field(null=True)
    aggregation_node = link(
        "audit.Node", "run_id", "aggregation_node_id", to_columns=("run_id", "node_id")
    )
    aggregation_state = link(
        "audit.NodeState",
        "run_id",
        "aggregation_state_id",
        to_columns=("run_id", "state_id"),
        null=True,
    )

    class Meta:
        db_table = "batches"
        constraints = [
            points_to(
                "nodes",
                "run_id",
                "aggregation_node_id",
                to_columns=("run_id", "node_id"),
                name="batches_node",
            ),
            points_to(
                "node_states",
                "run_id",
                "aggregation_state_id",
                to_columns=("run_id", "state_id"),
                name="batches_state",
            ),
            points_to(
                "batches",
                "run_id",
                "retry_of",
                to_columns=("run_id", "batch_id"),
                name="batches_retry_of",
            ),
            unique(
                "run_id",
                "retry_of",
                name="batches_retried_once",
                condition=Q(retry_of__isnull=False),
                reason="Two workers cannot both retry a failed batch.",
            ),
            one_of("trigger_type", TriggerType, name="batches_trigger_known"),
            one_of("status", BatchStatus, name="batches_status_known"),
            finite("created_at", "completed_at", name="batches_times_finite"),
        ]

    def __str__(self) -> str:
        return str(self.batch_id)


class BatchMember(models.Model):
    """A token waited in a batch, at this place."""

    pk = models.CompositePrimaryKey("run_id", "batch_id", "token_id")
    run_id = id_field()
    batch_id = id_field()
    token_id = id_field()
    ordinal = models.IntegerField()
    batch = link("audit.Batch", "run_id", "batch_id", back="members")
    token = link("audit.Token", "run_id", "token_id", back="memberships")

    class Meta:
        db_table = "batch_members"
        constraints = [
            points_to("batches", "run_id", "batch_id", name="batch_members_batch"),
            points_to("tokens", "run_id", "token_id", name="batch_members_token"),
            unique(
                "run_id",
                "batch_id",
                "ordinal",
                name="batch_members_one_per_ordinal",
                reason="The members of a batch have an order without ties.",
            ),
        ]
        indexes = [
            ReasonedIndex(
                fields=["run_id", "token_id"],
                name="batch_members_by_token",
                reason="The token page: which batches a token was in.",
            ),
        ]

    def __str__(self) -> str:
        return f"member {self.ordinal} of {self.batch_id}"


class BatchOutput(models.Model):
    """What a batch put out: a token or an artifact, named by `output_id`."""

    pk = models.CompositePrimaryKey("run_id", "batch_output_id")
    run_id = id_field()
    batch_output_id = id_field()
    batch_id = id_field()
    output_type = word_field(OutputType)
    output_id = id_field()
    batch = link("audit.Batch", "run_id", "batch_id", back="outputs")

    class Meta:
        db_table = "batch_outputs"
        constraints = [
            points_to("batches", "run_id", "batch_id", name="batch_outputs_batch"),
            unique(
                "run_id",
                "batch_id",
                "output_type",
                "output_id",
                name="batch_outputs_once",
                reason="An output is listed once per batch.",
            ),
            one_of("output_type", OutputType, name="batch_outputs_type_known"),
        ]
        indexes = [
            ReasonedIndex(
                fields=["run_id", "output_type", "output_id"],
                name="batch_outputs_by_output",
                reason="The lineage of a token: which batch it came out of.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.output_type} {self.output_id} of {self.batch_id}"
