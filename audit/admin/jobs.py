"""Work in the background at the desk: exports, imports and purges of everybody, in one list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import BadRequest
from django.db import transaction
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone

from audit import access, exports, summaries, tasks
from audit.admin.base import LINES_A_PAGE, act, page
from audit.errors import IllegalTransition
from audit.evidence import seals
from audit.models import Export, ImportJob, PurgePlan
from audit.models.exports import LIVE, MOST_ATTEMPTS
from audit.models.imports import LIVE_IMPORTS, MOST_IMPORT_ATTEMPTS
from audit.models.purges import PLAN_WORKED_ON
from audit.retention import standing
from audit.vocabulary import AccessAction, ExportJobStatus, ImportJobStatus, Right

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

KINDS = {"export": "exports", "import": "imports", "purge": "purges"}
STATES = {"going": "going on or waiting", "failed": "came to nothing"}
_COUNTED_TO = 1_000


@dataclass(frozen=True, kw_only=True)
class Job:
    """One piece of work; `again` and `cancel` are where its buttons go, if it has them."""

    # One of `STATES`, or nothing where it has ended well or was stopped.
    state: str
    chip: str
    status: str
    words: str
    href: str
    asked_by: int | None
    asked_at: datetime
    # In milliseconds: from the question to the end, or until now.
    age: float
    attempt: int | None
    most: int | None
    problem: str
    cancel: str | None = None
    again: str | None = None


@page("kind", "state", needs=Right.SEE_JOBS)
def jobs(request: HttpRequest) -> HttpResponseBase:
    """The newest hundred jobs, in a fixed number of queries; the lists of each kind go further."""
    kind, state, now = (
        _word(request, "kind", KINDS),
        _word(request, "state", STATES),
        timezone.now(),
    )
    found: list[Job] = []
    if kind in {"", "export"}:
        found += [_export(each, now) for each in _newest(Export.objects.all(), state)]
    if kind in {"", "import"}:
        found += [_import(each, now) for each in _newest(ImportJob.objects.all(), state)]
    if kind in {"", "purge"}:
        found += [_purge(each, now) for each in _purges(state)]
    found.sort(key=lambda job: job.asked_at, reverse=True)
    shown = found[:LINES_A_PAGE]
    context = {
        "title": "Background jobs",
        "jobs": shown,
        "going": sum(job.state == "going" for job in shown),
        "failed": sum(job.state == "failed" for job in shown),
        "more": len(found) > LINES_A_PAGE,
        "people": standing.names(job.asked_by for job in shown),
        "kinds": KINDS.items(),
        "states": STATES.items(),
        "kind": kind,
        "state": state,
        "to_seal": len(seals.due(limit=_COUNTED_TO)),
        "to_count": len(summaries.due(limit=_COUNTED_TO)),
        "counted_to": _COUNTED_TO,
        "now": now,
    }
    return render(request, "admin/jobs.html", context)


@act(needs=Right.SEE_JOBS)
def cancel_export(request: HttpRequest, export_id: str) -> HttpResponseBase:
    """Stop somebody's export."""
    try:
        with transaction.atomic():
            stopped = exports.cancel(export_id=export_id)
            access.record(
                action=AccessAction.EXPORT_CANCELLED,
                user_id=request.user.pk,
                run_id=str(stopped.run_id),
                object_id=export_id,
                kind="export",
                asked=access.asked(request),
                at=timezone.now(),
            )
        messages.success(request, "The export is stopped.")
    except IllegalTransition as error:
        messages.info(request, f"The {error}.")
    return redirect("admin:jobs")


@act(needs=Right.SEE_JOBS)
def export_again(request: HttpRequest, export_id: str) -> HttpResponseBase:
    """Have somebody's export made once more, for them, if they may still have it."""
    now = timezone.now()
    line = exports.describe_export(export_id=export_id, seen_by=None, at=now)
    theirs = User.objects.filter(pk=line.requested_by).first()
    if theirs is None or not access.may_export(theirs, with_payloads=line.with_payloads):
        messages.info(request, "Whoever asked for this export may not have it any more.")
        return redirect("admin:jobs")
    with transaction.atomic():
        made = exports.open_job(
            run_id=line.run_id,
            requested_by=line.requested_by,
            with_csv=line.with_csv,
            with_payloads=line.with_payloads,
            at=now,
        )
        tasks.enqueue_export(str(made.export_id))
        access.record(
            action=AccessAction.EXPORT_REQUESTED,
            user_id=request.user.pk,
            run_id=line.run_id,
            object_id=str(made.export_id),
            kind="export",
            at=now,
        )
    messages.success(request, "The export is asked for again.")
    return redirect("admin:jobs")


