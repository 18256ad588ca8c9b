"""Check a signed export of the original."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from audit import exports

if TYPE_CHECKING:
    from argparse import ArgumentParser

_VARIABLE = "ELSPETH_SIGNING_KEY"


class Command(BaseCommand):
    """Checks a JSON export with HMAC signatures.

    Exit status: 0 verified, 1 failed, 2 cannot tell.
    """

    help = "Checks a signed JSON export of the original (HMAC-SHA256)."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say what the command takes."""
        parser.add_argument("path", type=Path, metavar="PATH")
        parser.add_argument("--key", help=f"the shared secret; else ${_VARIABLE}")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Check it and print what came out."""
        key = options["key"] or os.environ.get(_VARIABLE)
        if not key:
            raise CommandError(f"--key or ${_VARIABLE} has the shared secret.", returncode=64)
        try:
            report = exports.verify_legacy(path=options["path"], key=key.encode())
        except OSError as error:
            raise CommandError(str(error), returncode=2) from error
        self.stdout.write(f"{report.verdict}: {report.records:,} records of run {report.run_id!r}")
        for problem in [*report.problems, report.unsure]:
            if problem:
                self.stdout.write(f"  {problem}")
        for remark in report.remarks:
            self.stdout.write(f"  {remark}")
        sys.exit(report.status)
