"""Visits of a token to nodes: attempts, hashes, where it was sent, what was called."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Subquery

from audit.lineage.excerpts import ERROR_LIMIT, Excerpt, excerpt, reading
from audit.models import Call, NodeState, RoutingEvent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from django.db.models import QuerySet

    from audit.lineage.nodes import NodeFacts
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


def how_many(records: QuerySet[Any], column: str) -> Subquery:
    """An annotation that counts the records of one run, once, whatever it stands beside."""
    return Subquery(records.order_by().values("run_id").annotate(n=Count(column)).values("n"))


@dataclass(frozen=True, kw_only=True)
class VisitRecords:
    """The records of the visits of a token, as far as a page shows them.

    They name `nodes`, contents of which a `word` is told, and errors that may be kept as payloads.
    """

    states: Sequence[Any]
    events: Sequence[RoutingEvent]
    calls: Sequence[Any]

    @property
    def nodes(self) -> set[str]:
        return {state.node_id for state in self.states} | {
            event.edge.to_node_id for event in self.events
        }

    @property
    def words(self) -> set[str | None]:
        return {ref for call in self.calls for ref in (call.request_ref, call.response_ref)}

    @property
    def errors(self) -> tuple[list[str | None], list[str | None]]:
        return [state.error_ref for state in self.states], [call.error_ref for call in self.calls]


def read_visits(*, token: Token) -> VisitRecords:
    """The visits of a loaded token with their routes and calls, in three queries."""
    of_it = {"run_id": token.run_id, "token_id": token.token_id}
    by_way = {"run_id": token.run_id, "state__token_id": token.token_id}
    states = list(
        NodeState.objects.filter(**of_it)
        .annotate(total=how_many(NodeState.objects.filter(**of_it), "state_id"))
        .defer("context_before_json", "context_after_json", "error_json")
        .annotate(**reading("error_json", limit=ERROR_LIMIT))
        .order_by("step_index", "attempt", "state_id")[:VISITS_SHOWN]
    )
    events = list(
        RoutingEvent.objects.filter(**by_way)
        .select_related("edge")
        .order_by("created_at", "routing_group_id", "ordinal")[:ROUTES_SHOWN]
    )
    calls = list(
        Call.objects.filter(**by_way)
        .annotate(total=how_many(Call.objects.filter(**by_way), "call_id"))
        .defer("error_json")
        .annotate(**reading("error_json", limit=ERROR_LIMIT))
        .order_by("created_at", "state_id", "call_index")[:CALLS_SHOWN]
    )
    return VisitRecords(states=states, events=events, calls=calls)


def tell_visits(
    *,
    token: Token,
    records: VisitRecords,
    nodes: Mapping[str, NodeFacts],
    words: Mapping[str | None, str],
    kept: Mapping[str | None, Excerpt | None],
) -> Visits:
    """Put records together with the nodes and contents that they name. Costs no query."""
    states, calls = records.states, records.calls
    routed, called = _routes(records.events, nodes), _calls(calls, words, kept)
    attempts: dict[tuple[str, int], int] = {}
    for state in states:
        place = (state.node_id, state.step_index)
        attempts[place] = max(attempts.get(place, 0), state.attempt + 1)
    marks = _input_marks(states, source_hash=token.row.source_data_hash)
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
        shown=shown,
        total=states[0].total if states else 0,
        calls_total=calls[0].total if calls else 0,
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


def _calls(
    calls: Sequence[Any],
    words: Mapping[str | None, str],
    kept: Mapping[str | None, Excerpt | None],
) -> dict[str, list[CallFacts]]:
    made: dict[str, list[CallFacts]] = defaultdict(list)
    for call in calls:
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
