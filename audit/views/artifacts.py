"""What the sinks of a run put out, and the page of one artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from audit import lineage
from audit.views.answers import Piece, link, listed, plural, said
from audit.views.doors import page, text, whole
from audit.views.keys import below

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

_NAME_TOLD = 40


@page("after")
def artifacts(request: HttpRequest, run_id: str) -> HttpResponse:
    """A hundred artifacts of a run, in the order of time."""
    after = text(request, "after")
    found = lineage.list_artifacts(run_id=run_id, after=after)
    here = reverse("audit:artifacts", kwargs={"run_id": run_id})
    context = {
        "page": found,
        "run": found.run,
        "lines": [(below(here, line.artifact.artifact_id), line) for line in found.lines],
        "after": after,
        "next": f"?{urlencode({'after': found.next_after})}" if found.next_after else None,
        "now": timezone.now(),
    }
    return render(request, "audit/artifacts.html", context)


@page("after")
def artifact(request: HttpRequest, run_id: str, artifact_id: str) -> HttpResponse:
    """One artifact: what was written, in which visit, and the tokens it was made from."""
    after = whole(request, "after", what="the place of a member")
    story = lineage.explain_artifact(run_id=run_id, artifact_id=artifact_id, after=after)
    last = story.next_after
    journeys = reverse("audit:journeys", kwargs={"run_id": run_id})
    context = {
        "story": story,
        "run": story.run,
        "artifact": story.artifact,
        "answer": _about(story),
        "after": after,
        "paths": f"{journeys}?{urlencode({'node': story.sink.node_id})}",
        "next": f"?{urlencode({'after': last})}" if last is not None else None,
        "seal": lineage.read_record_seal(run_id=run_id, record_type="artifact", key=artifact_id),
        "now": timezone.now(),
    }
    return render(request, "audit/artifact.html", context)


def _about(story: lineage.ArtifactStory) -> tuple[Piece, ...]:
    run_id = story.run.run_id
    visit = reverse("audit:visit", args=[run_id, story.written_in.state_id])
    name = " ".join(story.sink.name.split())[:_NAME_TOLD]
    start = [said("Written by "), link(f"{name} in this visit", visit)]
    if not story.members_total:
        return (*start, said("; no record says which tokens are in it."))
    pieces = [
        *start,
        said(", made from "),
        link(plural(story.members_total, "token"), "#made-from"),
        said(f" of {plural(story.rows, 'row')}: "),
    ]
    told = [(story.recorded, "recorded"), (story.inferred, "inferred")]
    pieces += listed(said(f"{many:,} {word}") for many, word in told if many)
    behind = sum(bool(member.hops) for member in story.members)
    if behind:
        noun = "token" if behind == 1 else "tokens"
        pieces.append(said(f"; batches stand behind {behind:,} {noun} of those shown"))
    return (*pieces, said("."))
