"""Where a record lies in a sealed tree, found without reading the run.

The records of a type lie together, in the order of their keys, and the beginning of every file
can be read alone. So the right file is found by halving, and only that one is read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import combinations, islice, pairwise
from typing import TYPE_CHECKING, Any

import rfc8785

from audit.evidence import comparing, lines, store
from audit.evidence.records import SEAL, RecordType

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from audit.models import Seal

# Ids may hold slashes themselves; no honest key can be read in more ways than this.
_READINGS = 20


@dataclass(frozen=True)
class Place:
    """A sealed line, without its end, and which leaf of the tree it is."""

    index: int
    epoch: int
    line: bytes


def ranges(seal: Seal) -> Iterator[tuple[RecordType, int, int]]:
    """Each record type of an epoch with its first leaf and how many there are."""
    yield SEAL, seal.first_leaf, 1
    start, counts = seal.first_leaf + 1, json.loads(seal.counts_json)
    for kind in comparing.sealed_types(seal):
        count = counts.get(kind.name, 0)
        yield kind, start, count
        start += count


def place_of(sealed: Sequence[Seal], *, record_type: str, key: str) -> Place | None:
    """Where a record lies, as its last epoch has it; None where it was not sealed.

    `key` is its id, or the parts of its key with a slash between them. Of a row the id alone
    will do too, at the cost of reading all rows. Reads one file, and the beginning of a few.

    Raises:
        SealedTextDamaged: what was sealed can no longer be read.
    """
    segments = comparing.segments_of(sealed[-1])
    for seal in reversed(sealed):
        for kind, start, count in ranges(seal):
            if kind.name != record_type or not count:
                continue
            try:
                found = _among(segments, kind, key, start, count)
            except (ValueError, KeyError, TypeError, IndexError) as error:
                message = f"the sealed text of {seal} cannot be read: {error}"
                raise store.SealedTextDamaged(message) from error
            if found:
                return Place(found[0], seal.epoch, found[1])
    return None


def _among(
    segments: Sequence[store.Segment], kind: RecordType, text: str, start: int, count: int
) -> tuple[int, bytes] | None:
    end = start + count
    readings = _readings(kind, text)
    for key in readings:
        segment = _segment_with(segments, kind, key, start, end)
        first, last = segment * store.SEGMENT, (segment + 1) * store.SEGMENT
        found = _scan(segments[segment:], kind, key, max(start, first), min(end, last))
        if found:
            return found
    if kind.name == "row" and not readings:
        return _scan(segments[start // store.SEGMENT :], kind, (text,), start, end)
    return None


def _segment_with(
    segments: Sequence[store.Segment], kind: RecordType, key: tuple[Any, ...], start: int, end: int
) -> int:
    """The one file that can have this key: the last that does not begin behind it."""
    low, high = start // store.SEGMENT, (end - 1) // store.SEGMENT
    while low < high:
        middle = (low + high + 1) // 2
        line = next(store.read_lines(segments[middle : middle + 1]))
        if lines.key_of(kind, json.loads(line)) <= key:
            low = middle
        else:
            high = middle - 1
    return low


def _scan(
    segments: Sequence[store.Segment], kind: RecordType, key: tuple[Any, ...], start: int, end: int
) -> tuple[int, bytes] | None:
    """The record with this key, or with one that ends so, among these leaves."""
    # Lines are canonical: what they hold is found as bytes, and only then read.
    marks = [rfc8785.dumps(part) for part in key if isinstance(part, str)]
    every = store.read_lines(segments, start=start % store.SEGMENT)
    for index, line in enumerate(islice(every, end - start), start):
        if all(mark in line for mark in marks):
            record = json.loads(line)
            if lines.key_of(kind, record)[-len(key) :] == key:
                return index, line[:-1]
    return None


def _readings(kind: RecordType, text: str) -> list[tuple[Any, ...]]:
    """Every key that these words can mean."""
    numbers = [name in kind.of_type("integer", "int64") for name in kind.key]
    parts = text.split("/")
    found: list[tuple[Any, ...]] = []
    for cuts in combinations(range(1, len(parts)), len(kind.key) - 1):
        edges = (0, *cuts, len(parts))
        words = ["/".join(parts[a:b]) for a, b in pairwise(edges)]
        if all(_is_number(word) for word, is_ in zip(words, numbers, strict=True) if is_):
            pairs = zip(words, numbers, strict=True)
            found.append(tuple(int(word) if is_ else word for word, is_ in pairs))
        if len(found) == _READINGS:
            break
    return found


def _is_number(word: str) -> bool:
    digits = word.removeprefix("-")
    return digits.isascii() and digits.isdigit() and str(int(digits[:19])) == digits
