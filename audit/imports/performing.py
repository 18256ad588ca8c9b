"""Importing an upload: claim, fetch, import, and say in the row what came of it."""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from django.db import DatabaseError, connection

from audit.errors import AuditError, SourceRefused
from audit.imports import jobs, uploads
from audit.imports.jobs import Cancelled, LeaseLost
from audit.imports.loading import import_file
from audit.imports.report import as_json
from audit.vocabulary import ImportJobStatus, ImportOutcome

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType

    from audit.imports.jobs import Claim
    from audit.imports.report import FileReport

logger = logging.getLogger(__name__)

_BEATS = 6
# A page lists so many runs and so many problems of each; all of them are counted.
MOST_RUNS, MOST_PROBLEMS = 200, 20


class _Heartbeat:
    """Renews the lease from a thread with a connection of its own; a context."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._done, self._total, self._doing = 0, 0, "fetching the file"
        self._trouble: LeaseLost | Cancelled | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

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

    def at(self, done: int, total: int, doing: str) -> None:
        """Tell how far it is.

        Raises:
            LeaseLost: the upload is another worker's now.
            Cancelled: it is not wanted any more.
        """
        self._done, self._total, self._doing = done, total, doing
        if self._trouble is not None:
            raise self._trouble

    def stop(self) -> None:
        """No beat comes after this."""
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        renewed = time.monotonic()
        try:
            while not self._over.wait(jobs.LEASE / _BEATS):
                try:
                    jobs.hold(
                        self._claim, doing=self._doing, done=self._done, total=self._total or None
                    )
                    renewed = time.monotonic()
                except (LeaseLost, Cancelled) as trouble:
                    self._trouble = trouble
                    return
                except DatabaseError:
                    # It may come back in time.
                    if time.monotonic() - renewed > jobs.LEASE:
                        self._trouble = LeaseLost(self._claim.job.job_id)
                        return
        finally:
            connection.close()


def perform(*, job_id: str, owner: str, at: datetime) -> bool:
    """Import an upload; False where there is nothing to do.

    Delivering it twice is harmless: of any number of calls one has the claim, and runs that an
    earlier attempt stored are present already.
    """
    claim = jobs.claim(job_id=job_id, owner=owner)
    if claim is None:
        return False
    try:
        with _Heartbeat(claim) as beat:
            status, report, text = _imported(claim, beat, at)
        ended = jobs.end(claim, status=status, report=report, text=text)
        if ended:
            uploads.drop(job_id)
        elif not jobs.confirm_cancelled(claim):
            logger.warning("import %s: fenced out at its end", job_id)
    except (LeaseLost, Cancelled) as trouble:
        if not jobs.confirm_cancelled(claim):
            logger.warning("import %s: fenced out (%s)", job_id, type(trouble).__name__)
    except FileNotFoundError:
        text = "The uploaded file is not kept any more: upload it again."
        jobs.end(claim, status=ImportJobStatus.REFUSED, report=None, text=text)
    except Exception as error:  # noqa: BLE001  # told in the row, and logged
        _let_go(claim, error)
    return True


def _imported(
    claim: Claim, beat: _Heartbeat, at: datetime
) -> tuple[ImportJobStatus, str | None, str | None]:
    job = claim.job
    try:
        with uploads.fetched(job) as files:
            report = import_file(
                files.database, at=at, payload_folder=files.payload_folder, progress=beat.at
            )
            # The file's place here is nobody's business, and its name is the person's own.
            report.error = report.error.replace(str(files.database), "The file")
    except SourceRefused as error:
        return ImportJobStatus.REFUSED, None, str(error)
    told = json.dumps(_short(report))
    if report.error:
        return ImportJobStatus.REFUSED, told, report.error
    refused = sum(run.outcome == ImportOutcome.REFUSED for run in report.runs)
    if refused:
        text = f"{refused:,} of {len(report.runs):,} runs were refused; nothing of them is stored."
        return ImportJobStatus.REFUSED, told, text
    return ImportJobStatus.SUCCEEDED, told, None


# What a refused record is told as. The words of the report itself quote values, which are
# contents: they are not kept, and the command prints them.
_REASONS = {
    "WRONG_TYPE": "the value is not of its column's kind",
    "OUT_OF_BOUNDS": "the value is longer or larger than its column may hold",
    "UNREADABLE": "SQLite cannot hand the value out",
    "DANGLING": "it hangs on a record that is not in the file",
    "CYCLE": "the token is its own ancestor",
    "RUN_CONFLICT": "the run is on record with other content",
}


def _short(report: FileReport) -> dict[str, Any]:
    """The report with as much of it as a page shows."""
    whole = as_json([report])
    return {
        **whole["files"][0],
        "path": None,
        "runs_total": len(report.runs),
        "runs": [
            run
            | {
                "path": None,
                "problems": [_told(each) for each in run["problems"][:MOST_PROBLEMS]],
                "problems_total": len(run["problems"]),
            }
            for run in whole["runs"][:MOST_RUNS]
        ],
    }


def _told(problem: dict[str, str]) -> dict[str, str]:
    reason = _REASONS.get(problem["code"], "a rule of the tables refuses it")
    return {name: problem[name] for name in ("code", "table", "key", "column")} | {"reason": reason}


def _let_go(claim: Claim, error: Exception) -> None:
    if isinstance(error, DatabaseError | AuditError | OSError):
        text = f"{error}"
    else:
        text = f"{type(error).__name__}: {error}"
        logger.error("import %s", claim.job.job_id, exc_info=error)
    try:
        status = jobs.retry_later(claim, text=text)
    except DatabaseError:
        # The lease runs out, and somebody takes it up again.
        logger.warning("import %s: %s, and the database cannot be told", claim.job.job_id, text)
        return
    logger.warning("import %s: %s (%s)", claim.job.job_id, text, status or "another worker's")
