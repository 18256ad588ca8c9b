"""The rows of a run, and the page of one."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.core.exceptions import BadRequest
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from audit import lineage
from audit.errors import NotRecorded
from audit.views import answers, endings
from audit.views.doors import choice, page, text, whole
from audit.views.keys import below
from audit.vocabulary import Outcome

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

OUTCOMES = (*Outcome.values, lineage.NO_OUTCOME)
TIMELINE = "timeline"
PARTS = (TIMELINE,)


@page("after", "outcome")
def rows(request: HttpRequest, run_id: str) -> HttpResponse:
    """A hundred rows of a run, after the index that the address names."""
    outcome = choice(request, "outcome", OUTCOMES)
    after = whole(request, "after", what="the index of a row")
    found = lineage.list_rows(run_id=run_id, after=after, outcome=outcome)
    here = reverse("audit:rows", kwargs={"run_id": run_id})
    context = {
        "page": found,
        "run": found.run,
        "lines": [(below(here, line.row_id), line) for line in found.lines],
        "after": after,
        "outcome": outcome,
        "outcome_phrase": answers.deed_of("" if outcome == lineage.NO_OUTCOME else outcome or ""),
        "first_index": found.lines[0].row_index if found.lines else None,
        "last_index": found.lines[-1].row_index if found.lines else None,
        "outcomes": [(word, "" if word == lineage.NO_OUTCOME else word) for word in OUTCOMES],
        "next": _next(found.next_after, outcome),
        "now": timezone.now(),
    }
    return render(request, "audit/rows.html", context)


@page("after", "part", "token", reveals=True)
def row(request: HttpRequest, run_id: str, row_id: str) -> HttpResponse:
    """One row: what the source delivered, and the tokens that travelled for it."""
    if choice(request, "part", PARTS) == TIMELINE:
        return _timeline(request, run_id, row_id)
    if text(request, "token") is not None:
        raise BadRequest("“token” belongs to the timeline; add part=timeline.")
    after = text(request, "after")
    story = lineage.explain_row(run_id=run_id, row_id=row_id, after=after)
    closure = lineage.gather_row(run_id=run_id, row_id=row_id, run=story.run)
    context = {
        "story": story,
        "closure": closure,
        "reached": lineage.read_reached(closure=closure),
        "run": story.run,
        "row": story.row,
        "after": after,
        "answer": endings.about_row(story, _ending(story)),
        "here": f"row {story.row.row_index:,}",
        "next": f"?{urlencode({'after': story.next_after})}" if story.next_after else None,
        "seal": lineage.read_record_seal(
            run_id=run_id, record_type="row", key=f"{story.row.row_index}/{row_id}"
        ),
        "now": timezone.now(),
    }
    return render(request, "audit/row.html", context)


def _timeline(request: HttpRequest, run_id: str, row_id: str) -> HttpResponse:
    """Two hundred events of a row and of all that came of it, or of one of these tokens."""
    asked, only = text(request, "after"), text(request, "token")
    after = None
    if asked is not None:
        try:
            after = lineage.place_of(asked)
        except ValueError as error:
            raise BadRequest(f"“after” is where a page ended; it is “{asked[:40]}”.") from error
    if only is None:
        closure = lineage.gather_row(run_id=run_id, row_id=row_id)
    else:
        closure = lineage.gather_closure(run_id=run_id, token_id=only)
        if row_id not in closure.row_ids:
            raise NotRecorded("token of this row", only)
    told = lineage.read_timeline(
        run_id=run_id,
        tokens=closure.tokens if only is None else [only],
        rows=[row_id] if only is None else [],
        after=after,
    )
    routed = [event.state_id for event in told.events if event.place.kind == "route"]
    choices = lineage.read_choices(run_id=run_id, states=list(dict.fromkeys(filter(None, routed))))
    because = {choice.state_id: choice for choice in choices.told}
    kept = {"part": TIMELINE} | ({"token": only} if only is not None else {})
    context = {
        "run": closure.run,
        "row_id": row_id,
        "closure": closure,
        "only": only,
        "lines": [
            (
                event,
                closure.nodes.get(event.node_id or ""),
                because.pop(event.state_id or "", None) if event.place.kind == "route" else None,
            )
            for event in told.events
        ],
        "limits": (*closure.limits, *choices.limits),
        "first": f"?{urlencode(kept)}" if after else None,
        "next": f"?{urlencode(kept | {'after': told.next_after})}" if told.next_after else None,
        "here": "timeline",
        "now": timezone.now(),
    }
    return render(request, "audit/timeline.html", context)


def _ending(story: lineage.RowStory) -> lineage.Ending | None:
    """How the one token of a row ended; of several no sentence can tell."""
    if story.tokens_total != 1 or not story.tokens:
        return None
    return lineage.tell_ending(run_id=story.run.run_id, token_id=story.tokens[0].token_id)


def _next(after: int | None, outcome: str | None) -> str | None:
    if after is None:
        return None
    kept = {"outcome": outcome} if outcome else {}
    return "?" + urlencode({**kept, "after": after})
