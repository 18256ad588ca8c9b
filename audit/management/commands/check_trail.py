"""Compare what is on record with what was sealed."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from audit.integrity import trail

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from audit.integrity.trail import TrailReport


class Command(BaseCommand):
    """Names every record that is not what was sealed, with both texts.

    Exit status: 0 everything matches, 1 something differs, 2 there is nothing to compare with.
    """

    help = "Compares runs with their seals and names every record that differs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say what the command takes."""
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("run_id", nargs="?", metavar="RUN")
        which.add_argument("--all", action="store_true", help="every sealed run, and the seal log")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Check run by run; one that differs does not stop the next."""
        run_ids = trail.sealed_runs() if options["all"] else [options["run_id"]]
        reports = [self._check(run_id) for run_id in run_ids]
        faults = trail.check_log() if options["all"] else []
        for fault in faults:
            self.stderr.write(f"seal log: {fault}")
        if faults or not all(report.ok for report in reports):
            sys.exit(1)
        if any(report.epoch is None for report in reports):
            sys.exit(2)
        if options["all"]:
            self.stdout.write(f"{len(reports)} runs and the seal log match what was signed.")

    def _check(self, run_id: str) -> TrailReport:
        report = trail.check_run(run_id=run_id, at=timezone.now())
        if report.epoch is None:
            self.stderr.write(f"run {run_id}: never sealed, so there is nothing to compare with")
        elif report.ok:
            more = f"; {report.pending:,} came since and wait for a seal" if report.pending else ""
            self.stdout.write(
                f"run {run_id}: {report.records:,} records match epoch {report.epoch}{more}"
            )
        else:
            self._tell(report)
        return report

    def _tell(self, report: TrailReport) -> None:
        told = f"{report.count:,} records differ from epoch {report.epoch}"
        self.stderr.write(f"run {report.run_id}: {told}")
        for reason in report.broken:
            self.stderr.write(f"  {reason}")
        for each in report.differences:
            self.stderr.write(f"  {each}")
            self.stderr.write(f"    sealed  {_text(each.sealed)}")
            self.stderr.write(f"    current {_text(each.current)}")
        if more := report.count - len(report.differences):
            self.stderr.write(f"  and {more:,} more")


def _text(line: bytes | None) -> str:
    # Escaped: what stands in a record must not steer a terminal.
    return "(none)" if line is None else json.dumps(json.loads(line), ensure_ascii=True)
