"""Where exports lie: work in progress on this machine, results in the storage `exports`.

A result goes by the SHA-256 of its content and comes from a finished, synced file by one rename,
so it is whole or absent, and a worker that was thought dead can only put the same bytes in the
same place. What no export refers to any more is removed by `tidy`, whoever left it there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import storages
from django.db import connection, transaction

from audit.models import Export
from audit.models.exports import HELD
from audit.payloads import PayloadFiles, sync_folder
from audit.vocabulary import ExportJobStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from audit.exports.jobs import Claim

# Who ends an export holds this shared, who removes files holds it alone.
_LOCK = 0x65787074


class ExportFiles(PayloadFiles):
    """Files below LANDSCAPE_VAR/exports/files; a finished one is moved there, not copied."""

    folder = "exports/files"

    def _save(self, name: str, content: File[Any]) -> str:
        if not isinstance(content, Finished):
            return super()._save(name, content)
        target = Path(self.path(name))
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        Path(content.temporary_file_path()).replace(target)
        sync_folder(target.parent)
        return name


class Finished(File):  # type: ignore[type-arg]  # generic in the stubs only
    """A file that is complete, synced, and may be moved away."""

    def temporary_file_path(self) -> str:
        """Where it lies; Django's word for it."""
        return str(self.name)


class ResultGone(OSError):
    """The result was in its place and is not any more."""


def place(sha256: str) -> str:
    """The name of a result in the storage."""
    return f"{sha256}.zip"


@contextmanager
def workspace(claim: Claim) -> Iterator[Path]:
    """A folder for one attempt, gone afterwards; after a kill `tidy` removes it."""
    folder = _work() / str(claim.export.export_id) / str(claim.fence)
    folder.mkdir(mode=0o700, parents=True)
    try:
        yield folder
    finally:
        _remove(folder)
        _remove_empty(folder.parent)


def put(path: Path, *, sha256: str) -> None:
    """Put a finished file in its place."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        kept = storages["exports"].save(place(sha256), Finished(file, name=str(path)))
    if kept != place(sha256):
        message = f"the storage “exports” renamed {place(sha256)} to {kept}: let it overwrite"
        raise ValueError(message)


@contextmanager
def ending(*, sha256: str, size: int) -> Iterator[None]:
    """A transaction in which a result is there, and stays.

    Raises:
        ResultGone: it is not.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [_LOCK])
        storage = storages["exports"]
        if not storage.exists(place(sha256)) or storage.size(place(sha256)) != size:
            raise ResultGone(f"{place(sha256)} was removed before the export ended")
        yield


def read(sha256: str) -> File[Any]:
    """A result, opened.

    Raises:
        FileNotFoundError: it is gone.
    """
    return storages["exports"].open(place(sha256))


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tidy() -> int:
    """Remove what no export refers to; return how many files and folders that were."""
    # A store that takes files in parts may hold some of a file that never came.
    unfinished = getattr(storages["exports"], "tidy", None)
    return _tidy_work() + _tidy_results() + (unfinished() if unfinished else 0)


def _tidy_work() -> int:
    removed = 0
    for job in _folders(_work()):
        attempts = _folders(job)
        # Asked after looking: a worker has its claim before it makes a folder.
        held = Export.objects.filter(export_id=job.name, status__in=HELD).values_list(
            "fence", flat=True
        )
        kept = {str(fence) for fence in held}
        for attempt in attempts:
            if attempt.name not in kept:
                _remove(attempt)
                removed += 1
        _remove_empty(job)
    return removed


def _tidy_results() -> int:
    storage = storages["exports"]
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
            if not cursor.fetchone()[0]:
                return 0
        try:
            found = set(storage.listdir("")[1])
        except FileNotFoundError:
            return 0
        # Asked after looking: an export says what it is going to publish before it does.
        wanted = Export.objects.filter(
            status__in=[
                ExportJobStatus.PUBLISHING,
                ExportJobStatus.CANCELLING,
                ExportJobStatus.SUCCEEDED,
            ],
            file_sha256__isnull=False,
        ).values_list("file_sha256", flat=True)
        unwanted = found - {place(str(sha256)) for sha256 in wanted}
        for name in unwanted:
            storage.delete(name)
    return len(unwanted)


def _work() -> Path:
    return Path(settings.LANDSCAPE_VAR) / "exports" / "work"


def _folders(of: Path) -> list[Path]:
    try:
        return [each for each in of.iterdir() if each.is_dir()]
    except FileNotFoundError:
        return []


def _remove(folder: Path) -> None:
    # Somebody else may be at it.
    shutil.rmtree(folder, ignore_errors=True)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
