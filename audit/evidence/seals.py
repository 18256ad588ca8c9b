"""Sealing: the only writer of `seals`.

A seal is made once, when a run has ended: every record, in one snapshot of the database, becomes
a leaf of one tree whose root is signed. What a resumed run adds is appended as a further epoch.
A record that was sealed may change only as an open record may: anything else is refused here and
shown by `check_trail`, and is never signed a second time.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING
from urllib.parse import quote

import rfc8785
from django.conf import settings
from django.db import connection
from django.db.models import Exists, OuterRef, Q, Subquery

from audit.errors import BeingSealed, CannotBeSealed, NotRecorded, SealContradicted
from audit.evidence import comparing, lines, log, notes, records, sharing, signing, store
from audit.models import (
    Import,
    PayloadPurge,
    PurgePlan,
    Run,
    RunEvent,
    RunGrade,
    Seal,
    SealCheck,
)
from audit.models.purges import PLAN_ENDED
from audit.vocabulary import ImportOutcome, RunEventKind, RunStatus, SealReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from typing import IO

    from audit.evidence import merkle
    from audit.evidence.comparing import Difference
    from audit.evidence.sharing import Call, Progress

    _Written = tuple[list[store.Segment], merkle.Tree]

_LISTED = 5
_EVENTS = "run_event"
# What retention adds to a run that has ended; the database lets nobody else.
_PURGE, _GRADE = "payload_purge", "run_grade"
_FAILED = {RunStatus.FAILED, RunStatus.INTERRUPTED}


def seal_run(
    *,
    run_id: str,
    at: datetime,
    call: Call = sharing.call_nobody,
    progress: Progress = sharing.tell_nobody,
) -> Seal | None:
    """Seal an ended run, or what was added to it since; None where there is nothing new.

    Opens a transaction of its own, so it cannot be called inside one. Memory does not grow with
    the run. Ends with the seal in the seal log; if that fails, `log.append` heals it later.

    A big run is sealed in parts: `call` asks others to make some of them. `progress` hears now
    and then how many records are done, and of how many; what it raises ends it.

    Raises:
        NotRecorded: there is no such run.
        BeingSealed: another process is sealing it.
        CannotBeSealed: it is still going, or it holds a time
            that has no form.
        SealContradicted: sealed records have changed and no event explains it.
        NoSigningKey: nothing can be signed in this process.
    """
    signer = signing.current(at=at)
    with _one_sealer(run_id), lines.snapshot():
        seal = _Sealing(signer, at, call, progress).seal(run_id)
    log.append(at=at)
    return seal


def due(*, limit: int) -> list[str]:
    """Runs that have ended and are not sealed, or may have grown since, or are not logged.

    Whether one has grown is for `seal_run` to say: here only what is cheap is asked.
    """
    newest = Seal.objects.filter(run_id=OuterRef("run_id")).order_by("-epoch")
    resumed = RunEvent.objects.filter(
        run_id=OuterRef("run_id"), kind=RunEventKind.RESUMED, recorded_at__gt=OuterRef("sealed")
    )
    extended = Import.objects.filter(
        run_id=OuterRef("run_id"),
        outcome=ImportOutcome.EXTENDED,
        imported_at__gt=OuterRef("sealed"),
    )
    ended = Run.objects.exclude(status=RunStatus.RUNNING).annotate(
        sealed=Subquery(newest.values("sealed_at")[:1]),
        unlogged=Exists(newest.filter(log_entries__isnull=True)),
    )
    # While a plan is being executed it will seal the run itself, once.
    purged = PayloadPurge.objects.filter(
        run_id=OuterRef("run_id"),
        purged_at__gt=OuterRef("sealed"),
        plan_id__in=PurgePlan.objects.filter(status__in=PLAN_ENDED).values("plan_id"),
    )
    found = ended.filter(
        Q(sealed__isnull=True)
        | Q(unlogged=True)
        | Exists(resumed)
        | Exists(extended)
        | Exists(purged)
    )
    # The newest first: what never can be sealed does not stand before the others.
    return list(found.order_by("-completed_at", "run_id").values_list("run_id", flat=True)[:limit])


def note_check(*, seal: Seal, records: int, differences: int, at: datetime) -> SealCheck:
    """Keep what a comparison of the database with the seals of a run came to."""
    return SealCheck.objects.create(
        run_id=seal.run_id,
        epoch=seal.epoch,
        checked_at=at,
        records=records,
        differences=differences,
    )


def seals_of(run_id: str) -> list[Seal]:
    """The seals of a run, oldest first."""
    return list(Seal.objects.filter(run_id=run_id).order_by("epoch"))


def verified(seal: Seal) -> notes.Checkpoint:
    """The checkpoint of a seal, signed by a known key and for this very run, size and root.

    Raises:
        NoteRefused: it is not.
    """
    found = notes.open_checkpoint(str(seal.checkpoint), keys=signing.trusted())
    told = notes.Checkpoint(origin_of(str(seal.run_id)), seal.size, bytes.fromhex(str(seal.root)))
    if found.size != told.size or found.root != told.root or found.origin != seal.origin:
        message = f"the checkpoint of {seal} is about another tree"
        raise notes.NoteRefused(message)
    return found


def origin_of(run_id: str) -> str:
    """The name of a run's tree: `<authority>/run/<run id>`."""
    return f"{settings.LANDSCAPE_AUTHORITY}/run/{quote(run_id, safe='._~-')}"


