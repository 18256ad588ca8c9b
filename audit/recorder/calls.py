"""External calls: numbered in the database, both bodies kept as payloads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audit import blobs
from audit.errors import ContractViolated, RecordEnded
from audit.models import Call, NodeState, Operation
from audit.recorder import contents, reading
from audit.recorder.execution import OPEN
from audit.recorder.writing import add, check, new_id, one_event, prepared, word
from audit.vocabulary import CallStatus, CallType, PayloadState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class CallData:
    """What became of a body of a call; `data` is there only when `kept.state` is available."""

    kept: blobs.Kept
    data: Any = None


def record_call(
    *,
    run_id: str,
    call_type: CallType | str,
    status: CallStatus | str,
    request: object,
    at: datetime,
    state_id: str | None = None,
    operation_id: str | None = None,
    response: object | None = None,
    error: object | None = None,
    latency_ms: float | None = None,
    call_index: int | None = None,
    call_id: str | None = None,
) -> Call:
    """One request and what came of it, during a node state or an operation that is open.

    Without `call_index` it gets the next number of its parent: 0, 1, 2 … whoever else records.

    Raises:
        ContractViolated: not exactly one parent; a success with an error; an error without.
        NotRecorded, RunMismatch: the parent is not there, or is another run's.
        RecordEnded: the parent is over.
        RunEnded: the run has ended.
        AlreadyRecorded: the index is taken.
        ConflictingRecord: the id is on record with other content.
        ValueRefused: a body without canonical form, with the path to the offending value.
    """
    kind, what = word(CallStatus, status, "status"), word(CallType, call_type, "call_type")
    if (state_id is None) == (operation_id is None):
        raise ContractViolated("a call belongs to a node state or to an operation")
    if (error is not None) != (kind == CallStatus.ERROR):
        raise ContractViolated("a call that failed has an error, and only that one")
    asked = contents.of(request, name="request")
    answered = contents.of(response, name="response") if response is not None else None
    told = contents.of(error, name="error") if error is not None else None
    values: dict[str, Any] = {
        "run_id": run_id,
        "call_id": call_id or new_id(at),
        "state_id": state_id,
        "operation_id": operation_id,
        "call_index": call_index,
        "call_type": what,
        "status": kind,
        "request_hash": asked.hash,
        "request_ref": asked.ref,
        "response_hash": answered.hash if answered else None,
        "response_ref": answered.ref if answered else None,
        "error_hash": told.hash if told else None,
        "error_ref": told.ref if told else None,
        "latency_ms": latency_ms,
        "created_at": at,
    }
    check(Call, values)
    with one_event():
        held = call_id and Call.objects.filter(run_id=run_id, call_id=call_id).first()
        if held:
            # The parent may be over by now: the same call told again is no new one.
            values["call_index"] = held.call_index if call_index is None else call_index
        else:
            # Held until the transaction ends, so the next number is nobody else's.
            _lock_open_parent(run_id, state_id, operation_id)
            if call_index is None:
                values["call_index"] = _next_index(run_id, state_id, operation_id)
            contents.keep(asked, answered, told, at=at)
        return add(Call, values, kind="call")[0]


def _lock_open_parent(run_id: str, state_id: str | None, operation_id: str | None) -> None:
    parent: NodeState | Operation
    if state_id is not None:
        parent = reading.one(NodeState, run_id=run_id, key=state_id, lock=True)
    else:
        parent = reading.one(Operation, run_id=run_id, key=str(operation_id), lock=True)
    if parent.status not in OPEN:
        kind = "operation" if state_id is None else "node state"
        raise RecordEnded(kind, state_id or str(operation_id), parent.status)


def _next_index(run_id: str, state_id: str | None, operation_id: str | None) -> int:
    column = "state_id" if state_id is not None else "operation_id"
    with prepared() as cursor:
        cursor.execute(
            "SELECT coalesce(max(call_index) + 1, 0) FROM calls "  # noqa: S608  # one of two names
            f"WHERE run_id = %s AND {column} = %s",
            [run_id, state_id or operation_id],
        )
        return int(cursor.fetchone()[0])


def get_call(*, run_id: str, call_id: str) -> Call:
    """One call.

    Raises:
        NotRecorded, RunMismatch: it is not there, or is another run's.
    """
    return reading.one(Call, run_id=run_id, key=call_id)


def get_calls(*, run_id: str, state_id: str) -> list[Call]:
    """The calls of a visit, in the order of their numbers.

    Raises:
        NotRecorded, RunMismatch: the state is not there, or is another run's.
    """
    reading.one(NodeState, run_id=run_id, key=state_id)
    return list(Call.objects.filter(run_id=run_id, state_id=state_id).order_by("call_index"))


def iter_calls(*, run_id: str) -> Iterator[Call]:
    """Every call of a run by id, with memory for one page.

    Raises:
        NotRecorded: there is no such run.
    """
    reading.require_run(run_id)
    return reading.stream(Call.objects.filter(run_id=run_id), order="call_id")


def find_call_by_request(
    *, run_id: str, call_type: CallType | str, request: object, occurrence: int = 0
) -> Call | None:
    """The n-th call with this request, in order of time: replay asks for one after the other.

    None when the run has no (further) such call.

    Raises:
        NotRecorded: there is no such run.
        ValueRefused: a request without canonical form.
    """
    reading.require_run(run_id)
    calls = Call.objects.filter(
        run_id=run_id,
        call_type=word(CallType, call_type, "call_type"),
        request_hash=contents.of(request, name="request").hash,
    )
    found = calls.order_by("created_at", "call_index", "call_id")[occurrence : occurrence + 1]
    return next(iter(found), None)


def get_call_data(
    *, run_id: str, call_id: str, part: str = "response", may_read: bool = True
) -> CallData:
    """What became of a call's `request`, `response` or `error`, and itself where available.

    Raises:
        NotRecorded, RunMismatch: the call is not there, or is another run's.
        ValueError: there is no such part.
    """
    if part not in {"request", "response", "error"}:
        raise ValueError(f"a call has a request, a response and an error, no {part!r:.40}")
    call = get_call(run_id=run_id, call_id=call_id)
    kept = blobs.find(
        ref=getattr(call, f"{part}_ref"),
        content_hash=getattr(call, f"{part}_hash"),
        may_read=may_read,
    )
    if kept.state != PayloadState.AVAILABLE or kept.content is None:
        return CallData(kept=kept)
    return CallData(kept=kept, data=json.loads(kept.content))
