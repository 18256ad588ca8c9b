"""Exports: the list, the page of one, and what can be done with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db import transaction
from django.http import Http404
from django.shortcuts import redirect, render
from django.utils import timezone

from audit import access, exports, tasks
from audit.errors import IllegalTransition
from audit.views.answers import Piece, run_url
from audit.views.doors import act, keep, page, text
from audit.vocabulary import AccessAction, ExportJobStatus, ExportStep, Right

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase

    from audit.exports import ExportLine

FORMATS = ("jsonl", "both")


@page("after")
def exports_page(request: HttpRequest) -> HttpResponse:
    """Exports, newest first: one's own, or everybody's for those who may see them."""
    seen_by = access.sees_exports_of(request.user)
    after = text(request, "after")
    found = exports.list_exports(seen_by=seen_by, at=timezone.now(), after=after)
    context = {
        "section": "exports",
        "page": found,
        "everybody": seen_by is None,
        "older": f"?{urlencode({'after': found.next_after})}" if found.next_after else None,
        "after": after,
        "now": timezone.now(),
    }
    return render(request, "audit/exports.html", context)


@page()
def export(request: HttpRequest, export_id: str) -> HttpResponse:
    """One export: how far it is, what it holds, where to get it."""
    line = _seen(request, export_id)
    context = {
        "section": "exports",
        "export": line,
        "answer": _answer(line),
        "types": exports.progress_by_type(line) if line.records_total is not None else (),
        "steps": _steps(line),
        "now": timezone.now(),
    }
    return render(request, "audit/export.html", context)


@act("format", "payloads", needs=Right.REQUEST_EXPORT, does=AccessAction.EXPORT_REQUESTED)
def request_export(request: HttpRequest, run_id: str) -> HttpResponse:
    """Ask for an export of a run."""
    with_payloads = bool(request.POST.get("payloads"))
    person = access.exporter(request.user, with_payloads=with_payloads)
    kind = request.POST.get("format") or FORMATS[0]
    if kind not in FORMATS:
        raise BadRequest(f"“format” may be {', '.join(FORMATS)}; it is “{kind}”.")
    return _ordered(
        request,
        run_id=run_id,
        requested_by=person,
        with_csv=kind == "both",
        with_payloads=with_payloads,
    )


@act(does=AccessAction.EXPORT_REQUESTED)
def again(request: HttpRequest, export_id: str) -> HttpResponse:
    """Ask for the same once more, after a failure or when the file has expired."""
    line = _seen(request, export_id)
    return _ordered(
        request,
        run_id=line.run_id,
        requested_by=access.exporter(request.user, with_payloads=line.with_payloads),
        with_csv=line.with_csv,
        with_payloads=line.with_payloads,
    )


@act(does=AccessAction.EXPORT_CANCELLED)
def cancel(request: HttpRequest, export_id: str) -> HttpResponse:
    """Stop it."""
    line = _seen(request, export_id)
    try:
        with transaction.atomic():
            exports.cancel(export_id=line.export_id)
            # Last: the whole log is held until the transaction ends.
            keep(
                request,
                AccessAction.EXPORT_CANCELLED,
                kind="export",
                run_id=line.run_id,
                object_id=line.export_id,
            )
    except IllegalTransition as error:
        messages.info(request, f"The {error}.")
    return redirect("audit:export", export_id=line.export_id)


@page(kept=False)
def download(request: HttpRequest, export_id: str) -> HttpResponseBase:
    """The file, whole or a part of it; who got it is kept before it is given."""
    # First of all: whether it is there is not told to those who may not have it.
    access.exporter(request.user)
    line = _seen(request, export_id)
    access.exporter(request.user, with_payloads=line.with_payloads)
    if line.status == ExportJobStatus.EXPIRED:
        return render(request, "audit/export_gone.html", {"export": line}, status=410)

    def kept() -> None:
        keep(
            request,
            AccessAction.EXPORT_DOWNLOADED,
            kind="export",
            run_id=line.run_id,
            object_id=line.export_id,
            size_bytes=line.file_bytes,
        )

    try:
        return exports.send(request, line=line, keep=kept)
    except FileNotFoundError as error:
        raise Http404(str(error)) from error


def _ordered(request: HttpRequest, *, run_id: str, **asked: Any) -> HttpResponse:
    """Have an export made and keep who asked, both or neither."""
    with transaction.atomic():
        job = exports.open_job(run_id=run_id, at=timezone.now(), **asked)
        tasks.enqueue_export(str(job.export_id))
        # Last: the whole log is held until the transaction ends.
        keep(
            request,
            AccessAction.EXPORT_REQUESTED,
            kind="export",
            run_id=run_id,
            object_id=str(job.export_id),
        )
    return redirect("audit:export", export_id=job.export_id)


def _seen(request: HttpRequest, export_id: str) -> ExportLine:
    seen_by = access.sees_exports_of(request.user)
    return exports.describe_export(export_id=export_id, seen_by=seen_by, at=timezone.now())


def _answer(line: ExportLine) -> tuple[Piece, ...]:
    """How it stands, in a sentence or two."""
    run = Piece(text="the run", href=run_url(line.run_id))
    of = "an unknown number of" if line.records_total is None else f"{line.records_total:,}"
    stop = Piece(text=" You can close this page, the export goes on.")
    match line.status:
        case ExportJobStatus.REQUESTED:
            said = [Piece(text="This export of "), run, Piece(text=" waits for a worker."), stop]
        case ExportJobStatus.RUNNING if line.records_total is not None:
            left = _left(line.remaining)
            sealing = line.step == ExportStep.SEALING
            said = [Piece(text=f"{line.records_done:,} of {of} records of "), run]
            said += [Piece(text=f" are {'sealed' if sealing else 'written'}.{left}")]
            said += [Piece(text=" Then they are written.")] if sealing else []
            said += [stop]
        case ExportJobStatus.RUNNING:
            said = [Piece(text="The records of "), run, Piece(text=" are sealed first."), stop]
        case ExportJobStatus.PUBLISHING:
            said = [Piece(text=f"All {of} records of "), run]
            said += [Piece(text=" are written; the file is put in its place.")]
        case ExportJobStatus.WAITING:
            said = [Piece(text=f"Attempt {line.attempt} came to nothing and is made again: ")]
            said += [Piece(text=str(line.error_text))]
        case ExportJobStatus.SUCCEEDED:
            said = [Piece(text=f"{of} records of "), run, Piece(text=" are in the file")]
            said += [Piece(text=", signed; anyone can check it without us.")]
        case ExportJobStatus.FAILED:
            said = [Piece(text=f"No file was made after {line.attempt} of 5 attempts: ")]
            said += [Piece(text=str(line.error_text))]
        case ExportJobStatus.EXPIRED:
            said = [Piece(text="The file was kept for its time and is removed. ")]
            said += [Piece(text="The seal is not: ask again and get the same records.")]
        case _:
            words = "is being stopped" if line.is_live else "was stopped before there was a file"
            said = [Piece(text="This export of "), run, Piece(text=f" {words}.")]
    if line.provisional:
        said.append(Piece(text=" PROVISIONAL: the run had not ended. It is not the final record."))
    return tuple(said)


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f" About {seconds:,.0f} s remain." if seconds >= 1 else " Less than a second remains."


def _steps(line: ExportLine) -> list[tuple[str, str]]:
    """Each step, and whether it is done, current or to come."""
    names = {
        ExportStep.SEALING: "Find the seal, or seal",
        ExportStep.WRITING: "Write and check",
        ExportStep.PACKING: "Add payloads and sheets, sign",
        ExportStep.PUBLISHING: "Publish, whole or not at all",
    }
    order = list(names)
    made = line.status in {ExportJobStatus.SUCCEEDED, ExportJobStatus.EXPIRED}
    here = order.index(ExportStep(line.step))
    held = line.status in {ExportJobStatus.RUNNING, ExportJobStatus.PUBLISHING}
    return [
        (
            words,
            "done"
            if made or (held and place < here)
            else ("current" if held and place == here else "to come"),
        )
        for place, words in enumerate(names.values())
    ]
