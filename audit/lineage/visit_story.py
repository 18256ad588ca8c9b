"""The story of one visit: why it went as it did, and the attempts and visits around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import OuterRef, Q, Subquery

from audit.errors import NotRecorded
from audit.lineage.absent import refuse
from audit.lineage.bodies import Body, read_words_and_bodies, unkept
from audit.lineage.excerpts import ERROR_LIMIT, Excerpt, excerpt, reading
from audit.lineage.findings import FindingLine, findings_about
from audit.lineage.nodes import NodeFacts, read_nodes
from audit.lineage.runs import RunFacts, describe_run, run_beside, run_of
from audit.lineage.visits import (
    CHANGED,
    NO_ANSWER,
    OTHER_THAN_OUTPUT,
    SAME_AS_INPUT,
    SAME_AS_OUTPUT,
    SAME_AS_SOURCE,
    how_many,
)
from audit.models import ArtifactMember, Call, NodeState, RoutingEvent, Token

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from audit.models import Row

ATTEMPTS_SHOWN = 50
ROUTES_SHOWN = 50
CALLS_SHOWN = 100
OUTPUTS_SHOWN = 20
_CONTEXT = ("context_before_json", "context_after_json", "success_reason_json")
_LONG = (*_CONTEXT, "error_json")


@dataclass(frozen=True, kw_only=True)
class Route:
    """An edge that was chosen, where it leads, and why; the reason stands at the first of them."""

    label: str
    mode: str
    node: NodeFacts
    reason: Body | None


@dataclass(frozen=True, kw_only=True)
class CallLine:
    """A call as the list on the page of its visit tells it."""

    call: Call
    request: str
    response: str


@dataclass(frozen=True, kw_only=True)
class VisitStory:
    """Everything the page of one visit tells. Attempts count from one, as people do."""

    run: RunFacts
    row: Row
    token: Token
    state: NodeState
    node: NodeFacts
    attempt: int
    attempts: tuple[NodeState, ...]
    attempts_total: int
    before: NodeState | None
    behind: NodeState | None
    nodes: dict[str, NodeFacts]
    input_mark: str | None
    output_mark: str | None
    error: Body | None
    error_text: Excerpt | None
    contexts: tuple[tuple[str, Excerpt], ...]
    routes: tuple[Route, ...]
    calls: tuple[CallLine, ...]
    calls_total: int
    outputs: tuple[ArtifactMember, ...]
    findings: tuple[FindingLine, ...]


def explain_visit(*, run_id: str, state_id: str) -> VisitStory:
    """Gather one visit's story in eleven queries at most.

    Raises:
        NotRecorded: there is no such run, or no such visit in it.
    """
    states = NodeState.objects.defer(*_LONG)
    here = {"run_id": OuterRef("run_id"), "token_id": OuterRef("token_id")}
    there = states.filter(
        **here, node_id=OuterRef("node_id"), step_index=OuterRef("step_index")
    ).order_by("-attempt")
    state = (
        states.filter(run_id=run_id, state_id=state_id)
        .annotate(
            run_told=run_beside(NodeState), last_attempt=Subquery(there.values("attempt")[:1])
        )
        .annotate(**{k: v for name in _LONG for k, v in reading(name, limit=ERROR_LIMIT).items()})
        .first()
    )
    if state is None:
        describe_run(run_id=run_id)
        refuse("visit", state_id, run_id=run_id)
        raise NotRecorded("visit", state_id)
    # Not select_related from the visit: it cannot be had together with columns left out.
    token = Token.objects.select_related("row").get(run_id=run_id, token_id=state.token_id)
    of_token = states.filter(run_id=run_id, token_id=state.token_id)
    attempts = of_token.filter(node_id=state.node_id, step_index=state.step_index)
    place = ("step_index", "attempt", "state_id")
    before = of_token.filter(_beyond(state, "lt")).order_by(*(f"-{each}" for each in place)).first()
    behind = of_token.filter(_beyond(state, "gt")).order_by(*place).first()
    events = list(
        RoutingEvent.objects.filter(run_id=run_id, state_id=state_id)
        .select_related("edge")
        .order_by("created_at", "routing_group_id", "ordinal")[:ROUTES_SHOWN]
    )
    nodes = read_nodes(
        run_id,
        {each.node_id for each in (state, before, behind) if each is not None}
        | {event.edge.to_node_id for event in events},
    )
    of_it = Call.objects.filter(run_id=run_id, state_id=state_id)
    calls: list[Any] = list(
        of_it.defer("error_json")
        .annotate(total=how_many(of_it, "call_id"))
        .order_by("call_index")[:CALLS_SHOWN]
    )
    words, bodies = read_words_and_bodies(
        words=[ref for call in calls for ref in (call.request_ref, call.response_ref)],
        parts=[(event.reason_ref, event.reason_hash) for event in events]
        + [(state.error_ref, state.error_hash)],
    )
    error = bodies.get(state.error_ref) or (unkept(state.error_hash) if state.error_hash else None)
    return VisitStory(
        run=run_of(state),
        row=token.row,
        token=token,
        state=state,
        node=nodes[state.node_id],
        attempt=state.attempt + 1,
        attempts=tuple(attempts.order_by("attempt")[:ATTEMPTS_SHOWN]),
        attempts_total=state.last_attempt + 1,
        before=before,
        behind=behind,
        nodes=nodes,
        input_mark=_input_mark(state, before, source_hash=token.row.source_data_hash),
        output_mark=_output_mark(state),
        error=error,
        error_text=excerpt(state, "error_json") or (error.excerpt if error else None),
        contexts=tuple(
            (name.removesuffix("_json").replace("_", " "), told)
            for name in _CONTEXT
            if (told := excerpt(state, name)) is not None
        ),
        routes=_routes(events, nodes, bodies),
        calls=_calls(calls, words),
        calls_total=calls[0].total if calls else 0,
        outputs=tuple(
            # By way of the token, which has an index.
            ArtifactMember.objects.filter(run_id=run_id, token_id=state.token_id, state_id=state_id)
            .select_related("artifact")
            .order_by("artifact_id")[:OUTPUTS_SHOWN]
        ),
        findings=findings_about(run_id=run_id, keys=[state_id]),
    )


def _beyond(state: NodeState, way: str) -> Q:
    """What stands before (`lt`) or behind (`gt`) a visit in the order of its token's steps."""
    return (
        Q(**{f"step_index__{way}": state.step_index})
        | Q(step_index=state.step_index, **{f"attempt__{way}": state.attempt})
        | Q(
            step_index=state.step_index,
            attempt=state.attempt,
            **{f"state_id__{way}": state.state_id},
        )
    )