def _word(request: HttpRequest, name: str, known: dict[str, str]) -> str:
    word = request.GET.get(name, "")
    if word and word not in known:
        raise BadRequest(f"“{name}” may be {', '.join(known)}.")
    return word


def _newest(everything: QuerySet[Any], state: str) -> Iterable[Any]:
    """A hundred and one exports or imports, by when they were asked for."""
    live, failed = (
        (LIVE, ExportJobStatus.FAILED)
        if everything.model is Export
        else (LIVE_IMPORTS, ImportJobStatus.FAILED)
    )
    if state:
        everything = everything.filter(status__in=live if state == "going" else [failed])
    return everything.order_by("-requested_at", "-pk")[: LINES_A_PAGE + 1]


def _purges(state: str) -> Iterable[PurgePlan]:
    """A hundred and one purges that were begun; one whose last attempt failed goes on."""
    begun = PurgePlan.objects.filter(begun_at__isnull=False)
    if state:
        begun = begun.filter(status__in=PLAN_WORKED_ON)
    if state == "failed":
        begun = begun.filter(problem__isnull=False)
    return begun.newest_first()[: LINES_A_PAGE + 1]


def _export(job: Export, now: datetime) -> Job:
    key = {"export_id": job.export_id}
    may_stop = job.is_live and job.status != ExportJobStatus.CANCELLING
    may_begin = job.status in {ExportJobStatus.FAILED, ExportJobStatus.CANCELLED}
    return Job(
        state=_state(job.is_live, job.status == ExportJobStatus.FAILED),
        chip="job",
        status=str(job.status),
        words=f"export of {job.run_id}",
        href=reverse("audit:export", kwargs=key),
        asked_by=job.requested_by,
        asked_at=job.requested_at,
        age=_age(job.requested_at, job.finished_at, now),
        attempt=job.attempt,
        most=MOST_ATTEMPTS,
        problem=job.error_text or "",
        cancel=reverse("admin:cancel-export", kwargs=key) if may_stop else None,
        again=reverse("admin:export-again", kwargs=key) if may_begin else None,
    )


def _import(job: ImportJob, now: datetime) -> Job:
    key = {"job_id": job.job_id}
    may_stop = job.is_live and job.status != ImportJobStatus.CANCELLING
    return Job(
        state=_state(job.is_live, job.status == ImportJobStatus.FAILED),
        chip="import",
        status=str(job.status),
        words=f"import of {job.file_name}",
        href=reverse("admin:import", kwargs=key),
        asked_by=job.requested_by,
        asked_at=job.requested_at,
        age=_age(job.requested_at, job.finished_at, now),
        attempt=job.attempt,
        most=MOST_IMPORT_ATTEMPTS,
        problem=job.error_text or "",
        cancel=reverse("admin:cancel-import", kwargs=key) if may_stop else None,
        again=reverse("admin:import-again", kwargs=key) if job.is_undecided else None,
    )


def _purge(plan: PurgePlan, now: datetime) -> Job:
    return Job(
        state="going" if plan.status in PLAN_WORKED_ON else "",
        chip="plan",
        status=str(plan.status),
        words=f"purge plan {plan.plan_id}",
        href=reverse("audit:plan", kwargs={"plan_id": plan.plan_id}),
        asked_by=plan.begun_by,
        asked_at=plan.begun_at,
        age=_age(plan.begun_at, plan.ended_at, now),
        attempt=None,
        most=None,
        problem=plan.problem or "",
    )


def _state(is_live: object, has_failed: object) -> str:
    return "going" if is_live else "failed" if has_failed else ""


def _age(since: datetime, until: datetime | None, now: datetime) -> float:
    return 1000 * max(0.0, ((until or now) - since).total_seconds())


urls = [
    path("jobs/", jobs, name="jobs"),
    path("jobs/exports/<slug:export_id>/cancel/", cancel_export, name="cancel-export"),
    path("jobs/exports/<slug:export_id>/again/", export_again, name="export-again"),
]
