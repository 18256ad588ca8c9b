"""`manage.py sweep`: find what is due and ring for it, again and again."""

from __future__ import annotations

import logging
import signal
import threading
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection

from audit import tasks

if TYPE_CHECKING:
    from argparse import ArgumentParser

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    """Finds in the database what no page starts, and what nobody heard, and rings for it."""

    help = "Rings for the work that is due: figures of ended runs, and bells that were lost."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="sweep once and end")
        parser.add_argument(
            "--every", type=float, default=5.0, metavar="SECONDS", help="pause between sweeps"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["once"]:
            self.stdout.write(f"{tasks.sweep()} due")
            return
        over = threading.Event()
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, lambda *_: over.set())
        while not over.wait(options["every"]):
            try:
                if _alone():
                    tasks.sweep()
            except (DatabaseError, OSError) as error:
                # It comes back, and so does what is due.
                logger.warning("Not swept: %s", error)
                connection.close()


def _alone() -> bool:
    """Whether this session is the one that sweeps; it stays so until the session ends."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = %s"
            " AND pid = pg_backend_pid()) OR pg_try_advisory_lock(%s)",
            [tasks.SWEEP_LOCK, tasks.SWEEP_LOCK],
        )
        return bool(cursor.fetchone()[0])
