"""Hash the access log again and hold it against its seals."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from audit.evidence import access_log


class Command(BaseCommand):
    """Names the first event that is not what was written, and what else is wrong.

    Exit status: 0 everything matches, 1 something differs.
    """

    help = "Checks that the access log is as it was written and sealed."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Look at all of it."""
        report = access_log.check()
        for fault in report.faults:
            self.stderr.write(f"access log: {fault}")
        if not report.ok:
            sys.exit(1)
        sealed = f"{report.sealed:,} of them under a seal" if report.sealed else "none sealed yet"
        self.stdout.write(f"{report.events:,} access events are as they were written; {sealed}.")
