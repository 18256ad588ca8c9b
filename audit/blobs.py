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
    from collections.abc import Iterable, Iterator, Mapping, Sequence
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
ON CONFLICT (content_hash) DO UPDATE SET
    state = excluded.state, size_bytes = excluded.size_bytes,
    recorded_at = CASE WHEN payloads.state = 'purged' THEN excluded.recorded_at
                       ELSE payloads.recorded_at END
WHERE excluded.state = 'available' AND payloads.state <> 'available'
RETURNING CASE WHEN payloads.purged_at IS NOT NULL THEN payloads.content_hash END
"""

_PURGE = """
UPDATE payloads SET state = 'purged', purged_at = %s, purge_plan_id = %s
WHERE content_hash = ANY(%s)
"""

_TOMBSTONES = """
SELECT content_hash FROM payloads WHERE content_hash = ANY(%s) AND state = 'purged'
ORDER BY content_hash FOR UPDATE
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
    # Of the last purge, also where the same contents were recorded again after it.
    purged_at: datetime | None = None
    purge_plan_id: int | None = None

    def __post_init__(self) -> None:
        if (self.content is not None) != (self.state == PayloadState.AVAILABLE):
            raise ValueError(f"contents that are {self.state} cannot be what was given")


def record(*, states: Iterable[tuple[str, str, int | None]], at: datetime) -> list[str]:
    """Keep what was found, as (reference, state, size in bytes); joins the caller's transaction.

    What is available stays so: a later import without the bytes does not take them away. What was
    purged and is here again is available again, and returned: a purge may have deleted its bytes
    since they were stored, so they have to be stored once more. Until the transaction ends, no
    purge touches them. Writes in batches of 500, so `states` may be a long stream.
    """
    stream, back = iter(states), []
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
            back += [ref for (ref,) in cursor.fetchall() if ref]
    return back


def purge(*, refs: Sequence[str], plan_id: int, at: datetime) -> None:
    """Put tombstones in the place of contents; their bytes are for `erase`, after the commit.

    The database asks whether a plan that is being executed has each of them, and for holds.
    """
    with connection.cursor() as cursor:
        cursor.execute(_PURGE, [at, plan_id, list(refs)])


def take(*, refs: Sequence[str]) -> set[str]:
    """Keep everybody else from recording these contents, until the caller's transaction ends.

    Returns those that could be taken: the others are being recorded at this moment.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT content_hash FROM payloads WHERE content_hash = ANY(%s) "
            "ORDER BY content_hash FOR UPDATE SKIP LOCKED",
            [list(refs)],
        )
        return {ref for (ref,) in cursor.fetchall()}


def erase(*, refs: Sequence[str]) -> set[str]:
    """Delete the bytes behind tombstones, in the caller's transaction; return whose are gone.

    Whoever records the same contents meanwhile waits, and stores them again. What was recorded
    again before is left alone.
    """
    with connection.cursor() as cursor:
        cursor.execute(_TOMBSTONES, [list(refs)])
        found = [ref for (ref,) in cursor.fetchall()]
    payloads.delete(found)
    return set(found)


def keep(*, contents: Mapping[str, bytes], at: datetime) -> None:
    """Store contents under their hashes: bytes first, then the rows, in the caller's transaction.

    A rollback leaves bytes without a row, which is harmless; a row without bytes cannot be.
    """
    if contents:
        states = [
            (payloads.store(content), PayloadState.AVAILABLE, len(content))
            for content in contents.values()
        ]
        back = set(record(states=states, at=at))
        for content in contents.values() if back else ():
            payloads.store(content)


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
    yield from look_each(refs=wanted, known=known(refs=wanted))


def known(*, refs: Iterable[str]) -> dict[str, Payload]:
    """What `payloads` says of each of these references, where it says anything. One query."""
    return {held.content_hash: held for held in Payload.objects.filter(content_hash__in=set(refs))}


def look_each(*, refs: Iterable[str], known: Mapping[str, Payload]) -> Iterator[tuple[str, Kept]]:
    """The same as `find_each` where it is known already what `payloads` says. Costs no query."""
    for ref in refs:
        yield ref, _look(ref, known.get(ref))


def _look(ref: str, known: Payload | None) -> Kept:
    recorded_at = known.recorded_at if known else None
    purge = {"purged_at": known.purged_at, "purge_plan_id": known.purge_plan_id} if known else {}
    if known and known.state == PayloadState.PURGED:
        return Kept(state=PayloadState.PURGED, ref=ref, recorded_at=recorded_at, **purge)
    try:
        content = payloads.read(ref)
    except (payloads.PayloadMissing, ValueError):
        # Imported references may be anything; what cannot name a payload has none.
        return Kept(state=PayloadState.MISSING, ref=ref, recorded_at=recorded_at, **purge)
    except payloads.PayloadCorrupted as error:
        return Kept(
            state=PayloadState.CORRUPTED,
            ref=ref,
            recorded_at=recorded_at,
            actual_hash=error.actual,
            **purge,
        )
    return Kept(
        state=PayloadState.AVAILABLE,
        ref=ref,
        content=content,
        size_bytes=len(content),
        recorded_at=recorded_at,
        **purge,
    )
