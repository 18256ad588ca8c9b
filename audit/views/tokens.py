"""The page of one token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.shortcuts import render
from django.utils import timezone

from audit import lineage
from audit.views import endings
from audit.views.doors import page
from audit.views.lineage_query import PARAMETERS, read_query
from audit.views.sheets import lay_out

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@page(*PARAMETERS)
def token(request: HttpRequest, run_id: str, token_id: str) -> HttpResponse:
    """One token: its lineage as lanes, the visit that is picked, and all that is on record."""
    query = read_query(request)
    story = lineage.explain_token(run_id=run_id, token_id=token_id)
    closure = lineage.gather_closure(
        run_id=run_id, token_id=token_id, open_groups=frozenset(query.opened)
    )
    lanes = lineage.lay_lanes(closure, view=query.view)
    context = {
        "story": story,
        "run": story.run,
        "row": story.row,
        "token": story.token,
        "answer": endings.about_token(lineage.tell_ending(run_id=run_id, token_id=token_id)),
        "here": f"token {token_id[:12]}",
        "calls_shown": sum(len(visit.calls) for visit in story.visits),
        "now": timezone.now(),
        "closure": closure,
        "lanes": lanes,
        "query": query,
        "sheet": lay_out(lanes, page=query.page),
        "reasons": lineage.read_headlines(run_id=run_id, lanes=lanes),
        "picked": lineage.pick_visit(run_id=run_id, state_id=query.visit) if query.visit else None,
        "lineage_keys": True,
    }
    return render(request, "audit/token.html", context)
