"""The audit trail at the desk: lists that are read only and lead to the pages of the record.

Tables whose key has several columns are not here; runs lead to them.
"""

from __future__ import annotations

from django.urls import reverse

from audit.admin.base import Column, ReadOnlyAdmin, Sorted
from audit.models import Finding, Payload, Run, SealLogEntry


def run_page(run_id: str) -> str:
    """Where a run is shown."""
    return reverse("audit:run", kwargs={"run_id": run_id})


_RUN = Column("Run", "id", lambda line: line.run_id, lambda line: run_page(line.run_id))


class RunAdmin(ReadOnlyAdmin):
    """Runs, newest first."""

    title = "Runs"
    answer = "Every run on record. Nothing can be changed here, or anywhere else."
    how = Sorted(
        columns=(
            Column("Status", "run", lambda run: run.status),
            _RUN,
            Column("Began (UTC)", "moment", lambda run: run.started_at),
            Column("Ended (UTC)", "moment", lambda run: run.completed_at),
            Column("Grade", "grade", lambda run: run.reproducibility_grade),
        ),
        order=("-started_at", "-run_id"),
        find="run_id",
    )


class PayloadAdmin(ReadOnlyAdmin):
    """Payloads by hash: whether the bytes are there, never what they say."""

    title = "Payloads"
    answer = "What is known of the bytes behind each hash. Their contents are not shown here."
    how = Sorted(
        columns=(
            Column("State", "payload", lambda payload: payload.state),
            Column("SHA-256", "hash", lambda payload: payload.content_hash),
            Column("Size", "size", lambda payload: payload.size_bytes),
            Column("Recorded (UTC)", "moment", lambda payload: payload.recorded_at),
        ),
        order=("content_hash",),
        filters=("state",),
        find="content_hash",
    )


class SealAdmin(ReadOnlyAdmin):
    """The seal log, newest first."""

    title = "Seals"
    answer = "Every seal in the order in which it was logged."
    how = Sorted(
        columns=(
            Column("Leaf", "number", lambda entry: entry.leaf_index),
            _RUN,
            Column("Epoch", "number", lambda entry: entry.epoch),
            Column("Key", "id", lambda entry: entry.key_id),
            Column("Logged (UTC)", "moment", lambda entry: entry.logged_at),
        ),
        order=("-leaf_index",),
    )


class FindingAdmin(ReadOnlyAdmin):
    """Findings, newest first; what they say of a record stands on the page of its run."""

    title = "Findings"
    answer = "What imports and checks found. What each says stands on the page of its run."
    how = Sorted(
        columns=(
            Column("Level", "finding", lambda finding: finding.level),
            Column("Code", "code", lambda finding: finding.code),
            _RUN,
            Column("Table", "text", lambda finding: finding.table_name),
            Column("Records", "number", lambda finding: finding.occurrences),
            Column("Found (UTC)", "moment", lambda finding: finding.found_at),
        ),
        order=("-finding_id",),
        filters=("level",),
    )


LISTS = (
    (Run, RunAdmin),
    (Payload, PayloadAdmin),
    (SealLogEntry, SealAdmin),
    (Finding, FindingAdmin),
)
