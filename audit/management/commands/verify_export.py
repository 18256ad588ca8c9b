"""Verify an export with the very program that stands in every bag."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand

from audit.evidence import signing
from audit.exports.verify import verify

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Verifies a bag, or a record beside its proof.

    Exit status: 0 verified, 1 failed, 2 cannot tell, 3 verified with findings.
    """

    help = "Verifies an export; without --key, with the keys of this deployment."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say what the command takes."""
        parser.add_argument("path", metavar="PATH")
        parser.add_argument("--key", action="append", default=[], help="a key that you trust")
        parser.add_argument("--previous", metavar="CHECKPOINT", help="an earlier one of the run")
        parser.add_argument("--strict", action="store_true", help="also check each line's form")
        parser.add_argument("--json", action="store_true", help="print one report object")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Verify it and print the report."""
        keys = options["key"] or [str(each) for each in signing.trusted()]
        report = verify(
            options["path"], keys=keys, previous=options["previous"], strict=options["strict"]
        )
        as_json = json.dumps(report.as_json(), indent=2)
        self.stdout.write(as_json if options["json"] else report.as_text())
        sys.exit(report.status)
