"""The page of one token, its lineage as a picture, and its lineage as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import timezone

from audit import lineage
from audit.views import endings
from audit.views.doors import page
from audit.views.lineage_query import PARAMETERS, STEP, TIME, LineageQuery, read_query
from audit.views.sheets import lay_out
from audit.views.timelines import lay_in_time

if TYPE_CHECKING:
    from django.http import HttpRequest


@page(*PARAMETERS, reveals=True)
def token(request: HttpRequest, run_id: str, token_id: str) -> HttpResponse:
    """One token: its lineage as lanes, the visit that is picked, and all that is on record."""
    query = read_query(request)
    story = lineage.explain_token(run_id=run_id, token_id=token_id)
    closure, lanes = _lineage(run_id, token_id, query, run=story.run)
    seal = lineage.read_record_seal(run_id=run_id, record_type="token", key=token_id)
    reached = lineage.read_reached(closure=closure)
    choices = lineage.read_choices(
        run_id=run_id, states=[visit.state_id for visit in story.visits if visit.routes]
    )
    refused, same_content = lineage.refusals_about(row=story.row)
    context = {
        "story": story,
        "run": story.run,
        "row": story.row,
        "token": story.token,
        "answer": endings.about_token(lineage.tell_ending(run_id=run_id, token_id=token_id)),
        "here": f"token {token_id[:12]}",
        "calls_shown": sum(len(visit.calls) for visit in story.visits),
        "now": timezone.now(),
        "root": seal.root,
        "address": request.build_absolute_uri(),
        "closure": closure,
        "lanes": lanes,
        "query": query,
        "sheet": lay_out(lanes, page=query.page) if query.axis == STEP else None,
        "timeline": lay_in_time(closure, lanes, fold=query.gaps) if query.axis == TIME else None,
        "reasons": lineage.read_headlines(run_id=run_id, lanes=lanes),
        "picked": lineage.explain_visit(run_id=run_id, state_id=query.visit)
        if query.visit
        else None,
        "hops": [hop for hop in closure.hops if hop.token_id == token_id],
        "reached": reached,
        "choices": [(choice, closure.nodes.get(choice.node_id)) for choice in choices.told],
        "choices_cut": choices.limits,
        "refused": refused,
        "same_content": same_content,
        "picked_hops": [hop for hop in closure.hops if hop.to_state == query.visit]
        if query.visit
        else [],
        "lineage_keys": True,
        "seal": seal,
    }
    return render(request, "audit/token.html", context)


@page(*PARAMETERS)
def lineage_svg(request: HttpRequest, run_id: str, token_id: str) -> HttpResponse:
    """The lineage as one picture: every column, the same lanes and folds as on the page."""
    query = read_query(request)
    closure, lanes = _lineage(run_id, token_id, query)
    picture = render_to_string(
        "audit/graphs/lineage.svg",
        {
            "title": f"Lineage of token {token_id}",
            "subtitle": _said_of(closure, lanes, query),
            "sheet": lay_out(lanes, columns_a_page=max(1, len(lanes.columns))),
            "run": closure.run,
            "reasons": lineage.read_headlines(run_id=run_id, lanes=lanes),
            "now": timezone.now(),
        },
    )
    response = HttpResponse(picture, content_type="image/svg+xml")
    response["Content-Disposition"] = 'inline; filename="lineage.svg"'
    return response


@page(*PARAMETERS)
def lineage_json(request: HttpRequest, run_id: str, token_id: str) -> HttpResponse:
    """The lineage as data: tokens, links, visits, batches, groups, hops, and what was cut."""
    query = read_query(request)
    closure, lanes = _lineage(run_id, token_id, query)
    return JsonResponse(lineage.lineage_data(closure, lanes=lanes))


def _lineage(
    run_id: str, token_id: str, query: LineageQuery, *, run: lineage.RunFacts | None = None
) -> tuple[lineage.Closure, lineage.Lanes]:
    closure = lineage.gather_closure(
        run_id=run_id, token_id=token_id, run=run, open_groups=frozenset(query.opened)
    )
    return closure, lineage.lay_lanes(closure, view=query.view)


def _said_of(closure: lineage.Closure, lanes: lineage.Lanes, query: LineageQuery) -> str:
    """What a picture shows, and what it leaves out."""
    parts = [
        f"run {closure.run.run_id}",
        f"{closure.tokens_total:,} tokens in {len(lanes.lanes):,} lanes",
        f"{closure.visits_total:,} visits",
        f"{lanes.folded_tokens:,} tokens folded",
    ]
    hidden = lanes.left_out_lanes + lanes.beyond_lanes
    parts.append(f"{hidden:,} lanes hidden" if hidden else "none hidden")
    if query.keep:
        parts.append({"errors": "errors only", "not_good": "completed hidden"}[query.keep])
    if query.text:
        parts.append(f"only what matches “{query.text[:60]}”")
    return " · ".join(parts)
