"""Compare the live database with the models."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.errors import SchemaMismatch
from audit.integrity import schema


class Command(BaseCommand):
    """Names every difference and exits 1; says one line and exits 0 when there is none."""

    help = "Compares the live database with the models and names every difference."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Ask the application's own connection, since that is what runs."""
        try:
            schema.check()
        except SchemaMismatch as error:
            raise CommandError(str(error)) from error
        self.stdout.write("The database is what the models say: nothing differs.")
