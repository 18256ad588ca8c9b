"""Visits of a token to nodes: attempts, hashes, where it was sent, what was called."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.lineage.bodies import read_errors
from audit.lineage.excerpts import ERROR_LIMIT, Excerpt, excerpt, reading
from audit.lineage.nodes import NodeFacts, read_nodes
from audit.lineage.payload_words import payload_words
from audit.models import Call, NodeState, RoutingEvent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from django.db.models import QuerySet

    from audit.models import Token

VISITS_SHOWN = 500
ROUTES_SHOWN = 1000
CALLS_SHOWN = 500

# A call that failed has no answer to keep.
NO_ANSWER = "none_recorded"

# Marks of a hash: which earlier hash it equals. A difference is told too.
SAME_AS_SOURCE = "same as source row"
SAME_AS_ATTEMPT = "same as attempt before"
SAME_AS_OUTPUT = "same as previous output"
SAME_AS_INPUT = "same as input"
CHANGED = "changed"
OTHER_THAN_OUTPUT = "differs from previous output"


@dataclass(frozen=True, kw_only=True)
class RouteFacts:
    """One edge that a gate chose, and the node it leads to."""

    label: str
    mode: str
    node: NodeFacts


@dataclass(frozen=True, kw_only=True)
class CallFacts:
    """One external call; `request` and `response` are words for the state of their bytes."""

    call_id: str
    index: int
    call_type: str
    status: str
    latency_ms: float | None
    request_hash: str
    request: str
    response_hash: str | None
    response: str
    error: Excerpt | None


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One attempt at one node; `attempt` of `attempts` counts from one, as people do."""

    state_id: str
    step: int
    attempt: int
    attempts: int
    node: NodeFacts
    status: str
    started_at: datetime
    completed_at: datetime | None
    duration_ms: float | None
    input_hash: str
    input_mark: str | None
    output_hash: str | None
    output_mark: str | None
    error: Excerpt | None
    routes: tuple[RouteFacts, ...]
    calls: tuple[CallFacts, ...]


@dataclass(frozen=True, kw_only=True)
class Visits:
    """The first five hundred visits of a token in the order of its steps, and how many it made."""

    shown: tuple[Visit, ...]
    total: int
    calls_total: int


def read_visits(*, token: Token) -> Visits:
    """Every visit of a loaded token with its routes and calls, in nine queries."""
    of_it = {"run_id": token.run_id, "token_id": token.token_id}
    by_way = {"run_id": token.run_id, "state__token_id": token.token_id}
    states = list(
        NodeState.objects.filter(**of_it)
        .defer("context_before_json", "context_after_json", "error_json")
        .annotate(**reading("error_json", limit=ERROR_LIMIT))
        .order_by("step_index", "attempt", "state_id")[:VISITS_SHOWN]
    )
    calls = Call.objects.filter(**by_way)
    events = list(
        RoutingEvent.objects.filter(**by_way)
        .select_related("edge")
        .order_by("created_at", "routing_group_id", "ordinal")[:ROUTES_SHOWN]
    )
    reached = {state.node_id for state in states} | {event.edge.to_node_id for event in events}
    nodes = read_nodes(token.run_id, reached)
    routed, called = _routes(events, nodes), _calls(calls)
    attempts: dict[tuple[str, int], int] = {}
    for state in states:
        place = (state.node_id, state.step_index)
        attempts[place] = max(attempts.get(place, 0), state.attempt + 1)
    marks = _input_marks(states, source_hash=token.row.source_data_hash)
    kept = read_errors(refs=(state.error_ref for state in states))
    shown = tuple(
        Visit(
            state_id=state.state_id,
            step=state.step_index,
            attempt=state.attempt + 1,
            attempts=attempts[state.node_id, state.step_index],
            node=nodes[state.node_id],
            status=state.status,
            started_at=state.started_at,
            completed_at=state.completed_at,
            duration_ms=state.duration_ms,
            input_hash=state.input_hash,
            input_mark=mark,
            output_hash=state.output_hash,
            output_mark=_output_mark(state),
            error=excerpt(state, "error_json") or kept.get(state.error_ref),
            routes=tuple(routed[state.state_id]),
            calls=tuple(called[state.state_id]),
        )
        for state, mark in zip(states, marks, strict=True)
    )
    return Visits(
        shown=shown, total=NodeState.objects.filter(**of_it).count(), calls_total=calls.count()
    )


def _output_mark(state: NodeState) -> str | None:
    if state.output_hash is None:
        return None
    return SAME_AS_INPUT if state.output_hash == state.input_hash else CHANGED


def _input_marks(states: Sequence[NodeState], *, source_hash: str) -> list[str | None]:
    marks: list[str | None] = []
    before: NodeState | None = None
    output: str | None = None
    for state in states:
        if before and (state.node_id, state.step_index) == (before.node_id, before.step_index):
            mark = SAME_AS_ATTEMPT if state.input_hash == before.input_hash else None
        elif output is not None:
            mark = SAME_AS_OUTPUT if state.input_hash == output else OTHER_THAN_OUTPUT
        else:
            mark = SAME_AS_SOURCE if state.input_hash == source_hash else None
        marks.append(mark)
        before, output = state, state.output_hash or output
    return marks


def _routes(
    events: Sequence[RoutingEvent], nodes: Mapping[str, NodeFacts]
) -> dict[str, list[RouteFacts]]:
    routed: dict[str, list[RouteFacts]] = defaultdict(list)
    for event in events:
        edge = event.edge
        routed[event.state_id].append(
            RouteFacts(label=edge.label, mode=event.mode, node=nodes[edge.to_node_id])
        )
    return routed


def _calls(calls: QuerySet[Call]) -> dict[str, list[CallFacts]]:
    page = list(
        calls.defer("error_json")
        .annotate(**reading("error_json", limit=ERROR_LIMIT))
        .order_by("created_at", "state_id", "call_index")[:CALLS_SHOWN]
    )
    words = payload_words(ref for call in page for ref in (call.request_ref, call.response_ref))
    kept = read_errors(refs=(call.error_ref for call in page))
    made: dict[str, list[CallFacts]] = defaultdict(list)
    for call in page:
        made[str(call.state_id)].append(
            CallFacts(
                call_id=call.call_id,
                index=call.call_index,
                call_type=call.call_type,
                status=call.status,
                latency_ms=call.latency_ms,
                request_hash=call.request_hash,
                request=words[call.request_ref],
                response_hash=call.response_hash,
                response=words[call.response_ref] if call.response_hash else NO_ANSWER,
                error=excerpt(call, "error_json") or kept.get(call.error_ref),
            )
        )
    return made
