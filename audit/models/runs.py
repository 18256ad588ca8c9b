"""Runs: one execution of one resolved configuration."""

from __future__ import annotations

from typing import Self

from django.apps import apps
from django.db import models
from django.db.models import Exists, OuterRef, Q

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
from audit.vocabulary import ExportStatus, ReproducibilityGrade, RunEventKind, RunMode, RunStatus


class RunQuerySet(models.QuerySet["Run"]):
    """Ways to select runs."""

    def listed(self) -> Self:
        """Those that nobody has hidden: what lists show. A run's own page is not a list."""
        # By name: the table stands in a module beside this one.
        hidden = apps.get_model("audit", "RunHiding").objects.filter(
            run_id=OuterRef("run_id"), restored_at__isnull=True
        )
        return self.filter(~Exists(hidden))

    def newest_first(self) -> Self:
        """Newest start first; the id breaks ties, so a page boundary is never ambiguous."""
        return self.order_by("-started_at", "-run_id")

    def older_than(self, started_at: object, run_id: str) -> Self:
        """What follows the given run in `newest_first`; answered by `runs_by_start`."""
        return self.filter(
            Q(started_at__lt=started_at) | Q(started_at=started_at, run_id__lt=run_id)
        )


class Run(models.Model):
    """One execution of one resolved configuration: the root of everything recorded.

    `settings_json` is what was hashed into `config_hash`; it is never parsed to be stored again.
    """

    run_id = models.CharField(max_length=64, primary_key=True, db_collation="C")
    started_at = instant_field()
    completed_at = instant_field(null=True)
    config_hash = hash_field()
    settings_json = text_field()
    reproducibility_grade = word_field(ReproducibilityGrade, null=True)
    canonical_version = text_field()
    source_schema_json = text_field(null=True)
    source_field_resolution_json = text_field(null=True)
    status = word_field(RunStatus)
    export_status = word_field(ExportStatus, null=True)
    export_error = text_field(null=True)
    exported_at = instant_field(null=True)
    export_format = text_field(null=True)
    export_sink = text_field(null=True)
    schema_contract_json = text_field(null=True)
    schema_contract_hash = hash_field(null=True)
    # Ours only: null in what was imported.
    run_mode = word_field(RunMode, null=True)
    replay_source_run_id = id_field(null=True)
    recorder_version = text_field(null=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        db_table = "runs"
        constraints = [
            one_of("status", RunStatus, name="runs_status_known"),
            one_of("run_mode", RunMode, name="runs_mode_known"),
            one_of("export_status", ExportStatus, name="runs_export_status_known"),
            one_of("reproducibility_grade", ReproducibilityGrade, name="runs_grade_known"),
            finite("started_at", "completed_at", "exported_at", name="runs_times_finite"),
        ]
        indexes = [
            ReasonedIndex(
                fields=["-started_at", "-run_id"],
                name="runs_by_start",
                reason="The list of runs, newest first, page by page.",
            ),
        ]

    def __str__(self) -> str:
        return self.run_id


class RunEvent(models.Model):
    """Something that happened to a run as a whole after it began.

    The run's own row keeps only the last state; this is the history: resumes, changes of
    status, checkpoints released.
    """

    pk = models.CompositePrimaryKey("run_id", "event_id")
    run_id = id_field()
    event_id = id_field()
    kind = word_field(RunEventKind)
    recorded_at = instant_field()
    detail_json = text_field(null=True)
    run = link("audit.Run", "run_id", back="events")

    class Meta:
        db_table = "run_events"
        constraints = [
            points_to("runs", "run_id", name="run_events_run"),
            one_of("kind", RunEventKind, name="run_events_kind_known"),
            finite("recorded_at", name="run_events_times_finite"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.run_id}"


class SecretResolution(models.Model):
    """Where a secret came from, by fingerprint; never the secret."""

    pk = models.CompositePrimaryKey("run_id", "resolution_id")
    run_id = id_field()
    resolution_id = id_field()
    # Seconds since 1970 as a float, and this name: both are the original's.
    timestamp = models.FloatField()
    env_var_name = text_field()
    source = text_field()
    vault_url = text_field(null=True)
    secret_name = text_field(null=True)
    fingerprint = hash_field()
    resolution_latency_ms = models.FloatField(null=True)
    run = link("audit.Run", "run_id", back="secret_resolutions")

    class Meta:
        db_table = "secret_resolutions"
        constraints = [points_to("runs", "run_id", name="secret_resolutions_run")]

    def __str__(self) -> str:
        return str(self.env_var_name)
