"""One record with its proof: two small files that can be sent by mail and checked by anyone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.errors import CannotBeExported, NotRecorded
from audit.evidence import comparing, merkle, notes, places, seals, store
from audit.evidence.records import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Proven:
    """A sealed line, without its end, and the proof that leads from it to the signed root."""

    record_type: str
    line: bytes
    proof: notes.Proof
    # In which epoch the record stands so, and the tree over all epochs.
    epoch: int
    checkpoint: notes.Checkpoint
    authority: str


def prove_record(*, run_id: str, record_type: str, key: str) -> Proven:
    """Prove one sealed record, as its last epoch has it. Reads one file of records, no more.

    `key` is the record's id, or the parts of its key with a slash between them.

    Raises:
        NotRecorded: the run has no seal, or none with this record.
        CannotBeExported: what was sealed is damaged.
        ValueError: there is no such record type.
    """
    if record_type not in BY_NAME:
        message = f"there is no record type {record_type!r:.80}; there are {', '.join(BY_NAME)}"
        raise ValueError(message)
    sealed = seals.seals_of(run_id)
    if not sealed:
        raise NotRecorded("seal of run", run_id)
    try:
        checkpoint = seals.verified(sealed[-1])
        found = places.place_of(sealed, record_type=record_type, key=key)
        if found is None:
            raise NotRecorded(f"sealed {record_type}", key)
        levels = _Levels(comparing.segments_of(sealed[-1]))
        hashes = merkle.prove(merkle.inclusion_path(found.index, checkpoint.size), levels.read)
        root = merkle.root_from_inclusion(
            leaf=merkle.leaf_hash(found.line),
            index=found.index,
            size=checkpoint.size,
            proof=hashes,
        )
    except (store.SealedTextDamaged, notes.NoteRefused, ValueError, IndexError) as error:
        raise CannotBeExported(run_id, str(error)) from error
    if root != checkpoint.root:
        raise CannotBeExported(run_id, "the sealed text does not lead to the signed root")
    proof = notes.Proof(found.index, tuple(hashes), str(sealed[-1].checkpoint))
    authority = checkpoint.origin.rpartition("/run/")[0]
    return Proven(record_type, found.line, proof, found.epoch, checkpoint, authority)


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
