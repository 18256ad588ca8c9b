"""Count runs again: figures, ledgers and journeys."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from audit import summaries
from audit.errors import NotRecorded
from audit.models import Run

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Counts what is due, the runs that are named, or all; one transaction each, any time again."""

    help = "Counts the figures, ledgers and journeys of runs; without arguments, what is due."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say what the command takes."""
        parser.add_argument("runs", nargs="*", metavar="RUN", help="the id of a run")
        parser.add_argument("--all", action="store_true", help="every run, whether due or not")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Count run by run and say each; one that is not there does not stop the next."""
        if options["all"] and options["runs"]:
            raise CommandError("Name runs, or say --all; not both.")
        run_ids = options["runs"] or (
            list(Run.objects.order_by("run_id").values_list("run_id", flat=True))
            if options["all"]
            else summaries.due(limit=None)
        )
        missing = 0
        for done, run_id in enumerate(run_ids, start=1):
            try:
                summaries.refresh(run_id=run_id, at=timezone.now())
            except NotRecorded as error:
                self.stderr.write(f"{done} of {len(run_ids)}: {error}")
                missing += 1
            else:
                self.stdout.write(f"{done} of {len(run_ids)}: run {run_id} is counted")
        if not run_ids:
            self.stdout.write("Nothing is due.")
        if missing:
            sys.exit(1)
