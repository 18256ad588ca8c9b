"""A foreign SQLite file, opened in a process of its own that can do nothing else.

SQLite is C, and the file may have been made to break it. So it is not opened here, beside the
database login and the payload store, but by `caged`: limited in memory, time and files, without
environment and, where the system allows, without a network. Here it is only asked, and what it
answers is checked for its shape. That it hangs or dies costs this process a sentence.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from audit.errors import SourceRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    Values = Sequence[object] | Mapping[str, object]

MAX_VALUE_BYTES = 16 * 1024 * 1024
# JSON may write a character in six.
_LONGEST_ANSWER = 7 * MAX_VALUE_BYTES
_MEMORY = 512 * 1024 * 1024
# Computing time, and how long one answer may take: so many seconds, and one for each megabyte.
FIRST_SECONDS = 30
_MEGABYTE = 1 << 20
# What SQLite writes beside the file: its index of the log, and tables of the questions asked.
_FILES, _FILES_TIMES = 64 * _MEGABYTE, 4

_CHILD = Path(__file__).with_name("caged.py")


class Cage:
    """An opened file. A context: the process ends with it."""

    def __init__(self, path: Path) -> None:
        size = sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*"))
        self._seconds = FIRST_SECONDS + size // _MEGABYTE
        self.has_no_network = False
        self._number = 0
        self._forget: list[int] = []
        limits = {
            "memory": _MEMORY,
            "seconds": self._seconds,
            "file_bytes": _FILES + _FILES_TIMES * size,
            "parent": os.getpid(),
        }
        given = json.dumps({"limits": limits, "value_bytes": MAX_VALUE_BYTES})
        self._process = subprocess.Popen(  # noqa: S603  # our own program, with a path that we made
            [sys.executable, "-I", "-S", "-B", str(_CHILD), str(path), given],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=path.parent,
            env={},
        )

    @property
    def process_id(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        try:
            self.has_no_network = self._hear().get("no_network") is True
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def execute(self, statement: str, values: Values = ()) -> Answer:
        """Ask something, as of a connection of `sqlite3`; errors of SQLite are its own.

        Raises:
            SourceRefused: the process did not survive the question, or it took too long.
        """
        self._number += 1
        number = self._number
        first = self._ask({"number": number, "statement": statement, "values": values})
        return Answer(self, number, first)

    def more(self, number: int) -> dict[str, Any]:
        """The next part of an answer."""
        return self._ask({"number": number})

    def forget(self, number: int) -> None:
        """Nobody reads on in an answer: said with the next question."""
        self._forget.append(number)

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        told, self._forget = self._forget, []
        asked = json.dumps(question | {"forget": told}).encode()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(struct.pack(">I", len(asked)) + asked)
            self._process.stdin.flush()
        except OSError as error:
            raise self._dead() from error
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        until = time.monotonic() + self._seconds
        (length,) = struct.unpack(">I", self._read(4, until))
        if length > _LONGEST_ANSWER:
            raise self.odd()
        try:
            told = json.loads(self._read(length, until), object_hook=_value)
        except (TypeError, ValueError, RecursionError) as error:
            raise self.odd() from error
        if not isinstance(told, dict):
            raise self.odd()
        if "error" in told:
            raise _raised(str(told["error"]), str(told.get("text")))
        return told

    def _read(self, length: int, until: float) -> bytes:
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        ready = select.poll()
        ready.register(pipe, select.POLLIN)
        parts = []
        while length:
            if not ready.poll(max(0.0, until - time.monotonic()) * 1000):
                self._process.kill()
                raise SourceRefused(
                    f"The file keeps its reader busy: it was stopped after {self._seconds} s. "
                    "No genuine audit database of this size does."
                )
            part = os.read(pipe, min(length, _MEGABYTE))
            if not part:
                raise self._dead()
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def _dead(self) -> SourceRefused:
        self._process.kill()
        sign = -self._process.wait()
        if sign == signal.SIGXCPU:
            return SourceRefused(
                f"The file needs more than {self._seconds} s of computing to be read. "
                "No genuine audit database of this size does."
            )
        return SourceRefused(
            "The process that read the file died of it. The file is damaged, or made to do harm: "
            "copy it again from its origin."
        )

    def odd(self) -> SourceRefused:
        """What to raise where an answer is none; nothing more is asked."""
        self._process.kill()
        return SourceRefused("The file made its reader say what no reader says: it is refused.")

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue


class Answer:
    """What came of one question: rows, handed over in parts."""

    def __init__(self, cage: Cage, number: int, first: dict[str, Any]) -> None:
        self._cage, self._number = cage, number
        self._rows: list[tuple[Any, ...]] = []
        self._take(first)

    def _take(self, part: dict[str, Any]) -> None:
        rows = part.get("rows")
        if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
            raise self._cage.odd()
        self._done, self._rows, self._next = part.get("done") is True, [*map(tuple, rows)], 0

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        while (row := self.fetchone()) is not None:
            yield row

    def fetchone(self) -> Any:
        """The next row, or None after the last."""
        while self._next == len(self._rows):
            if self._done:
                return None
            self._take(self._cage.more(self._number))
        self._next += 1
        return self._rows[self._next - 1]

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Every row that is left."""
        return list(self)

    def __del__(self) -> None:
        if not getattr(self, "_done", True):
            self._cage.forget(self._number)


def _value(told: dict[str, Any]) -> Any:
    """A BLOB stands as an object, and nothing else of a row does."""
    return bytes.fromhex(told["hex"]) if told.keys() == {"hex"} else told


def _raised(kind: str, text: str) -> Exception:
    if kind == "MemoryError" or text == "out of memory":
        return SourceRefused(
            f"The file needs more than {_MEMORY:,} bytes of memory to be read. "
            "No genuine audit database does."
        )
    error = getattr(sqlite3, kind, None)
    if isinstance(error, type) and issubclass(error, sqlite3.Error):
        return error(text)
    return sqlite3.DatabaseError(text)
