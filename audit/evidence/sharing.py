"""Big runs are sealed, and proven on their way out, by all workers at once: one segment a part.

Who seals a run holds one snapshot of the database open and exports it; every part is made in that
very snapshot, so it does not matter what happens to the run meanwhile, nor who makes which part.
Who exports a run copies segments in order, and may leave proving those further back to others.
A part whose worker is killed is taken again; one that nobody takes is made by whoever began.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

from django.db import DatabaseError, connection

from audit.errors import CannotBeSealed
from audit.evidence import lines, parts, records, store
from audit.evidence.merkle import WIDTH, block_root

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    # Rings for whoever has time: there are parts of this job to be made.
    Call = Callable[[str], None]
    # Hears how many records are done, and of how many.
    Progress = Callable[[int, int], None]

logger = logging.getLogger(__name__)

# From so many segments on, handing them around costs less than it saves.
SHARED_FROM = 3
# Between two looks at what others do, in seconds.
_PAUSE = 0.25


def call_nobody(_job: str) -> None:
    """One worker does it all."""


def tell_nobody(_done: int, _total: int) -> None:
    """Nobody asks how far it is."""


class _Stopped(Exception):
    """Nobody wants it any more."""


def help_with(*, job: str, owner: str, call: Call) -> bool:
    """Make one part of somebody's job, if any is left to take; others are called for the rest.

    What goes wrong here is left to whoever began: it will meet it itself, and say so.
    """
    part = parts.take(job=job, owner=owner, last=True)
    if part is None:
        return False
    if part.more:
        call(job)
    try:
        parts.finish(part, _made(part.what, _nothing_heard))
    except BaseException as error:
        with suppress(DatabaseError):
            parts.let_go(part)
        if not isinstance(error, Exception):
            raise
        logger.warning("part %s of %s is left to others: %s", part.number, job, error)
    return True


def seal_together(
    *, run_id: str, first: bytes, counts: Mapping[str, int], call: Call, progress: Progress
) -> list[store.Segment]:
    """Make the segments of a run's first seal; inside `lines.snapshot`, which all parts share.

    `first` is the seal's own line. A thread makes parts with a connection of its own, like any
    other worker, for here the snapshot has to be kept.

    Raises:
        CannotBeSealed: the records are not as many as were counted.
    """
    work = _plan(run_id, first, counts, snapshot=lines.share_snapshot())
    hand = _Hand(f"seal {run_id}", work, call)
    total = sum(each.records for each in work)
    hand.start()
    try:
        while hand.is_alive():
            hand.join(_PAUSE)
            progress(hand.done, total)
    finally:
        hand.stopped.set()
        hand.join()
    if hand.error is not None:
        raise hand.error
    return [store.Segment(**hand.made[number]) for number in range(len(work))]


@dataclass(frozen=True)
class Proven:
    """A segment that leads to its root, and the SHA-256 of its file as it lay when that was so."""

    packed_sha256: str


class Proving:
    """The segments of a bag, proven by whoever has time; a context of who writes the bag.

    The last one is not offered: whether it is complete, and leads to the root, is for the writer.
    """

    def __init__(
        self, job: str, segments: Sequence[store.Segment], *, call: Call, wait: Callable[[], None]
    ) -> None:
        self._job, self._segments, self._call, self._wait = job, segments, call, wait
        self._token = ""

    def __enter__(self) -> Self:
        if len(self._segments) >= SHARED_FROM:
            work = [
                parts.Work(records=each.records, what={"do": "prove", "segment": asdict(each)})
                for each in self._segments[:-1]
            ]
            self._token = parts.open_parts(job=self._job, work=work)
            self._call(self._job)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._token:
            with suppress(DatabaseError):
                parts.close(job=self._job, token=self._token)

    def by_another(self, number: int) -> Proven | None:
        """What somebody else has proven; None where the caller has to, and nobody else will."""
        if not self._token or number == len(self._segments) - 1:
            return None
        while parts.take(job=self._job, owner="who writes", number=number) is None:
            made = parts.made(job=self._job).get(number)
            if made is not None:
                return Proven(**made)
            self._wait()
            time.sleep(_PAUSE)
        return None


class _Hand(threading.Thread):
    """Makes parts until all are made, by this worker or by others."""

    def __init__(self, job: str, work: Sequence[parts.Work], call: Call) -> None:
        super().__init__(daemon=True)
        self._job, self._work, self._call = job, work, call
        self.stopped = threading.Event()
        self.done = 0
        self.made: dict[int, dict[str, Any]] = {}
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            token = parts.open_parts(job=self._job, work=self._work)
            try:
                self._call(self._job)
                self._make_all()
            finally:
                parts.close(job=self._job, token=token)
        except BaseException as error:  # noqa: BLE001  # raised again by who waits
            self.error = error
        finally:
            connection.close()

    def _make_all(self) -> None:
        me = "who seals"
        while True:
            part = parts.take(job=self._job, owner=me)
            while part is not None:
                made = _made(part.what, partial(self._hear, part.made))
                part = parts.finish_and_take(part, made, owner=me)
            self.made = parts.made(job=self._job)
            if len(self.made) == len(self._work):
                return
            self._hear(sum(self._work[number].records for number in self.made), 0)
            self.stopped.wait(_PAUSE)

    def _hear(self, before: int, here: int) -> None:
        if self.stopped.is_set():
            raise _Stopped
        self.done = before + here


def _plan(
    run_id: str, first: bytes, counts: Mapping[str, int], *, snapshot: str
) -> list[parts.Work]:
    """What each part holds: of each type the records from one key up to another."""
    size = 1 + sum(counts.values())
    pieces: list[list[dict[str, Any]]] = [[] for _ in range(0, size, store.SEGMENT)]
    start = 1
    for kind in records.RECORD_TYPES:
        count = counts[kind.name]
        places = list(range(-start % store.SEGMENT or store.SEGMENT, count, store.SEGMENT))
        keys = lines.keys_at(kind, run_id, places) if places else []
        if len(keys) != len(places):
            raise CannotBeSealed(run_id, f"{kind.table} has not the records that were counted")
        begins = [(0, None), *zip(places, keys, strict=True), (count, None)]
        for (place, key), (end, until) in pairwise(begins if count else ()):
            pieces[(start + place) // store.SEGMENT].append(
                {"kind": kind.name, "from": key, "until": until, "records": end - place}
            )
        start += count
    told = {
        "do": "seal",
        "run_id": run_id,
        "snapshot": snapshot,
        "schema_sha256": records.schema_sha256(),
    }
    return [
        parts.Work(
            records=sum(piece["records"] for piece in each) + (number == 0),
            what=told | {"pieces": each, "first": "" if number else first.decode()},
        )
        for number, each in enumerate(pieces)
    ]


def _made(what: Mapping[str, Any], hear: Callable[[int], None]) -> dict[str, Any]:
    return _sealed(what, hear) if what["do"] == "seal" else _proven(what)


def _sealed(what: Mapping[str, Any], hear: Callable[[int], None]) -> dict[str, Any]:
    """Write a segment of a seal."""
    run_id = what["run_id"]
    if what["schema_sha256"] != records.schema_sha256():
        raise CannotBeSealed(run_id, "its seal was begun by another version of this program")
    packing = store.Packing()
    try:
        with lines.snapshot(of=what["snapshot"]), closing(_pieces(what)) as every:
            for _hashes, _root in packing.fill(every):
                hear(packing.records)
        wanted = sum(piece["records"] for piece in what["pieces"]) + bool(what["first"])
        if packing.records != wanted:
            raise CannotBeSealed(run_id, f"{packing.records} records came, not {wanted}")
        return packing.end().as_json()
    finally:
        packing.drop()


def _pieces(what: Mapping[str, Any]) -> Generator[bytes]:
    if what["first"]:
        yield what["first"].encode()
    for piece in what["pieces"]:
        kind = records.BY_NAME[piece["kind"]]
        between = (piece["from"], piece["until"])
        yield from lines.lines(kind, what["run_id"], between=between, strict=True)


def _proven(what: Mapping[str, Any]) -> dict[str, Any]:
    """Read a segment that was sealed, hash every line, and see that its hashes are those kept."""
    segment = store.Segment(**what["segment"])
    packed = hashlib.sha256()
    leaves: list[bytes] = []
    rest = b""
    for chunk, text in store.read_packed(segment):
        packed.update(chunk)
        *found, rest = (rest + text).split(b"\n")
        leaves += store.leaf_hashes(found)
    tiles = store.tiles_of(leaves)
    kept = store.read_hashes(segment, level=1, start=0, count=WIDTH)
    if rest or kept != tiles or block_root(tiles).hex() != segment.root:
        raise store.SealedTextDamaged(f"segment {segment.sha256} does not lead to its root")
    return asdict(Proven(packed.hexdigest()))


def _nothing_heard(_records: int) -> None:
    """Nobody asks how far a part is."""
