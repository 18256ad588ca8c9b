"""Everybody's API tokens, as far as an administrator of users is concerned: whose, and an end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.db import transaction
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone

from audit import access, credentials
from audit.admin import people
from audit.admin.base import Column, Sorted, act, listing, page
from audit.models import ApiToken
from audit.vocabulary import AccessAction

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

SEE, CHANGE = people.SEE, people.CHANGE

_HOW = Sorted(
    columns=(
        Column(
            "User",
            "text",
            lambda token: token.user.get_username(),
            lambda token: reverse("admin:person", kwargs={"number": token.user_id}),
        ),
        Column("Name", "text", lambda token: token.name),
        Column("Standing", "api_token", lambda token: token.standing(at=timezone.now())),
        Column("Scopes", "text", lambda token: ", ".join(token.scopes)),
        Column("Made (UTC)", "moment", lambda token: token.made_at),
        Column("Last used", "moment", lambda token: token.last_used_at),
        Column("Expires", "moment", lambda token: token.expires_at),
        Column(
            "Do",
            "post",
            lambda token: "Revoke" if token.standing(at=timezone.now()) == "live" else None,
            lambda token: reverse("admin:revoke-api-token", kwargs={"number": token.pk}),
        ),
    ),
    order=("-token_id",),
    find="user__username",
)


@page(*_HOW.parameters, needs=SEE)
def api_tokens(request: HttpRequest) -> HttpResponseBase:
    """Everybody's tokens, newest first; no page shows a token or its hash."""
    context = {
        "title": "API tokens",
        "answer": "What people’s programs ask the API with. Who is shut out loses theirs at once.",
        "list": listing(request, ApiToken.objects.select_related("user"), _HOW),
    }
    return render(request, "admin/list.html", context)


@act(needs=CHANGE)
def revoke(request: HttpRequest, number: int) -> HttpResponseBase:
    """End somebody's token."""
    now = timezone.now()
    with transaction.atomic():
        was = credentials.revoke_token(token_id=number, at=now)
        if was.revoked_at is None:
            access.record(
                action=AccessAction.TOKEN_REVOKED,
                user_id=request.user.pk,
                user_name=request.user.get_username(),
                kind="api-token",
                object_id=str(number),
                reason=f"of {was.user.get_username()}: {was.name}",
                asked=access.asked(request),
                at=now,
            )
    messages.success(request, f"A token of {was.user.get_username()} is revoked.")
    return redirect("admin:api-tokens")


urls = [
    path("tokens/", api_tokens, name="api-tokens"),
    path("tokens/<int:number>/revoke/", revoke, name="revoke-api-token"),
]
