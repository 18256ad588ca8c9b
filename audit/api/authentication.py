"""Who asks the API: somebody who is signed in, or a program that shows somebody's token."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import (
    BaseAuthentication,
    get_authorization_header,
)
from rest_framework.exceptions import (
    APIException,
    AuthenticationFailed,
    Throttled,
)

from audit import access, credentials
from audit.errors import AccessNotKept, TokenRefused
from audit.vocabulary import AccessAction, AccessResult, Right

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from rest_framework.request import Request


class ByToken(BaseAuthentication):
    """Whoever shows an API token, in the header `Authorization` and nowhere else.

    No browser sends one by itself, so there is nothing to forge. What a token gives is looked up
    anew each time: its owner's rights at this moment, never more than `access.BY_TOKEN`.
    """

    # No report of an error shows what this and all that it calls hold.
    @sensitive_variables()
    def authenticate(self, request: Request) -> tuple[User, credentials.TokenUse] | None:
        """Tell whose token it is, or None where there is none.

        Raises:
            AuthenticationFailed: it gives nothing; unknown, expired and revoked are answered alike.
            Throttled: too many of those came from this address.
        """
        kind, _, token = get_authorization_header(request).partition(b" ")
        if kind.lower() != b"bearer":
            return None
        try:
            used = credentials.recognise_token(token=token.strip(), at=timezone.now())
            if not access.may(used.owner, Right.SEE_RECORDS):
                raise TokenRefused("no role", owner=used.owner)
        except TokenRefused as error:
            raise _refusal(request, error) from None
        access.by_token(used.owner)
        return used.owner, used

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002  # of any request
        return "Bearer"


def by_token(request: Request) -> str | None:
    """For the access log: which token somebody asked with, None where they asked themselves."""
    used = request.auth
    return f"API token {used.token_id}" if isinstance(used, credentials.TokenUse) else None


def _refusal(request: Request, error: TokenRefused) -> APIException:
    """How a token that gives nothing is answered; it is kept, unless throttling turns it away."""
    if not credentials.count_refused(request._request):  # noqa: SLF001  # Django's own
        return Throttled()
    match = request.resolver_match
    with suppress(AccessNotKept):
        access.record(
            action=AccessAction.SIGN_IN_REFUSED,
            result=AccessResult.REFUSED,
            user_id=error.owner.pk if error.owner else None,
            user_name=error.owner.get_username() if error.owner else None,
            kind=f"api/{match.url_name}" if match else None,
            reason=error.why,
            asked=access.asked(request._request),  # noqa: SLF001
            at=timezone.now(),
        )
    return AuthenticationFailed("This API token is not valid, or not any more.")


class ByTokenInSchema(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema tells of it."""

    target_class = "audit.api.authentication.ByToken"
    name = "apiToken"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:  # noqa: ARG002
        """A bearer token, RFC 6750."""
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of `/accounts/tokens/`, with the scope `read` or `export`.",
        }
