"""The only writer of `access_events`: what was given to whom. Doors call it before they give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.models import AccessEvent

if TYPE_CHECKING:
    from datetime import datetime

    from audit.vocabulary import AccessAction


def record(
    *, action: AccessAction, user_id: int, run_id: str, object_id: str, at: datetime
) -> None:
    """Keep that somebody is given something. If this fails, nothing may be given."""
    AccessEvent.objects.create(
        action=action, user_id=user_id, run_id=run_id, object_id=object_id, at=at
    )
