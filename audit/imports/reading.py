"""A foreign SQLite file, opened as the hostile thing that it may be.

Everything is read from a private copy, taken together with the write-ahead log beside it: the
user's file is opened for reading only, no lock is held on it, and nothing is made next to it.
`immutable=1` is never used, because it ignores the log and with it committed rows.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from audit.errors import SourceRefused
from audit.imports import eras
from audit.imports.cage import MAX_VALUE_BYTES, Cage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from audit.imports.cage import Answer
    from audit.vocabulary import Era

_CHUNK = 1 << 20
_MAGIC = b"SQLite format 3\x00"
_HEADER = 100
_WAL_MODE = 2
_COPY_ATTEMPTS = 3


@dataclass(frozen=True)
class Source:
    """An audit database that passed every check that concerns the file as a whole."""

    name: str
    sha256: str
    size_bytes: int
    era: Era
    tables: eras.Columns
    fingerprint: str
    rests_on_clean_close: bool
    foreign_tables: list[str]
    cage: Cage
    run_ids: list[str]

    def query(self, statement: str, **parameters: object) -> Answer:
        """Ask the private copy; its SQL is ours, only values come from outside."""
        return self.cage.execute(statement, parameters)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Source]:
    """Copy a file aside, check it and open the copy; the copy is gone afterwards.

    Raises:
        SourceRefused: it is not a file that can be imported.
    """
    _refuse_what_is_no_file(path)
    with _staging() as folder:
        copy = folder / "audit.db"
        sha256, has_log = _copy_aside(path, copy)
        try:
            with Cage(copy) as cage:
                yield _examined(path, copy, cage, sha256=sha256, has_log=has_log)
        except sqlite3.DatabaseError as error:
            raise SourceRefused(_in_words(error)) from error


def _refuse_what_is_no_file(path: Path) -> None:
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            message = f"{path} is a directory: name the audit.db inside it."
            raise SourceRefused(message)
        if not stat.S_ISREG(found.st_mode):
            message = f"{path} is not an ordinary file."
            raise SourceRefused(message)
        with path.open("rb") as file:
            header = file.read(_HEADER)
    except FileNotFoundError as error:
        message = f"{path} does not exist: check the path."
        raise SourceRefused(message) from error
    except PermissionError as error:
        message = f"{path} cannot be read: permission denied."
        raise SourceRefused(message) from error
    if not header:
        message = f"{path} is empty: an audit database that was never written, or a failed copy."
        raise SourceRefused(message)
    if not header.startswith(_MAGIC):
        message = (
            f"{path} is not an SQLite database, or it is encrypted. Landscape reads plain SQLite "
            "files: decompress or decrypt it first."
        )
        raise SourceRefused(message)


@contextlib.contextmanager
def _staging() -> Iterator[Path]:
    """A private folder; what a killed importer left behind is removed on the way."""
    root = Path(settings.LANDSCAPE_VAR) / "staging"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (root / "gate").open("w") as gate:
        # One importer at a time comes in: else it could clear away a folder that another one
        # has just made and not locked yet.
        fcntl.flock(gate, fcntl.LOCK_EX)
        for old in root.glob("*/lock"):
            with contextlib.suppress(OSError), old.open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(old.parent, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(dir=root))
        lock = (folder / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_SH)
    try:
        with lock:
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy_aside(path: Path, copy: Path) -> tuple[str, bool]:
    """Copy the file with its log or journal; return the hash over both and whether a log came.

    A writer may be at work. A copy counts only if neither file changed meanwhile; after three
    attempts SQLite's own online backup takes over, which reads a consistent state under a lock.
    """
    companions = [path.with_name(path.name + suffix) for suffix in ("-wal", "-journal")]
    try:
        for _attempt in range(_COPY_ATTEMPTS):
            before = [_identity(each) for each in (path, *companions)]
            digest = hashlib.sha256()
            has_log = False
            for each in (path, *companions):
                target = copy.with_name(copy.name + each.name.removeprefix(path.name))
                target.unlink(missing_ok=True)
                if _identity(each) is not None and (each == path or each.stat().st_size):
                    _copy(each, target, digest)
                    has_log = has_log or each.name.endswith("-wal")
            if before == [_identity(each) for each in (path, *companions)]:
                return digest.hexdigest(), has_log
        return _backup(path, copy), True
    except OSError as error:
        if error.errno == errno.ENOSPC:
            free = shutil.disk_usage(copy.parent).free
            message = (
                f"No space for a private copy: {path} needs {path.stat().st_size:,} bytes in "
                f"{copy.parent.parent}, {free:,} are free."
            )
            raise SourceRefused(message) from error
        message = f"{path} cannot be read: {error.strerror}."
        raise SourceRefused(message) from error


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _copy(source: Path, target: Path, digest: hashlib._Hash) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        os.fchmod(writer.fileno(), 0o600)
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            writer.write(chunk)


def _backup(path: Path, copy: Path) -> str:
    for suffix in ("", "-wal", "-journal"):
        copy.with_name(copy.name + suffix).unlink(missing_ok=True)
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with (
        contextlib.closing(sqlite3.connect(uri, uri=True, timeout=30)) as live,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        live.backup(target)
    with copy.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _examined(path: Path, copy: Path, cage: Cage, *, sha256: str, has_log: bool) -> Source:
    """Check structure, era and tables, in the order in which a reader would want to know."""
    with copy.open("rb") as file:
        header = file.read(_HEADER)
    tables, shape = _tables(cage)
    era = eras.detect(
        tables=tables,
        user_version=cage.execute("PRAGMA user_version").fetchone()[0],
        identity=_identity_row(cage, tables),
    )
    verdict = cage.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        message = f"The file is damaged or cut short ({verdict}). Copy it again from its origin."
        raise SourceRefused(message)
    return Source(
        name=path.name,
        sha256=sha256,
        size_bytes=path.stat().st_size,
        era=era,
        tables=tables,
        fingerprint=hashlib.sha256(json.dumps(sorted(shape)).encode()).hexdigest(),
        rests_on_clean_close=header[18] == _WAL_MODE and not has_log,
        foreign_tables=eras.foreign_tables(tables),
        cage=cage,
        run_ids=_run_ids(cage),
    )


def _tables(cage: Cage) -> tuple[eras.Columns, list[tuple[object, ...]]]:
    """Columns by table, and everything that goes into the schema fingerprint.

    Raises:
        SourceRefused: a view, trigger, virtual table or computed column poses as the trail.
    """
    known = eras.ERA_A.keys() | eras.SINCE_A.keys()
    tables: eras.Columns = {}
    shape: list[tuple[object, ...]] = []
    entries = cage.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    for kind, name, table, statement in entries:
        if kind in ("view", "trigger") and (name in known or table in known):
            message = (
                f"The file has a {kind} named {name} where a genuine audit database has a plain "
                "table. It may show or change values that were never recorded."
            )
            raise SourceRefused(message)
        if kind != "table":
            continue
        columns = cage.execute(
            'SELECT name, type, "notnull", pk, hidden FROM pragma_table_xinfo(?)', (name,)
        ).fetchall()
        virtual = str(statement or "").upper().startswith("CREATE VIRTUAL")
        if name in known and (virtual or any(hidden for *_rest, hidden in columns)):
            message = (
                f"Table {name} is virtual or has computed columns. A genuine audit database has "
                "plain tables only."
            )
            raise SourceRefused(message)
        tables[name] = frozenset(column for column, *_rest in columns)
        shape += [(name, *column) for column in columns]
    return tables, shape


def _identity_row(cage: Cage, tables: eras.Columns) -> tuple[str, str, int] | None:
    if "elspeth_schema_identity" not in tables:
        return None
    found = cage.execute(
        "SELECT application_id, store_kind, schema_epoch FROM elspeth_schema_identity"
    ).fetchone()
    return found or ("unknown", "unknown", 0)


def _run_ids(cage: Cage) -> list[str]:
    found = cage.execute("SELECT run_id FROM runs ORDER BY started_at, run_id").fetchall()
    if not found:
        message = "The file is an audit database without any run: there is nothing to import."
        raise SourceRefused(message)
    wrong = [run_id for (run_id,) in found if not isinstance(run_id, str)]
    if wrong:
        message = f"Table runs has a run_id that is not text: {wrong[0]!r:.80}."
        raise SourceRefused(message)
    return list(dict.fromkeys(run_id for (run_id,) in found))


def _in_words(error: sqlite3.DatabaseError) -> str:
    text = str(error)
    if "too big" in text:
        return (
            f"The file holds a value larger than {MAX_VALUE_BYTES:,} bytes. "
            "A genuine audit database keeps large contents in its payload store."
        )
    return f"The file is damaged, cut short or encrypted: SQLite says “{text:.200}”."
