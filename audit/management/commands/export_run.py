"""Write a run's records as files that anyone can check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from audit import exports
from audit.errors import AuditError

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Exports one run; an ended one is sealed first if it was not. Exit status: 0 done, 1 not."""

    help = "Exports a run as a bag with its signed seal (docs/export-format.md)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say what the command takes."""
        parser.add_argument("run_id", metavar="RUN")
        parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to")
        parser.add_argument("--csv", action="store_true", help="the records as CSV as well")
        parser.add_argument("--payloads", action="store_true", help="with the payloads' bytes")
        parser.add_argument("--zip", action="store_true", help="one ZIP file, not a folder")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Export it and say what was written."""
        try:
            found = exports.export_run(
                run_id=options["run_id"],
                folder=options["out"],
                at=timezone.now(),
                csv=options["csv"],
                with_payloads=options["payloads"],
                zipped=options["zip"],
                clock=timezone.now,
            )
        except (AuditError, OSError) as error:
            raise CommandError(str(error)) from error
        if found.provisional:
            self.stderr.write("PROVISIONAL: the run is still going. This is not its seal.")
        if found.missing_payloads:
            self.stderr.write(
                f"{found.missing_payloads:,} payloads are not there; the bag lists them."
            )
        self.stdout.write(str(found.path))
        self.stdout.write(
            f"epoch {found.epoch}, {found.checkpoint.size:,} records, "
            f"root {found.checkpoint.root.hex()}, manifest {found.manifest_sha256}"
        )
