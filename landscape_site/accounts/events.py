"""What the access log keeps of signing in."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from django.utils import timezone

from audit import access
from audit.errors import AccessNotKept
from audit.vocabulary import AccessAction, AccessResult

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser
    from django.http import HttpRequest


def keep(
    request: HttpRequest,
    person: AbstractBaseUser | None,
    action: AccessAction,
    *,
    result: AccessResult = AccessResult.GIVEN,
    reason: str | None = None,
) -> None:
    """Keep who is signed in, or is not, and on which page.

    Of nobody no name is kept: people type passwords where names belong.

    Raises:
        AccessNotKept: the event could not be written.
    """
    access.record(
        action=action,
        result=result,
        user_id=person.pk if person else None,
        user_name=person.get_username() if person else None,
        kind=request.resolver_match.url_name if request.resolver_match else None,
        reason=reason,
        asked=access.asked(request),
        at=timezone.now(),
    )


def keep_refused(request: HttpRequest, person: AbstractBaseUser | None, reason: str) -> None:
    """Keep a refusal if that is possible; it gives nothing away, so it need not be certain."""
    with suppress(AccessNotKept):
        keep(
            request,
            person,
            AccessAction.SIGN_IN_REFUSED,
            result=AccessResult.REFUSED,
            reason=reason,
        )
