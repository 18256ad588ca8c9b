"""The batches of a run, and the page of one."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from audit import lineage
from audit.views.answers import Piece, link, plural, said
from audit.views.doors import page, text, whole
from audit.views.keys import below
from audit.vocabulary import BatchStatus

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

_NAME_TOLD = 40

_ENDED = {
    BatchStatus.DRAFT: "still waits for its trigger",
    BatchStatus.EXECUTING: "fired and is being worked on",
    BatchStatus.COMPLETED: "fired and was completed",
    BatchStatus.FAILED: "failed",
}
_ABANDONED = {
    BatchStatus.DRAFT: "was abandoned: the run ended before a trigger fired",
    BatchStatus.EXECUTING: "was abandoned: it fired, and the run ended before it was over",
}


@page("after", reveals=True)
def batches(request: HttpRequest, run_id: str) -> HttpResponse:
    """A hundred batches of a run, in the order of time."""
    after = text(request, "after")
    found = lineage.list_batches(run_id=run_id, after=after)
    here = reverse("audit:batches", kwargs={"run_id": run_id})
    context = {
        "page": found,
        "run": found.run,
        "lines": [(below(here, line.batch.batch_id), line) for line in found.lines],
        "after": after,
        "next": f"?{urlencode({'after': found.next_after})}" if found.next_after else None,
        "now": timezone.now(),
    }
    return render(request, "audit/batches.html", context)


@page("after", reveals=True)
def batch(request: HttpRequest, run_id: str, batch_id: str) -> HttpResponse:
    """One batch: its members in order, what made it fire, what came out."""
    after = whole(request, "after", what="the place of a member")
    story = lineage.explain_batch(run_id=run_id, batch_id=batch_id, after=after)
    last = story.next_after
    context = {
        "story": story,
        "run": story.run,
        "line": story.line,
        "batch": story.line.batch,
        "answer": _about(story),
        "after": after,
        "outputs_shown": len(story.tokens_out) + len(story.artifacts_out),
        "next": f"?{urlencode({'after': last})}" if last is not None else None,
        "seal": lineage.read_record_seal(run_id=run_id, record_type="batch", key=batch_id),
        "now": timezone.now(),
    }
    return render(request, "audit/batch.html", context)


def _about(story: lineage.BatchStory) -> tuple[Piece, ...]:
    line, status = story.line, BatchStatus(story.line.batch.status)
    name = " ".join(line.node.name.split())[:_NAME_TOLD]
    deed = (_ABANDONED if line.abandoned else _ENDED)[status]
    pieces = [
        said("A batch of "),
        link(plural(line.members, "token"), "#members"),
        said(f" at {name} {deed}"),
    ]
    if line.outputs:
        pieces += [said("; it put out "), link(plural(line.outputs, "record"), "#outputs")]
    if line.retried_by is not None:
        again = reverse("audit:batch", args=[story.run.run_id, line.retried_by])
        pieces += [said("; it was "), link("tried again", again)]
    return (*pieces, said("."))
