"""CSV files of records, from which the very JSON lines can be built again.

A text that a spreadsheet might run as a formula gets one apostrophe in front, and so does a text
that begins with an apostrophe: a reader takes off exactly one.
"""

from __future__ import annotations

import json
import re
import tempfile
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import IO

    from audit.evidence.records import RecordType

_GUARDED = re.compile("[=+\\-@\t\r\n'\uff1d\uff0b\uff0d\uff20]")
_TEXT = {"string", "json_text", "timestamp", "hash"}
_WORDS = {None: "", True: "true", False: "false"}
_CHUNK = 1 << 18
_IN_MEMORY = 1 << 18


class Sheets:
    """One file for each record type, gathered while the lines go by; a context."""

    def __init__(self, kinds: Iterable[RecordType]) -> None:
        self._files: dict[str, IO[bytes]] = {}
        self._forms = {kind.name: kind.columns for kind in kinds}

    def __enter__(self) -> Self:
        for name, columns in self._forms.items():
            self._files[name] = tempfile.SpooledTemporaryFile(_IN_MEMORY)
            self._files[name].write(",".join(column for column, _ in columns).encode() + b"\r\n")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in self._files.values():
            file.close()

    def take(self, lines: Iterable[bytes]) -> None:
        """Add records.

        Raises:
            ValueError: a record has other columns than its type; its file could not say so.
        """
        for line in lines:
            # Numbers stay the text that they are.
            record = json.loads(line, parse_float=str, parse_int=str)
            name = record.pop("record_type")
            if len(record) != len(self._forms[name]):
                message = f"a {name} was sealed under another schema: there is no CSV for it"
                raise ValueError(message)
            self._files[name].write(row_of(record, self._forms[name]).encode())

    def contents(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The files, by record type."""
        for name, file in self._files.items():
            file.seek(0)
            yield name, iter(lambda file=file: file.read(_CHUNK), b"")  # type: ignore[misc]  # bound at once


def row_of(record: dict[str, Any], columns: Sequence[tuple[str, str]]) -> str:
    """A record as a row with its end; numbers come as text."""
    return ",".join(_field(record[name], form) for name, form in columns) + "\r\n"


def _field(value: Any, form: str) -> str:
    if form in _TEXT and value is not None:
        guard = "'" if _GUARDED.match(value) else ""
        return f'"{guard}{value.replace(chr(34), chr(34) * 2)}"'
    return _WORDS[value] if value in _WORDS else str(value)
