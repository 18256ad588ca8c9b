"""Record the demo: three runs of a claims triage, one of which can be made to move.

1. Wait until no other demo records into the same database.
2. Record what is missing of the three runs; what is on record stays as it is.
3. With --live, go on recording into the one that runs, claim by claim.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from datetime import date
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from audit import summaries
from audit.management.demo import story

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator

_PAUSE = 0.4
# Any number that nobody else's lock has.
_LOCK = 0x64656D6F


class Command(BaseCommand):
    """Exit status: 0 done or stopped by Ctrl-C, 1 something failed, 2 wrong usage."""

    help = "Records three runs of an insurance's claims triage, to look around in."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say what the command takes."""
        parser.add_argument(
            "--from",
            dest="first_day",
            type=date.fromisoformat,
            metavar="DATE",
            help="day of the first run, as 2026-11-20; else the runs are of yesterday and today",
        )
        parser.add_argument(
            "--live",
            action="store_true",
            help="go on recording into the run that is running, until Ctrl-C",
        )
        parser.add_argument(
            "--claims", type=int, metavar="N", help="with --live: stop after N claims"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Record what is missing, then go on if asked to."""
        if options["claims"] is not None and not options["live"]:
            raise CommandError("--claims says how long --live goes on: give both.", returncode=2)
        try:
            with self._alone():
                told = story.plans(first_day=options["first_day"], now=timezone.now())
                for plan in told[-1:] if options["live"] else told:
                    self._record(plan)
                if options["live"]:
                    self._go_on(told[-1], options["claims"])
        except KeyboardInterrupt:
            self.stdout.write("Stopped. Whatever was told is on record.")
        except (OperationalError, InterfaceError) as error:
            raise CommandError(
                f"The database failed: {str(error).strip()}. Started again, the demo goes on"
                " behind what is on record."
            ) from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two that tell the same story at once would contradict each other."""
        told = False
        while not _asked("SELECT pg_try_advisory_lock(%s)"):
            if not told:
                self.stdout.write("Another demo is being recorded; waiting for its end.")
                self.stdout.flush()
            told = True
            time.sleep(1)
        try:
            yield
        finally:
            # A session that is gone has let go already.
            with suppress(OperationalError, InterfaceError):
                _asked("SELECT pg_advisory_unlock(%s)")

    def _record(self, plan: story.Plan) -> None:
        if not story.missing(plan):
            # Whoever was stopped may have left old figures.
            summaries.refresh(run_id=plan.run_id, at=timezone.now())
            self.stdout.write(f"run {plan.run_id} ({plan.title}): on record already")
            return
        began = time.monotonic()
        for _rows in story.record(plan):
            summaries.refresh(run_id=plan.run_id, at=timezone.now())
        took, rows = time.monotonic() - began, story.count_rows(plan)
        self.stdout.write(f"run {plan.run_id} ({plan.title}): {rows} claims in {took:.1f} s")
        self.stdout.flush()

    def _go_on(self, plan: story.Plan, claims: int | None) -> None:
        pipeline = story.begin_or_find(plan)
        self.stdout.write(f"run {plan.run_id} goes on; Ctrl-C stops, and leaves it running")
        self.stdout.flush()
        left = claims
        while left is None or left > 0:
            story.record_next(plan, pipeline, at=timezone.now())
            summaries.refresh(run_id=plan.run_id, at=timezone.now())
            if left is not None:
                left -= 1
            time.sleep(_PAUSE)


def _asked(question: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(question, [_LOCK])
        return bool(cursor.fetchone()[0])
