"""What holds for every request, whoever asks and whatever answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse

from audit import credentials

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    Answer = Callable[[HttpRequest], HttpResponseBase]

# What no page of ours uses, so that no page that somebody smuggles in may either.
PERMISSIONS_POLICY = ", ".join(
    f"{feature}=()"
    for feature in (
        "accelerometer",
        "browsing-topics",
        "camera",
        "display-capture",
        "geolocation",
        "gyroscope",
        "magnetometer",
        "microphone",
        "midi",
        "payment",
        "serial",
        "usb",
        "xr-spatial-tracking",
    )
)


# What somebody without a second factor reaches all the same; strangers reach some of it too.
_OPEN = frozenset(
    {
        "account_change_password",
        "account_login",
        "account_logout",
        "account_reauthenticate",
        "mfa_activate_totp",
        "audit:live",
        "audit:ready",
        "audit:well-known",
    }
)


class Hardened:
    """Refuses what nobody needs, and adds the header for which Django has no setting.

    A body that is larger than a form of ours is refused by its announced length, before a byte
    of it is read. Uploads of files are another kind of body: they go to disk, and whoever takes
    them has limits of their own.
    """

    def __init__(self, get_response: Answer) -> None:
        self._answer = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer one request."""
        answer = self._refusal(request) or self._answer(request)
        answer.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        return answer

    def _refusal(self, request: HttpRequest) -> HttpResponse | None:
        if request.method == "TRACE":
            # It tells a request back, cookies included.
            return _plain(405, "Nothing here is traced.")
        is_upload = request.content_type == "multipart/form-data"
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        try:
            length = int(request.headers.get("Content-Length") or 0)
        except ValueError:
            return _plain(400, "The length of this request is not a number.")
        if length > limit and not is_upload:
            return _plain(413, f"This request is too large: at most {limit:,} bytes are read.")
        return None


class SessionsNoted:
    """Puts the end of a session off whose person just asked for something."""

    def __init__(self, get_response: Answer) -> None:
        self._answer = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer one request."""
        answer = self._answer(request)
        if request.session.accessed and request.user.is_authenticated:
            request.session.note()  # type: ignore[attr-defined]  # our store has it
        return answer


class SecondFactorFirst:
    """Who must have a second factor and has none is led to set one up, and to nothing else."""

    def __init__(self, get_response: Answer) -> None:
        self._answer = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer one request."""
        return self._answer(request)

    def process_view(
        self, request: HttpRequest, _view: object, _arguments: object, _named: object
    ) -> HttpResponseBase | None:
        """Let through, or lead away. Programs are told by the API itself, in its own words."""
        match = request.resolver_match
        if match is None or match.view_name in _OPEN or "api" in match.namespaces:
            return None
        if credentials.lacks_second_factor(request.user):
            return HttpResponseRedirect(reverse("mfa_activate_totp"))
        return None


def _plain(status: int, sentence: str) -> HttpResponse:
    return HttpResponse(f"{sentence}\n", status=status, content_type="text/plain; charset=utf-8")
