"""Signing in by an identity provider (OpenID Connect): allauth's flow, held to more than it asks.

Whoever the provider names is known here by issuer and subject and by nothing else: no name and no
e-mail address leads to an account that exists. A newcomer gets an account of no group, and can do
nothing until an administrator gives a role. Second factors are asked for as after a password.

What allauth leaves open and is closed here: an identity token counts only with its signature, its
nonce and the issuer that is set; what else is said of somebody must be of the same subject; no
token is kept; nothing in an address changes what is asked of the provider; who signed in there
long ago is let in, and has proved nothing that is fresh.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import time
from typing import TYPE_CHECKING, Any

import jwt
from allauth.account.utils import get_next_redirect_url
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal import ratelimit
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.adapter import get_adapter as newcomers
from allauth.socialaccount.models import SocialApp, SocialToken
from allauth.socialaccount.providers.base.constants import AuthProcess
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.views.decorators.http import require_GET, require_POST

from landscape_site.accounts import discovery
from landscape_site.accounts.discovery import Refused
from landscape_site.accounts.events import keep_refused

if TYPE_CHECKING:
    from allauth.socialaccount.models import SocialLogin
    from django.contrib.auth.models import AbstractBaseUser
    from django.http import HttpRequest, HttpResponse

    from landscape_site.env import IdentityProvider

logger = logging.getLogger(__name__)

# Signed with a key that only the provider has: never with a secret that is shared, never not.
_ALGORITHMS = [f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)]
_ALGORITHMS.append("EdDSA")
# Clocks of two houses; seconds.
_LEEWAY = 60
_LONGEST_SUBJECT = 191
_LONGEST_NAME = 150


class _Speaking(OpenIDConnectOAuth2Adapter):
    """How we speak with the provider."""

    # What was sent with the person whose answer this is.
    nonce = ""

    @property
    def openid_config(self) -> dict[str, Any]:
        """Where the provider's doors are.

        Raises:
            Refused: it does not say, or says that it is somebody else.
        """
        address: str = self.get_provider().server_url
        return discovery.find_doors(address, issuer=_there().issuer)

    def get_callback_url(self, request: HttpRequest, app: SocialApp) -> str:  # noqa: ARG002
        return request.build_absolute_uri(reverse("account_oidc_callback"))

    def parse_token(self, data: dict[str, Any]) -> SocialToken:
        """What asks who it is, once; when it expires is nothing to us."""
        return SocialToken(token=str(data["access_token"]))

    def complete_login(
        self,
        request: HttpRequest,
        app: SocialApp,  # noqa: ARG002  # allauth's
        token: SocialToken,
        *,
        response: dict[str, Any],
    ) -> SocialLogin:
        """Who it is, by what the provider signed and nothing else."""
        claims = self._verified(response.get("id_token"))
        asked_at = _asked_at(claims)
        if "userinfo_endpoint" in self.openid_config:
            told = self._fetch_user_info(token.token)
            if not isinstance(told, dict) or told.get("sub") != claims["sub"]:
                raise Refused("it tells of somebody else than it signed")
            claims = told | claims
        login: SocialLogin = self.get_provider().sociallogin_from_response(request, claims)
        login.asked_at = asked_at
        return login

    def _verified(self, id_token: object) -> dict[str, Any]:
        """The claims of an identity token.

        Raises:
            Refused: it is none, or not for us, not for this visit, or not from there.
        """
        client_id = _there().client_id
        try:
            name = jwt.get_unverified_header(str(id_token))["kid"]
            claims: dict[str, Any] = jwt.decode(
                str(id_token),
                discovery.find_key(self.openid_config["jwks_uri"], name),
                algorithms=_ALGORITHMS,
                audience=client_id,
                issuer=_there().issuer,
                leeway=_LEEWAY,
                options={"require": ["exp", "iat", "iss", "aud", "sub", "nonce"]},
            )
        except (jwt.PyJWTError, KeyError, TypeError, ValueError) as error:
            raise Refused(f"its identity token is not valid ({type(error).__name__})") from error
        if not (self.nonce and hmac.compare_digest(str(claims["nonce"]), self.nonce)):
            raise Refused("its identity token is of another visit")
        if claims.get("azp", client_id) != client_id:
            raise Refused("its identity token was made for somebody else")
        subject = claims["sub"]
        if not (subject.isprintable() and 0 < len(subject) <= _LONGEST_SUBJECT):
            raise Refused("its name for this person cannot be kept")
        return claims


class _Provider(OpenIDConnectProvider):
    """The one provider, as settings describe it."""

    oauth2_adapter_class = _Speaking
    pkce_enabled_default = True

    def get_default_scope(self) -> list[str]:
        # No e-mail address: none is needed, and none leads anywhere.
        return ["openid", "profile"]

    def get_redirect_from_request_kwargs(self, request: HttpRequest) -> dict[str, Any]:
        """What is asked of the provider, and what its answer is compared with."""
        nonce = secrets.token_urlsafe(24)
        return {
            "process": AuthProcess.LOGIN,
            "next_url": get_next_redirect_url(request),
            # It asks again whom it asked longer ago than we would, and says when it did.
            "auth_params": {"nonce": nonce, "max_age": settings.ACCOUNT_REAUTHENTICATION_TIMEOUT},
            "nonce": nonce,
        }

    def extract_uid(self, data: dict[str, Any]) -> str:
        return str(data["sub"])

    def extract_extra_data(self, data: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        return {}

    def extract_common_fields(self, data: dict[str, Any]) -> dict[str, Any]:
        """Names alone, as they can be kept."""
        names = {
            "username": "preferred_username",
            "name": "name",
            "first_name": "given_name",
            "last_name": "family_name",
        }
        return {field: _plain(data.get(claim)) for field, claim in names.items()}

    def extract_email_addresses(self, data: dict[str, Any]) -> list[Any]:  # noqa: ARG002
        return []


class Newcomers(DefaultSocialAccountAdapter):
    """Whom the provider names for the first time, and what becomes of refusals."""

    def get_provider(
        self,
        request: HttpRequest,
        provider: str,  # noqa: ARG002  # there is one
        client_id: str | None = None,  # noqa: ARG002
    ) -> _Provider:
        """The provider of the settings; what a table says of others is not read."""
        known = _there()
        described = SocialApp(
            provider=_Provider.id,
            # Identities are kept under it: those of another issuer are other people.
            provider_id=known.issuer,
            name=known.name,
            client_id=known.client_id,
            secret=known.client_secret,
            settings={"server_url": known.issuer.rstrip("/")},
        )
        return _Provider(request, app=described)

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:  # noqa: ARG002
        return True

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:  # noqa: ARG002
        """Forget the token: nothing more is asked, and the session is kept while a code is."""
        sociallogin.token = None

    @transaction.atomic
    def save_user(
        self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None
    ) -> AbstractBaseUser:
        """Make an account and its identity, both or neither."""
        made: AbstractBaseUser = super().save_user(request, sociallogin, form)
        return made

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: _Provider,
        error: object = None,
        exception: Exception | None = None,
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002  # allauth's
    ) -> None:
        """Lead back to the entrance, and keep a refusal of what the provider said.

        What anybody can make up costs no event: an answer to a question that was not asked, one
        that says no by itself, and more refusals than an address has wrong passwords.
        """
        if exception is not None:
            # Other errors may quote what was answered, tokens included.
            why = exception if isinstance(exception, Refused) else type(exception).__name__
            logger.warning("What the identity provider answered was refused: %s", why)
            counted = ratelimit.consume(
                request, app="allauth.account", action="oidc_refused", limit_get=True
            )
            if counted is not None:
                keep_refused(request, None, "identity provider")
        else:
            logger.info("Nobody was signed in by the identity provider: %s", error)
        messages.error(request, f"{provider.name} did not sign you in. Try again.")
        raise ImmediateHttpResponse(HttpResponseRedirect(reverse("account_login")))


class _Coming(OAuth2CallbackView):
    """Somebody comes back."""

    adapter: _Speaking

    def _get_state(self, request: HttpRequest, provider: _Provider) -> tuple[Any, Any]:
        state, refusal = super()._get_state(request, provider)
        self.adapter.nonce = (state or {}).get("nonce", "")
        return state, refusal


@require_POST
@login_not_required
def begin(request: HttpRequest) -> HttpResponse:
    """Send somebody to the provider.

    By a page, not by a redirection: a browser holds a form to the policy of where it leads, and
    where providers lead people is theirs to change.
    """
    # Counted with passwords, and before anything is kept or asked.
    if not ratelimit.consume(request, app="allauth.account", action="login"):
        return ratelimit.respond_429(request)
    provider = newcomers(request).get_provider(request, _Provider.id)
    try:
        there = provider.redirect_from_request(request)
    except Refused as error:
        return _unreachable(request, error)
    context = {"address": there["Location"], "identity_provider": provider.name}
    answer = render(request, "account/oidc_leaving.html", context)
    answer["Refresh"] = f"0; url={there['Location']}"
    return answer


@require_GET
@login_not_required
def come_back(request: HttpRequest) -> HttpResponse:
    """Sign in whom the provider sends."""
    view = _Coming.adapter_view(_Speaking(request, _Provider.id))
    try:
        answer: HttpResponse = view(request)
    except Refused as error:
        # Asked for its doors, where allauth expects no failure.
        return _unreachable(request, error)
    return answer


def _unreachable(request: HttpRequest, error: Refused) -> HttpResponse:
    """Lead back to the entrance: nobody can be signed in there now."""
    logger.warning("The identity provider cannot be used: %s", error)
    messages.error(request, f"{_there().name} cannot be reached. Try again later.")
    return HttpResponseRedirect(reverse("account_login"))


def _there() -> IdentityProvider:
    """Who is asked. These addresses exist only where somebody is."""
    assert settings.IDENTITY_PROVIDER is not None
    return settings.IDENTITY_PROVIDER


def _asked_at(claims: dict[str, Any]) -> float | None:
    """When the provider last asked who this is, in seconds as it counts them; None if unsaid."""
    said, now = claims.get("auth_time"), time.time()
    if not isinstance(said, int | float) or not said <= now + _LEEWAY:
        logger.warning("The identity provider does not say when it asked who somebody is.")
        return None
    return min(said, now)


def _plain(name: object) -> str:
    """A name as it can be kept: printable, and no longer than its column."""
    if not isinstance(name, str):
        return ""
    return "".join(filter(str.isprintable, name)).strip()[:_LONGEST_NAME]


urls = [
    path("oidc/", begin, name="account_oidc"),
    path("oidc/callback/", come_back, name="account_oidc_callback"),
]
