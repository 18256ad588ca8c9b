"""Write one record and its proof as two small files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from audit import exports
from audit.errors import AuditError

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Proves one sealed record. Exit status: 0 done, 1 not."""

    help = "Writes a sealed record and the proof that it is one; verify.py checks both."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say what the command takes."""
        parser.add_argument("run_id", metavar="RUN")
        parser.add_argument("record_type", metavar="TYPE", help="row, node_state, call, …")
        parser.add_argument("key", metavar="KEY", help="its id; parts of a key with / between them")
        parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Prove it and say where the files are."""
        try:
            found = exports.prove_record(
                run_id=options["run_id"], record_type=options["record_type"], key=options["key"]
            )
            options["out"].mkdir(parents=True, exist_ok=True)
            safe = re.sub("[^A-Za-z0-9._-]", "_", f"{options['record_type']}_{options['key']}")
            path = options["out"] / f"{safe[:120]}.json"
            path.write_bytes(found.line)
            proof = path.with_name(f"{path.name}.tlog-proof")
            proof.write_text(found.proof.text, encoding="utf-8")
        except (AuditError, OSError, ValueError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{path}\n{proof}\nrecord {found.proof.index}")
