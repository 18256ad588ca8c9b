"""API tokens: shown once, known by their hash, good until they end. The only writer of them."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from allauth.core.internal import ratelimit
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Case, Q, Value, When

from audit.errors import NotRecorded, TokenRefused, TooManyTokens
from audit.models import LONGEST_LIFE, ApiToken

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.http import HttpRequest

    from audit.vocabulary import TokenScope

# Known by it wherever one turns up where it should not be.
PREFIX = "lsk_"
_RANDOM_BYTES = 32
LONGEST_DAYS = LONGEST_LIFE.days
# How many of one person's may be live at a time, and how many lines their page has.
MOST_LIVE = 20
_MOST_LINES = 100
# How stale the last use may grow before it is written again: requests stay cheap.
_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class TokenUse:
    """Which token a request came with, and what that is for."""

    token_id: int
    owner: User
    scopes: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class TokenLine:
    """One token as its owner sees it; `standing` is `live`, `expired` or `revoked`."""

    token_id: int
    name: str
    scopes: tuple[str, ...]
    made_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    standing: str


def make_token(
    *, user_id: int, name: str, scopes: Iterable[TokenScope], days: int, at: datetime
) -> tuple[int, str]:
    """Make a token for somebody; return its number, and the token, which nobody learns again.

    Raises:
        TooManyTokens: they have as many as one may have.
        ValueError: the name, the scopes or the days are none that a token can have.
    """
    wanted = sorted(set(scopes))
    if not (name and wanted and 1 <= days <= LONGEST_DAYS):
        raise ValueError(f"a token has a name, scopes and 1 to {LONGEST_DAYS} days")
    token = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    with transaction.atomic():
        # One after the other, or two at once would both be the last that is allowed.
        User.objects.select_for_update().get(pk=user_id)
        if ApiToken.objects.filter(_live(at), user_id=user_id).count() >= MOST_LIVE:
            raise TooManyTokens(MOST_LIVE)
        made = ApiToken.objects.create(
            user_id=user_id,
            name=name,
            token_hash=_hash(token.encode()),
            scopes=wanted,
            made_at=at,
            expires_at=at + timedelta(days=days),
        )
    return made.token_id, token


def recognise_token(*, token: bytes, at: datetime) -> TokenUse:
    """Whose token this is, with what they may do at this moment. One query.

    Raises:
        TokenRefused: nobody's, or it has ended, or its owner's account is closed.
    """
    found = ApiToken.objects.filter(token_hash=_hash(token)).select_related("user").first()
    if found is None:
        raise TokenRefused("token unknown")
    if (standing := found.standing(at=at)) != "live":
        raise TokenRefused(f"token {found.token_id} {standing}", owner=found.user)
    if not found.user.is_active:
        raise TokenRefused("account is closed", owner=found.user)
    if found.last_used_at is None or at - found.last_used_at > _NOTED_EVERY:
        ApiToken.objects.filter(pk=found.pk).update(last_used_at=at)
    return TokenUse(
        token_id=found.token_id, owner=found.user, scopes=frozenset(map(str, found.scopes))
    )


def revoke_token(*, token_id: int, at: datetime, user_id: int | None = None) -> ApiToken:
    """End a token, of this person if one is named, and return it as it was before.

    One that was revoked stays as it is.

    Raises:
        NotRecorded: there is no such token, or not of theirs.
    """
    theirs = ApiToken.objects.filter(**({} if user_id is None else {"user_id": user_id}))
    found = theirs.select_related("user").filter(pk=token_id).first()
    if found is None:
        raise NotRecorded("API token", str(token_id))
    ApiToken.objects.filter(pk=found.pk, revoked_at__isnull=True).update(revoked_at=at)
    return found


def list_tokens(*, user_id: int, at: datetime) -> tuple[TokenLine, ...]:
    """Somebody's tokens, those that are live first, then the newest."""
    found = ApiToken.objects.filter(user_id=user_id).order_by(
        Case(When(_live(at), then=Value(0)), default=Value(1)), "-token_id"
    )
    return tuple(
        TokenLine(
            token_id=each.token_id,
            name=each.name,
            scopes=tuple(each.scopes),
            made_at=each.made_at,
            expires_at=each.expires_at,
            last_used_at=each.last_used_at,
            revoked_at=each.revoked_at,
            standing=each.standing(at=at),
        )
        for each in found[:_MOST_LINES]
    )


def count_refused(request: HttpRequest) -> bool:
    """Count a token that gave nothing; False where its address has shown too many of those.

    Counted like wrong passwords, for all processes together, but apart from them: a forgotten
    program whose token has expired must not lock its neighbours out.
    """
    counted = ratelimit.consume(
        request, app="allauth.account", action="token_refused", limit_get=True
    )
    return counted is not None


def _hash(token: bytes) -> str:
    return hashlib.sha256(token).hexdigest()


def _live(at: datetime) -> Q:
    return Q(revoked_at__isnull=True, expires_at__gt=at)
