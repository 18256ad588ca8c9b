"""Importing by upload: a file comes in, a worker reads it, the page tells what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from audit import access, imports, tasks
from audit.admin.base import Column, Sorted, act, listing, page
from audit.errors import IllegalTransition, UploadRefused
from audit.models import ImportJob
from audit.vocabulary import AccessAction, Right

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

_FILES = {"database": "the database", "log": "the log", "payloads": "the payload archive"}

_HOW = Sorted(
    columns=(
        Column("Status", "import", lambda job: job.status),
        Column("File", "text", lambda job: job.file_name, lambda job: _page_of(job.job_id)),
        Column("Uploaded (UTC)", "moment", lambda job: job.requested_at),
        Column("Size", "size", lambda job: job.file_bytes),
        Column("Records read", "number", lambda job: job.records_done),
        Column("Attempt", "number", lambda job: job.attempt),
        Column("Ended (UTC)", "moment", lambda job: job.finished_at),
    ),
    order=("-requested_at", "-job_id"),
    filters=("status",),
)


def _page_of(job_id: object) -> str:
    return reverse("admin:import", kwargs={"job_id": str(job_id)})


def _shown(request: HttpRequest, *, refused: str = "", status: int = 200) -> HttpResponseBase:
    context = {
        "title": "Imports",
        "answer": "Audit databases that were uploaded, and what came of them.",
        "list": listing(request, ImportJob.objects.all(), _HOW),
        "refused": refused,
        "most": settings.LANDSCAPE_IMPORT_MAX_MB * 1_000_000,
    }
    return render(request, "admin/imports.html", context, status=status)


@page(*_HOW.parameters, needs=Right.SEE_JOBS)
def uploads(request: HttpRequest) -> HttpResponseBase:
    """Every upload, newest first, and the form for another one."""
    return _shown(request)


@csrf_protect
@act(*_FILES, needs=Right.IMPORT_FILES)  # a field without a file comes as an empty text
def _upload(request: HttpRequest) -> HttpResponseBase:
    person = access.require(request.user, Right.IMPORT_FILES)
    files: dict[str, Any] = {name: request.FILES.get(name) for name in _FILES}
    if odd := [name for name in request.FILES if name not in _FILES]:
        return _shown(request, refused=f"The form has no field “{odd[0][:40]}”.", status=400)
    if files["database"] is None:
        return _shown(request, refused="Choose the audit database.", status=400)
    now = timezone.now()
    try:
        job = imports.open_job(
            requested_by=person,
            name=files["database"].name,
            database=files["database"],
            log=files["log"],
            payload_archive=files["payloads"],
            at=now,
        )
    except UploadRefused as error:
        return _shown(request, refused=str(error), status=413 if error.too_large else 400)
    access.record(
        action=AccessAction.FILE_IMPORTED,
        user_id=person,
        object_id=str(job.job_id),
        at=now,
    )
    tasks.enqueue_import(str(job.job_id))
    return redirect("admin:import", job_id=job.job_id)


@csrf_exempt
def upload(request: HttpRequest) -> HttpResponseBase:
    """Take a file in. Its size is looked at before a byte of it is read, the form's token too."""
    if request.method == "POST":
        try:
            # What a form adds around its files is little.
            imports.refuse_too_large(int(request.headers.get("content-length") or 0) - 10_000)
        except UploadRefused as error:
            return render(request, "400.html", {"reason": str(error)}, status=413)
    answer: HttpResponseBase = _upload(request)
    return answer


@page(needs=Right.SEE_JOBS)
def story(request: HttpRequest, job_id: str) -> HttpResponseBase:
    """One upload: how far it is, what was found, what came of each run."""
    told = imports.describe_upload(job_id)
    return render(
        request, "admin/import.html", {"title": told.name, "job": told, "now": timezone.now()}
    )


@act(needs=Right.IMPORT_FILES)
def cancel(request: HttpRequest, job_id: str) -> HttpResponseBase:
    """Stop it."""
    try:
        imports.cancel(job_id=job_id)
    except IllegalTransition as error:
        messages.info(request, f"The {error}.")
    return redirect("admin:import", job_id=job_id)


@act(needs=Right.IMPORT_FILES)
def again(request: HttpRequest, job_id: str) -> HttpResponseBase:
    """Try it once more."""
    try:
        with transaction.atomic():
            imports.again(job_id=job_id)
            tasks.enqueue_import(job_id)
            access.record(
                action=AccessAction.FILE_IMPORTED,
                user_id=request.user.pk,
                object_id=job_id,
                at=timezone.now(),
            )
    except IllegalTransition as error:
        messages.info(request, f"The {error}.")
    return redirect("admin:import", job_id=job_id)


urls = [
    path("imports/", uploads, name="imports"),
    path("imports/upload/", upload, name="upload"),
    path("imports/<slug:job_id>/", story, name="import"),
    path("imports/<slug:job_id>/cancel/", cancel, name="cancel-import"),
    path("imports/<slug:job_id>/again/", again, name="import-again"),
]
