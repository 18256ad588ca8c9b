"""Where Landscape differs from allauth: what is counted, what is kept, what is confirmed how."""

from __future__ import annotations

import base64
import hashlib
import logging
import secrets
from typing import TYPE_CHECKING, Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import record_authentication
from allauth.account.internal.userkit import get_user_by_username
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal import ratelimit
from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet
from django.conf import settings
from django.core import signing
from django.http import HttpResponse
from django.template.loader import render_to_string
from django.utils import timezone

from audit import credentials
from audit.errors import AccessNotKept
from audit.vocabulary import AccessAction
from landscape_site.accounts.events import keep, keep_refused

if TYPE_CHECKING:
    from allauth.mfa.models import Authenticator
    from django.contrib.auth.models import AbstractBaseUser
    from django.http import HttpRequest

logger = logging.getLogger(__name__)

_DEVICE = "landscape.known-device"
_DEVICE_DAYS = 180


class People(DefaultAccountAdapter):
    """How people sign in with a name and a password."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002  # allauth's
        return False

    def is_safe_url(self, url: str) -> bool:
        """Only this very site, by a path: no other host, however it is written."""
        plain = url.isprintable() and "\\" not in url
        here = url.startswith("/") and not url.startswith("//")
        return plain and here and bool(super().is_safe_url(url))

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Count the attempt before it is made; who is over the limit learns nothing.

        Two counts hold: of the name, and of the address. A browser in which this very person
        has signed in before is counted by itself, so that nobody is locked out by strangers.
        """
        name = _folded(str(credentials.get("username", "")))
        device = known_device(request, name)
        counted = ratelimit.consume(
            request,
            app="allauth.account",
            action="login_failed" if device is None else "login_failed_known",
            key=name if device is None else f"{device}:{name}",
        )
        if counted is None:
            raise self.validation_error("too_many_login_attempts")
        # What a success takes back.
        self._login_failed_rl_usage = counted

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Keep the refusal: of a name that exists its person, of any other nothing.

        Both cost one question and one event, so the answer takes as long. What throttling turns
        away comes no further than `pre_authenticate`: nobody fills the log by guessing.
        """
        keep_refused(request, get_user_by_username(credentials.get("username", "")), "password")

    def respond_user_inactive(self, request: HttpRequest, user: AbstractBaseUser) -> HttpResponse:
        """Keep that somebody knew the password of a closed account."""
        keep_refused(request, user, "account is closed")
        answer: HttpResponse = super().respond_user_inactive(request, user)
        return answer

    def pre_login(
        self, request: HttpRequest, user: AbstractBaseUser, **kwargs: Any
    ) -> HttpResponse | None:
        """Note when an identity provider asked who this is, where it says so (`is_fresh`)."""
        coming = (kwargs["signal_kwargs"] or {}).get("sociallogin")
        asked_at = getattr(coming, "asked_at", None)
        if asked_at is not None:
            record_authentication(request, user, credentials.ASKED_ELSEWHERE, at=asked_at)
        refusal: HttpResponse | None = super().pre_login(request, user, **kwargs)
        return refusal

    def login(self, request: HttpRequest, user: AbstractBaseUser) -> None:
        """Sign somebody in, once it is kept that they are; else nobody."""
        try:
            keep(request, user, AccessAction.SIGNED_IN)
        except AccessNotKept as error:
            raise ImmediateHttpResponse(_unkept()) from error
        super().login(request, user)

    def is_reauthentication_required(self, *, app: str, **_kwargs: Any) -> bool:  # noqa: ARG002
        """Whatever asks is content with what `fresh` doors are content with.

        Who has neither password nor second factor here can only sign in anew; allauth would let
        them through.
        """
        if credentials.is_fresh(context.request, at=timezone.now()):
            return False
        if not self.get_reauthentication_methods(context.request.user):
            raise ImmediateHttpResponse(credentials.ask_again(context.request))
        return True

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, Any]]:
        """Who has a second factor confirms with it, and with nothing less."""
        methods: list[dict[str, Any]] = super().get_reauthentication_methods(user)
        stronger = [each for each in methods if each["id"] == "mfa_reauthenticate"]
        return stronger or methods

    def set_password(self, user: AbstractBaseUser, password: str) -> None:
        """A new password ends every other session."""
        super().set_password(user, password)
        credentials.end_other_sessions(user_id=user.pk, key=context.request.session.session_key)

    def post_login(
        self, request: HttpRequest, user: AbstractBaseUser, **kwargs: Any
    ) -> HttpResponse:
        """Make the browser one that is known."""
        answer: HttpResponse = super().post_login(request, user, **kwargs)
        remember_device(answer, _folded(user.get_username()))
        return answer


class Factors(DefaultMFAAdapter):
    """How second factors are kept."""

    def encrypt(self, text: str) -> str:
        """Secrets of second factors lie encrypted in the database, and in its backups."""
        return _cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Read one again."""
        return _cipher().decrypt(encrypted_text.encode()).decode()

    def can_delete_authenticator(self, authenticator: Authenticator) -> bool:
        """Who must have a second factor keeps it."""
        return not credentials.must_have_second_factor(authenticator.user)


def known_device(request: HttpRequest, name: str) -> str | None:
    """The mark of a browser in which this person has signed in before, if it has one."""
    try:
        kept: list[str] = signing.loads(
            request.COOKIES.get(settings.DEVICE_COOKIE_NAME, ""),
            salt=_DEVICE,
            max_age=_DEVICE_DAYS * 24 * 60 * 60,
        )
    except signing.BadSignature:
        return None
    return kept[0] if kept[1] == _digest(name) else None


def remember_device(answer: HttpResponse, name: str) -> None:
    """Leave the mark in a browser. It proves nothing; it only moves where attempts are counted."""
    answer.set_cookie(
        settings.DEVICE_COOKIE_NAME,
        signing.dumps([secrets.token_urlsafe(12), _digest(name)], salt=_DEVICE),
        max_age=_DEVICE_DAYS * 24 * 60 * 60,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _unkept() -> HttpResponse:
    logger.error("The access log cannot be written: nobody is signed in")
    return HttpResponse(render_to_string("503.html"), status=503)


def _folded(name: str) -> str:
    """Names that the database takes for the same are counted as one."""
    return name.upper().casefold()


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _cipher() -> Fernet:
    key = hashlib.sha256(f"landscape second factors {settings.SECRET_KEY}".encode()).digest()
    return Fernet(base64.urlsafe_b64encode(key))
