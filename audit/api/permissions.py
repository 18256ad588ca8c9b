"""Who may ask the API for anything at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS, IsAuthenticated

from audit import access, credentials
from audit.vocabulary import Right, TokenScope

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView


# Which scope a token needs for what, unless a resource says otherwise.
READING = dict.fromkeys(SAFE_METHODS, TokenScope.READ)


class SeesRecords(IsAuthenticated):
    """Whoever is signed in and has a role; others are told which one they lack.

    A token needs the scope that the resource's `scopes` name for the method as well.
    """

    message = str(access.NotAllowed(Right.SEE_RECORDS))

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether they may see records."""
        if not super().has_permission(request, view):
            return False
        if credentials.lacks_second_factor(request.user):
            raise PermissionDenied(
                "This account needs a second factor first: set it up on its page."
            )
        if isinstance(request.auth, credentials.TokenUse):
            _require_scope(request.auth, getattr(view, "scopes", READING).get(request.method))
        return access.may(request.user, Right.SEE_RECORDS)


def _require_scope(used: credentials.TokenUse, scope: TokenScope | None) -> None:
    if scope is None:
        raise PermissionDenied("No API token gives this: sign in for it.", code="scope")
    if scope not in used.scopes:
        raise PermissionDenied(f"This needs an API token with the scope {scope}.", code="scope")
