"""Migrate as the owner, then say again what the application may do."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands.migrate import Command as DjangoMigrate
from django.db import connections

from audit.recorder import guards


class Command(DjangoMigrate):
    """Django's migrate, as the owner's login, followed by the guards."""

    help = "Migrates the database as its owner and renews rights, guards and comments."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the migrations on the owner's connection and apply the guards.

        Raises:
            CommandError: the owner's login is not configured.
        """
        # Django's own default means the application's login, which owns nothing.
        if options["database"] == "default":
            options["database"] = "owner"
        if "owner" not in connections:
            message = (
                "Only the owner may migrate: set LANDSCAPE_OWNER_DATABASE_URL for this command."
            )
            raise CommandError(message)
        super().handle(*args, **options)
        if not (options["plan"] or options["check_unapplied"]):
            guards.apply(owner=options["database"])
