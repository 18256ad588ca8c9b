"""What a sink produced, and which tokens are in it."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from audit.models.fields import (
    ReasonedIndex,
    finite,
    hash_field,
    id_field,
    instant_field,
    link,
    points_to,
    text_field,
    unique,
)


class Artifact(models.Model):
    """The recorded result of one sink write: a file, a database table, a webhook."""

    pk = models.CompositePrimaryKey("run_id", "artifact_id")
    run_id = id_field()
    artifact_id = id_field()
    produced_by_state_id = id_field()
    sink_node_id = id_field()
    artifact_type = text_field()
    path_or_uri = text_field()
    content_hash = hash_field()
    size_bytes = models.BigIntegerField()
    idempotency_key = text_field(null=True)
    created_at = instant_field()
    produced_by = link(
        "audit.NodeState",
        "run_id",
        "produced_by_state_id",
        to_columns=("run_id", "state_id"),
    )
    sink_node = link("audit.Node", "run_id", "sink_node_id", to_columns=("run_id", "node_id"))

    class Meta:
        db_table = "artifacts"
        constraints = [
            points_to(
                "node_states",
                "run_id",
                "produced_by_state_id",
                to_columns=("run_id", "state_id"),
                name="artifacts_state",
            ),
            points_to(
                "nodes",
                "run_id",
                "sink_node_id",
                to_columns=("run_id", "node_id"),
                name="artifacts_sink_node",
            ),
            unique(
                "run_id",
                "idempotency_key",
                name="artifacts_once_per_key",
                condition=Q(idempotency_key__isnull=False),
                reason="A sink write that is told twice is recorded once.",
            ),
            finite("created_at", name="artifacts_times_finite"),
        ]

    def __str__(self) -> str:
        return str(self.path_or_uri)


class ArtifactMember(models.Model):
    """A token was part of a sink write.

    The original links an artifact to the first token only; the rest is inferred at import
    from the sink states that share one duration, and marked so.
    """

    pk = models.CompositePrimaryKey("run_id", "artifact_id", "token_id")
    run_id = id_field()
    artifact_id = id_field()
    token_id = id_field()
    state_id = id_field()
    ordinal = models.IntegerField()
    inferred = models.BooleanField()
    artifact = link("audit.Artifact", "run_id", "artifact_id", back="members")
    token = link("audit.Token", "run_id", "token_id", back="artifact_links")
    state = link("audit.NodeState", "run_id", "state_id")

    class Meta:
        db_table = "artifact_members"
        constraints = [
            points_to("artifacts", "run_id", "artifact_id", name="artifact_members_artifact"),
            points_to("tokens", "run_id", "token_id", name="artifact_members_token"),
            points_to("node_states", "run_id", "state_id", name="artifact_members_state"),
            unique(
                "run_id",
                "artifact_id",
                "ordinal",
                name="artifact_members_one_per_ordinal",
                reason="The members of an artifact have an order without ties.",
            ),
        ]
        indexes = [
            ReasonedIndex(
                fields=["run_id", "token_id"],
                name="artifact_members_by_token",
                reason="The token page: which outputs a token is in.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.token_id} in {self.artifact_id}"
