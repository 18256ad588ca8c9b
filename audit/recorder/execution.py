"""Visits of tokens to nodes, and where gates sent them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connection, transaction

from audit.errors import (
    AlreadyRecorded,
    ConflictingRecord,
    ContractViolated,
    IllegalTransition,
    RecordEnded,
)
from audit.models import Edge, NodeState, RoutingEvent, Token
from audit.recorder import contents, reading
from audit.recorder.guards import TRANSITIONS
from audit.recorder.writing import add, check, new_id, one_event, prepared, same, word
from audit.vocabulary import NodeStateStatus, RoutingMode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

_ATTEMPTS_TRIED = 5
OPEN = (NodeStateStatus.OPEN, NodeStateStatus.PENDING)


class Routing(NamedTuple):
    """One edge that a decision chose, and how the token goes along it."""

    edge_id: str
    mode: RoutingMode | str = RoutingMode.MOVE


def begin_node_state(
    *,
    run_id: str,
    token_id: str,
    node_id: str,
    step_index: int,
    input_data: object,
    at: datetime,
    state_id: str | None = None,
    attempt: int | None = None,
    context_before: Mapping[str, Any] | None = None,
) -> NodeState:
    """A token enters a node. Without `attempt` it is the next one of this token there.

    Raises:
        NotRecorded, RunMismatch: token or node are not there, or are another run's.
        TokenEnded: the token has a final outcome.
        RunEnded: the run has ended.
        AlreadyRecorded: this attempt was made, or this step has another visit.
        ConflictingRecord: the id is on record with other content.
        ValueRefused: input without canonical form, with the path to the offending value.
    """
    values = {
        "run_id": run_id,
        "state_id": state_id or new_id(at),
        "token_id": token_id,
        "node_id": node_id,
        "step_index": step_index,
        "attempt": attempt,
        "status": NodeStateStatus.OPEN,
        "input_hash": contents.of(input_data, name="input_data").hash,
        "context_before_json": contents.inline(context_before, name="context_before"),
        "started_at": at,
    }
    check(NodeState, values)
    if attempt is not None:
        return add(NodeState, values, kind="node state", live_token=token_id)[0]
    for tried in range(_ATTEMPTS_TRIED):
        held = NodeState.objects.filter(run_id=run_id, state_id=values["state_id"]).first()
        values["attempt"] = held.attempt if held else _next_attempt(run_id, token_id, node_id)
        try:
            return add(NodeState, values, kind="node state", live_token=token_id)[0]
        except AlreadyRecorded:
            # Another worker made this attempt between the question and the answer.
            if tried == _ATTEMPTS_TRIED - 1:
                raise
    raise AssertionError


def _next_attempt(run_id: str, token_id: str, node_id: str) -> int:
    with prepared() as cursor:
        cursor.execute(
            "SELECT coalesce(max(attempt) + 1, 0) FROM node_states "
            "WHERE run_id = %s AND token_id = %s AND node_id = %s",
            [run_id, token_id, node_id],
        )
        return int(cursor.fetchone()[0])


def complete_node_state(
    *,
    run_id: str,
    state_id: str,
    status: NodeStateStatus | str,
    duration_ms: float,
    at: datetime,
    output_data: object = None,
    error: object | None = None,
    context_after: Mapping[str, Any] | None = None,
    success_reason: Mapping[str, Any] | None = None,
) -> NodeState:
    """A token leaves a node: completed with an output, failed with an error, or pending.

    `error` is kept as a payload. Telling the same end twice is harmless.

    Raises:
        ContractViolated: a completion without output, an error without failure or the reverse,
            or an output with `pending`.
        NotRecorded, RunMismatch: the state is not there, or is another run's.
        IllegalTransition: it has ended otherwise.
        ValueRefused: a value without canonical form, no duration, an unknown status.
    """
    to = word(NodeStateStatus, status, "status")
    if to in {NodeStateStatus.OPEN, NodeStateStatus.REJECTED}:
        raise ContractViolated(f"a visit does not end as {to}")
    if (error is not None) != (to == NodeStateStatus.FAILED):
        raise ContractViolated("an error belongs to a failed state, and a failed state has one")
    if to == NodeStateStatus.COMPLETED and output_data is None:
        raise ContractViolated("a completed state has an output")
    if to == NodeStateStatus.PENDING and output_data is not None:
        raise ContractViolated("a pending state has no output yet")
    told = contents.of(error, name="error") if error is not None else None
    output = contents.of(output_data, name="output_data") if output_data is not None else None
    values = {
        "status": to,
        "output_hash": output.hash if output else None,
        "duration_ms": duration_ms,
        "error_hash": told.hash if told else None,
        "error_ref": told.ref if told else None,
        "context_after_json": contents.inline(context_after, name="context_after"),
        "success_reason_json": contents.inline(success_reason, name="success_reason"),
        "completed_at": at,
    }
    check(NodeState, values)
    with one_event():
        contents.keep(told, at=at)
        before = [start for start, end in TRANSITIONS[NodeState] if end == to]
        with prepared() as cursor:
            cursor.execute(
                _COMPLETE, values | {"run_id": run_id, "state_id": state_id, "before": before}
            )
            ended = cursor.fetchone()
        if ended is not None:
            return NodeState.from_db(connection.alias, _STATE_COLUMNS, ended)
        state = reading.one(NodeState, run_id=run_id, key=state_id)
        if all(getattr(state, n) == value for n, value in values.items() if n != "completed_at"):
            return state
        raise IllegalTransition("node state", state_id, status=state.status, to=to)


_STATE_COLUMNS = [str(field.column) for field in NodeState._meta.concrete_fields]
# Asks and ends in one statement: of two that end a state, the second finds it ended.
_COMPLETE = f"""
UPDATE node_states SET status = %(status)s, output_hash = %(output_hash)s,
    duration_ms = %(duration_ms)s, error_hash = %(error_hash)s, error_ref = %(error_ref)s,
    context_after_json = %(context_after_json)s, success_reason_json = %(success_reason_json)s,
    completed_at = %(completed_at)s
