"""Who may have what, and the only writer of `access_events`: what was given to whom.

Doors ask here, and record here before they give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.exceptions import PermissionDenied

from audit.models import AccessEvent

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User

    from audit.vocabulary import AccessAction

    Person = User | AbstractBaseUser | AnonymousUser


def may_export(person: Person) -> bool:
    """Whether somebody may have runs exported, and download what was made."""
    return bool(getattr(person, "has_perm")("audit.request_export"))  # noqa: B009  # of any kind


def exporter(person: Person) -> int:
    """The number of somebody who may export.

    Raises:
        PermissionDenied: they may not.
    """
    if not may_export(person) or person.pk is None:
        raise PermissionDenied("Only members of the groups exporter and auditor may export.")
    return int(person.pk)


def sees_exports_of(person: Person) -> int | None:
    """Whose exports somebody sees: their own by number, or None for everybody's.

    Raises:
        PermissionDenied: nobody's; they may not export.
    """
    number = exporter(person)
    return None if getattr(person, "has_perm")("audit.see_all_exports") else number  # noqa: B009


def record(
    *, action: AccessAction, user_id: int, run_id: str, object_id: str, at: datetime
) -> None:
    """Keep that somebody is given something. If this fails, nothing may be given."""
    AccessEvent.objects.create(
        action=action, user_id=user_id, run_id=run_id, object_id=object_id, at=at
    )
