"""Who was given what: the access log as pages and sheets ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.db.models import Max, Q, Subquery

from audit.models import AccessEvent, AccessSeal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import QuerySet

EVENTS_A_PAGE = 100
_CHUNK = 2_000


@dataclass(frozen=True, kw_only=True)
class AccessFilter:
    """Which events are asked for; days are whole, in UTC, both included.

    `only_of` is the number of who may see nobody's but their own; `user` is a name or a number.
    """

    only_of: int | None = None
    user: str | None = None
    action: str | None = None
    kind: str | None = None
    run: str | None = None
    thing: str | None = None
    since: date | None = None
    until: date | None = None

    @property
    def is_on(self) -> bool:
        """Whether anything but one's own is left out by choice."""
        chosen = (self.user, self.action, self.kind, self.run, self.thing, self.since, self.until)
        return any(chosen)


@dataclass(frozen=True, kw_only=True)
class AccessPage:
    """Events, newest first, and the number of the last one, where an older one is on record.

    `total` is how many the whole log has, `sealed` how many of these are under a signed seal.
    """

    lines: tuple[AccessEvent, ...]
    next_after: int | None
    total: int
    sealed: int


def list_access(*, asked: AccessFilter, after: int | None = None) -> AccessPage:
    """A hundred events behind the one numbered `after`, newest first. Four queries."""
    lines = list(_newest_first(asked, after)[: EVENTS_A_PAGE + 1])
    more, lines = len(lines) > EVENTS_A_PAGE, lines[:EVENTS_A_PAGE]
    # Events are numbered without a gap.
    total = AccessEvent.objects.aggregate(newest=Max("event_id"))["newest"] or 0
    sealed = AccessSeal.objects.aggregate(newest=Max("event_id"))["newest"] or 0
    return AccessPage(
        lines=tuple(lines),
        next_after=lines[-1].event_id if more else None,
        total=total,
        sealed=min(sealed, total),
    )


def stream_access(*, asked: AccessFilter) -> Iterator[AccessEvent]:
    """Every such event, newest first; memory stays flat. Pages of one query each."""
    last: int | None = None
    while True:
        events = list(_newest_first(asked, last)[:_CHUNK])
        yield from events
        if len(events) < _CHUNK:
            return
        last = events[-1].event_id


def _newest_first(asked: AccessFilter, after: int | None) -> QuerySet[AccessEvent]:
    """By number; by time where days are asked for, so that an index leads to them at once."""
    found = _asked(asked)
    if not (asked.since or asked.until):
        found = found if after is None else found.filter(event_id__lt=after)
        return found.order_by("-event_id")
    if after is not None:
        last = Subquery(AccessEvent.objects.filter(event_id=after).values("at"))
        found = found.filter(Q(at__lt=last) | Q(event_id__lt=after), at__lte=last)
    return found.order_by("-at", "-event_id")


def _asked(asked: AccessFilter) -> QuerySet[AccessEvent]:
    found = AccessEvent.objects.all()
    if asked.only_of is not None:
        found = found.filter(user_id=asked.only_of)
    if asked.user:
        found = found.filter(user_id__in=_numbers(asked.user))
    exact = {
        "action": asked.action,
        "kind": asked.kind,
        "run_id": asked.run,
        "object_id": asked.thing,
    }
    found = found.filter(**{name: value for name, value in exact.items() if value})
    if asked.since:
        found = found.filter(at__gte=_midnight(asked.since))
    if asked.until:
        found = found.filter(at__lt=_midnight(asked.until + timedelta(days=1)))
    return found


def _numbers(user: str) -> list[int]:
    """The numbers of who is called so, or has this number."""
    called = Q(username=user)
    people = get_user_model().objects.filter(called).values_list("pk", flat=True)
    fits = user.isascii() and user.isdigit() and len(user) <= len(str(2**62))
    return [*people, *([int(user)] if fits else [])]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)
