"""The page of one visit, and the page of one call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.shortcuts import render
from django.utils import timezone

from audit import lineage
from audit.views.answers import Piece, token_url
from audit.views.doors import page
from audit.vocabulary import CallType, NodeStateStatus

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

_ENDED = {
    NodeStateStatus.OPEN: "began and has no end on record",
    NodeStateStatus.PENDING: "waits for an answer",
    NodeStateStatus.COMPLETED: "completed",
    NodeStateStatus.FAILED: "failed",
    NodeStateStatus.REJECTED: "was rejected",
}

_KINDS = {
    CallType.LLM: "a model",
    CallType.HTTP: "an HTTP",
    CallType.SQL: "an SQL",
    CallType.FILESYSTEM: "a file system",
    CallType.HTTP_REDIRECT: "a redirected HTTP",
}


@page(reveals=True)
def visit(request: HttpRequest, run_id: str, state_id: str) -> HttpResponse:
    """One visit: how it went and why, what was called, and what stands before and behind it."""
    story = lineage.explain_visit(run_id=run_id, state_id=state_id)
    context = {
        "story": story,
        "run": story.run,
        "row": story.row,
        "state": story.state,
        "answer": _about_visit(story),
        "here": f"visit to {_brief(story.node.name, 40)}",
        "seal": lineage.read_record_seal(run_id=run_id, record_type="node_state", key=state_id),
        "now": timezone.now(),
    }
    return render(request, "audit/visit.html", context)


@page(reveals=True)
def call(request: HttpRequest, run_id: str, call_id: str) -> HttpResponse:
    """One call: what was asked and what came back, as plain text."""
    story = lineage.explain_call(run_id=run_id, call_id=call_id)
    context = {
        "story": story,
        "run": story.run,
        "row": story.row,
        "call": story.call,
        "bodies": (("Request", story.request), ("Response", story.response)),
        "answer": _about_call(story),
        "here": f"call {story.call.call_index}",
        "seal": lineage.read_record_seal(run_id=run_id, record_type="call", key=call_id),
        "now": timezone.now(),
    }
    return render(request, "audit/call.html", context)


def _about_visit(story: lineage.VisitStory) -> tuple[Piece, ...]:
    state = story.state
    row = Piece(text=f"row {story.row.row_index:,}", href=token_url(state.run_id, state.token_id))
    place = f" of {story.attempts_total:,}" if story.attempts_total > 1 else ""
    pieces = [
        Piece(text=f"Attempt {story.attempt:,}{place} of "),
        row,
        Piece(text=f" at {_brief(story.node.name, 40)} {_ENDED[NodeStateStatus(state.status)]}"),
    ]
    if story.error_text is not None:
        pieces.append(Piece(text=": "))
        pieces.append(Piece(text=_brief(story.error_text.headline, 160), href="#error"))
    for place_of, route in enumerate(story.routes):
        pieces.append(Piece(text=", and sent it to " if not place_of else ", "))
        pieces.append(Piece(text=_brief(route.node.name, 40), href="#routes"))
    return (*pieces, Piece(text="."))


def _about_call(story: lineage.CallStory) -> tuple[Piece, ...]:
    call_ = story.call
    kind = _KINDS.get(CallType(call_.call_type), f"a {call_.call_type}")
    pieces = [Piece(text=f"{_brief(story.node.name, 40)} made {kind} call")]
    if story.row is not None and story.state is not None:
        href = token_url(call_.run_id, story.state.token_id)
        pieces.append(Piece(text=" for "))
        pieces.append(Piece(text=f"row {story.row.row_index:,}", href=href))
    ended = "it was answered" if call_.status == "success" else "it failed"
    pieces.append(Piece(text=f"; {ended}"))
    if story.error_text is not None:
        pieces.append(Piece(text=": "))
        pieces.append(Piece(text=_brief(story.error_text.headline, 160), href="#error"))
    return (*pieces, Piece(text="."))


def _brief(text: str, limit: int) -> str:
    """A name or a headline for a sentence: on one line, and no longer than that."""
    words = " ".join(text[: 2 * limit].split())
    return words[:limit] + ("…" if len(words) > limit or len(text) > 2 * limit else "")
