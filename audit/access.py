"""Who may have what, and the only writer of `access_events`: what was given to whom.

Doors ask here, and record here before they give. A superuser may do what administers the house;
what reveals contents or approves the end of them is a matter of roles alone.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.db.models import Count, Q, Subquery

from audit.errors import AccessNotKept
from audit.models import AccessEvent, SchemaInfo
from audit.vocabulary import AccessAction, AccessResult, Right, Role

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
    from django.http import HttpRequest

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

# What a person's program may do for them at most: neither contents nor retention are among it.
BY_TOKEN = frozenset({Right.SEE_RECORDS, Right.REQUEST_EXPORT, Right.SEE_ALL_EXPORTS})

_KNOWN = "_landscape_rights"
_TOKEN = "_landscape_by_token"  # noqa: S105  # a name
_ASKED = "_landscape_asked"
_LONGEST = 64


@dataclass(frozen=True, kw_only=True)
class Seen:
    """How often somebody was given a page of this, and an export of its run."""

    viewed: int
    exported: int


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which request it was, and from where it came."""

    request_id: str
    address: str


class NotAllowed(PermissionDenied):
    """Somebody lacks a right; says which groups have it."""

    def __init__(self, right: str, *, by_token: bool = False) -> None:
        beyond = by_token and right not in BY_TOKEN
        super().__init__(
            "No API token gives this: sign in for it."
            if beyond
            else f"This is for members of the group {roles_with(right)}."
        )
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
    if hasattr(person, _TOKEN) and right not in BY_TOKEN:
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
            raise NotAllowed(right, by_token=hasattr(person, _TOKEN))
    return int(person.pk or 0)


def by_token(person: Person) -> None:
    """From here on this person is asked for by a program: they may do `BY_TOKEN` at most."""
    setattr(person, _TOKEN, True)


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


def asked(request: HttpRequest) -> Asked:
    """Which request it is, and the address that it came from.

    The peer's; one that a proxy forwarded counts only where `LANDSCAPE_TRUSTED_PROXIES` says how
    many of them stand before us.
    """
    known: Asked | None = getattr(request, _ASKED, None)
    if known is None:
        address = str(request.META.get("REMOTE_ADDR", ""))
        proxies = getattr(settings, "ALLAUTH_TRUSTED_PROXY_COUNT", 0)
        if proxies:
            forwarded = request.headers.get("X-Forwarded-For", "").split(",")
            address = forwarded[-min(proxies, len(forwarded))].strip() or address
        known = Asked(request_id=secrets.token_hex(8), address=address)
        setattr(request, _ASKED, known)
    return known


def record(  # noqa: PLR0913  # an event has this many parts
    *,
    action: AccessAction,
    user_id: int | None,
    at: datetime,
    run_id: str | None = None,
    object_id: str | None = None,
    kind: str | None = None,
    result: AccessResult = AccessResult.GIVEN,
    reason: str | None = None,
    size_bytes: int | None = None,
    asked: Asked | None = None,
    user_name: str | None = None,
) -> AccessEvent:
    """Keep what somebody did, is given or was refused. If this fails, nothing may be given.

    Joins the caller's transaction if there is one, and then holds the whole log until it ends:
    make it the last thing of a transaction. A name that is not told is looked up.

    Raises:
        AccessNotKept: the event could not be written.
    """
    try:
        if user_name is None and user_id is not None:
            user_name = (
                get_user_model().objects.filter(pk=user_id).values_list("username", flat=True)
            ).first()
        return AccessEvent.objects.create(
            action=action,
            user_id=user_id,
            user_name=user_name,
            at=at,
            run_id=_fit(run_id),
            object_id=_fit(object_id),
            kind=_fit(kind),
            result=result,
            reason=reason or None,
            size_bytes=size_bytes,
            request_id=asked.request_id if asked else None,
            address=_fit(asked.address) if asked else None,
        )
    except DatabaseError as error:
        raise AccessNotKept from error


def count_seen(*, object_id: str, run_id: str | None) -> Seen:
    """How often pages of an object were given, and exports of its run, or it itself. One query."""
    about = {"object_id": _fit(object_id)} | ({"run_id": _fit(run_id)} if run_id else {})
    of_run = {"run_id": _fit(run_id)} if run_id else about
    given = AccessEvent.objects.filter(result=AccessResult.GIVEN)
    viewed = given.filter(action__in=(AccessAction.READ, AccessAction.CONTENTS_REVEALED), **about)
    exported = given.filter(action=AccessAction.EXPORT_DOWNLOADED, **of_run)
    first, second = (
        found.order_by().values("result").annotate(many=Count("*")).values("many")
        for found in (viewed, exported)
    )
    # A row of schema_info is what the two counts hang on: there is always one.
    counts = SchemaInfo.objects.values_list(Subquery(first), Subquery(second)).first() or (0, 0)
    return Seen(viewed=counts[0] or 0, exported=counts[1] or 0)


def note_role_change(  # noqa: PLR0913  # whom, from what, to what, by whom, when
    *,
    by: Person,
    person: Person,
    before: Iterable[str],
    after: Iterable[str],
    at: datetime,
    asked: Asked | None = None,
) -> AccessEvent | None:
    """Keep that somebody's roles were changed; None where they are the same as before.

    `before` and `after` are names of groups; that of a superuser is told as `superuser`.
    """
    had, has = set(before), set(after)
    told = [f"+{name}" for name in sorted(has - had)] + [f"-{name}" for name in sorted(had - has)]
    if not told:
        return None
    return record(
        action=AccessAction.ROLE_CHANGED,
        user_id=by.pk,
        kind="user",
        object_id=str(person.pk),
        reason=f"{person.get_username()}: {', '.join(told)}",
        at=at,
        asked=asked,
    )


def _fit(key: str | None) -> str | None:
    """An attempt may name anything; what no record can be called is cut."""
    return key[:_LONGEST].replace("\0", "") or None if key is not None else None


def _granted(person: Person) -> frozenset[str]:
    known: frozenset[str] | None = getattr(person, _KNOWN, None)
    if known is None:
        held = Permission.objects.filter(
            Q(group__user=person.pk) | Q(user=person.pk), content_type__app_label="audit"
        )
        known = frozenset(held.values_list("codename", flat=True))
        setattr(person, _KNOWN, known)
    return known
