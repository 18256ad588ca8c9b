"""Payloads: one row per blob, whoever refers to it."""

from __future__ import annotations

from django.db import models

from audit.models.fields import ReasonedIndex, finite, instant_field, none_null, one_of, word_field
from audit.vocabulary import PayloadState


class Payload(models.Model):
    """What is known of the bytes behind a reference: they outlive no policy, this row does.

    A reference without a row here was never looked for.
    """

    content_hash = models.CharField(max_length=64, primary_key=True, db_collation="C")
    state = word_field(PayloadState)
    size_bytes = models.BigIntegerField(null=True)
    # When it was last recorded; later than `purged_at` where it came back after a purge.
    recorded_at = instant_field()
    purged_at = instant_field(null=True)
    purge_plan_id = models.BigIntegerField(null=True)

    class Meta:
        db_table = "payloads"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(content_hash__regex=r"^[0-9a-f]{64}$"),
                name="payloads_hash_shape",
                violation_error_message="A payload is named by its SHA-256 and nothing else.",
            ),
            one_of("state", PayloadState, name="payloads_state_known"),
            models.CheckConstraint(
                condition=~models.Q(state=PayloadState.AVAILABLE)
                | models.Q(size_bytes__isnull=False),
                name="payloads_available_has_size",
                violation_error_message="Bytes that are there have a size.",
            ),
            models.CheckConstraint(
                condition=~models.Q(state=PayloadState.PURGED)
                | none_null(["purged_at", "purge_plan_id"]),
                name="payloads_purged_by_a_plan",
                violation_error_message="What was purged says when, and under which plan.",
            ),
            finite("recorded_at", "purged_at", name="payloads_times_finite"),
        ]
        indexes = [
            ReasonedIndex(
                fields=["state", "content_hash"],
                name="payloads_not_available",
                # What is there is most of it: recording writes no second index.
                condition=~models.Q(state=PayloadState.AVAILABLE),
                reason="The desk's list of payloads by state: what is not there is rare.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.content_hash} ({self.state})"