WHERE run_id = %(run_id)s AND state_id = %(state_id)s AND status = ANY (%(before)s)
RETURNING {", ".join(_STATE_COLUMNS)}
"""  # noqa: S608  # our own names


def record_routing_event(
    *,
    run_id: str,
    state_id: str,
    edge_id: str,
    mode: RoutingMode | str,
    reason: Mapping[str, Any],
    at: datetime,
    routing_group_id: str | None = None,
) -> RoutingEvent:
    """A gate sent its token along one edge, and why; the reason is kept as a payload.

    Raises:
        ContractViolated: the edge does not leave the node of this visit.
        NotRecorded, RunMismatch: state or edge are not there, or are another run's.
        RunEnded: the run has ended.
        RecordEnded: the visit is over.
    """
    (event,) = record_routing_events(
        run_id=run_id,
        state_id=state_id,
        routes=[Routing(edge_id, mode)],
        reason=reason,
        at=at,
        routing_group_id=routing_group_id,
    )
    return event


@transaction.atomic
def record_routing_events(
    *,
    run_id: str,
    state_id: str,
    routes: Sequence[Routing],
    reason: Mapping[str, Any],
    at: datetime,
    routing_group_id: str | None = None,
) -> list[RoutingEvent]:
    """One decision with every edge that it chose, in one group; the reason is kept.

    With a group id of the caller's, telling the same decision twice gives the same events.

    Raises:
        ContractViolated: no edge, one twice, several that are not copies, or an edge that does
            not leave the node of this visit.
        NotRecorded, RunMismatch: state or edge are not there, or are another run's.
        RunEnded: the run has ended.
        RecordEnded: the visit is over.
        ConflictingRecord: the group is on record with other content.
    """
    modes = [word(RoutingMode, route.mode, "mode") for route in routes]
    if not routes or len({route.edge_id for route in routes}) != len(routes):
        raise ContractViolated("a decision chooses edges, each once")
    if len(routes) > 1 and set(modes) != {RoutingMode.COPY}:
        raise ContractViolated("a decision for several edges copies the token along each")
    why = contents.of(dict(reason), name="reason")
    group = routing_group_id or new_id(at)
    state = reading.one(NodeState, run_id=run_id, key=state_id, lock=True)
    held = _held_group(run_id, group)
    if held:
        _require_same(held, state_id, routes, modes, why.hash, group)
        return held
    if state.status not in OPEN:
        raise RecordEnded("node state", state_id, state.status)
    for route in routes:
        edge = reading.one(Edge, run_id=run_id, key=route.edge_id)
        if edge.from_node_id != state.node_id:
            raise ContractViolated(
                f"edge {route.edge_id} leaves {edge.from_node_id}, not {state.node_id}"
            )
    contents.keep(why, at=at)
    return [
        add(
            RoutingEvent,
            {
                "run_id": run_id,
                "event_id": new_id(at),
                "state_id": state_id,
                "edge_id": route.edge_id,
                "routing_group_id": group,
                "ordinal": ordinal,
                "mode": mode,
                "reason_hash": why.hash,
                "reason_ref": why.ref,
                "created_at": at,
            },
            kind="routing event",
        )[0]
        for ordinal, (route, mode) in enumerate(zip(routes, modes, strict=True))
    ]


def _held_group(run_id: str, group: str) -> list[RoutingEvent]:
    events = RoutingEvent.objects.filter(run_id=run_id, routing_group_id=group)
    return list(events.order_by("ordinal"))


def _require_same(  # noqa: PLR0917  # the two sides of a comparison
    held: list[RoutingEvent],
    state_id: str,
    routes: Sequence[Routing],
    modes: Sequence[RoutingMode],
    reason_hash: str,
    group: str,
) -> None:
    if len(held) != len(routes):
        raise ConflictingRecord("routing group", group, ["edges"])
    for event, route, mode in zip(held, routes, modes, strict=True):
        told = {
            "state_id": state_id,
            "edge_id": route.edge_id,
            "mode": mode,
            "reason_hash": reason_hash,
        }
        same(event, told, kind="routing event")


def get_node_state(*, run_id: str, state_id: str) -> NodeState:
    """One visit as it stands.

    Raises:
        NotRecorded, RunMismatch: it is not there, or is another run's.
    """
    return reading.one(NodeState, run_id=run_id, key=state_id)


def get_node_states_for_token(*, run_id: str, token_id: str) -> list[NodeState]:
    """Every visit of a token, by step and attempt.

    Raises:
        NotRecorded, RunMismatch: the token is not there, or is another run's.
    """
    reading.one(Token, run_id=run_id, key=token_id)
    states = NodeState.objects.filter(run_id=run_id, token_id=token_id)
    return list(states.order_by("step_index", "attempt", "state_id"))


def iter_node_states(*, run_id: str) -> Iterator[NodeState]:
    """Every visit of a run by id, with memory for one page.

    Raises:
        NotRecorded: there is no such run.
    """
    reading.require_run(run_id)
    return reading.stream(NodeState.objects.filter(run_id=run_id), order="state_id")


def get_routing_events(*, run_id: str, state_id: str) -> list[RoutingEvent]:
    """Where a visit sent its token, group by group.

    Raises:
        NotRecorded, RunMismatch: the state is not there, or is another run's.
    """
    reading.one(NodeState, run_id=run_id, key=state_id)
    events = RoutingEvent.objects.filter(run_id=run_id, state_id=state_id)
    return list(events.order_by("created_at", "routing_group_id", "ordinal"))


def get_routing_events_for_token(*, run_id: str, token_id: str) -> list[RoutingEvent]:
    """Every decision about a token, in the order of its visits. One query.

    Raises:
        NotRecorded, RunMismatch: the token is not there, or is another run's.
    """
    reading.one(Token, run_id=run_id, key=token_id)
    events = RoutingEvent.objects.filter(run_id=run_id, state__token_id=token_id)
    return list(
        events.order_by("state__step_index", "state__attempt", "routing_group_id", "ordinal")
    )
