"""The process in which a foreign SQLite file is opened; started by `cage`, alone and limited.

It knows nothing of Landscape: no settings, no database, no environment, one folder. It takes
questions on its standard input and answers on its standard output, each a length in four bytes
and that much JSON. Whoever reads the answers takes them for as hostile as the file.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sqlite3
import struct
import sys
from typing import Any

# Rows are handed over in parts of about so many characters.
_PART = 256 * 1024

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000


def shut_in(*, memory: int, seconds: int, file_bytes: int, parent: int) -> bool:
    """Give up what reading a file does not need; whether the network is gone as well."""
    system = ctypes.CDLL(None)
    system.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
    system.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # Some systems allow neither; then everything else still holds.
    no_network = 0 in (
        system.unshare(_CLONE_NEWUSER | _CLONE_NEWNET),
        system.unshare(_CLONE_NEWNET),
    )
    # A second between the two, or the system kills without saying that it was for its computing.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(what, (most, most))
    return no_network


def opened(path: str, *, value_bytes: int) -> sqlite3.Connection:
    """The file, with nothing of it trusted; what is asked of it is ours."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, value_bytes)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    for pragma in (
        "trusted_schema = OFF",  # views, defaults and indexes of the file may call nothing
        "cell_size_check = ON",
        "temp_store = FILE",
        "cache_size = -32000",  # KiB
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


class Answers:
    """Open questions by number, each answered part by part."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._open: dict[int, sqlite3.Cursor] = {}
        self._ready: dict[int, bytes] = {}

    def answer(self, asked: dict[str, Any]) -> tuple[int, bytes]:
        """The next part of a question's answer."""
        for number in asked["forget"]:
            self._open.pop(number, None)
            self._ready.pop(number, None)
        number = asked["number"]
        if "statement" not in asked:
            return number, self._ready.pop(number, None) or self._part(number)
        try:
            values = asked["values"]
            self._open[number] = self._connection.execute(asked["statement"], values)
        except (sqlite3.Error, MemoryError) as error:
            return number, _failed(error)
        return number, self._part(number)

    def prepare(self, number: int) -> None:
        """Make the part that will be asked for next, while this one is worked on."""
        if number in self._open:
            self._ready[number] = self._part(number)

    def _part(self, number: int) -> bytes:
        cursor, rows, length = self._open[number], [], 0
        try:
            for row in cursor:
                rows.append(json.dumps(row, ensure_ascii=False, default=_blob))
                length += len(rows[-1])
                if length >= _PART:
                    break
            else:
                del self._open[number]
            done = "false" if number in self._open else "true"
            return f'{{"done": {done}, "rows": [{",".join(rows)}]}}'.encode()
        except (sqlite3.Error, MemoryError) as error:
            self._open.pop(number, None)
            return _failed(error)


def _blob(value: bytes) -> dict[str, str]:
    return {"hex": value.hex()}


def _failed(error: Exception) -> bytes:
    return json.dumps({"error": type(error).__name__, "text": str(error)[:1000]}).encode()


def _say(told: bytes) -> None:
    sys.stdout.buffer.write(struct.pack(">I", len(told)) + told)
    sys.stdout.buffer.flush()


def main() -> None:
    """Shut this process in, open the file, and answer until nobody asks any more."""
    path, given = sys.argv[1], json.loads(sys.argv[2])
    no_network = shut_in(**given["limits"])
    try:
        answers = Answers(opened(path, value_bytes=given["value_bytes"]))
    except (sqlite3.Error, MemoryError) as error:
        _say(_failed(error))
        return
    _say(json.dumps({"no_network": no_network}).encode())
    while head := sys.stdin.buffer.read(4):
        number, told = answers.answer(
            json.loads(sys.stdin.buffer.read(struct.unpack(">I", head)[0]))
        )
        _say(told)
        answers.prepare(number)


if __name__ == "__main__":
    main()
