"""Producing an export: claim, write, publish, and say what went wrong in words with numbers."""

from __future__ import annotations

import errno
import logging
import shutil
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from django.conf import settings
from django.db import DatabaseError, connection

from audit.errors import (
    AuditError,
    BeingSealed,
    CannotBeExported,
    CannotBeSealed,
    NoSigningKey,
    SealContradicted,
)
from audit.evidence import sharing
from audit.exports import files, jobs
from audit.exports.jobs import Cancelled, LeaseLost
from audit.exports.writing import export_run
from audit.vocabulary import ExportStep

if TYPE_CHECKING:
    from types import TracebackType

    from audit.evidence.sharing import Call
    from audit.exports.jobs import Claim
    from audit.models import Export

logger = logging.getLogger(__name__)

# So many heartbeats go into a lease.
_BEATS = 7.5
# Between two looks whether another process has sealed the run, in seconds.
_PAUSE = 0.5


class ExportRefused(AuditError):
    """The export cannot be made, however often it is tried; `code` is one word for why."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


# What no further attempt can mend, and one word for it; the first that fits.
_CODES: dict[type[Exception], str] = {
    SealContradicted: "contradicts_seal",
    CannotBeSealed: "cannot_be_sealed",
    CannotBeExported: "sealed_text_damaged",
    NoSigningKey: "no_signing_key",
}
_HOPELESS: tuple[type[Exception], ...] = (ExportRefused, *_CODES)


@dataclass(frozen=True, kw_only=True)
class Made:
    """A finished file, and what it holds."""

    path: Path
    origin: str
    root: str
    records: int
    provisional: bool


class Write(Protocol):
    """Makes the file of an export in a folder, and tells how far it is whenever it may stop."""

    def __call__(self, export: Export, *, folder: Path, beat: Heartbeat) -> Made: ...


class Heartbeat:
    """Renews the lease from a thread with a connection of its own; a context.

    Whoever writes calls `at` now and then: it raises once the export is another worker's, or is
    not wanted any more.
    """

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._step, self._done, self._total = str(ExportStep.SEALING), 0, None
        self._trouble: LeaseLost | Cancelled | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    _total: int | None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def at(self, step: str, *, done: int = 0, total: int | None = None) -> None:
        """Tell how far it is.

        Raises:
            LeaseLost: the export is another worker's now.
            Cancelled: it is not wanted any more.
        """
        self._step, self._done, self._total = step, done, total
        if self._trouble is not None:
            raise self._trouble

    def stop(self) -> None:
        """No beat comes after this."""
        self._over.set()
        self._thread.join()

    @property
    def told(self) -> str:
        """How many records of how many, in words."""
        total = "an unknown number of" if self._total is None else f"{self._total:,}"
        return f"By then {self._done:,} of {total} records were written"

    def _beat(self) -> None:
        lease = settings.LANDSCAPE_EXPORT_LEASE
        renewed = time.monotonic()
        try:
            while not self._over.wait(lease / _BEATS):
                try:
                    jobs.hold(self._claim, step=self._step, done=self._done, total=self._total)
                    renewed = time.monotonic()
                except (LeaseLost, Cancelled) as trouble:
                    self._trouble = trouble
                    return
                except DatabaseError:
                    # It may come back in time.
                    if time.monotonic() - renewed > lease:
                        self._trouble = LeaseLost(self._claim.export.export_id)
                        return
        finally:
            connection.close()


def write_bag(
    export: Export, *, folder: Path, beat: Heartbeat, call: Call = sharing.call_nobody
) -> Made:
    """Write the bag of an export; its bytes are the same in every attempt."""
    most = settings.LANDSCAPE_EXPORT_MAX_RECORDS

    def require_few(total: int) -> None:
        if 0 < most < total:
            raise ExportRefused(
                "too_large",
                f"The export would have {total:,} records, and LANDSCAPE_EXPORT_MAX_RECORDS "
                f"allows {most:,}.",
            )

    def sealed(done: int, total: int) -> None:
        require_few(total)
        beat.at(ExportStep.SEALING, done=done, total=total)

    def written(done: int, total: int) -> None:
        require_few(total)
        step = ExportStep.WRITING if done < total else ExportStep.PACKING
        beat.at(step, done=done, total=total)

    while True:
        try:
            bag = export_run(
                run_id=str(export.run_id),
                folder=folder,
                at=export.requested_at,
                csv=export.with_csv,
                with_payloads=export.with_payloads,
                zipped=True,
                export_id=str(export.export_id),
                progress=written,
                sealing=sealed,
                call=call,
            )
        except BeingSealed:
            beat.at(ExportStep.SEALING)
            time.sleep(_PAUSE)
            continue
        return Made(
            path=bag.path,
            origin=bag.checkpoint.origin,
            root=bag.checkpoint.root.hex(),
            records=bag.checkpoint.size,
            provisional=bag.provisional,
        )


def produce(
    *, export_id: str, owner: str, call: Call = sharing.call_nobody, write: Write | None = None
) -> bool:
    """Make the file of an export, whole or not at all; False where there is nothing to do.

    `call` asks other workers to help with a big one. The steps: claim (status *running*, step
    *sealing*, *writing*, *packing*), `jobs.begin_publishing` (*publishing*), `files.put`,
    `jobs.succeed` (*succeeded*).

    Delivering it twice is harmless: of any number of calls one has the claim. Whatever goes
    wrong is told in the row, and tried again by a later call if that may help.
    """
    claim = jobs.claim(export_id=export_id, owner=owner)
    if claim is None:
        return False
    with files.workspace(claim) as folder, Heartbeat(claim) as beat:
        try:
            write = write or partial(write_bag, call=call)
            made = write(claim.export, folder=folder, beat=beat)
            _publish(claim, made, beat)
        except (LeaseLost, Cancelled) as trouble:
            beat.stop()
            if not jobs.confirm_cancelled(claim):
                logger.warning("export %s: fenced out (%s)", export_id, type(trouble).__name__)
        except _HOPELESS as error:
            beat.stop()
            text = str(error)
            jobs.fail(claim, code=_code(error), text=f"{text[:1].upper()}{text[1:]}")
        except Exception as error:  # noqa: BLE001  # told in the row, and logged
            beat.stop()
            _let_go(claim, error, folder, beat)
    return True


def _publish(claim: Claim, made: Made, beat: Heartbeat) -> None:
    size = made.path.stat().st_size
    sha256 = files.digest(made.path)
    beat.at(ExportStep.PUBLISHING, done=made.records, total=made.records)
    jobs.begin_publishing(
        claim, sha256=sha256, size=size, name=made.path.name, records=made.records
    )
    files.put(made.path, sha256=sha256)
    with files.ending(sha256=sha256, size=size):
        jobs.succeed(
            claim,
            origin=made.origin,
            root=made.root,
            provisional=made.provisional,
            keep_days=settings.LANDSCAPE_EXPORT_DAYS,
        )


def _code(error: Exception) -> str:
    if isinstance(error, ExportRefused):
        return error.code
    return next(code for kind, code in _CODES.items() if isinstance(error, kind))


def _let_go(claim: Claim, error: Exception, folder: Path, beat: Heartbeat) -> None:
    code, text = _told(error, folder, beat)
    try:
        status = jobs.retry_later(claim, code=code, text=text)
    except DatabaseError:
        # The lease runs out, and somebody takes it up again.
        logger.warning("export %s: %s, and the database cannot be told", claim.export.pk, text)
        return
    logger.warning("export %s: %s (%s)", claim.export.pk, text, status or "another worker's")
    if code == "unexpected":
        logger.error("export %s", claim.export.pk, exc_info=error)


def _told(error: Exception, folder: Path, beat: Heartbeat) -> tuple[str, str]:
    """What went wrong, as a word and as a sentence with numbers."""
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        # What is sealed may lie on another disk.
        place = Path(error.filename).parent if error.filename else folder
        disk = shutil.disk_usage(place)
        told = folder.parent.parent if place.is_relative_to(folder) else place
        return "disk_full", (
            f"There is no room on the disk of {told}: {disk.free:,} of "
            f"{disk.total:,} bytes are free without what this attempt wrote. {beat.told}."
        )
    if isinstance(error, DatabaseError):
        return "database", f"{error} {beat.told}."
    if isinstance(error, AuditError | OSError):
        return "failed", f"{error}. {beat.told}."
    return "unexpected", f"{type(error).__name__}: {error}. {beat.told}."
