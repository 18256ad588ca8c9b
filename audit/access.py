"""Who may have what, and the only writer of `access_events`: what was given to whom.

Doors ask here, and record here before they give. A superuser may do what administers the house;
what reveals contents or approves the end of them is a matter of roles alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth.models import Permission
from django.core.exceptions import PermissionDenied
from django.db.models import Q

from audit.models import AccessEvent
from audit.vocabulary import Right, Role

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User

    from audit.vocabulary import AccessAction

    Person = User | AbstractBaseUser | AnonymousUser

# What the members of each group may do. Migrations gave the groups these permissions; whoever
# changes them there is obeyed.
ROLES: dict[Role, tuple[Right, ...]] = {
    Role.VIEWER: (Right.SEE_RECORDS,),
    Role.AUDITOR: (
        Right.SEE_RECORDS,
        Right.REVEAL_CONTENTS,
        Right.REQUEST_EXPORT,
        Right.SEE_ALL_EXPORTS,
        Right.SEE_ACCESS_LOG,
        Right.PLACE_HOLDS,
    ),
    Role.EXPORTER: (Right.SEE_RECORDS, Right.REQUEST_EXPORT),
    Role.RETENTION_ADMINISTRATOR: (Right.SEE_RECORDS, Right.PLAN_RETENTION, Right.PLACE_HOLDS),
    Role.RETENTION_APPROVER: (Right.SEE_RECORDS, Right.APPROVE_RETENTION, Right.PLACE_HOLDS),
    Role.ADMINISTRATOR: (
        Right.SEE_RECORDS,
        Right.SEE_ALL_EXPORTS,
        Right.SEE_ACCESS_LOG,
        Right.IMPORT_FILES,
        Right.SEE_JOBS,
    ),
}

# What a superuser may do only as a member of a group.
BY_ROLE_ALONE = frozenset({Right.REVEAL_CONTENTS, Right.APPROVE_RETENTION})

_KNOWN = "_landscape_rights"


class NotAllowed(PermissionDenied):
    """Somebody lacks a right; says which groups have it."""

    def __init__(self, right: str) -> None:
        super().__init__(f"This is for members of the group {roles_with(right)}.")
        self.right = right


def may(person: Person, right: str) -> bool:
    """Whether somebody has a right, by a group or by name; superusers all but `BY_ROLE_ALONE`.

    One query for each person object, so for each request: what is taken away is gone with the
    next click.

    Raises:
        ValueError: there is no such right.
    """
    right = Right(right)
    if not (person.is_authenticated and person.is_active):
        return False
    if getattr(person, "is_superuser", False) and right not in BY_ROLE_ALONE:
        return True
    return right in _granted(person)


def require(person: Person, *rights: str) -> int:
    """The number of somebody who has every one of these rights.

    Raises:
        NotAllowed: they lack one; it says whose it is.
    """
    for right in rights:
        if not may(person, right):
            raise NotAllowed(right)
    return int(person.pk or 0)


def roles_with(right: str) -> str:
    """The groups that have a right, in words."""
    names = [str(role) for role, rights in ROLES.items() if right in rights]
    return " or ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def may_export(person: Person, *, with_payloads: bool = False) -> bool:
    """Whether somebody may have runs exported, and download what was made.

    Payloads need both rights: whoever may not reveal them may not take them home.
    """
    wanted = [Right.REQUEST_EXPORT, *([Right.REVEAL_CONTENTS] if with_payloads else [])]
    return all(may(person, right) for right in wanted)


def exporter(person: Person, *, with_payloads: bool = False) -> int:
    """The number of somebody who may export.

    Raises:
        NotAllowed: they may not, or not with payloads.
    """
    wanted = [Right.REQUEST_EXPORT, *([Right.REVEAL_CONTENTS] if with_payloads else [])]
    return require(person, *wanted)


def sees_exports_of(person: Person) -> int | None:
    """Whose exports somebody sees: their own by number, or None for everybody's.

    Raises:
        NotAllowed: nobody's; they may neither export nor see what others did.
    """
    if may(person, Right.SEE_ALL_EXPORTS):
        return None
    return exporter(person)


def record(
    *, action: AccessAction, user_id: int, run_id: str, object_id: str, at: datetime
) -> None:
    """Keep that somebody is given something. If this fails, nothing may be given."""
    AccessEvent.objects.create(
        action=action, user_id=user_id, run_id=run_id, object_id=object_id, at=at
    )


def _granted(person: Person) -> frozenset[str]:
    known: frozenset[str] | None = getattr(person, _KNOWN, None)
    if known is None:
        held = Permission.objects.filter(
            Q(group__user=person.pk) | Q(user=person.pk), content_type__app_label="audit"
        )
        known = frozenset(held.values_list("codename", flat=True))
        setattr(person, _KNOWN, known)
    return known
