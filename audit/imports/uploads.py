"""Where uploaded files lie until they are imported: in the storage `uploads`, under the job's id.

No name that came with a file is ever a path.
"""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from django.conf import settings
from django.core.files.storage import storages
from django.db.models.functions import Now

from audit import payloads
from audit.errors import SourceRefused
from audit.models import ImportJob
from audit.models.imports import LIVE_IMPORTS, UNDECIDED_IMPORTS
from audit.payloads import PayloadFiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from django.core.files.base import File

DATABASE, LOG, PAYLOADS = "audit.db", "audit.db-wal", "payloads.zip"
# A file that was not judged is kept for another try.
KEPT_DAYS = 7
_CHUNK = 1 << 20
_JOB = re.compile(r"[0-9a-f]{32}")
# Nothing that people and models write compresses better; what does was made to fill a disk.
_MOST_INFLATED = 100


class UploadFiles(PayloadFiles):
    """Files below LANDSCAPE_VAR/uploads."""

    folder = "uploads"


@dataclass(frozen=True)
class Fetched:
    """The files of one upload, on this machine."""

    database: Path
    payload_folder: Path | None


def keep(job_id: str, *, parts: dict[str, File[Any]]) -> None:
    """Store the parts of an upload; all of them, or none."""
    try:
        for name, file in parts.items():
            storages["uploads"].save(f"{job_id}/{name}", file)
    except BaseException:
        drop(job_id)
        raise


def drop(job_id: str) -> None:
    """Remove the parts of an upload; what is gone already is gone."""
    storage = storages["uploads"]
    for name in (DATABASE, LOG, PAYLOADS):
        with suppress(FileNotFoundError):
            storage.delete(f"{job_id}/{name}")
    if isinstance(storage, UploadFiles):
        with suppress(OSError):
            Path(storage.path(job_id)).rmdir()


@contextmanager
def fetched(job: ImportJob) -> Iterator[Fetched]:
    """The parts of an upload in a private folder, gone afterwards.

    Raises:
        FileNotFoundError: it is not kept any more.
        SourceRefused: the payloads do not come as they should.
    """
    folder = _work() / f"{job.job_id}-{job.fence}"
    folder.mkdir(mode=0o700, parents=True)
    try:
        for name, size in ((DATABASE, job.file_bytes), (LOG, job.log_bytes)):
            if size is not None:
                with storages["uploads"].open(f"{job.job_id}/{name}") as source:
                    _copy(source, folder / name)
        unpacked = None
        if job.payload_bytes is not None:
            unpacked = folder / "payloads"
            with storages["uploads"].open(f"{job.job_id}/{PAYLOADS}") as source:
                _unpack(source, unpacked)
        yield Fetched(folder / DATABASE, unpacked)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tidy(*, at: datetime) -> int:
    """Remove files that nobody needs any more, whoever left them; return how many uploads."""
    for left in _work().glob("*-*"):
        job_id, _, fence = left.name.partition("-")
        if not ImportJob.objects.live().filter(job_id=job_id, fence=fence).exists():
            shutil.rmtree(left, ignore_errors=True)
    try:
        found = [name for name in storages["uploads"].listdir("")[0] if _JOB.fullmatch(name)]
    except FileNotFoundError:
        return 0
    jobs = ImportJob.objects.filter(job_id__in=found)
    needed = jobs.filter(status__in=LIVE_IMPORTS) | jobs.filter(
        status__in=UNDECIDED_IMPORTS, finished_at__gt=Now() - timedelta(days=KEPT_DAYS)
    )
    unneeded = set(found) - set(needed.values_list("job_id", flat=True))
    known = set(jobs.values_list("job_id", flat=True))
    # A folder without a row may be an upload that is just coming in.
    gone = {each for each in unneeded if each in known or _is_old(each, at)}
    for job_id in gone:
        drop(job_id)
    return len(gone)


def _is_old(job_id: str, at: datetime) -> bool:
    storage = storages["uploads"]
    try:
        return storage.get_modified_time(f"{job_id}/{DATABASE}") < at - timedelta(days=1)
    except FileNotFoundError:
        return False


def _work() -> Path:
    return Path(settings.LANDSCAPE_VAR) / "uploads-work"


def _copy(source: IO[bytes] | File[Any], target: Path) -> None:
    with target.open("wb") as writer:
        while chunk := source.read(_CHUNK):
            writer.write(chunk)


def _unpack(source: File[Any], folder: Path) -> None:
    """Take payloads out of a ZIP: files named by their hash, wherever in it they lie."""
    most = _MOST_INFLATED * max(source.size, _CHUNK)
    try:
        with zipfile.ZipFile(source) as archive:
            for each in archive.infolist():
                ref = each.filename.rpartition("/")[2]
                if each.is_dir() or stat.S_ISLNK(each.external_attr >> 16):
                    continue
                if not payloads.is_ref(ref):
                    message = (
                        f"The payload archive holds {each.filename[:80]!r}. It may hold files "
                        "named by their SHA-256 only, as they lie in the payload folder."
                    )
                    raise SourceRefused(message)
                target = folder / ref[:2] / ref
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with archive.open(each) as packed, target.open("wb") as writer:
                    while chunk := packed.read(_CHUNK):
                        most -= len(chunk)
                        if most < 0:
                            message = (
                                f"The payload archive unpacks to over {_MOST_INFLATED} times its "
                                "size: no genuine one does."
                            )
                            raise SourceRefused(message)
                        writer.write(chunk)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        message = f"The payload archive is not a ZIP that can be read: {error!s:.100}."
        raise SourceRefused(message) from error
