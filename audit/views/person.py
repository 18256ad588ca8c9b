"""One's own account: how one signs in, and where one is signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from audit import credentials
from audit.views.doors import act, page

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@page(needs=None)
def account(request: HttpRequest) -> HttpResponse:
    """Who one is here, and what one proves it with."""
    person = request.user
    return render(
        request,
        "audit/account.html",
        {
            "groups": list(person.groups.order_by("name").values_list("name", flat=True)),
            "has_password": person.is_authenticated and person.has_usable_password(),
            "factor": credentials.describe_factor(person),
            "sessions": credentials.list_sessions(
                user_id=int(person.pk or 0), key=request.session.session_key, at=timezone.now()
            ),
            "now": timezone.now(),
        },
    )


@page(needs=None)
def no_password(request: HttpRequest) -> HttpResponse:
    """Say why there is no password to change, to whoever has none."""
    if not (request.user.is_authenticated and request.user.has_usable_password()):
        messages.info(request, "You have no password here that could be changed.")
    return HttpResponseRedirect(reverse("audit:account"))


@act(needs=None)
def end_session(request: HttpRequest, session_id: int) -> HttpResponse:
    """Sign one of one's own sessions out."""
    credentials.end_session(user_id=int(request.user.pk or 0), session_id=session_id)
    messages.success(request, "That session has ended.")
    return HttpResponseRedirect(reverse("audit:account"))


@act(needs=None)
def end_other_sessions(request: HttpRequest) -> HttpResponse:
    """Sign everything out but this browser."""
    ended = credentials.end_other_sessions(
        user_id=int(request.user.pk or 0), key=request.session.session_key
    )
    messages.success(request, f"Other sessions that have ended: {ended}.")
    return HttpResponseRedirect(reverse("audit:account"))
