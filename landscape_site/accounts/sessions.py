"""Sessions that end: after half an hour without a sign of life, and after half a day in any case.

Django's, in the database. A row's expiry is when it ends if nothing more is heard of it; the
second of the sign-in stands inside. The cookie itself ends with the browser.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends import db
from django.utils import timezone

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.sessions.models import Session

BEGAN = "began"
# How stale the expiry of a session may grow before it is written again: pages stay cheap.
_NOTED_EVERY = timedelta(minutes=1)


class SessionStore(db.SessionStore):
    """One session; knows when it began and until when it is kept."""

    kept_until: datetime | None = None

    def _get_session_from_db(self) -> Session | None:
        session: Session | None = super()._get_session_from_db()  # type: ignore[misc]
        self.kept_until = session.expire_date if session else None
        return session

    def load(self) -> dict[str, Any]:
        """What is in the session; nothing, and under no key, once it is too old."""
        held: dict[str, Any] = super().load()
        began = held.get(BEGAN)
        if began is not None and time.time() - began > settings.SESSION_LIFETIME:
            self._session_key = self.kept_until = None
            return {}
        return held

    def save(self, must_create: bool = False) -> None:  # noqa: FBT001, FBT002  # Django's
        """Keep it; the first time that it holds a person is its beginning."""
        held = self._get_session(no_load=must_create)  # type: ignore[attr-defined]
        if SESSION_KEY in held:
            held.setdefault(BEGAN, time.time())
        super().save(must_create=must_create)

    def note(self) -> None:
        """Put the end of a session off that is being used.

        Only its expiry is written: two requests at once must not undo what one of them changed,
        and a session that was ended meanwhile does not come back.
        """
        wanted = timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE)
        if self.kept_until is not None and wanted - self.kept_until > _NOTED_EVERY:
            self.model.objects.filter(session_key=self.session_key).update(expire_date=wanted)
