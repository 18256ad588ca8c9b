"""What a source or sink does as a whole, outside any token: a load, a write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.errors import ContractViolated, IllegalTransition
from audit.models import Operation
from audit.recorder import contents, reading
from audit.recorder.guards import TRANSITIONS
from audit.recorder.writing import add, check, new_id, one_event, word
from audit.vocabulary import OperationStatus, OperationType

if TYPE_CHECKING:
    from datetime import datetime


def begin_operation(
    *,
    run_id: str,
    node_id: str,
    operation_type: OperationType | str,
    at: datetime,
    operation_id: str | None = None,
    input_data: object | None = None,
) -> Operation:
    """A source or sink begins something; what it was given is kept as a payload.

    Raises:
        NotRecorded, RunMismatch: the node is not there, or is another run's.
        RunEnded: the run has ended.
        ConflictingRecord: the id is on record with other content.
    """
    given = contents.of(input_data, name="input_data") if input_data is not None else None
    with one_event():
        contents.keep(given, at=at)
        operation, _new = add(
            Operation,
            {
                "run_id": run_id,
                "operation_id": operation_id or f"op_{new_id(at)}",
                "node_id": node_id,
                "operation_type": word(OperationType, operation_type, "operation_type"),
                "started_at": at,
                "status": OperationStatus.OPEN,
                "input_data_hash": given.hash if given else None,
                "input_data_ref": given.ref if given else None,
            },
            kind="operation",
        )
    return operation


def complete_operation(
    *,
    run_id: str,
    operation_id: str,
    status: OperationStatus | str,
    duration_ms: float,
    at: datetime,
    output_data: object | None = None,
    error: object | None = None,
) -> Operation:
    """It ended; output and error are kept as payloads. Telling the same end twice is harmless.

    Raises:
        ContractViolated: an error without failure, or a failure without error.
        NotRecorded, RunMismatch: the operation is not there, or is another run's.
        IllegalTransition: it has ended otherwise.
    """
    to = word(OperationStatus, status, "status")
    if (error is not None) != (to == OperationStatus.FAILED):
        raise ContractViolated("an error belongs to a failed operation, and that one has one")
    told = contents.of(error, name="error") if error is not None else None
    given = contents.of(output_data, name="output_data") if output_data is not None else None
    values = {
        "status": to,
        "output_data_hash": given.hash if given else None,
        "output_data_ref": given.ref if given else None,
        "error_hash": told.hash if told else None,
        "error_ref": told.ref if told else None,
        "duration_ms": duration_ms,
        "completed_at": at,
    }
    check(Operation, values)
    with one_event():
        operation = reading.one(Operation, run_id=run_id, key=operation_id, lock=True)
        if all(getattr(operation, n) == v for n, v in values.items() if n != "completed_at"):
            return operation
        if (operation.status, to) not in TRANSITIONS[Operation]:
            raise IllegalTransition("operation", operation_id, status=operation.status, to=to)
        contents.keep(told, given, at=at)
        for name, value in values.items():
            setattr(operation, name, value)
        operation.save(update_fields=list(values))
    return operation


def get_operations(*, run_id: str) -> list[Operation]:
    """Every operation of a run, in order of time.

    Raises:
        NotRecorded: there is no such run.
    """
    reading.require_run(run_id)
    return list(Operation.objects.filter(run_id=run_id).order_by("started_at", "operation_id"))
