"""How uploads stand: what the desk tells of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model

from audit.errors import NotRecorded
from audit.models import ImportJob
from audit.models.imports import MOST_IMPORT_ATTEMPTS
from audit.vocabulary import ImportJobStatus

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class UploadStory:
    """One upload and what came of it; `report` is None until its file was read."""

    job_id: str
    name: str
    bytes: int
    requested_by: int
    requested_by_name: str | None
    requested_at: datetime
    status: str
    attempt: int
    most_attempts: int
    due_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    records_done: int
    records_total: int | None
    doing: str | None
    error_text: str | None
    report: dict[str, Any] | None
    is_live: bool
    may_be_tried_again: bool

    @property
    def may_be_cancelled(self) -> bool:
        """Whether there is something to stop."""
        return self.is_live and self.status != ImportJobStatus.CANCELLING


def describe_upload(job_id: str) -> UploadStory:
    """One upload, in two queries.

    Raises:
        NotRecorded: there is no such upload.
    """
    job = ImportJob.objects.filter(job_id=job_id).first()
    if job is None:
        raise NotRecorded("import", job_id)
    person = get_user_model()._default_manager.filter(pk=job.requested_by).first()
    return UploadStory(
        job_id=str(job.job_id),
        name=str(job.file_name),
        bytes=job.file_bytes + (job.log_bytes or 0) + (job.payload_bytes or 0),
        requested_by=job.requested_by,
        requested_by_name=person.get_username() if person else None,
        requested_at=job.requested_at,
        status=str(job.status),
        attempt=job.attempt,
        most_attempts=MOST_IMPORT_ATTEMPTS,
        due_at=job.due_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        records_done=job.records_done,
        records_total=job.records_total,
        doing=job.doing,
        error_text=job.error_text,
        report=json.loads(str(job.report_json)) if job.report_json else None,
        is_live=job.is_live,
        may_be_tried_again=job.is_undecided,
    )