def growth(sealed: Sequence[Seal]) -> SealReason | None:
    """Why a sealed run may have grown since: it was resumed, or an import brought more of it.

    Raises:
        SealedTextDamaged: what was sealed can no longer be read.
    """
    run_id = sealed[-1].run_id
    resumes = RunEvent.objects.filter(run_id=run_id, kind=RunEventKind.RESUMED).count()
    if resumes > _sealed_resumes(sealed) and _sealed_status(sealed) in _FAILED:
        return SealReason.RUN_RESUMED
    extended = Import.objects.filter(
        run_id=run_id, outcome=ImportOutcome.EXTENDED, imported_at__gt=sealed[-1].sealed_at
    )
    return SealReason.IMPORTED if extended.exists() else None


def explained(found: Difference, why: SealReason | None) -> bool:
    """Whether a record may differ so from what was sealed, given why the run may have grown.

    A run that grew may have new records, and open ones that moved on. Any run may have its
    checkpoints released and its payloads purged after its end. Everything else is a
    contradiction.
    """
    if found.current is None or found.kind is records.SEAL:
        return False
    new = json.loads(found.current)
    if found.sealed is None:
        released = new.get("kind") == RunEventKind.CHECKPOINTS_RELEASED
        purged = found.kind.name in {_PURGE, _GRADE}
        return why is not None or purged or (found.kind.name == _EVENTS and released)
    was_open = json.loads(found.sealed).get("status") in found.kind.open_words
    return why is not None and was_open and set(found.columns) <= set(found.kind.mutable)


def grade_explained(run: Run, last: Seal) -> bool:
    """Whether the grade of a run is the sealed one, or fell from it by a purge on record."""
    was, now = last.reproducibility_grade, run.reproducibility_grade
    return was == now or (
        RunGrade.objects.filter(run_id=run.run_id, grade_before=was, grade_after=now).exists()
    )


@dataclass(frozen=True)
class _Sealing:
    """One call of `seal_run`: who signs, when, who helps and who listens."""

    signer: signing.Signer
    at: datetime
    call: Call
    progress: Progress

    def seal(self, run_id: str) -> Seal | None:
        """The next seal of a run, in the caller's snapshot."""
        run = Run.objects.filter(run_id=run_id).first()
        if run is None:
            raise NotRecorded("run", run_id)
        if run.status == RunStatus.RUNNING:
            raise CannotBeSealed(run_id, "it is still running")
        earlier = seals_of(run_id)
        if not earlier:
            return self._first(run)
        verified(earlier[-1])
        with tempfile.TemporaryFile() as added:
            reason, counts = _gather(run, earlier, added)
            if reason is None:
                return None
            added.seek(0)
            return self._sign(run, earlier[-1], reason, counts, added)

    def _first(self, run: Run) -> Seal:
        run_id = str(run.run_id)
        if Import.objects.filter(run_id=run_id).exists():
            reason = SealReason.IMPORTED
        else:
            reason = SealReason.RUN_FAILED if run.status in _FAILED else SealReason.RUN_COMPLETED
        counts = lines.count_records(run_id)
        every = chain.from_iterable(
            lines.lines(kind, run_id, strict=True) for kind in records.RECORD_TYPES
        )
        return self._sign(run, None, reason, counts, every)

    def _sign(
        self,
        run: Run,
        previous: Seal | None,
        reason: SealReason,
        counts: Mapping[str, int],
        added: Iterable[bytes],
    ) -> Seal:
        """Write the epoch, sign its root, and keep both in the caller's transaction."""
        size = previous.size if previous else 0
        seal = Seal(
            run_id=run.run_id,
            epoch=previous.epoch + 1 if previous else 1,
            reason=reason,
            sealed_at=self.at,
            origin=origin_of(str(run.run_id)),
            first_leaf=size,
            prev_epoch=previous.epoch if previous else None,
            prev_size=size,
            prev_root=previous.root if previous else None,
            counts_json=rfc8785.dumps(dict(counts)).decode(),
            schema_json=records.schema_bytes().decode(),
            reproducibility_grade=run.reproducibility_grade,
            key_id=self.signer.key.key_id.hex(),
        )
        if previous is None and sum(counts.values()) > store.SEGMENT * (sharing.SHARED_FROM - 1):
            segments, tree = self._together(seal, counts)
        else:
            segments, tree = self._alone(seal, previous, counts, added)
        seal.segments_json = json.dumps([each.as_json() for each in segments])
        root = tree.root()
        seal.size, seal.root = tree.size, root.hex()
        # Here nothing else can be signed for this origin: one sealer, and the keys of `seals`.
        text = notes.Checkpoint(str(seal.origin), seal.size, root).text
        seal.checkpoint = self.signer.sign_note(text)
        seal.save(force_insert=True)
        return seal

    def _together(self, seal: Seal, counts: Mapping[str, int]) -> _Written:
        segments = sharing.seal_together(
            run_id=str(seal.run_id),
            first=comparing.seal_line(seal, schema_sha256=records.schema_sha256()),
            counts=counts,
            call=self.call,
            progress=self.progress,
        )
        tree = store.tree_of(segments)
        _require_counted(seal, tree.size - 1, counts)
        return segments, tree

    def _alone(
        self,
        seal: Seal,
        previous: Seal | None,
        counts: Mapping[str, int],
        added: Iterable[bytes],
    ) -> _Written:
        writer = store.Writer(before=comparing.segments_of(previous) if previous else ())
        if previous and writer.tree.root().hex() != previous.root:
            text = f"the sealed text of epoch {previous.epoch}"
            raise SealContradicted(str(seal.run_id), [text])
        total = sum(counts.values())
        writer.write([comparing.seal_line(seal, schema_sha256=records.schema_sha256())])
        written = writer.write(added, progress=lambda done: self.progress(done, total))
        _require_counted(seal, written, counts)
        return writer.close(), writer.tree


