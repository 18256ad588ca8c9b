"""Runs that lists do not show: hiding them and showing them again. Nothing is erased by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import forms
from django.contrib import messages
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone

from audit import retention
from audit.admin.base import Column, Sorted, act, form, listing, may, page
from audit.admin.retaining import DECIDES, ask_for, fits, noted
from audit.errors import NotRecorded
from audit.models import RunHiding
from audit.retention import standing
from audit.vocabulary import AccessAction, Right

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

_HIDDEN = Sorted(
    columns=(
        Column("Run", "id", lambda each: each.run_id, lambda each: _page_of(each.hiding_id)),
        Column("Why", "text", lambda each: each.reason),
        Column("Hidden (UTC)", "moment", lambda each: each.hidden_at),
        Column("Can be shown until (UTC)", "moment", lambda each: each.restorable_until),
        Column("Shown again (UTC)", "moment", lambda each: each.restored_at),
    ),
    order=("-hiding_id",),
    find="run_id",
)


class HideForm(forms.Form):
    """A run to be hidden; for thirty days it can be shown again."""

    run_id = forms.CharField(label="Run", max_length=64, strip=False, help_text="Its whole id.")
    reason = forms.CharField(
        max_length=500,
        help_text=(
            "Hiding is not erasure: records, payloads, proofs and holds stay, and the run's page "
            "can still be opened. For thirty days the run can be shown again."
        ),
    )


def _page_of(number: object) -> str:
    return reverse("admin:hiding", kwargs={"number": number})


@page(*_HIDDEN.parameters, needs=DECIDES)
def hidden_runs(request: HttpRequest) -> HttpResponseBase:
    """Every hiding, newest first, those that were undone among them."""
    may_hide = may(request.user, Right.PLAN_RETENTION)
    context = {
        "title": "Hidden runs",
        "answer": "Lists do not show a hidden run. That is not erasure: nothing of it is deleted.",
        "list": listing(request, RunHiding.objects.all(), _HIDDEN),
        "more": ("Hide a run", reverse("admin:hide-run")) if may_hide else None,
    }
    return render(request, "admin/list.html", context)


@form(*HideForm.base_fields, needs=Right.PLAN_RETENTION)
def hide_run(request: HttpRequest) -> HttpResponseBase:
    """Take a run off the lists."""
    asked = HideForm(request.POST or None)
    if request.method == "POST" and asked.is_valid():
        said = asked.cleaned_data
        made: list[RunHiding] = []
        refused = noted(
            request,
            AccessAction.RUN_HIDDEN,
            lambda by, at: made.append(retention.hide_run(**said, by=by, at=at)),
            run_id=said["run_id"],
        )
        if not refused:
            messages.success(request, "Lists do not show this run any more.")
            return redirect("admin:hiding", number=made[0].hiding_id)
        asked.add_error(None, refused)
    return ask_for(
        request, asked, "Hide a run", "Hide this run", ("Hidden runs", "admin:hidden-runs")
    )


@page(needs=DECIDES)
def hiding(request: HttpRequest, number: int) -> HttpResponseBase:
    """One hiding: who, why, until when it can be undone, and the button for that."""
    found = _hiding(number)
    over = found.restorable_until < timezone.now()
    context = {
        "title": "Hidden run" if found.restored_at is None else "Run shown again",
        "hiding": found,
        "over": over,
        "people": standing.names([found.hidden_by, found.restored_by]),
        "may_restore": found.restored_at is None
        and not over
        and may(request.user, Right.PLAN_RETENTION),
    }
    return render(request, "admin/hiding.html", context)


@act(needs=Right.PLAN_RETENTION)
def restore_run(request: HttpRequest, number: int) -> HttpResponseBase:
    """Show a run again."""
    found = _hiding(number)
    if found.restored_at is not None:
        messages.info(request, "It was shown again before.")
        return redirect("admin:hiding", number=number)
    run_id = str(found.run_id)
    refused = noted(
        request,
        AccessAction.RUN_RESTORED,
        lambda by, at: retention.restore_run(run_id=run_id, by=by, at=at),
        run_id=run_id,
    )
    messages.info(request, refused or "Lists show this run again.")
    return redirect("admin:hiding", number=number)


def _hiding(number: int) -> RunHiding:
    found = RunHiding.objects.filter(hiding_id=fits(number, "hiding")).first()
    if found is None:
        raise NotRecorded("hiding", str(number))
    return found


urls = [
    path("retention/hidden/", hidden_runs, name="hidden-runs"),
    path("retention/hidden/hide/", hide_run, name="hide-run"),
    path("retention/hidden/<int:number>/", hiding, name="hiding"),
    path("retention/hidden/<int:number>/restore/", restore_run, name="restore-run"),
]
