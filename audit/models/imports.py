"""Where imported runs came from, and the files that somebody uploaded to be imported."""

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
from audit.vocabulary import Era, ImportJobStatus, ImportOutcome


class Import(models.Model):
    """One file gave us one run, or more of it.

    Written in the transaction that stores the run, so a run without its origin, or an
    origin without its run, cannot exist. A file that was refused leaves no row.
    """

    import_id = models.CharField(max_length=64, primary_key=True, db_collation="C")
    run_id = id_field()
    source_name = text_field()
    source_sha256 = hash_field()
    source_bytes = models.BigIntegerField()
    era = models.CharField(max_length=8, choices=Era.choices)
    # A hash over every table, column, type, NOT NULL and key of the file: for support.
    schema_fingerprint = hash_field()
    # The file says WAL but came without one: what a clean close leaves behind.
    rests_on_clean_close = models.BooleanField()
    outcome = word_field(ImportOutcome)
    records_json = text_field()
    imported_at = instant_field()
    run = link("audit.Run", "run_id", back="imports")

    class Meta:
        db_table = "imports"
        constraints = [
            points_to("runs", "run_id", name="imports_run"),
            unique(
                "run_id",
                "source_sha256",
                name="imports_one_per_file",
                reason="Two importers of one file cannot both claim to have brought the run.",
            ),
            one_of("era", Era, name="imports_era_known"),
            one_of("outcome", ImportOutcome, name="imports_outcome_known"),
            finite("imported_at", name="imports_times_finite"),
        ]
        indexes = [
            ReasonedIndex(
                fields=["source_sha256"],
                name="imports_by_file",
                reason="Importing a file again: what has it brought already?",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.run_id} from {self.source_name}"


MOST_IMPORT_ATTEMPTS = 3

# Something may still come of it.
LIVE_IMPORTS = (
    ImportJobStatus.REQUESTED,
    ImportJobStatus.RUNNING,
    ImportJobStatus.WAITING,
    ImportJobStatus.CANCELLING,
)
# A worker has it, for as long as its lease lasts.
HELD_IMPORTS = (ImportJobStatus.RUNNING, ImportJobStatus.CANCELLING)
# It may be tried again: the file was not judged.
UNDECIDED_IMPORTS = (ImportJobStatus.FAILED, ImportJobStatus.CANCELLED)


class ImportJobQuerySet(models.QuerySet["ImportJob"]):
    """Ways to select uploads; the database's clock decides, whatever the machines say."""

    def live(self) -> Self:
        """Those of which something may still come."""
        return self.filter(status__in=LIVE_IMPORTS)

    def due(self) -> Self:
        """Those that a worker may take now: never begun, waited long enough, or left behind."""
        return self.filter(
            Q(status=ImportJobStatus.REQUESTED)
            | Q(status=ImportJobStatus.WAITING, due_at__lte=Now())
            | Q(status=ImportJobStatus.RUNNING, lease_until__lt=Now())
        )

    def newest_first(self) -> Self:
        """In the order of the list."""
        return self.order_by("-requested_at", "-job_id")


class ImportJob(models.Model):
    """One uploaded file on its way in, from the upload to the report.

    This row is the job, as with exports: a worker holds it by a lease and bears a fence, and the
    row guard lets the listed steps pass and no other. What became of each run stands in the
    report; what was stored stands in `imports` as with every import. Rows are never removed.
    """

    job_id = models.CharField(max_length=64, primary_key=True, db_collation="C")
    # By number: a person may go, what they brought may not.
    requested_by = models.BigIntegerField()
    requested_at = instant_field()
    # What the person's own machine called it; the file itself goes by the job's id.
    file_name = text_field()
    file_bytes = models.BigIntegerField()
    log_bytes = models.BigIntegerField(null=True)
    payload_bytes = models.BigIntegerField(null=True)

    status = word_field(ImportJobStatus)
    attempt = models.SmallIntegerField()
    fence = models.BigIntegerField()
    lease_owner = text_field(null=True)
    lease_until = instant_field(null=True)
    due_at = instant_field(null=True)
    rung_at = instant_field(null=True)
    started_at = instant_field(null=True)
    finished_at = instant_field(null=True)
    records_done = models.BigIntegerField()
    records_total = models.BigIntegerField(null=True)
    doing = text_field(null=True)
    error_text = text_field(null=True)
    # What was found: era, hash, runs, each with its records, findings and first problems.
    report_json = text_field(null=True)

    objects = ImportJobQuerySet.as_manager()

    class Meta:
        db_table = "import_jobs"
        constraints = [
            one_of("status", ImportJobStatus, name="import_jobs_status_known"),
            models.CheckConstraint(
                condition=Q(
                    attempt__gte=0, attempt__lte=MOST_IMPORT_ATTEMPTS, fence__gte=F("attempt")
                ),
                name="import_jobs_attempts",
                violation_error_message="At most three attempts; each has a fence of its own.",
            ),
            models.CheckConstraint(
                condition=Q(status__in=HELD_IMPORTS) & none_null(["lease_owner", "lease_until"])
                | ~Q(status__in=HELD_IMPORTS)
                & Q(lease_owner__isnull=True, lease_until__isnull=True),
                name="import_jobs_held_by_lease",
                violation_error_message="A worker has it for as long as its lease lasts.",
            ),
            models.CheckConstraint(
                condition=~Q(status=ImportJobStatus.WAITING) | Q(due_at__isnull=False),
                name="import_jobs_wait_for_something",
                violation_error_message="An import that waits says until when.",
            ),
            models.CheckConstraint(
                condition=Q(status__in=LIVE_IMPORTS, finished_at__isnull=True)
                | ~Q(status__in=LIVE_IMPORTS) & Q(finished_at__isnull=False),
                name="import_jobs_end_once",
                violation_error_message="It has an end when nothing more can come of it.",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=[ImportJobStatus.REFUSED, ImportJobStatus.FAILED])
                | Q(error_text__isnull=False),
                name="import_jobs_refusal_says_why",
                violation_error_message="A refusal and a failure say why.",
            ),
            finite(
                "requested_at",
                "lease_until",
                "due_at",
                "rung_at",
                "started_at",
                "finished_at",
                name="import_jobs_times_finite",
            ),
        ]
        indexes = [
            ReasonedIndex(
                fields=["-requested_at", "-job_id"],
                name="import_jobs_newest_first",
                reason="The list of uploads.",
            ),
            ReasonedIndex(
                fields=["requested_by", "requested_at"],
                name="import_jobs_by_person",
                reason="The quota: what has somebody uploaded in a day?",
            ),
            ReasonedIndex(
                fields=["status", "finished_at"],
                name="import_jobs_by_status",
                reason="The sweeper: what is due, and whose file is not needed any more.",
            ),
        ]

    def __str__(self) -> str:
        return f"import {self.job_id} of {self.file_name}"

    @property
    def is_live(self) -> bool:
        return self.status in LIVE_IMPORTS

    @property
    def is_undecided(self) -> bool:
        return self.status in UNDECIDED_IMPORTS
