"""What was sealed against what the database says now: every record that differs, by name.

Both come in leaf order, so one pass over each is enough and memory does not grow with the run.
Lines are compared as bytes; only where they differ are they read.
"""

from __future__ import annotations

import heapq
import json
from dataclasses import dataclass
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from audit.canonical import sha256
from audit.errors import CannotBeSealed
from audit.evidence import lines, store
from audit.evidence.records import BY_NAME, RECORD_TYPES, SEAL, RecordType, schema_sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from audit.models import Seal


@dataclass(frozen=True)
class Difference:
    """One record that is not what was sealed; None where a side does not have it."""

    kind: RecordType
    key: str
    sealed: bytes | None
    current: bytes | None

    @property
    def columns(self) -> list[str]:
        """Which columns differ, where both sides have the record."""
        if self.sealed is None or self.current is None:
            return []
        was, is_ = json.loads(self.sealed), json.loads(self.current)
        return [name for name in was if name not in is_ or was[name] != is_[name]]

    def __str__(self) -> str:
        if self.sealed is None:
            return f"{self.kind.table} {self.key} was not sealed"
        if self.current is None:
            return f"{self.kind.table} {self.key} is gone"
        return f"{self.kind.table} {self.key} has another {', '.join(self.columns)}"


def differences(seals: Sequence[Seal]) -> Iterator[Difference]:
    """Every record of a run that differs from its seals, oldest seal first, in leaf order.

    To be read to its end, inside `lines.snapshot`. One statement for each record type. The
    columns are those that the seals name, so a column that was added since does not matter.

    Raises:
        SealedTextDamaged: what was sealed can no longer be read.
    """
    run_id = str(seals[0].run_id)
    segments = segments_of(seals[-1])
    streams = [store.read_lines(segments, start=seal.first_leaf) for seal in seals]
    firsts = [next(stream, b"") for stream in streams]
    counts = [counts_told(seal, line) for seal, line in zip(seals, firsts, strict=True)]
    for seal, line in zip(seals, firsts, strict=True):
        yield from seal_record(seal, line)
    for kind in with_newer(types_told(seals[-1], firsts[-1])):
        parts = [
            islice(stream, count.get(kind.name, 0))
            for stream, count in zip(streams, counts, strict=True)
        ]
        yield from merged(kind, parts, lines.lines(kind, run_id))


def segments_of(seal: Seal) -> list[store.Segment]:
    """The files of records up to this seal.

    Raises:
        SealedTextDamaged: the seal does not say which.
    """
    try:
        return [store.Segment(**each) for each in json.loads(seal.segments_json)]
    except (ValueError, TypeError) as error:
        message = f"segments_json of {seal} names no files: {error}"
        raise store.SealedTextDamaged(message) from error


def counts_told(seal: Seal, line: bytes) -> dict[str, int]:
    """How many records of each type an epoch has: by its own sealed record, where that is there."""
    told = json.loads(line)["counts_json"] if line else seal.counts_json
    counts: dict[str, int] = json.loads(told)
    return counts


def types_told(seal: Seal, line: bytes) -> list[RecordType]:
    """The record types that were sealed, also where the seal's schema is not that schema now.

    Raises:
        CannotBeSealed: the schema names a type that this version does not know.
    """
    told = json.loads(line)["schema_sha256"] if line else None
    if told == schema_sha256() != sha256(str(seal.schema_json).encode()):
        return list(RECORD_TYPES)
    return sealed_types(seal)


def sealed_types(seal: Seal) -> list[RecordType]:
    """The record types as the seal's schema has them, in leaf order.

    Raises:
        CannotBeSealed: the schema names a type that this version does not know.
    """
    found = []
    for each in json.loads(seal.schema_json)["types"]:
        if each["name"] == SEAL.name:
            continue
        known = BY_NAME.get(each["name"])
        if known is None:
            raise CannotBeSealed(
                str(seal.run_id), f"this version does not know the record type {each['name']}"
            )
        columns = tuple((name, form) for name, form in each["columns"])
        found.append(
            RecordType(
                known.name,
                known.table,
                tuple(each["key"]),
                columns,
                known.mutable,
                known.open_words,
            )
        )
    return found


def with_newer(known: Sequence[RecordType]) -> list[RecordType]:
    """And the types that came with a later version: of those nothing is sealed yet."""
    names = {kind.name for kind in known}
    return [*known, *(kind for kind in RECORD_TYPES if kind.name not in names)]


def seal_line(seal: Seal, *, schema_sha256: str) -> bytes:
    """The record of a seal itself: the first leaf of its epoch."""
    record = {name: getattr(seal, name, None) for name, _form in SEAL.columns}
    return lines.line_of(SEAL, record | {"schema_sha256": schema_sha256})


def seal_record(seal: Seal, sealed: bytes) -> Iterator[Difference]:
    """The seal's own record: what the database says of the seal is what was signed."""
    told = sha256(str(seal.schema_json).encode())
    current = seal_line(seal, schema_sha256=told)
    if current != sealed:
        yield Difference(SEAL, str(seal.epoch), sealed, current)


def _latest(kind: RecordType, parts: Sequence[Iterable[bytes]]) -> Iterator[bytes]:
    """The sealed lines of a type in order, each record as its last epoch has it."""
    if len(parts) == 1:
        yield from parts[0]
        return

    def keyed(epoch: int, part: Iterable[bytes]) -> Iterator[tuple[Any, int, bytes]]:
        for line in part:
            yield lines.key_of(kind, json.loads(line)), epoch, line

    every = heapq.merge(*(keyed(epoch, part) for epoch, part in enumerate(parts)))
    for _key, versions in groupby(every, key=lambda each: each[0]):
        *_superseded, (_, _, line) = versions
        yield line


def merged(
    kind: RecordType, parts: Sequence[Iterable[bytes]], current: Iterator[bytes]
) -> Iterator[Difference]:
    """The records of a type that differ: of each epoch what was sealed, against what is there."""
    sealed = _latest(kind, parts)
    was, is_ = next(sealed, None), next(current, None)
    while was is not None or is_ is not None:
        if was == is_:
            was, is_ = next(sealed, None), next(current, None)
            continue
        old = None if was is None else json.loads(was)
        new = None if is_ is None else json.loads(is_)
        before = None if old is None else lines.key_of(kind, old)
        after = None if new is None else lines.key_of(kind, new)
        if new is None or (before is not None and before < after):  # type: ignore[operator]  # after is a key here
            yield Difference(kind, lines.key_text(kind, old or {}), was, None)
            was = next(sealed, None)
        elif old is None or after < before:  # type: ignore[operator]  # both are keys here
            yield Difference(kind, lines.key_text(kind, new), None, is_)
            is_ = next(current, None)
        else:
            # An older epoch may know fewer columns; those that it knows decide.
            if any(new.get(name) != value for name, value in old.items()):
                yield Difference(kind, lines.key_text(kind, new), was, is_)
            was, is_ = next(sealed, None), next(current, None)
