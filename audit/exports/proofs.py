"""One record with its proof: two small files that can be sent by mail and checked by anyone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from audit.errors import CannotBeExported, NotRecorded
from audit.evidence import comparing, lines, merkle, notes, seals, store
from audit.evidence.records import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from audit.evidence.records import RecordType
    from audit.models import Seal


@dataclass(frozen=True)
class Proven:
    """A sealed line, without its end, and the proof that leads from it to the signed root."""

    line: bytes
    proof: notes.Proof


def prove_record(*, run_id: str, record_type: str, key: str) -> Proven:
    """Prove one sealed record, as its last epoch has it.

    `key` is the record's id, or the parts of its key with a slash between them.

    Raises:
        NotRecorded: the run has no seal, or none with this record.
        CannotBeExported: what was sealed is damaged.
        ValueError: there is no such record type.
    """
    kind = BY_NAME.get(record_type)
    if kind is None:
        message = f"there is no record type {record_type!r:.80}; there are {', '.join(BY_NAME)}"
        raise ValueError(message)
    sealed = seals.seals_of(run_id)
    if not sealed:
        raise NotRecorded("seal of run", run_id)
    try:
        checkpoint = seals.verified(sealed[-1])
        segments = comparing.segments_of(sealed[-1])
        found = (each for each in _of_type(kind, sealed, segments) if _is(kind, each[1], key))
        index, line = next(found, (-1, b""))
        if index < 0:
            raise NotRecorded(f"sealed {record_type}", key)
        hashes = merkle.prove(merkle.inclusion_path(index, checkpoint.size), _Levels(segments).read)
        root = merkle.root_from_inclusion(
            leaf=merkle.leaf_hash(line), index=index, size=checkpoint.size, proof=hashes
        )
        if root != checkpoint.root:
            raise CannotBeExported(run_id, "the sealed text does not lead to the signed root")
    except (store.SealedTextDamaged, notes.NoteRefused) as error:
        raise CannotBeExported(run_id, str(error)) from error
    return Proven(line, notes.Proof(index, tuple(hashes), str(sealed[-1].checkpoint)))


def _of_type(
    kind: RecordType, sealed: Sequence[Seal], segments: Sequence[store.Segment]
) -> Iterator[tuple[int, bytes]]:
    """The lines of a type with their places in the tree; the newest epoch first."""
    for seal in reversed(sealed):
        start, count = seal.first_leaf, 1
        if kind.name != "seal":
            counts = json.loads(seal.counts_json)
            names = list(BY_NAME)
            before = names[1 : names.index(kind.name)]
            start += 1 + sum(counts.get(name, 0) for name in before)
            count = counts.get(kind.name, 0)
        found = islice(store.read_lines(segments, start=start), count)
        for index, line in enumerate(found, start):
            yield index, line[:-1]


def _is(kind: RecordType, line: bytes, key: str) -> bool:
    # Looking is cheaper than reading; an id that JSON writes otherwise is read.
    last = key.rpartition("/")[2]
    if last.isalnum() and last.encode() not in line:
        return False
    record = json.loads(line)
    return key in {lines.key_text(kind, record), str(record[kind.key[-1]])} and (
        len(kind.key) == 1 or kind.name == "row" or key == lines.key_text(kind, record)
    )


class _Levels:
    """The hashes of a sealed run's tree, level by level."""

    def __init__(self, segments: Sequence[store.Segment]) -> None:
        self._segments = segments

    def read(self, level: int, start: int, count: int) -> list[bytes]:
        """Hashes of a level that lie in one tile."""
        if level < 2:  # noqa: PLR2004  # lines and blocks of 256 lie beside their segment
            per_segment = store.SEGMENT if level == 0 else merkle.WIDTH
            segment, first = divmod(start, per_segment)
            return store.read_hashes(self._segments[segment], level=level, start=first, count=count)
        if level == 2:  # noqa: PLR2004  # the roots of whole segments
            roots = [each.root or "" for each in self._segments[start : start + count]]
            return [bytes.fromhex(root) for root in roots]
        return [
            merkle.block_root(self.read(level - 1, each * merkle.WIDTH, merkle.WIDTH))
            for each in range(start, start + count)
        ]
