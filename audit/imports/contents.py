"""What only the file can be asked: JSON that does not parse, and payloads beside it."""

from __future__ import annotations

import errno
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from audit import blobs, payloads
from audit.findings import Found, further
from audit.vocabulary import FindingLevel, PayloadState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from audit.imports.mapping import Table
    from audit.imports.reading import Source

_MAX_TOLD = 1_000

# Every column that may name a payload.
_REFS = (
    ("rows", "source_data_ref"),
    ("calls", "request_ref"),
    ("calls", "response_ref"),
    ("routing_events", "reason_ref"),
    ("operations", "input_data_ref"),
    ("operations", "output_data_ref"),
)

# The original cuts these.
_SHORT_HASHES = frozenset({"error_hash", "schema_contract_hash"})


def odd_values(table: Table, *, run_id: str) -> Iterator[Found]:
    """JSON that does not parse, hashes and references that are none; kept as they are.

    One pass over the table, and one more for each kind only where the first found something.
    """
    odd = list(_odd(table))
    if not odd:
        return
    anything = " OR ".join(f"({condition})" for _code, condition, _detail in odd)
    of_run = table.of_run()
    if not table.source.query(
        f'SELECT EXISTS (SELECT 1 FROM "{table.name}" WHERE ({of_run}) AND ({anything}))',
        run=run_id,
    ).fetchone()[0]:
        return
    for code, condition, detail in odd:
        found = table.source.query(
            f'SELECT {table.key_sql} FROM "{table.name}" WHERE ({of_run}) AND ({condition})',
            run=run_id,
        )
        yield from _told((key for (key,) in found), code=code, table=table.name, detail=detail)


def _odd(table: Table) -> Iterator[tuple[str, str, str]]:
    """What to look for in a table, as (code, condition, words)."""
    for column in table.columns:
        if column.endswith("_json"):
            yield (
                "JSON_INVALID",
                f'"{column}" IS NOT NULL AND NOT json_valid("{column}")',
                f"{column} is not JSON; the text is kept as it is",
            )
        elif column.endswith("_ref"):
            yield "REF_MALFORMED", _not_sha256(column), f"{column} is no SHA-256 in lower-case hex"
        elif column.endswith("_hash") and column not in _SHORT_HASHES:
            yield "HASH_SHAPE", _not_sha256(column), f"{column} is no SHA-256 in lower-case hex"


def _not_sha256(column: str) -> str:
    return f'length("{column}") <> 64 OR "{column}" GLOB \'*[^0-9a-f]*\''


def bring_payloads(
    source: Source, tables: dict[str, Table], *, run_id: str, folder: Path, at: datetime
) -> Iterator[Found]:
    """Bring every payload that the run refers to into our store; tell the lost and the changed.

    The other store is only read. Memory does not grow with the number of payloads.
    """
    words = {
        PayloadState.MISSING: ("PAYLOAD_MISSING", "the payload folder has no such file"),
        PayloadState.CORRUPTED: ("PAYLOAD_CORRUPTED", "the file has another hash than its name"),
    }
    unsound: dict[str, list[str]] = {state: [] for state in words}
    beyond: Counter[str] = Counter()

    def states() -> Iterator[tuple[str, str, int | None]]:
        for ref in _refs(source, tables, run_id):
            state, size = _adopted(ref, folder)
            if state in unsound:
                if len(unsound[state]) < _MAX_TOLD:
                    unsound[state].append(ref)
                else:
                    beyond[state] += 1
            yield ref, state, size

    for ref in blobs.record(states=states(), at=at):
        payloads.adopt(ref, source=folder)
    for state, (code, detail) in words.items():
        for ref in unsound[state]:
            yield Found(code, FindingLevel.ERROR, "payloads", ref, detail)
        if more := beyond[state]:
            yield further(code, FindingLevel.ERROR, "payloads", detail, more)


def _adopted(ref: str, folder: Path) -> tuple[str, int | None]:
    try:
        return PayloadState.AVAILABLE, payloads.adopt(ref, source=folder)
    except payloads.PayloadCorrupted:
        return PayloadState.CORRUPTED, None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EROFS, errno.EDQUOT):
            raise  # our store is full: that is no fault of the file
        return PayloadState.MISSING, None


def _refs(source: Source, tables: dict[str, Table], run_id: str) -> Iterator[str]:
    """Each reference once, in order."""
    parts = [
        f'SELECT "{column}" AS ref FROM "{name}" WHERE ({tables[name].of_run()}) '
        f'AND "{column}" IS NOT NULL'
        for name, column in _REFS
        if name in tables and column in source.tables[name]
    ]
    for (ref,) in source.query(
        f"SELECT ref FROM ({' UNION '.join(parts)}) ORDER BY ref", run=run_id
    ):
        if payloads.is_ref(ref):
            yield ref


def _told(keys: Iterator[str], *, code: str, table: str, detail: str) -> Iterator[Found]:
    for key in islice(keys, _MAX_TOLD):
        yield Found(code, FindingLevel.ERROR, table, key, detail)
    if more := sum(1 for _key in keys):
        yield further(code, FindingLevel.ERROR, table, detail, more)
