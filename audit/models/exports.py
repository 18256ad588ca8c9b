"""Exports that somebody asked for: what was asked, how far it is, and what came of it."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from audit.models.fields import (
    ReasonedIndex,
    finite,
    hash_field,
    id_field,
    instant_field,
    link,
    none_null,
    one_of,
    points_to,
    text_field,
    unique,
    word_field,
)
from audit.vocabulary import ExportJobStatus, ExportStep

MOST_ATTEMPTS = 5

# Somebody may still produce it.
LIVE = (
    ExportJobStatus.REQUESTED,
    ExportJobStatus.RUNNING,
    ExportJobStatus.PUBLISHING,
    ExportJobStatus.WAITING,
    ExportJobStatus.CANCELLING,
)
# A worker has it, for as long as its lease lasts.
HELD = (ExportJobStatus.RUNNING, ExportJobStatus.PUBLISHING, ExportJobStatus.CANCELLING)
# There is, or was, a file.
MADE = (ExportJobStatus.SUCCEEDED, ExportJobStatus.EXPIRED)


class ExportQuerySet(models.QuerySet["Export"]):
    """Ways to select exports; the database's clock decides, whatever the machines say."""

    def live(self) -> Self:
        """Those that may still be produced."""
        return self.filter(status__in=LIVE)

    def due(self) -> Self:
        """Those that a worker may take now: never begun, waited long enough, or left behind."""
        return self.filter(
            Q(status=ExportJobStatus.REQUESTED)
            | Q(status=ExportJobStatus.WAITING, due_at__lte=Now())
            | Q(status__in=HELD, lease_until__lt=Now())
        )

    def newest_first(self) -> Self:
        """In the order of the list."""
        return self.order_by("-requested_at", "-export_id")


class Export(models.Model):
    """One export of one run, from the request to the file and its expiry.

    This row is the job: a message only says that it is there. A worker holds it by a lease and
    bears a number, the fence, that grows with every claim; whoever comes back with an older one
    finds nothing to change. The row guard lets the listed steps pass and no other, so an export
    cannot be both cancelled and published, whoever races. Rows are never removed: they say who
    had what exported.
    """

    export_id = models.CharField(max_length=64, primary_key=True, db_collation="C")
    run_id = id_field()
    # By number: a person may go, what was exported for them may not.
    requested_by = models.BigIntegerField()
    requested_at = instant_field()
    with_csv = models.BooleanField()
    with_payloads = models.BooleanField()
    # Of a run that was still going: as of one moment, and never the final word.
    provisional = models.BooleanField()

    status = word_field(ExportJobStatus)
    step = word_field(ExportStep)
    attempt = models.SmallIntegerField()
    fence = models.BigIntegerField()
    lease_owner = text_field(null=True)
    lease_until = instant_field(null=True)
    due_at = instant_field(null=True)
    rung_at = instant_field(null=True)
    # Of the attempt that is going, or that ended it.
    started_at = instant_field(null=True)
    finished_at = instant_field(null=True)
    # Since when the step is going on: what is done of its records, and how fast, is told of it.
    step_at = instant_field(null=True)
    records_done = models.BigIntegerField()
    records_total = models.BigIntegerField(null=True)
    # Why the last attempt came to nothing, in a word and in a sentence with numbers.
    error_code = text_field(null=True)
    error_text = text_field(null=True)

    file_sha256 = hash_field(null=True)
    file_bytes = models.BigIntegerField(null=True)
    file_name = text_field(null=True)
    origin = text_field(null=True)
    root = hash_field(null=True)
    expires_at = instant_field(null=True)
    run = link("audit.Run", "run_id", back="exports")

    objects = ExportQuerySet.as_manager()

    class Meta:
        db_table = "exports"
        permissions = [
            ("request_export", "Can have runs exported, and download what was made"),
            ("see_all_exports", "Can see and download everybody's exports"),
        ]
        constraints = [
            points_to("runs", "run_id", name="exports_run"),
            unique(
                "requested_by",
                "run_id",
                "with_csv",
                "with_payloads",
                name="exports_one_live",
                reason="Two clicks on one button are one export.",
                condition=Q(status__in=LIVE),
            ),
            one_of("status", ExportJobStatus, name="exports_status_known"),
            one_of("step", ExportStep, name="exports_step_known"),
            models.CheckConstraint(
                condition=Q(attempt__gte=0, attempt__lte=MOST_ATTEMPTS, fence__gte=F("attempt")),
                name="exports_attempts",
                violation_error_message="At most five attempts; each claim has a fence of its own.",
            ),
            models.CheckConstraint(
                condition=Q(status__in=HELD) & none_null(["lease_owner", "lease_until"])
                | ~Q(status__in=HELD) & Q(lease_owner__isnull=True, lease_until__isnull=True),
                name="exports_held_by_lease",
                violation_error_message="A worker has it for as long as its lease lasts.",
            ),
            models.CheckConstraint(
                condition=~Q(status=ExportJobStatus.WAITING) | Q(due_at__isnull=False),
                name="exports_wait_for_something",
                violation_error_message="An export that waits says until when.",
            ),
            models.CheckConstraint(
                condition=Q(status__in=LIVE, finished_at__isnull=True)
                | ~Q(status__in=LIVE) & Q(finished_at__isnull=False),
                name="exports_end_once",
                violation_error_message="An export has an end when nothing more can come of it.",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=MADE)
                | none_null(["file_sha256", "file_bytes", "file_name", "root", "expires_at"]),
                name="exports_made_whole",
                violation_error_message="What succeeded has a file, its hash and its expiry.",
            ),
            models.CheckConstraint(
                condition=~Q(status=ExportJobStatus.FAILED)
                | none_null(["error_code", "error_text"]),
                name="exports_failure_says_why",
                violation_error_message="A failure says why.",
            ),
            models.CheckConstraint(
                condition=Q(file_sha256__regex=r"^[0-9a-f]{64}$"),
                name="exports_file_shape",
                violation_error_message="A file goes by the SHA-256 of its content.",
            ),
            finite(
                "requested_at",
                "lease_until",
                "due_at",
                "rung_at",
                "started_at",
                "step_at",
                "finished_at",
                "expires_at",
                name="exports_times_finite",
            ),
        ]
        indexes = [
            ReasonedIndex(
                fields=["requested_by", "-requested_at", "-export_id"],
                name="exports_by_person",
                reason="The list of one's own exports, newest first.",
            ),
            ReasonedIndex(
                fields=["-requested_at", "-export_id"],
                name="exports_newest_first",
                reason="The list of everybody's exports.",
            ),
            ReasonedIndex(
                fields=["run_id", "-requested_at", "-export_id"],
                name="exports_by_run",
                reason="The exports of one run, newest first: run page and API.",
            ),
            ReasonedIndex(
                fields=["status", "expires_at"],
                name="exports_by_status",
                reason="The sweeper: what is due, what was left behind, what has expired.",
            ),
        ]

    def __str__(self) -> str:
        return f"export {self.export_id} of {self.run_id}"

    @property
    def is_live(self) -> bool:
        return self.status in LIVE
