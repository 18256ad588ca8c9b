"""Purge plans at the desk: preview, approval by a second person, waiting, deletion, certificate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from django.db.models import Q
from django.http import StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone

from audit import retention, tasks
from audit.admin.base import Column, Sorted, act, fresh, listing, may, page
from audit.admin.retaining import DECIDES, fits, noted
from audit.models import Export, PurgePlan, PurgeRun
from audit.models.exports import MADE
from audit.retention import standing
from audit.vocabulary import AccessAction, PlanStatus, Right

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

_DIGITS = 18
_SHOWN = 5

_PLANS = Sorted(
    columns=(
        Column("Status", "plan", lambda plan: plan.status),
        Column("Plan", "text", str, lambda plan: _page_of(plan.plan_id)),
        Column("Payloads", "number", lambda plan: plan.items),
        Column("Size", "size", lambda plan: plan.bytes),
        Column("Runs", "number", lambda plan: plan.runs),
        Column("Made (UTC)", "moment", lambda plan: plan.made_at),
        Column("May begin (UTC)", "moment", lambda plan: plan.may_begin_at),
        Column("Deleted", "number", lambda plan: plan.purged_items),
    ),
    order=("-plan_id",),
    filters=("status",),
)


def _page_of(number: object) -> str:
    return reverse("admin:plan", kwargs={"number": number})


@page(*_PLANS.parameters, needs=DECIDES)
def plans(request: HttpRequest) -> HttpResponseBase:
    """Every plan, newest first."""
    context = {
        "title": "Purge plans",
        "answer": "A plan is a fixed list. One person makes it, another one approves it.",
        "list": listing(request, PurgePlan.objects.filter(~Q(status=PlanStatus.DRAFTING)), _PLANS),
        "may_plan": may(request.user, Right.PLAN_RETENTION),
    }
    return render(request, "admin/plans.html", context)


@act(needs=Right.PLAN_RETENTION)
def preview(request: HttpRequest) -> HttpResponseBase:
    """Make a plan: what would go now. Nothing is deleted."""
    made: list[PurgePlan] = []
    noted(
        request,
        AccessAction.PLAN_MADE,
        lambda by, at: made.append(retention.preview(by=by, at=at)),
    )
    return redirect("admin:plan", number=made[0].plan_id)


@page(needs=DECIDES)
def plan(request: HttpRequest, number: int) -> HttpResponseBase:
    """One plan: what goes, what stays and why, what changes, and whose turn it is."""
    return _shown(request, number)


def _shown(request: HttpRequest, number: int, refused: str = "") -> HttpResponseBase:
    story = standing.explain_plan(plan_id=fits(number, "plan"))
    found, now = story.plan, timezone.now()
    copies = Export.objects.filter(
        run_id__in=PurgeRun.objects.filter(plan_id=found.plan_id).values("run_id"),
        with_payloads=True,
        status__in=MADE,
    ).newest_first()
    wait = 1000 * (found.may_begin_at - now).total_seconds() if found.may_begin_at else 0
    waiting = found.status == PlanStatus.APPROVED
    context = {
        "title": f"Purge plan {found.plan_id}",
        "story": story,
        "plan": found,
        "policies": json.loads(str(found.policies_json)),
        "copies": list(copies[: _SHOWN + 1]),
        "refused": refused,
        "now": now,
        # Both in milliseconds.
        "wait": max(0, wait),
        "wait_whole": 1000 * found.wait_seconds,
        "may_begin": waiting and wait <= 0 and may(request.user, Right.PLAN_RETENTION),
        "own": found.made_by == request.user.pk,
        "may_approve": may(request.user, Right.APPROVE_RETENTION)
        and found.made_by != request.user.pk,
        "may_stop": any(may(request.user, right) for right in DECIDES),
        "live": found.status in {PlanStatus.EXECUTING, PlanStatus.STOPPING} or waiting,
        "done": found.purged_items + found.skipped_items,
    }
    return render(request, "admin/plan.html", context, status=409 if refused else 200)


@act("digest", "count", "reason", needs=Right.APPROVE_RETENTION)
@fresh
def approve(request: HttpRequest, number: int) -> HttpResponseBase:
    """Agree to a plan as the second person; nothing is deleted yet."""
    key, said = fits(number, "plan"), request.POST
    typed = said.get("count", "").strip().replace(",", "")
    if not (typed.isascii() and typed.isdigit() and len(typed) <= _DIGITS):
        return _shown(request, number, "Type the number of payloads that will be deleted.")
    refused = noted(
        request,
        AccessAction.PLAN_APPROVED,
        lambda by, at: retention.approve(
            plan_id=key,
            digest=said.get("digest", ""),
            count=int(typed),
            reason=said.get("reason", ""),
            by=by,
            at=at,
        ),
        of=key,
    )
    return _after(request, number, refused)


@act("reason", needs=DECIDES)
def decline(request: HttpRequest, number: int) -> HttpResponseBase:
    """Say no to a plan, or take one's own back."""
    key, reason = fits(number, "plan"), request.POST.get("reason", "")
    refused = noted(
        request,
        AccessAction.PLAN_DECLINED,
        lambda by, at: retention.decline(plan_id=key, reason=reason, by=by, at=at),
        of=key,
    )
    return _after(request, number, refused)


@act(needs=Right.PLAN_RETENTION)
@fresh
def begin(request: HttpRequest, number: int) -> HttpResponseBase:
    """Have an approved plan executed, once its waiting time is over."""
    key = fits(number, "plan")
    refused = noted(
        request,
        AccessAction.PLAN_EXECUTED,
        lambda by, at: retention.begin(plan_id=key, by=by, at=at),
        of=key,
    )
    if not refused:
        tasks.enqueue_purge(key)
    return _after(request, number, refused)


@act(needs=DECIDES)
def stop(request: HttpRequest, number: int) -> HttpResponseBase:
    """Stop a purge before its next batch; what is gone stays gone."""
    key = fits(number, "plan")
    refused = noted(
        request,
        AccessAction.PLAN_STOPPED,
        lambda by, at: retention.stop(plan_id=key, by=by, at=at),
        of=key,
    )
    return _after(request, number, refused)


@page(needs=DECIDES)
def exact_list(_request: HttpRequest, number: int) -> HttpResponseBase:
    """The exact list as CSV: hashes, numbers and words of ours, so no cell is a formula."""
    story = standing.explain_plan(plan_id=fits(number, "plan"))
    key = story.plan.plan_id
    answer = StreamingHttpResponse(_csv(key), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="plan-{key}.csv"'
    return answer


def _csv(plan_id: int) -> Iterator[str]:
    yield "sha256,bytes,policy_id,status,kept_by\r\n"
    for line in retention.item_lines(plan_id=plan_id):
        parts = line.split()
        yield ",".join([*parts, ""][:5]) + "\r\n"


def _after(request: HttpRequest, number: int, refused: str) -> HttpResponseBase:
    return _shown(request, number, refused) if refused else redirect("admin:plan", number=number)


urls = [
    path("retention/plans/", plans, name="plans"),
    path("retention/plans/preview/", preview, name="preview"),
    path("retention/plans/<int:number>/", plan, name="plan"),
    path("retention/plans/<int:number>/approve/", approve, name="approve-plan"),
    path("retention/plans/<int:number>/decline/", decline, name="decline-plan"),
    path("retention/plans/<int:number>/execute/", begin, name="begin-plan"),
    path("retention/plans/<int:number>/stop/", stop, name="stop-plan"),
    path("retention/plans/<int:number>/list.csv", exact_list, name="plan-csv"),
]
