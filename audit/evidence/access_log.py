"""The access log proven: its chain hashed again, and signed once a day. Writer of `access_seals`.

The database chains the events (`landscape_access_chain` in `audit/recorder/guards.py`); here the
same is computed in Python. A seal is a signed note over the newest event, so over all before it.
Whoever changes an event breaks the chain at that event; whoever then computes the chain again
contradicts the next seal, and has no key to make another.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import connection, transaction

from audit.errors import AccessLogBroken
from audit.evidence import notes, signing
from audit.models import AccessEvent, AccessSeal

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTHING = "0" * 64
EVERY = timedelta(days=1)
FAULTS_TOLD = 20
_HEAD = "landscape access log v1"
_FOLDER = "access"
_CHUNK = 2_000


@dataclass(frozen=True, kw_only=True)
class LogReport:
    """What a look at the whole log came to; `faults` in the order of events, the first first."""

    events: int
    sealed: int
    faults: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether everything is as it was written and signed."""
        return not self.faults


def hash_of(event: AccessEvent, *, before: str) -> str:
    """The hash of an event that follows on the one with the hash `before`."""
    told = [
        event.event_id,
        f"{event.at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        event.user_id,
        event.user_name,
        event.action,
        event.kind,
        event.run_id,
        event.object_id,
        event.result,
        event.request_id,
        event.address,
        event.reason,
        event.size_bytes,
    ]
    line = f"{before}\n{json.dumps(told, ensure_ascii=False)}"
    return hashlib.sha256(line.encode()).hexdigest()


def is_due(*, at: datetime) -> bool:
    """Whether something was added and the last seal is a day old, or there is none."""
    last = AccessSeal.objects.order_by("-event_id").first()
    if last is not None and last.sealed_at > at - EVERY:
        return False
    return AccessEvent.objects.filter(event_id__gt=last.event_id if last else 0).exists()


def seal(*, at: datetime) -> AccessSeal | None:
    """Sign the newest event, after what came since the last seal was hashed again.

    None where nothing came. Costs as much as was added.

    Raises:
        AccessLogBroken: the chain is broken, or contradicts the last seal; nothing is signed.
        NoSigningKey: nothing can be signed in this process.
    """
    signer = signing.current(at=at)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('landscape access seals'))")
        last = AccessSeal.objects.order_by("-event_id").first()
        before = (last.event_id, str(last.head_hash)) if last else (0, NOTHING)
        if last and not AccessEvent.objects.filter(event_id=before[0], hash=before[1]).exists():
            raise AccessLogBroken(f"event {before[0]:,} is not what was sealed")
        head = before
        for event, fault in _walk(*before):
            if fault is not None:
                raise AccessLogBroken(fault)
            head = (event.event_id, str(event.hash))
        if head == before:
            return None
        note = signer.sign_note(_text(*head, at=at))
        made = AccessSeal.objects.create(
            event_id=head[0], head_hash=head[1], note=note, sealed_at=at
        )
        # Before the commit: a copy too many is told by nobody, a missing one would be.
        place = _place(head[0])
        storages["seals"].delete(place)
        storages["seals"].save(place, ContentFile(note.encode()))
    return made


def check() -> LogReport:
    """Hash every event again and hold it against every seal; memory stays flat."""
    seals = {one.event_id: one for one in AccessSeal.objects.order_by("event_id")}
    keys = signing.trusted()
    faults = [(one.event_id, fault) for one in seals.values() if (fault := _seal_fault(one, keys))]
    events, newest, last_seal = 0, 0, 0
    for event, fault in _walk(0, NOTHING):
        events, newest = events + 1, event.event_id
        if fault is not None and len(faults) < FAULTS_TOLD:
            faults.append((event.event_id, fault))
        if (sealed := seals.get(event.event_id)) is not None:
            if sealed.head_hash != event.hash:
                told = f"events {last_seal + 1:,} to {newest:,}: something among them is not what"
                faults.append((last_seal + 1, f"{told} was sealed {sealed.sealed_at:%Y-%m-%d}"))
            last_seal = newest
    for number, one in seals.items():
        if number > newest:
            told = f"a seal of {one.sealed_at:%Y-%m-%d} covers {number:,} events"
            faults.append((newest + 1, f"the log ends with event {newest:,}, and {told}"))
    faults += _copies_faults(seals, newest)
    return LogReport(
        events=events,
        sealed=max(seals, default=0),
        faults=tuple(text for _number, text in sorted(faults)),
    )


def _walk(number: int, before: str) -> Iterator[tuple[AccessEvent, str | None]]:
    """The events after a number, each with what is wrong with it. A fault is told once."""
    events = AccessEvent.objects.filter(event_id__gt=number).order_by("event_id")
    for event in events.iterator(chunk_size=_CHUNK):
        fault = None
        if event.event_id != number + 1:
            fault = f"event {number + 1:,} is gone; the next one is {event.event_id:,}"
        elif event.prev_hash != before:
            fault = f"event {event.event_id:,} does not follow on the event before it"
        elif event.hash != hash_of(event, before=before):
            fault = f"event {event.event_id:,} is not what was written: its hash is another"
        number, before = event.event_id, str(event.hash)
        yield event, fault


def _text(number: int, head: str, *, at: datetime) -> str:
    day = f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    return f"{_HEAD}\n{settings.LANDSCAPE_AUTHORITY}/access\n{number}\n{head}\n{day}\n"


def _seal_fault(one: AccessSeal, keys: list[notes.VerifierKey]) -> str | None:
    try:
        text, _signers = notes.verify(str(one.note), keys=keys)
    except notes.NoteRefused as error:
        return f"the seal of {one.event_id:,} events: {error}"
    if text.split("\n")[2:4] != [str(one.event_id), str(one.head_hash)]:
        return f"the seal of {one.event_id:,} events: it was signed over something else"
    return None


def _copies_faults(seals: dict[int, AccessSeal], newest: int) -> list[tuple[int, str]]:
    """Copies outside the database of seals that the database no longer has."""
    try:
        _folders, names = storages["seals"].listdir(_FOLDER)
    except FileNotFoundError:
        names = []
    numbers = {int(name.removesuffix(".note")) for name in names if name.endswith(".note")}
    return [
        (
            min(number, newest + 1),
            f"a copy of a seal of {number:,} events is kept; its seal is gone",
        )
        for number in sorted(numbers - set(seals))
    ]


def _place(number: int) -> str:
    return f"{_FOLDER}/{number:012d}.note"
