"""The page of what went wrong in a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.shortcuts import render
from django.utils import timezone

from audit import lineage
from audit.views.answers import Piece, link, listed, plural, said
from audit.views.doors import page

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from audit.lineage import KindOfErrors

# Heading, the noun of one record, and the table that was looked through.
_KINDS = {
    "validation": ("Refused by validation", "refused record", "validation errors"),
    "transform": ("Rejected by a transform", "rejection", "transform errors"),
    "visit": ("Failed visits", "failed visit", "visits"),
    "call": ("Failed calls", "failed call", "calls"),
    "operation": ("Failed operations", "failed operation", "operations of sources and sinks"),
}


@page(reveals=True)
def errors(request: HttpRequest, run_id: str) -> HttpResponse:
    """Errors of a run by class: kind, node and what they say."""
    found = lineage.list_errors(run_id=run_id)
    context = {
        "page": found,
        "run": found.run,
        "answer": _about(found),
        "sections": [(*_KINDS[kind.kind], kind) for kind in found.kinds if kind.records],
        "checked": [_KINDS[kind.kind][2] for kind in found.kinds],
        "cut": [_KINDS[kind.kind][2] for kind in found.kinds if kind.cut],
        "looked_through": lineage.RECORDS_READ,
        "now": timezone.now(),
    }
    return render(request, "audit/errors.html", context)


def _about(found: lineage.ErrorsPage) -> tuple[Piece, ...]:
    if not found.records:
        return (said("No errors are recorded in this run."),)
    told = [_told(kind) for kind in found.kinds if kind.records]
    return (*listed(told), said("."))


def _told(kind: KindOfErrors) -> Piece:
    noun = _KINDS[kind.kind][1]
    classes = "1 class" if kind.classes_total == 1 else f"{kind.classes_total:,} classes"
    return link(f"{plural(kind.records, noun)} of {classes}", f"#{kind.kind}")
