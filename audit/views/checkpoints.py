"""The page of a run's checkpoints and of what happened to it as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.shortcuts import render
from django.utils import timezone

from audit import lineage
from audit.views.answers import Piece, link, plural, said
from audit.views.doors import page, text

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@page("after", reveals=True)
def checkpoints(request: HttpRequest, run_id: str) -> HttpResponse:
    """A hundred checkpoints of a run in order, and its events."""
    after = text(request, "after")
    found = lineage.explain_recovery(run_id=run_id, after=after)
    context = {
        "page": found,
        "run": found.run,
        "answer": _about(found),
        "after": after,
        "next": f"?{urlencode({'after': found.next_after})}" if found.next_after else None,
        "now": timezone.now(),
    }
    return render(request, "audit/checkpoints.html", context)


def _about(found: lineage.RecoveryPage) -> tuple[Piece, ...]:
    again = {0: "was not resumed", 1: "was resumed once"}.get(
        found.resumed, f"was resumed {found.resumed:,} times"
    )
    if not found.total:
        start = "No checkpoints: this run cannot be resumed from a mark of its own; it "
    elif found.released == found.total:
        start = "All checkpoints were released, so nobody resumes from them; the run "
    else:
        start = ""
    if start:
        return (said(start), link(again, "#events"), said("."))
    marks = link(plural(found.total, "checkpoint"), "#checkpoints")
    released = f", {found.released:,} of them released" if found.released else ""
    return (
        said("The run left "),
        marks,
        said(f"{released}; it "),
        link(again, "#events"),
        said("."),
    )
