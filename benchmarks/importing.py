"""How fast an audit database comes in, against a bare COPY of the same rows, and how much memory.

Both go into the same constrained tables of the same server, in the same run: the import as the
command that a user runs, from process start to exit; the COPY with its rows prepared beforehand.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

VAR = ROOT / "var" / "bench"
os.environ["LANDSCAPE_VAR"] = str(VAR)
os.environ["DJANGO_SETTINGS_MODULE"] = "landscape_site.settings"

import django  # noqa: E402
import psycopg  # noqa: E402

django.setup()

from audit.models import AUDIT_MODELS, ArtifactMember  # noqa: E402
from landscape_site import postgres, services  # noqa: E402
from landscape_site.places import Places  # noqa: E402
from tests import audit_files  # noqa: E402

ROWS = (12_500, 125_000)  # eight records each
LEAST_RATE = 12_000
LEAST_RATIO = 1 / 3
MOST_MEMORY = 250
MOST_GROWTH = 1.10


def connect(login: str, database: str = postgres.DATABASE) -> psycopg.Connection:
    """Connect to the private server."""
    places = Places(VAR)
    return psycopg.connect(
        host=str(places.sockets),
        dbname=database,
        user=login,
        password=places.password(login).read_text(),
        autocommit=True,
    )


def start_afresh() -> None:
    """An empty database with every table, constraint and guard."""
    with connect(postgres.OWNER_LOGIN, "postgres") as owner:
        owner.execute(f"DROP DATABASE IF EXISTS {postgres.DATABASE}")
        owner.execute(f"CREATE DATABASE {postgres.DATABASE}")
    subprocess.run([sys.executable, ROOT / "manage.py", "migrate", "-v0"], check=True)


def make_file(folder: Path, rows: int) -> Path:
    """An era-A database with one run."""
    path = folder / f"{rows}.db"
    connection = audit_files.empty(path)
    audit_files.write_run(connection, run_id=audit_files.sha(str(rows))[:32], rows=rows)
    connection.close()
    return path


def timed_import(path: Path) -> tuple[float, float]:
    """Seconds and peak megabytes of the command."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, ROOT / "manage.py", "import_audit", "--json", path],
        stdout=subprocess.DEVNULL,
    )
    _pid, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return time.monotonic() - began, usage.ru_maxrss / 1024


def prepare(folder: Path) -> int:
    """Write what was imported as COPY text, a file a table; return the number of records."""
    count = 0
    with connect(postgres.APPLICATION_LOGIN) as reader:
        for table in tables():
            with (
                (folder / table).open("wb") as file,
                reader.cursor() as cursor,
                cursor.copy(f'COPY "{table}" TO STDOUT') as copy,
            ):
                for block in copy:
                    file.write(block)
                    count += bytes(block).count(b"\n")
    return count


def timed_copy(folder: Path) -> float:
    """Seconds to COPY the prepared rows in one transaction, as the application's login."""
    began = time.monotonic()
    with connect(postgres.APPLICATION_LOGIN) as writer, writer.transaction():
        for table in tables():
            with (
                (folder / table).open("rb") as file,
                writer.cursor() as cursor,
                cursor.copy(f'COPY "{table}" FROM STDIN') as copy,
            ):
                while block := file.read(1 << 16):
                    copy.write(block)
    return time.monotonic() - began


def tables() -> list[str]:
    """The tables that the file has, in the order in which they can be filled."""
    return [model._meta.db_table for model in AUDIT_MODELS if model is not ArtifactMember]


def main() -> None:
    """Measure and print; fail where a promise is not kept."""
    memory = {}
    with services.held(VAR), tempfile.TemporaryDirectory(dir=VAR) as name:
        folder = Path(name)
        for rows in ROWS:
            path = make_file(folder, rows)
            start_afresh()
            seconds, memory[rows] = timed_import(path)
            path.unlink()
            records = prepare(folder)
            start_afresh()
            copy_seconds = timed_copy(folder)
            rate, ratio = records / seconds, copy_seconds / seconds
            print(
                f"{records:>9,} records: import {seconds:6.1f} s = {rate:,.0f}/s, "
                f"COPY {copy_seconds:6.1f} s = {records / copy_seconds:,.0f}/s, "
                f"ratio {ratio:.2f}, peak {memory[rows]:.0f} MB"
            )
    growth = memory[ROWS[1]] / memory[ROWS[0]]
    print(f"peak memory at ten times the records: {growth:.2f} times")
    assert rate >= LEAST_RATE, f"promised: {LEAST_RATE:,} records/s"
    assert ratio >= LEAST_RATIO, f"promised: {LEAST_RATIO:.2f} of COPY"
    assert max(memory.values()) < MOST_MEMORY, f"promised: under {MOST_MEMORY} MB"
    assert growth <= MOST_GROWTH, "promised: the same memory, within 10 %"


if __name__ == "__main__":
    main()
