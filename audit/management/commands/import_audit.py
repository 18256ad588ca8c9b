"""Import audit databases from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand
from django.db import InterfaceError, OperationalError
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from audit import imports
from audit.vocabulary import ImportOutcome

if TYPE_CHECKING:
    from argparse import ArgumentParser

_MAX_SHOWN = 20


class Command(BaseCommand):
    """Imports each file, shows how far it is, and ends with one report.

    Exit status: 0 done, 1 something was refused or failed, 2 wrong usage.
    """

    help = "Imports audit databases (SQLite files of eras A, A2 and B)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say what the command takes."""
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
        parser.add_argument(
            "--payloads",
            type=Path,
            metavar="DIR",
            help="the payload store that belongs to the files; its contents are kept and checked",
        )
        parser.add_argument("--json", action="store_true", help="print one report object")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Import file by file; one that is refused does not stop the next."""
        folder: Path | None = options["payloads"]
        if folder is not None and not folder.is_dir():
            self.stderr.write(f"--payloads {folder} is not a folder.")
            sys.exit(2)
        try:
            reports = [
                self._import(path, folder, quiet=options["json"]) for path in options["paths"]
            ]
        except (OperationalError, InterfaceError) as error:
            self.stderr.write(
                f"The database failed: {str(error).strip()}. Runs that were told as imported are "
                "stored whole; do the import again for the rest."
            )
            sys.exit(1)
        ok = all(report.ok for report in reports)
        if options["json"]:
            self.stdout.write(json.dumps(imports.as_json(reports), indent=2))
        else:
            for report in reports:
                self._tell(report)
        if not ok:
            sys.exit(1)

    def _import(self, path: Path, folder: Path | None, *, quiet: bool) -> imports.FileReport:
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
            task = bar.add_task(path.name, total=None, rate="")

            def progress(done: int, total: int, doing: str) -> None:
                speed = bar.tasks[0].speed
                rate = f"{speed:,.0f}/s" if speed else ""
                bar.update(task, completed=done, total=total, description=doing, rate=rate)

            if not quiet and not console.is_terminal:
                self.stderr.write(f"importing {path}")
            return imports.import_file(
                path, at=timezone.now(), payload_folder=folder, progress=progress
            )

    def _tell(self, report: imports.FileReport) -> None:
        if report.error:
            self.stderr.write(f"{report.path}: refused. {report.error}")
            return
        self.stdout.write(f"{report.path}: era {report.era}, sha256 {report.sha256}")
        if report.rests_on_clean_close:
            self.stdout.write(
                "  The file is in WAL mode and came without a -wal file: the import rests on its "
                "having been closed cleanly."
            )
        if report.foreign_tables:
            self.stdout.write(f"  Tables left out: {', '.join(report.foreign_tables)}")
        for run in report.runs:
            count = sum(run.records.values())
            word = str(run.outcome).replace("_", " ")
            self.stdout.write(f"  run {run.run_id}: {word}, {count:,} records")
            if run.findings:
                told = ", ".join(f"{code} {times:,}" for code, times in run.findings.items())
                self.stdout.write(f"    findings: {told}")
            if run.outcome == ImportOutcome.REFUSED:
                for problem in run.problems[:_MAX_SHOWN]:
                    self.stderr.write(f"    {problem['message']}")
                if (more := len(run.problems) - _MAX_SHOWN) > 0:
                    self.stderr.write(f"    and {more:,} more; --json lists all of them")
