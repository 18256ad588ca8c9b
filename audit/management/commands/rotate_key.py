"""Replace the key that seals are signed with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from audit.errors import NoSigningKey
from audit.evidence import signing

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Puts a new key in use; what the old one signed stays good unless it is compromised."""

    help = "Replaces the signing key and writes the change into the signed history of keys."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say what the command takes."""
        parser.add_argument("--reason", required=True, help="why, for the public history")
        parser.add_argument(
            "--compromised-since",
            metavar="TIME",
            help="the old key is in strange hands since then, such as 2026-11-25T08:00:00Z",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Rotate, and say which key signs from now on."""
        since = None
        if options["compromised_since"]:
            since = parse_datetime(options["compromised_since"])
            if since is None or since.tzinfo is None:
                raise CommandError("--compromised-since takes a time with its zone")
        try:
            signer = signing.rotate(
                at=timezone.now(), reason=options["reason"], compromised_since=since
            )
        except NoSigningKey as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"From now on this key signs: {signer.key}")