def _require_counted(seal: Seal, written: int, counts: Mapping[str, int]) -> None:
    if written != sum(counts.values()):
        raise CannotBeSealed(str(seal.run_id), f"{written} records came, not what was counted")


def _gather(
    run: Run, earlier: list[Seal], added: IO[bytes]
) -> tuple[SealReason | None, dict[str, int]]:
    """Write down what is new since the last seal, in leaf order; why, and how many of each type.

    Raises:
        SealContradicted: something differs that no event explains.
    """
    run_id = str(run.run_id)
    counts = dict.fromkeys((kind.name for kind in records.RECORD_TYPES), 0)
    why = growth(earlier)
    unexplained: list[str] = []
    for found in comparing.differences(earlier):
        if found.current is not None and explained(found, why):
            counts[found.kind.name] += 1
            added.write(found.current)
        elif len(unexplained) < _LISTED:
            unexplained.append(str(found))
    if not why and not grade_explained(run, earlier[-1]):
        unexplained.append(f"runs {run_id} has another reproducibility_grade")
    if unexplained:
        raise SealContradicted(run_id, unexplained)
    return ((why or _lesser_reason(counts)) if any(counts.values()) else None), counts


def _lesser_reason(counts: Mapping[str, int]) -> SealReason:
    if counts[_PURGE]:
        return SealReason.PAYLOAD_PURGED
    return SealReason.GRADE_CHANGED if counts[_GRADE] else SealReason.CORRECTION


def _sealed_status(sealed: Sequence[Seal]) -> str:
    """How the run stood when it was last sealed."""
    for seal in reversed(sealed):
        if json.loads(seal.counts_json)["run"]:
            # Right after the seal's own record.
            line = next(store.read_lines(comparing.segments_of(seal), start=seal.first_leaf + 1))
            return str(json.loads(line)["status"])
    raise AssertionError("the first epoch has the run's own record")


def _sealed_resumes(sealed: Sequence[Seal]) -> int:
    """How many resumes of the run have been sealed."""
    found = 0
    for seal in sealed:
        counts, start = json.loads(seal.counts_json), seal.first_leaf + 1
        for kind in comparing.sealed_types(seal):
            if kind.name == _EVENTS:
                break
            start += counts[kind.name]
        told = store.read_lines(comparing.segments_of(seal), start=start)
        for line in islice(told, counts[_EVENTS]):
            found += json.loads(line)["kind"] == RunEventKind.RESUMED
    return found


@contextmanager
def _one_sealer(run_id: str) -> Iterator[None]:
    """Hold the right to seal this run; taken before the snapshot, which must see what is there.

    Raises:
        BeingSealed: another process holds it.
    """
    key = f"landscape seal {run_id}"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [key])
        if not cursor.fetchone()[0]:
            raise BeingSealed(run_id)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [key])
