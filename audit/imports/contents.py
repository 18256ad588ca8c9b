"""What only the file can be asked: JSON that does not parse, and payloads beside it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from audit import payloads
from audit.findings import Found
from audit.vocabulary import FindingLevel, PayloadState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
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


def invalid_json(table: Table, *, run_id: str) -> Iterator[Found]:
    """Columns that promise JSON and hold something else; kept as they are."""
    for column in table.columns:
        if not column.endswith("_json"):
            continue
        where = f'({table.of_run()}) AND "{column}" IS NOT NULL AND NOT json_valid("{column}")'
        found = table.source.query(
            f'SELECT {table.key_sql} FROM "{table.name}" WHERE {where}', run=run_id
        )
        yield from _told(
            (key for (key,) in found),
            code="JSON_INVALID",
            table=table.name,
            detail=f"{column} is not JSON; the text is kept as it is",
        )


def adopt_payloads(
    source: Source, tables: dict[str, Table], *, run_id: str, folder: Path, root: Path
) -> Iterator[tuple[str, str, int | None]]:
    """Bring every payload that the run refers to into our store; yield reference, state, size."""
    for ref in _refs(source, tables, run_id):
        if not payloads.is_ref(ref):
            continue
        try:
            yield ref, PayloadState.AVAILABLE, payloads.adopt(root, ref, source=folder)
        except payloads.PayloadCorrupted:
            yield ref, PayloadState.CORRUPTED, None
        except OSError:
            yield ref, PayloadState.MISSING, None


def payload_findings(states: Iterable[tuple[str, str, int | None]]) -> Iterator[Found]:
    """Payloads that should have been beside the file and were not, or were changed."""
    words = {
        PayloadState.MISSING: ("PAYLOAD_MISSING", "the payload folder has no such file"),
        PayloadState.CORRUPTED: ("PAYLOAD_CORRUPTED", "the file has another hash than its name"),
    }
    for state, (code, detail) in words.items():
        refs = (ref for ref, found, _size in states if found == state)
        yield from _told(refs, code=code, table="payloads", detail=detail)


def malformed_refs(source: Source, tables: dict[str, Table], *, run_id: str) -> Iterator[Found]:
    """References that can name no payload; no file is ever looked for under them."""
    for name, column in _REFS:
        if name not in tables or column not in source.tables[name]:
            continue
        table = tables[name]
        where = (
            f'({table.of_run()}) AND "{column}" IS NOT NULL AND '
            f"(length(\"{column}\") <> 64 OR \"{column}\" GLOB '*[^0-9a-f]*')"
        )
        found = source.query(f'SELECT {table.key_sql} FROM "{name}" WHERE {where}', run=run_id)
        yield from _told(
            (key for (key,) in found),
            code="REF_MALFORMED",
            table=name,
            detail=f"{column} is not 64 digits of lower-case hex",
        )


def _refs(source: Source, tables: dict[str, Table], run_id: str) -> Iterator[str]:
    """Each reference once, in order."""
    parts = [
        f'SELECT "{column}" AS ref FROM "{name}" WHERE ({tables[name].of_run()}) '
        f'AND "{column}" IS NOT NULL'
        for name, column in _REFS
        if name in tables and column in source.tables[name]
    ]
    for (ref,) in source.query(f"SELECT ref FROM ({' UNION '.join(parts)}) ORDER BY ref", run=run_id):
        yield ref


def _told(keys: Iterator[str], *, code: str, table: str, detail: str) -> Iterator[Found]:
    for key in islice(keys, _MAX_TOLD):
        yield Found(code, FindingLevel.ERROR, table, key, detail)
    if more := sum(1 for _key in keys):
        text = f"{more:,} further records: {detail}"
        yield Found(code, FindingLevel.ERROR, table, "", text, occurrences=more)
