"""The rows of a run, and the page of one."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from audit import lineage
from audit.views import answers, endings
from audit.views.doors import choice, page, text, whole
from audit.views.keys import below
from audit.vocabulary import Outcome

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

OUTCOMES = (*Outcome.values, lineage.NO_OUTCOME)


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


@page("after")
def row(request: HttpRequest, run_id: str, row_id: str) -> HttpResponse:
    """One row: what the source delivered, and the tokens that travelled for it."""
    after = text(request, "after")
    story = lineage.explain_row(run_id=run_id, row_id=row_id, after=after)
    context = {
        "story": story,
        "run": story.run,
        "row": story.row,
        "after": after,
        "answer": endings.about_row(story, _ending(story)),
        "here": f"row {story.row.row_index:,}",
        "next": f"?{urlencode({'after': story.next_after})}" if story.next_after else None,
        "now": timezone.now(),
    }
    return render(request, "audit/row.html", context)


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
