"""Second factors: who must have one, and when somebody last proved who they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, Q
from django.http import HttpResponseRedirect
from django.urls import reverse

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
    from django.http import HttpRequest

    Person = User | AbstractBaseUser | AnonymousUser

# The groups whose members decide what is deleted, and who may do what; superusers may as well.
MUST_HAVE_ONE = ("retention approver", "administrator")
# An identity provider says when it asked somebody who they are. That they came from it says not.
ASKED_ELSEWHERE = "asked elsewhere"
_CAME_FROM_ELSEWHERE = "socialaccount"


@dataclass(frozen=True, kw_only=True)
class Factor:
    """Somebody's authenticator."""

    made_at: datetime
    used_at: datetime | None


def describe_factor(person: Person) -> Factor | None:
    """Somebody's authenticator, or None."""
    found = Authenticator.objects.filter(user_id=person.pk, type=Authenticator.Type.TOTP).first()
    return Factor(made_at=found.created_at, used_at=found.last_used_at) if found else None


def has_second_factor(person: Person) -> bool:
    """Whether somebody has set up an authenticator."""
    return bool(
        Authenticator.objects.filter(user_id=person.pk, type=Authenticator.Type.TOTP).exists()
    )


def must_have_second_factor(person: Person) -> bool:
    """Whether the house demands a second factor of somebody."""
    if not settings.LANDSCAPE_REQUIRE_MFA:
        return False
    return User.objects.filter(_demanded(), pk=person.pk or 0).exists()


def lacks_second_factor(person: Person) -> bool:
    """Whether somebody must have a second factor and has none: then nothing else is for them.

    One query, none where the house demands nothing.
    """
    if not settings.LANDSCAPE_REQUIRE_MFA:
        return False
    theirs = Authenticator.objects.filter(user_id=OuterRef("pk"), type=Authenticator.Type.TOTP)
    return User.objects.filter(_demanded(), ~Exists(theirs), pk=person.pk or 0).exists()


def is_fresh(request: HttpRequest, *, at: datetime) -> bool:
    """Whether whoever asks proved within the last minutes who they are.

    Signing in counts, and so does confirming. Who has a second factor proves with that. Where an
    identity provider says who somebody is, it counts from when it asked them, if it says when.
    """
    person = request.user
    if not person.is_authenticated:
        return False
    records = get_authentication_records(request, person)
    if has_second_factor(person):
        records = [record for record in records if record.get("method") == "mfa"]
    since = at.timestamp() - settings.ACCOUNT_REAUTHENTICATION_TIMEOUT
    return any(
        since < record["at"] for record in records if record["method"] != _CAME_FROM_ELSEWHERE
    )


def ask_again(request: HttpRequest) -> HttpResponseRedirect:
    """Send somebody to prove who they are, and back to where they are afterwards.

    Nothing is done for them meanwhile: whoever pressed a button presses it again, knowing what
    it does. Who signs in elsewhere and has no second factor here can only sign in anew.
    """
    person = request.user
    if has_second_factor(person):
        where = reverse("mfa_reauthenticate")
    elif person.is_authenticated and person.has_usable_password():
        where = reverse("account_reauthenticate")
    else:
        where = reverse("account_logout")
    messages.info(request, "Nothing was done yet. Confirm that it is you, then do it again.")
    return HttpResponseRedirect(f"{where}?{urlencode({'next': _origin(request)})}")


def _origin(request: HttpRequest) -> str:
    """The page on which somebody is: for a form, the one that it stands on."""
    if request.method in {"GET", "HEAD"}:
        return request.get_full_path()
    came_from = urlsplit(request.headers.get("Referer", ""))
    if came_from.netloc != request.get_host() or not came_from.path.startswith("/"):
        return "/"
    # Its path alone, and no second slash: never an address elsewhere.
    query = f"?{came_from.query}" if came_from.query else ""
    return f"/{came_from.path.lstrip('/')}{query}"


def _demanded() -> Q:
    return Q(is_superuser=True) | Q(groups__name__in=MUST_HAVE_ONE)
