"""The only writer of `payloads`: what is known of the bytes behind each reference."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from django.db import connection

from audit import payloads
from audit.models import Payload
from audit.vocabulary import PayloadState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

# What else a reference may be, beyond what `payloads` says of it.
NEVER_STORED = "never_stored"
HASH_ONLY = "hash_only"
WITHHELD = "withheld"

_BATCH = 500

# In one order always, so that two writers of the same contents wait for each other and no more.
_RECORD = """
INSERT INTO payloads (content_hash, state, size_bytes, recorded_at)
SELECT ref, state, size, %s
FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS t (ref, state, size)
ORDER BY ref
ON CONFLICT (content_hash) DO UPDATE SET state = excluded.state, size_bytes = excluded.size_bytes
WHERE excluded.state = 'available' AND payloads.state <> 'available'
"""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What became of recorded contents; `content` is there only when `state` is available."""

    state: str
    ref: str | None = None
    content: bytes | None = None
    size_bytes: int | None = None
    recorded_at: datetime | None = None
    # The hash that was found instead, where the bytes are corrupted.
    actual_hash: str | None = None

    def __post_init__(self) -> None:
        if (self.content is not None) != (self.state == PayloadState.AVAILABLE):
            raise ValueError(f"contents that are {self.state} cannot be what was given")


def record(*, states: Iterable[tuple[str, str, int | None]], at: datetime) -> None:
    """Keep what was found, as (reference, state, size in bytes); joins the caller's transaction.

    What is available stays so: a later import without the bytes does not take them away.
    Writes in batches of 500, so `states` may be a long stream.
    """
    stream = iter(states)
    while batch := list(islice(stream, _BATCH)):
        # One statement cannot touch a row twice; what is there wins over what is not.
        known: dict[str, tuple[str, int | None]] = {}
        for ref, state, size in batch:
            if known.get(ref, ("", None))[0] != PayloadState.AVAILABLE:
                known[ref] = (state, size)
        with connection.cursor() as cursor:
            cursor.execute(
                _RECORD,
                [
                    at,
                    list(known),
                    [str(state) for state, _size in known.values()],
                    [size for _state, size in known.values()],
                ],
            )


def keep(*, contents: Mapping[str, bytes], at: datetime) -> None:
    """Store contents under their hashes: bytes first, then the rows, in the caller's transaction.

    A rollback leaves bytes without a row, which is harmless; a row without bytes cannot be.
    """
    if contents:
        states = [
            (payloads.store(content), PayloadState.AVAILABLE, len(content))
            for content in contents.values()
        ]
        record(states=states, at=at)


def find(*, ref: str | None, content_hash: str | None, may_read: bool = True) -> Kept:
    """What became of contents of which the trail holds a hash, a reference, both or none.

    `withheld` when the caller may not see them: then nothing is read at all.
    """
    if ref is None or not may_read:
        state = WITHHELD if ref else HASH_ONLY if content_hash else NEVER_STORED
        return Kept(state=state, ref=ref)
    return _look(ref, Payload.objects.filter(content_hash=ref).first())


def find_each(*, refs: Iterable[str]) -> Iterator[tuple[str, Kept]]:
    """The same for several references, in one query; bytes are in memory one after the other."""
    wanted = set(refs)
    known = {held.content_hash: held for held in Payload.objects.filter(content_hash__in=wanted)}
    for ref in wanted:
        yield ref, _look(ref, known.get(ref))


def _look(ref: str, known: Payload | None) -> Kept:
    recorded_at = known.recorded_at if known else None
    if known and known.state == PayloadState.PURGED:
        return Kept(state=PayloadState.PURGED, ref=ref, recorded_at=recorded_at)
    try:
        content = payloads.read(ref)
    except (payloads.PayloadMissing, ValueError):
        # Imported references may be anything; what cannot name a payload has none.
        return Kept(state=PayloadState.MISSING, ref=ref, recorded_at=recorded_at)
    except payloads.PayloadCorrupted as error:
        return Kept(
            state=PayloadState.CORRUPTED,
            ref=ref,
            recorded_at=recorded_at,
            actual_hash=error.actual,
        )
    return Kept(
        state=PayloadState.AVAILABLE,
        ref=ref,
        content=content,
        size_bytes=len(content),
        recorded_at=recorded_at,
    )
