"""What can still be said when something of the sealed text is damaged.

A file of records that is gone or spoilt leaves the others, and leaves the hashes of its lines,
which lie beside it and lead to the signed root by themselves. A record whose hash is among them
is as it was sealed; one that is neither there nor in readable text is not.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from audit.evidence import comparing, lines, merkle, store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from audit.evidence import notes
    from audit.evidence.comparing import Difference
    from audit.evidence.records import RecordType
    from audit.models import Seal


@dataclass
class Condition:
    """In which condition the sealed text of a run is."""

    segments: list[store.Segment]
    # What is wrong, in sentences.
    broken: list[str] = field(default_factory=list)
    # Files whose text cannot be read, by number.
    damaged: set[int] = field(default_factory=set)
    # Those among them whose hashes cannot be relied on either.
    blind: set[int] = field(default_factory=set)
    # What is there leads to every root that was signed, the last one above all.
    proven: bool = False
    # It leads elsewhere.
    contradicted: bool = False


@dataclass
class Salvaged:
    """What came of a comparison with what is left."""

    # Records that came or changed, and may be as they were sealed or not.
    unknown: int = 0
    # In sentences: sealed records of a kind that are missed, by their hashes.
    missed: list[str] = field(default_factory=list)


def inspect(sealed: Sequence[Seal], signed: Sequence[notes.Checkpoint | None]) -> Condition:
    """Read all sealed text of a run once: files, hashes beside them, and the signed roots.

    `signed` is the checkpoint of each seal, None where its signature does not hold.

    Raises:
        SealedTextDamaged: the seal does not say which files there are.
    """
    found = Condition(comparing.segments_of(sealed[-1]))
    pairs = zip(sealed, signed, strict=True)
    tree, left = merkle.Tree(), [(seal, each) for seal, each in pairs if each]
    off: Seal | None = None
    for index, segment in enumerate(found.segments):
        hashes = _hashes(found, index, segment)
        if hashes is None:
            # What lies behind it leads nowhere.
            left = []
            continue
        while left and tree.size + len(hashes) >= left[0][1].size:
            (seal, checkpoint), left = left[0], left[1:]
            taken = max(checkpoint.size - tree.size, 0)
            tree.extend(hashes[:taken])
            hashes = hashes[taken:]
            if (tree.size, tree.root()) != (checkpoint.size, checkpoint.root):
                off, left = off or seal, []
            found.proven = off is None and seal is sealed[-1]
        tree.extend(hashes)
    off = off or (left[0][0] if left else None)
    if off:
        found.contradicted = True
        message = f"the sealed text of {off} does not lead to the root that was signed"
        found.broken.append(message)
    if not found.proven:
        found.blind = set(found.damaged)
    return found


def differences(
    sealed: Sequence[Seal], condition: Condition, result: Salvaged
) -> Iterator[Difference]:
    """Every record that certainly differs, by what is left; `result` takes what is less certain.

    To be read to its end, inside `lines.snapshot`.
    """
    firsts = [
        next(_lines_between(condition, seal.first_leaf, seal.first_leaf + 1), b"")
        for seal in sealed
    ]
    for seal, line in zip(sealed, firsts, strict=True):
        if line:
            yield from comparing.seal_record(seal, line)
    starts = [seal.first_leaf + 1 for seal in sealed]
    counts = [comparing.counts_told(*each) for each in zip(sealed, firsts, strict=True)]
    for kind in comparing.with_newer(comparing.types_told(sealed[-1], firsts[-1])):
        ends = [
            start + count.get(kind.name, 0) for start, count in zip(starts, counts, strict=True)
        ]
        spans = list(zip(starts, ends, strict=True))
        yield from _of_kind(kind, str(sealed[0].run_id), spans, condition, result)
        starts = ends


def _of_kind(
    kind: RecordType,
    run_id: str,
    spans: Sequence[tuple[int, int]],
    condition: Condition,
    result: Salvaged,
) -> Iterator[Difference]:
    hashes: set[bytes] = set()
    lost = 0
    for start, end in spans:
        for index, first, last in _pieces(condition, start, end):
            if index in condition.blind:
                lost += last - first
            elif index in condition.damaged:
                segment = condition.segments[index]
                hashes.update(store.read_hashes(segment, level=0, start=first, count=last - first))
    parts = [_lines_between(condition, *span) for span in spans]
    for found in comparing.merged(kind, parts, lines.lines(kind, run_id)):
        leaf = merkle.leaf_hash(found.current[:-1]) if found.current else b""
        if leaf in hashes:
            hashes.discard(leaf)
        elif lost and (found.sealed is None or len(spans) > 1):
            result.unknown += 1
        else:
            yield found
    # With several epochs, an older one may rightly have been followed by text that is there.
    if hashes and len(spans) == 1:
        told = f"{len(hashes):,} sealed records of {kind.table} changed or are gone"
        result.missed.append(f"{told}; the text that named them is damaged")


def _hashes(found: Condition, index: int, segment: store.Segment) -> list[bytes] | None:
    """The leaf hashes of a file: of its text, else those that lie beside it."""
    try:
        hashes = _of_text(found, segment)
    except store.SealedTextDamaged as error:
        found.broken.append(str(error))
        found.damaged.add(index)
        hashes = None
    try:
        beside = store.read_hashes(segment, level=0, start=0, count=segment.records)
        blocks = segment.records // merkle.WIDTH
        tiles = store.read_hashes(segment, level=1, start=0, count=blocks)
    except store.SealedTextDamaged as error:
        found.broken.append(str(error))
        return hashes
    if hashes is None:
        return beside
    if beside != hashes or tiles != store.tiles_of(hashes):
        found.broken.append(f"the hashes of segment {segment.sha256} are not those of its text")
    return hashes


def _of_text(found: Condition, segment: store.Segment) -> list[bytes]:
    hashes, size, crc = [], 0, 0
    for line in store.read_lines([segment]):
        hashes.append(merkle.leaf_hash(line[:-1]))
        size += len(line)
        crc = zlib.crc32(line, crc)
    if len(hashes) != segment.records:
        message = f"segment {segment.sha256} has {len(hashes):,} records"
        raise store.SealedTextDamaged(message)
    whole = len(hashes) == store.SEGMENT
    root = merkle.block_root(store.tiles_of(hashes)).hex() if whole else None
    with store.open_packed(segment) as file:
        packed = file.size
    if (segment.size, segment.crc32, segment.packed, segment.root) != (size, crc, packed, root):
        found.broken.append(f"segments_json tells segment {segment.sha256} otherwise than it is")
    return hashes


def _lines_between(condition: Condition, start: int, end: int) -> Iterator[bytes]:
    """The sealed lines of these leaves, without those of damaged files."""
    for index, first, last in _pieces(condition, start, end):
        if index not in condition.damaged:
            segment = condition.segments[index]
            yield from islice(store.read_lines([segment], start=first), last - first)


def _pieces(condition: Condition, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The files that hold these leaves: number, first line and the one behind the last."""
    for index in range(
        start // store.SEGMENT, min(-(-end // store.SEGMENT), len(condition.segments))
    ):
        begin = index * store.SEGMENT
        yield index, max(start - begin, 0), min(end - begin, store.SEGMENT)
