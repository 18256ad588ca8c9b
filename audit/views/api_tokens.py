"""One's own API tokens: which there are, making one, ending one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import patch_cache_control
from django.views.decorators.debug import sensitive_variables

from audit import access, credentials
from audit.errors import TooManyTokens
from audit.views.doors import act, fresh, keep, page
from audit.vocabulary import AccessAction, Right, TokenScope

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


class Order(forms.Form):
    """A token as somebody wants it."""

    name = forms.CharField(
        max_length=64,
        label="Name",
        help_text="What it is for, so that you know which one to revoke.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    days = forms.IntegerField(
        min_value=1,
        max_value=credentials.LONGEST_DAYS,
        initial=30,
        label="Days until it expires",
        help_text=f"{credentials.LONGEST_DAYS} at most.",
    )
    read = forms.BooleanField(
        required=False, initial=True, label="read: what the API tells by GET, but for files"
    )
    export = forms.BooleanField(
        required=False, label="export: ask for exports, cancel them and download their files"
    )

    def clean(self) -> None:
        """It must be good for something."""
        if not self.scopes():
            raise forms.ValidationError("Choose what the token is for: read, export or both.")

    def scopes(self) -> list[TokenScope]:
        """What was chosen."""
        return [scope for scope in TokenScope if self.cleaned_data.get(scope)]


@page(needs=None)
def tokens(request: HttpRequest) -> HttpResponse:
    """One's own tokens, and the form for another."""
    return _page(request, form=Order())


@act("name", "days", *TokenScope.values, does=AccessAction.TOKEN_MADE)
@fresh
@sensitive_variables()
def make(request: HttpRequest) -> HttpResponse:
    """Make a token. It stands on this one answer and nowhere else."""
    order = Order(request.POST)
    if not order.is_valid():
        return _page(request, form=order, status=400)
    scopes = order.scopes()
    try:
        with transaction.atomic():
            number, token = credentials.make_token(
                user_id=access.require(request.user, Right.SEE_RECORDS),
                name=order.cleaned_data["name"],
                days=order.cleaned_data["days"],
                scopes=scopes,
                at=timezone.now(),
            )
            keep(
                request,
                AccessAction.TOKEN_MADE,
                kind="api-token",
                object_id=str(number),
                reason=f"{order.cleaned_data['name']}: {', '.join(scopes)},"
                f" {order.cleaned_data['days']} days",
            )
    except TooManyTokens as error:
        order.add_error(None, str(error))
        return _page(request, form=order, status=400)
    return _page(request, form=Order(), token=token)


@act(needs=None)
def revoke(request: HttpRequest, number: int) -> HttpResponse:
    """End one of one's own tokens."""
    with transaction.atomic():
        was = credentials.revoke_token(
            token_id=number, user_id=int(request.user.pk or 0), at=timezone.now()
        )
        if was.revoked_at is None:
            keep(
                request,
                AccessAction.TOKEN_REVOKED,
                kind="api-token",
                object_id=str(number),
                reason=was.name,
            )
    messages.success(request, "The token is revoked.")
    return HttpResponseRedirect(reverse("audit:api-tokens"))


def _page(
    request: HttpRequest, *, form: Order, token: str | None = None, status: int = 200
) -> HttpResponse:
    now = timezone.now()
    context = {
        "form": form,
        "token": token,
        "tokens": credentials.list_tokens(user_id=int(request.user.pk or 0), at=now),
        "most": credentials.MOST_LIVE,
        "now": now,
    }
    answer = render(request, "audit/api_tokens.html", context, status=status)
    patch_cache_control(answer, no_store=True, private=True)
    return answer
