"""The list of runs, and the page of one."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.core.exceptions import BadRequest
from django.shortcuts import render
from django.utils import timezone

from audit import lineage
from audit.retention import standing
from audit.views import answers
from audit.views.accounts import accounts_of
from audit.views.doors import choice, day, page, text
from audit.views.graphs import HEATS, picture_of
from audit.vocabulary import FindingLevel, RunStatus

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

STATUSES = (lineage.NEEDS_A_PERSON, *RunStatus.values)


@page("status", "since", "until", "text", "after")
def runs(request: HttpRequest) -> HttpResponse:
    """Runs, newest first, filtered as the address says."""
    asked = lineage.RunFilter(
        status=choice(request, "status", STATUSES),
        since=day(request, "since"),
        until=day(request, "until"),
        text=text(request, "text"),
    )
    found = lineage.list_runs(asked=asked, after=text(request, "after"))
    context = {
        "section": "runs",
        "page": found,
        "asked": asked,
        "answer": answers.about_runs(found),
        "statuses": RunStatus.choices,
        "older": _older(request, found.next_after),
        "now": timezone.now(),
    }
    return render(request, "audit/runs.html", context)


@page("heat", "asked", reveals=True)
def run(request: HttpRequest, run_id: str) -> HttpResponse:
    """One run: what became of its rows, its nodes, what was found, where it came from."""
    story = lineage.explain_run(run_id=run_id)
    ledger = lineage.read_ledger(run_id)
    hiding = standing.hiding_of(run_id=run_id)
    heat = choice(request, "heat", HEATS) or HEATS[0]
    context = {
        "picture": picture_of(lineage.read_graph(run_id), run_id=run_id, heat=heat),
        "heats": HEATS,
        "asked_at": _instant(request, "asked"),
        "ledger": ledger,
        "accounts": accounts_of(ledger, run_id) if ledger else None,
        "so_far": None if story.line.figures else lineage.count_so_far(run_id),
        "further": lineage.count_further(run_id),
        "proof": lineage.read_proof(run_id=run_id, status=story.line.status),
        "hiding": hiding,
        "people": standing.names([hiding.hidden_by]) if hiding else {},
        "story": story,
        "run": story.line,
        "answer": answers.about_run(story, ledger),
        "paths": answers.about_paths(story.line),
        "errors": [group for group in story.findings if group.level == FindingLevel.ERROR],
        "habits": [group for group in story.findings if group.level == FindingLevel.INFO],
        "now": timezone.now(),
    }
    return render(request, "audit/run.html", context)


def _instant(request: HttpRequest, name: str) -> datetime | None:
    word = text(request, name)
    try:
        found = datetime.fromisoformat(word) if word else None
    except ValueError as error:
        raise BadRequest(f"“{name}” is an instant in ISO 8601; it is “{word}”.") from error
    if found is not None and found.tzinfo is None:
        raise BadRequest(f"“{name}” is an instant with its offset from UTC; it is “{word}”.")
    return found


def _older(request: HttpRequest, after: str | None) -> str | None:
    if after is None:
        return None
    kept = {name: value for name, value in request.GET.items() if value and name != "after"}
    return "?" + urlencode(kept | {"after": after})
