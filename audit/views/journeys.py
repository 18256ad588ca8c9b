"""The page of the distinct paths that rows of a run took."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from audit import lineage
from audit.summaries.facts import STANDINGS
from audit.views import answers
from audit.views.doors import choice, page, text
from audit.vocabulary import Outcome

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

# Tokens of a path may end without a verdict.
OUTCOMES = (*Outcome.values, lineage.NO_OUTCOME)


@page("order", "node", "outcome", "ended", "retried", "after")
def journeys(request: HttpRequest, run_id: str) -> HttpResponse:
    """Fifty journeys, filtered and ordered as the address says."""
    outcome = choice(request, "outcome", OUTCOMES)
    retried = choice(request, "retried", ("yes", "no"))
    asked = lineage.JourneyFilter(
        order=choice(request, "order", lineage.ORDERS) or lineage.ORDERS[0],
        node=text(request, "node"),
        outcome="" if outcome == lineage.NO_OUTCOME else outcome,
        standing=choice(request, "ended", STANDINGS),
        retried=None if retried is None else retried == "yes",
    )
    after = text(request, "after")
    found = lineage.list_journeys(run_id=run_id, asked=asked, after=after)
    here = reverse("audit:journeys", kwargs={"run_id": run_id})
    kept = {name: str(word) for name, word in request.GET.items() if word and name != "after"}
    context = {
        "page": found,
        "run": found.run,
        "asked": asked,
        "outcome": outcome,
        "retried": retried,
        "after": after,
        "answer": answers.about_paths(found.run),
        # An id that a form cannot hold as it is can still be written into the address.
        "nodes": [node for node in found.nodes if node.node_id.isprintable()],
        "outcomes": [(word, "" if word == lineage.NO_OUTCOME else word) for word in OUTCOMES],
        "standings": STANDINGS,
        "here": here,
        "rarest": asked.order == lineage.RAREST,
        "turned": _turned(kept, asked),
        "next": f"?{urlencode(kept | {'after': found.next_after})}" if found.next_after else None,
        "now": timezone.now(),
    }
    return render(request, "audit/journeys.html", context)


def _turned(kept: dict[str, str], asked: lineage.JourneyFilter) -> str:
    """The same question from the other end."""
    other = {} if asked.order == lineage.RAREST else {"order": lineage.RAREST}
    rest = {name: word for name, word in kept.items() if name != "order"}
    return f"?{urlencode(rest | other)}"