def _input_mark(state: NodeState, before: NodeState | None, *, source_hash: str) -> str | None:
    if before is None:
        return SAME_AS_SOURCE if state.input_hash == source_hash else None
    if before.output_hash is None:
        return None
    return SAME_AS_OUTPUT if state.input_hash == before.output_hash else OTHER_THAN_OUTPUT


def _output_mark(state: NodeState) -> str | None:
    if state.output_hash is None:
        return None
    return SAME_AS_INPUT if state.output_hash == state.input_hash else CHANGED


def _routes(
    events: list[RoutingEvent], nodes: dict[str, NodeFacts], bodies: dict[str | None, Body]
) -> tuple[Route, ...]:
    told: set[str] = set()
    routes = []
    for event in events:
        # The edges of one decision share its reason.
        first = event.routing_group_id not in told
        told.add(event.routing_group_id)
        routes.append(
            Route(
                label=event.edge.label,
                mode=event.mode,
                node=nodes[event.edge.to_node_id],
                reason=(bodies.get(event.reason_ref) or unkept(event.reason_hash))
                if first
                else None,
            )
        )
    return tuple(routes)


def _calls(calls: Iterable[Call], words: Mapping[str | None, str]) -> tuple[CallLine, ...]:
    return tuple(
        CallLine(
            call=call,
            request=words[call.request_ref],
            response=words[call.response_ref] if call.response_hash else NO_ANSWER,
        )
        for call in calls
    )
