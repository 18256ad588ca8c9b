"""What the identity provider says of itself: where its doors are, and with which keys it signs.

It is kept in the memory of this process and nowhere else. Whoever could write there would say who
people are and be handed our secret, and more than web servers write to what processes share. Its
silence is kept for a moment as well, so that it does not hold up one person after the other.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from requests import RequestException

if TYPE_CHECKING:
    from collections.abc import Callable

# For how many seconds what it says is believed without asking again, and how long after a failure
# it is left alone.
_KEPT = 600.0
_LEFT_ALONE = 10.0
_DOORS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class Refused(OAuth2Error):
    """What the provider says is not good enough; says why, and holds nothing secret."""


@dataclass(frozen=True, kw_only=True)
class _Said:
    """What stood at an address, or what was wrong with it."""

    until: float
    told: dict[str, Any]
    wrong: str


_said: dict[str, _Said] = {}


def find_doors(address: str, *, issuer: str) -> dict[str, Any]:
    """Where the provider's doors are, by what stands at its well-known address.

    Raises:
        Refused: it does not say, or says that it is somebody else.
    """
    return _ask(address, lambda told: check_doors(told, issuer=issuer))


def find_key(address: str, name: str) -> Any:
    """The public key of this name (`kid`), among those at the address.

    Raises:
        Refused: it has none of this name, or does not say.
    """
    keys = _ask(address, _keys)
    if name not in keys:
        # It signs with a new one from time to time.
        keys = _ask(address, _keys, anew=True)
    if name not in keys:
        raise Refused("its identity token is signed with a key that it does not show")
    return keys[name]


def check_doors(told: Any, *, issuer: str) -> dict[str, Any]:
    """What it told, if it is what we need and from whom we asked.

    Raises:
        Refused: it is not.
    """
    if not isinstance(told, dict):
        raise Refused("it does not say where its doors are")
    if told.get("issuer") != issuer:
        raise Refused("it calls itself by another name than LANDSCAPE_OIDC_ISSUER")
    # Which of them are in the open is not for the provider to choose.
    begins = "https://" if issuer.startswith("https://") else "http"
    named = [told.get(door) for door in _DOORS]
    named += [told["userinfo_endpoint"]] if "userinfo_endpoint" in told else []
    if not all(isinstance(door, str) and door.startswith(begins) for door in named):
        raise Refused("it does not say where its doors are, or one of them has no HTTPS")
    if not isinstance(told.get("token_endpoint_auth_methods_supported", []), list):
        raise Refused("it does not say how we prove ourselves")
    return told


def _keys(told: Any) -> dict[str, Any]:
    if not isinstance(told, dict):
        raise Refused("it does not show its keys")
    try:
        shown = jwt.PyJWKSet.from_dict(told).keys
        return {key.key_id: key.key for key in shown if key.key_id}
    except (jwt.PyJWTError, TypeError, ValueError) as error:
        raise Refused("it shows no key that can be used") from error


def _ask(
    address: str, understand: Callable[[Any], dict[str, Any]], *, anew: bool = False
) -> dict[str, Any]:
    said = None if anew else _said.get(address)
    if said is None or said.until <= time.monotonic():
        said = _said[address] = _fetched(address, understand)
    if said.wrong:
        raise Refused(said.wrong)
    return said.told


def _fetched(address: str, understand: Callable[[Any], dict[str, Any]]) -> _Said:
    told, wrong = {}, ""
    try:
        with get_adapter().get_requests_session() as session:
            answer = session.get(address)
            answer.raise_for_status()
            told = understand(answer.json())
    except Refused as error:
        wrong = str(error)
    except (RequestException, ValueError) as error:
        # The class alone: messages quote addresses.
        wrong = f"it does not answer ({type(error).__name__})"
    until = time.monotonic() + (_LEFT_ALONE if wrong else _KEPT)
    return _Said(until=until, told=told, wrong=wrong)
