"""Seal an ended run, or what was added to it since its last seal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from audit.errors import AuditError
from audit.evidence import seals

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Seals one run. Exit status: 0 sealed or nothing new, 1 it cannot be sealed."""

    help = "Seals an ended run: signs the root over all its records."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say what the command takes."""
        parser.add_argument("run_id", metavar="RUN")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Seal it and say what was signed."""
        try:
            seal = seals.seal_run(run_id=options["run_id"], at=timezone.now())
        except AuditError as error:
            raise CommandError(str(error)) from error
        if seal is None:
            self.stdout.write(f"run {options['run_id']}: nothing was added since its last seal")
            return
        self.stdout.write(
            f"run {seal.run_id}: epoch {seal.epoch} ({seal.reason}), {seal.size:,} leaves, "
            f"root {seal.root}, key {seal.key_id}"
        )
