"""Figures about a run that would need a scan: computed once, kept beside it."""

from __future__ import annotations

from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

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

# What a summary holds and by which rules it is counted; one of an older version is out of date.
SUMMARY_VERSION = 5


class RunSummaryQuerySet(models.QuerySet["RunSummary"]):
    """Ways to select summaries."""

    def current(self) -> Self:
        """Those that tell of their run as it is: one that went on since has to be counted again."""
        return self.filter(
            Q(run_completed_at=F("run__completed_at"))
            | Q(run_completed_at__isnull=True, run__completed_at__isnull=True),
            run_status=F("run__status"),
            version=SUMMARY_VERSION,
        )


class RunSummary(models.Model):
    """What the run pages count. Derived: it can be thrown away and computed again."""

    run_id = models.CharField(max_length=64, primary_key=True, db_collation="C")
    # The name that the settings give it, if they do, on a line above the chain of its nodes.
    pipeline = text_field()
    rows = models.BigIntegerField()
    tokens = models.BigIntegerField()
    states = models.BigIntegerField()
    calls = models.BigIntegerField()
    errors = models.BigIntegerField()
    # How many tokens ended by each outcome; "" counts those without any.
    outcomes_json = text_field()
    # By node: visits, completed, failed, open or pending, retries.
    nodes_json = text_field()
    # What came in and what came of it: rows, tokens, and tokens by node.
    ledger_json = text_field()
    # What the run graph says of nodes and edges: `traffic.measure`.
    graph_json = text_field()
    # Errors by class, each with the key of an example: `error_classes.count`. No error's words.
    errors_json = text_field()
    journeys = models.BigIntegerField()
    rows_alone = models.BigIntegerField()
    unaccounted = models.BigIntegerField()
    unconfirmed = models.BigIntegerField()
    # What the run was when it was counted: figures of a run that went on are out of date.
    run_status = models.CharField(max_length=32)
    run_completed_at = instant_field(null=True)
    version = models.SmallIntegerField()
    computed_at = instant_field()
    run = link("audit.Run", "run_id", back="summary")

    objects = RunSummaryQuerySet.as_manager()

    class Meta:
        db_table = "run_summaries"
        constraints = [
            points_to("runs", "run_id", name="run_summaries_run"),
            finite("computed_at", name="run_summaries_times_finite"),
        ]

    def __str__(self) -> str:
        return f"figures of {self.run_id}"


class RunJourney(models.Model):
    """One of the distinct paths that rows of a run took, with how many took it.

    Derived like the summary, and written with it. The most frequent and the rarest are kept.
    """

    pk = models.CompositePrimaryKey("run_id", "journey_id")
    run_id = id_field()
    journey_id = hash_field()
    # What became of its rows; equal for all of them.
    standing = models.CharField(max_length=32)
    rows = models.BigIntegerField()
    first_index = models.BigIntegerField()
    retried = models.BooleanField()
    nodes = ArrayField(models.CharField(max_length=64, db_collation="C"))
    outcomes = ArrayField(models.CharField(max_length=32))
    p50_ms = models.FloatField(null=True)
    p95_ms = models.FloatField(null=True)
    paths_json = text_field()
    paths_total = models.BigIntegerField()
    # The first rows that took it, as (index, id).
    examples_json = text_field()
    run = link("audit.Run", "run_id", back="kept_journeys")

    class Meta:
        db_table = "run_journeys"
        constraints = [points_to("runs", "run_id", name="run_journeys_run")]
        indexes = [
            ReasonedIndex(
                fields=["run_id", "rows", "first_index"],
                name="run_journeys_by_rows",
                reason="The journeys page: the most frequent or the rarest first, page by page.",
            ),
        ]

    def __str__(self) -> str:
        return f"journey {self.journey_id:.12} of {self.run_id}"
