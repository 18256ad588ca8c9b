"""How the demo records one step of one token: its attempts, its calls, its decision, its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from audit import recorder
from audit.management.demo.pipeline import STEPS, made_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from audit.management.demo.pipeline import Pipeline


@dataclass
class Traveller:
    """A token on its way: where its time stands, and what it carries."""

    token_id: str
    at: datetime
    data: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One call of a visit."""

    call_type: str
    request: Mapping[str, Any]
    ms: float
    response: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Try:
    """One attempt of a visit; with `error` it failed."""

    ms: float
    calls: Sequence[Asked] = ()
    error: Mapping[str, Any] | None = field(default=None)


class Decision(NamedTuple):
    """Which edges a gate chose, and why."""

    labels: Sequence[str]
    reason: Mapping[str, Any]


def later(moment: datetime, ms: float) -> datetime:
    """So many milliseconds after a moment."""
    return moment + timedelta(milliseconds=ms)


def visit(  # noqa: PLR0913  # one visit has as many parts
    pipeline: Pipeline,
    traveller: Traveller,
    name: str,
    *tries: Try,
    output: Mapping[str, Any] | list[Any] | None = None,
    decision: Decision | None = None,
    first_attempt: int = 0,
) -> str:
    """Record a visit with all its attempts and return the id of the last one.

    The token carries `output` on if it is a record; without, what it carried. A gate and a list
    of children change nothing that the token carries.
    """
    run_id, node_id = pipeline.run_id, pipeline.nodes[name]
    state_id = ""
    for attempt, each in enumerate(tries, start=first_attempt):
        start = traveller.at
        state_id = made_id(run_id, "visit", traveller.token_id, name, attempt)
        recorder.begin_node_state(
            run_id=run_id,
            state_id=state_id,
            token_id=traveller.token_id,
            node_id=node_id,
            step_index=STEPS[name],
            attempt=attempt,
            input_data=traveller.data,
            at=start,
        )
        _record_calls(run_id, state_id, each.calls, at=start)
        traveller.at = end = later(start, each.ms)
        if decision is not None and each.error is None:
            _decide(pipeline, state_id, name, decision, at=end)
        recorder.complete_node_state(
            run_id=run_id,
            state_id=state_id,
            status="completed" if each.error is None else "failed",
            output_data=(output or traveller.data) if each.error is None else None,
            error=each.error,
            duration_ms=each.ms,
            at=end,
        )
    if isinstance(output, dict) and tries[-1].error is None:
        traveller.data = output
    return state_id


def end(pipeline: Pipeline, traveller: Traveller, outcome: str, **parts: Any) -> None:
    """Record how a token ended."""
    recorder.record_token_outcome(
        run_id=pipeline.run_id,
        outcome_id=f"out_{made_id(pipeline.run_id, 'end', traveller.token_id)}",
        token_id=traveller.token_id,
        outcome=outcome,
        at=traveller.at,
        **parts,
    )


def reject(
    pipeline: Pipeline, traveller: Traveller, state_id: str, outcome: str, error: Mapping[str, Any]
) -> None:
    """Record that a transform rejected what a token carried, and that this was its end."""
    recorder.record_transform_error(
        run_id=pipeline.run_id,
        error_id=f"terr_{made_id(pipeline.run_id, 'rejected', traveller.token_id)}",
        state_id=state_id,
        row_data=traveller.data,
        error_details=error,
        destination="discard",
        at=traveller.at,
    )
    end(pipeline, traveller, outcome, error=error)


def _record_calls(run_id: str, state_id: str, calls: Sequence[Asked], *, at: datetime) -> None:
    for index, call in enumerate(calls):
        # A visit prepares for a moment before it asks.
        at = later(at, 0.4)
        recorder.record_call(
            run_id=run_id,
            call_id=made_id(run_id, "call", state_id, index),
            state_id=state_id,
            call_type=call.call_type,
            status="success" if call.error is None else "error",
            request=call.request,
            response=call.response,
            error=call.error,
            latency_ms=call.ms,
            at=at,
        )
        at = later(at, call.ms)


def _decide(
    pipeline: Pipeline, state_id: str, name: str, decision: Decision, *, at: datetime
) -> None:
    mode = "move" if len(decision.labels) == 1 else "copy"
    recorder.record_routing_events(
        run_id=pipeline.run_id,
        state_id=state_id,
        routes=[recorder.Routing(pipeline.edges[name, label], mode) for label in decision.labels],
        reason=decision.reason,
        routing_group_id=made_id(pipeline.run_id, "decision", state_id),
        at=at,
    )
