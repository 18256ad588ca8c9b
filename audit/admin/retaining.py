"""Policies and legal holds at the desk; every act goes through `audit.retention`.

Who did it is kept in the same transaction: a decision without its event, or an event without its
decision, cannot be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import forms
from django.contrib import messages
from django.db import transaction
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone

from audit import access, retention
from audit.admin.base import Column, Sorted, act, form, fresh, listing, may, page
from audit.errors import NotRecorded, RetentionRefused
from audit.models import LegalHold, RetentionPolicy
from audit.retention import standing
from audit.vocabulary import AccessAction, HoldScope, HoldStatus, PolicyScope, Right

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

# Whoever decides about retention sees what there is to decide.
DECIDES = (Right.PLAN_RETENTION, Right.APPROVE_RETENTION)

_POLICIES = Sorted(
    columns=(
        Column("Policy", "text", str, lambda policy: _policy_page(policy.policy_id)),
        Column("For", "text", standing.about_policy),
        Column("Keep at least (days)", "number", lambda policy: policy.keep_days),
        Column("Delete after (days)", "number", lambda policy: policy.delete_after_days),
        Column("Ends the policy", "text", lambda policy: "yes" if policy.ended else "no"),
        Column("Set (UTC)", "moment", lambda policy: policy.made_at),
    ),
    order=("-policy_id",),
    find="name",
)
_HOLDS = Sorted(
    columns=(
        Column("Status", "hold", lambda hold: hold.status),
        Column("Matter", "text", lambda hold: hold.matter, lambda hold: _hold_page(hold.hold_id)),
        Column("Keeps", "text", standing.about_hold),
        Column("Placed (UTC)", "moment", lambda hold: hold.placed_at),
        Column("Released (UTC)", "moment", lambda hold: hold.released_at),
    ),
    order=("-hold_id",),
    filters=("status",),
    find="matter",
)


class PolicyForm(forms.Form):
    """A policy, or its next version; in force at once."""

    name = forms.CharField(
        max_length=100, help_text="The name of one that is there makes its next version."
    )
    scope = forms.ChoiceField(label="For", choices=PolicyScope.choices)
    scope_value = forms.CharField(
        label="Which pipeline, or which status", max_length=200, required=False
    )
    keep_days = forms.IntegerField(label="Keep at least (days after the end of the run)")
    delete_after_days = forms.IntegerField(
        label="Delete after (days)", required=False, help_text="Empty: nothing is deleted by it."
    )
    reason = forms.CharField(max_length=500, help_text="It stands on every certificate.")


class HoldForm(forms.Form):
    """A hold: no end date; two people release it."""

    scope = forms.ChoiceField(label="Keeps", choices=HoldScope.choices)
    scope_value = forms.CharField(
        label="Which run, or which pipeline", max_length=200, required=False
    )
    matter = forms.CharField(max_length=200, help_text="The case by its name or number.")
    reason = forms.CharField(max_length=500)


def noted(
    request: HttpRequest,
    action: AccessAction,
    do: Callable[[int, datetime], object],
    *,
    of: object = "",
    run_id: str | None = None,
) -> str:
    """Do it and keep who did, both or neither; the refusal in words, or nothing."""
    now, person = timezone.now(), int(request.user.pk or 0)
    try:
        with transaction.atomic():
            do(person, now)
            # Last: the whole log is held until the transaction ends.
            access.record(
                action=action, user_id=person, run_id=run_id, object_id=str(of) or None, at=now
            )
    except RetentionRefused as error:
        # PostgreSQL adds where it stood in its guard.
        told = str(error).partition("\n")[0]
        return f"{told[:1].upper()}{told[1:]}."
    except NotRecorded as error:
        return f"There is no {error.kind} {error.key} on record."
    return ""


@form(*PolicyForm.base_fields, needs=Right.PLAN_RETENTION)
def set_policy(request: HttpRequest) -> HttpResponseBase:
    """Make a policy, or the next version of one."""
    asked = PolicyForm(request.POST or None)
    if request.method == "POST" and asked.is_valid():
        said = asked.cleaned_data
        refused = noted(
            request,
            AccessAction.POLICY_SET,
            lambda by, at: retention.set_policy(**said, by=by, at=at),
            of=said["name"][:64],
        )
        if not refused:
            messages.success(request, f"The policy {said['name']} is in force.")
            return redirect("admin:policies")
        asked.add_error(None, refused)
    return ask_for(
        request, asked, "Set a policy", "Put it in force", ("Policies", "admin:policies")
    )


@page(*_POLICIES.parameters, needs=DECIDES)
def policies(request: HttpRequest) -> HttpResponseBase:
    """Every version of every policy, newest first."""
    may_set = may(request.user, Right.PLAN_RETENTION)
    context = {
        "title": "Policies",
        "answer": "How long payloads are kept. A version is never edited: the next replaces it.",
        "list": listing(request, RetentionPolicy.objects.all(), _POLICIES),
        "more": ("Set a policy", reverse("admin:set-policy")) if may_set else None,
    }
    return render(request, "admin/list.html", context)


@page(needs=DECIDES)
def policy(request: HttpRequest, number: int) -> HttpResponseBase:
    """One version of a policy."""
    found = RetentionPolicy.objects.filter(policy_id=fits(number, "policy")).first()
    if found is None:
        raise NotRecorded("policy", str(number))
    newest = RetentionPolicy.objects.filter(name=found.name).order_by("-version").first()
    context = {
        "title": str(found),
        "policy": found,
        "about": standing.about_policy(found),
        "people": standing.names([found.made_by]),
        "in_force": found == newest and not found.ended,
    }
    return render(request, "admin/policy.html", context)


@act("reason", needs=Right.PLAN_RETENTION)
def end_policy(request: HttpRequest, number: int) -> HttpResponseBase:
    """End a policy; what it deleted stays deleted."""
    found = RetentionPolicy.objects.filter(policy_id=fits(number, "policy")).first()
    if found is None:
        raise NotRecorded("policy", str(number))
    name, reason = str(found.name), request.POST.get("reason", "")
    refused = noted(
        request,
        AccessAction.POLICY_SET,
        lambda by, at: retention.end_policy(name=name, reason=reason, by=by, at=at),
        of=name[:64],
    )
    messages.info(request, refused or f"The policy {name} has ended.")
    return redirect("admin:policies")


@page(*_HOLDS.parameters, needs=Right.PLACE_HOLDS)
def holds(request: HttpRequest) -> HttpResponseBase:
    """Every hold, newest first."""
    context = {
        "title": "Legal holds",
        "answer": "What a hold covers is not deleted, whatever a policy or a plan says.",
        "list": listing(request, LegalHold.objects.all(), _HOLDS),
        "more": ("Place a hold", reverse("admin:place-hold")),
    }
    return render(request, "admin/list.html", context)


@form(*HoldForm.base_fields, needs=Right.PLACE_HOLDS)
def place_hold(request: HttpRequest) -> HttpResponseBase:
    """Place a hold; it takes effect at once."""
    asked = HoldForm(request.POST or None)
    if request.method == "POST" and asked.is_valid():
        said = asked.cleaned_data
        refused = noted(
            request,
            AccessAction.HOLD_PLACED,
            lambda by, at: retention.place_hold(**said, by=by, at=at),
            of=said["scope_value"][:64],
        )
        if not refused:
            messages.success(request, "The hold is in effect.")
            return redirect("admin:holds")
        asked.add_error(None, refused)
    return ask_for(
        request, asked, "Place a hold", "Place this hold", ("Legal holds", "admin:holds")
    )


@page(needs=Right.PLACE_HOLDS)
def hold(request: HttpRequest, number: int) -> HttpResponseBase:
    """One hold, and who has to do what for its release."""
    found = LegalHold.objects.filter(hold_id=fits(number, "hold")).first()
    if found is None:
        raise NotRecorded("hold", str(number))
    asked = found.status == HoldStatus.RELEASE_ASKED
    context = {
        "title": f"Hold {found.hold_id}",
        "hold": found,
        "about": standing.about_hold(found),
        "people": standing.names([found.placed_by, found.release_asked_by, found.released_by]),
        "may_confirm": asked
        and may(request.user, Right.APPROVE_RETENTION)
        and found.release_asked_by != request.user.pk,
    }
    return render(request, "admin/hold.html", context)


@act("reason", needs=Right.PLAN_RETENTION)
def ask_release(request: HttpRequest, number: int) -> HttpResponseBase:
    """Ask for the release of a hold."""
    reason, key = request.POST.get("reason", ""), fits(number, "hold")
    refused = noted(
        request,
        AccessAction.HOLD_RELEASE_ASKED,
        lambda by, at: retention.ask_release(hold_id=key, reason=reason, by=by, at=at),
        of=key,
    )
    messages.info(request, refused or "Asked. Another person has to confirm it.")
    return redirect("admin:hold", number=number)


@act(needs=Right.PLAN_RETENTION)
def withdraw_release(request: HttpRequest, number: int) -> HttpResponseBase:
    """Take back that a release was asked for."""
    key = fits(number, "hold")
    refused = noted(
        request,
        AccessAction.HOLD_PLACED,
        lambda _by, _at: retention.withdraw_release(hold_id=key),
        of=key,
    )
    messages.info(request, refused or "The hold goes on.")
    return redirect("admin:hold", number=number)


@act(needs=Right.APPROVE_RETENTION)
@fresh
def confirm_release(request: HttpRequest, number: int) -> HttpResponseBase:
    """Release a hold as the second person."""
    key = fits(number, "hold")
    refused = noted(
        request,
        AccessAction.HOLD_RELEASED,
        lambda by, at: retention.confirm_release(hold_id=key, by=by, at=at),
        of=key,
    )
    messages.info(request, refused or "The hold is released.")
    return redirect("admin:hold", number=number)


def ask_for(
    request: HttpRequest, asked: forms.Form, title: str, words: str, back: tuple[str, str]
) -> HttpResponseBase:
    """The page of a form about retention, with what is wrong in it."""
    context = {
        "title": title,
        "form": asked,
        "act": words,
        "back": (back[0], reverse(back[1])),
    }
    return render(request, "admin/form.html", context, status=400 if asked.errors else 200)


def fits(number: int, kind: str) -> int:
    """A number from an address, if the database can be asked about it.

    Raises:
        NotRecorded: it cannot, so there is nothing of that number.
    """
    if number >= 2**63:
        raise NotRecorded(kind, str(number))
    return number


def _policy_page(number: int) -> str:
    return reverse("admin:policy", kwargs={"number": number})


def _hold_page(number: int) -> str:
    return reverse("admin:hold", kwargs={"number": number})


urls = [
    path("retention/policies/", policies, name="policies"),
    path("retention/policies/set/", set_policy, name="set-policy"),
    path("retention/policies/<int:number>/", policy, name="policy"),
    path("retention/policies/<int:number>/end/", end_policy, name="end-policy"),
    path("retention/holds/", holds, name="holds"),
    path("retention/holds/place/", place_hold, name="place-hold"),
    path("retention/holds/<int:number>/", hold, name="hold"),
    path("retention/holds/<int:number>/ask/", ask_release, name="ask-release"),
    path("retention/holds/<int:number>/withdraw/", withdraw_release, name="withdraw-release"),
    path("retention/holds/<int:number>/release/", confirm_release, name="confirm-release"),
]
