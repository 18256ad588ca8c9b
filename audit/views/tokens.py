"""The page of one token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.shortcuts import render
from django.utils import timezone

from audit import lineage
from audit.views import endings
from audit.views.doors import page

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@page()
def token(request: HttpRequest, run_id: str, token_id: str) -> HttpResponse:
    """One token: its visits, what was called, where it came from and how it ended."""
    story = lineage.explain_token(run_id=run_id, token_id=token_id)
    context = {
        "story": story,
        "run": story.run,
        "row": story.row,
        "token": story.token,
        "answer": endings.about_token(lineage.tell_ending(run_id=run_id, token_id=token_id)),
        "here": f"token {token_id[:12]}",
        "calls_shown": sum(len(visit.calls) for visit in story.visits),
        "now": timezone.now(),
    }
    return render(request, "audit/token.html", context)
