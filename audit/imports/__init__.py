"""Audit databases of the original recorder, taken in without losing or inventing a value."""

from __future__ import annotations

from audit.imports.jobs import again, cancel, open_job, refuse_too_large, ring, settle
from audit.imports.loading import import_file
from audit.imports.performing import perform
from audit.imports.report import FileReport, RunReport, as_json
from audit.imports.standing import UploadStory, describe_upload
from audit.imports.uploads import tidy

__all__ = [
    "FileReport",
    "RunReport",
    "UploadStory",
    "again",
    "as_json",
    "cancel",
    "describe_upload",
    "import_file",
    "open_job",
    "perform",
    "refuse_too_large",
    "ring",
    "settle",
    "tidy",
]
