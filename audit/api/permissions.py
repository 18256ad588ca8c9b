"""Who may ask the API for anything at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.permissions import IsAuthenticated

from audit import access
from audit.vocabulary import Right

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView


class SeesRecords(IsAuthenticated):
    """Whoever is signed in and has a role; others are told which one they lack."""

    message = str(access.NotAllowed(Right.SEE_RECORDS))

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether they may see records."""
        if not super().has_permission(request, view):
            return False
        return access.may(request.user, Right.SEE_RECORDS)
