"""Who asks the API: somebody who is signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drf_spectacular.authentication import SessionScheme
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import PermissionDenied

from audit import credentials

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from rest_framework.request import Request


class BySession(SessionAuthentication):
    """Whoever is signed in by the pages; what changes something carries the form's token."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        """Tell who asks, or None."""
        found: tuple[User, None] | None = super().authenticate(request)
        if found is not None:
            refuse_without_second_factor(found[0])
        return found


def refuse_without_second_factor(person: User) -> None:
    """Stop who must have a second factor and has none, as the pages do.

    Raises:
        PermissionDenied: they have none.
    """
    if credentials.lacks_second_factor(person):
        raise PermissionDenied("This account needs a second factor first: set it up on its page.")


class BySessionInSchema(SessionScheme):  # type: ignore[no-untyped-call]
    """How the schema tells of it."""

    target_class = "audit.api.authentication.BySession"
    priority = 1
