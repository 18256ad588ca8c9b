"""The sessions in which somebody is signed in: which there are, and how they end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import OuterRef, Subquery

from audit.errors import NotRecorded

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

# Nobody has as many; the page stays one page.
MOST = 100


@dataclass(frozen=True, kw_only=True)
class SessionLine:
    """One place where somebody is signed in."""

    session_id: int
    began_at: datetime
    seen_at: datetime
    """To the minute."""
    address: str
    agent: str
    is_this_one: bool


def list_sessions(*, user_id: int, key: str | None, at: datetime) -> tuple[SessionLine, ...]:
    """The sessions of somebody that have not ended, newest first; `key` is the one that asks."""
    idle = timedelta(seconds=settings.SESSION_COOKIE_AGE)
    kept = Session.objects.filter(session_key=OuterRef("session_key"), expire_date__gt=at)
    found = (
        UserSession.objects.filter(
            user_id=user_id,
            created_at__gt=at - timedelta(seconds=settings.SESSION_LIFETIME),
        )
        .annotate(kept_until=Subquery(kept.values("expire_date")[:1]))
        .filter(kept_until__isnull=False)
        .order_by("-created_at", "-pk")[:MOST]
    )
    return tuple(
        SessionLine(
            session_id=each.pk,
            began_at=each.created_at,
            seen_at=each.kept_until - idle,
            address=each.ip,
            agent=each.user_agent,
            is_this_one=each.session_key == key,
        )
        for each in found
    )


def end_session(*, user_id: int, session_id: int) -> None:
    """End one session of somebody; it is signed out with its next click.

    Raises:
        NotRecorded: they have no such session.
    """
    ended = _end(UserSession.objects.filter(user_id=user_id, pk=session_id))
    if not ended:
        raise NotRecorded("session", str(session_id))


def end_other_sessions(*, user_id: int, key: str | None) -> int:
    """End every session of somebody but the one with this key; return how many those were."""
    return _end(UserSession.objects.filter(user_id=user_id).exclude(session_key=key or ""))


@transaction.atomic
def _end(sessions: Iterable[UserSession]) -> int:
    keys = [each.session_key for each in sessions]
    Session.objects.filter(session_key__in=keys).delete()
    return int(UserSession.objects.filter(session_key__in=keys).delete()[0])
