"""What was refused, and why: rows and errors kept as payloads, so that they can be erased."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.models import NodeState, Row, Token, TransformError, ValidationError
from audit.recorder import contents, reading
from audit.recorder.writing import add, new_id, one_event, word
from audit.vocabulary import SchemaMode

if TYPE_CHECKING:
    from datetime import datetime


def record_validation_error(
    *,
    run_id: str,
    row_data: object,
    error: object,
    schema_mode: SchemaMode | str,
    destination: str,
    at: datetime,
    node_id: str | None = None,
    row_id: str | None = None,
    error_id: str | None = None,
    violation_type: str | None = None,
    expected_type: str | None = None,
    actual_type: str | None = None,
) -> ValidationError:
    """A source record failed validation. `row_id` where it became a row all the same.

    `row_data` may be anything: without canonical form, Python's text of it is kept and marked.

    Raises:
        NotRecorded, RunMismatch: node or row are not there, or are another run's.
        RunEnded: the run has ended.
        ConflictingRecord: the id is on record with other content.
    """
    row, told = contents.of_refused(row_data, name="row_data"), contents.of(error, name="error")
    with one_event():
        contents.keep(row, told, at=at)
        record, _new = add(
            ValidationError,
            {
                "run_id": run_id,
                "error_id": error_id or f"verr_{new_id(at)}",
                "node_id": node_id,
                "row_id": row_id,
                "row_hash": row.hash,
                "row_data_ref": row.ref,
                "error_hash": told.hash,
                "error_ref": told.ref,
                "schema_mode": word(SchemaMode, schema_mode, "schema_mode"),
                "destination": destination,
                "created_at": at,
                "violation_type": violation_type,
                "expected_type": expected_type,
                "actual_type": actual_type,
            },
            kind="validation error",
        )
    return record


def record_transform_error(
    *,
    run_id: str,
    state_id: str,
    row_data: object,
    error_details: object,
    destination: str,
    at: datetime,
    error_id: str | None = None,
) -> TransformError:
    """A transform rejected a token's row during this visit.

    Raises:
        NotRecorded, RunMismatch: the state is not there, or is another run's.
        RunEnded: the run has ended.
        ConflictingRecord: the id is on record with other content.
    """
    row = contents.of_refused(row_data, name="row_data")
    told = contents.of(error_details, name="error_details")
    with one_event():
        state = reading.one(NodeState, run_id=run_id, key=state_id)
        contents.keep(row, told, at=at)
        record, _new = add(
            TransformError,
            {
                "run_id": run_id,
                "error_id": error_id or f"terr_{new_id(at)}",
                "token_id": state.token_id,
                "transform_id": state.node_id,
                "state_id": state_id,
                "row_hash": row.hash,
                "row_data_ref": row.ref,
                "error_details_hash": told.hash,
                "error_details_ref": told.ref,
                "destination": destination,
                "created_at": at,
            },
            kind="transform error",
        )
    return record


def get_validation_errors(
    *, run_id: str, after_id: str | None = None, limit: int = 100
) -> list[ValidationError]:
    """A page of a run's validation errors by id.

    Raises:
        NotRecorded: there is no such run.
        ValueRefused: the limit is not between 1 and 1,000.
    """
    reading.require_run(run_id)
    errors = ValidationError.objects.filter(run_id=run_id)
    return reading.page(errors, order="error_id", after=after_id, limit=limit)


def get_validation_errors_for_row(
    *, run_id: str, row_id: str, by_content: bool = False
) -> list[ValidationError]:
    """The validation errors of this very row; with `by_content`, those of equal content instead.

    Equal content is not the same row: two rows may hold the same and only one have failed.

    Raises:
        NotRecorded, RunMismatch: the row is not there, or is another run's.
    """
    row = reading.one(Row, run_id=run_id, key=row_id)
    errors = ValidationError.objects.filter(run_id=run_id)
    if by_content:
        errors = errors.filter(row_hash=row.source_data_hash).exclude(row_id=row_id)
    else:
        errors = errors.filter(row_id=row_id)
    return list(errors.order_by("created_at", "error_id"))


def get_transform_errors(
    *, run_id: str, after_id: str | None = None, limit: int = 100
) -> list[TransformError]:
    """A page of a run's transform errors by id.

    Raises:
        NotRecorded: there is no such run.
        ValueRefused: the limit is not between 1 and 1,000.
    """
    reading.require_run(run_id)
    errors = TransformError.objects.filter(run_id=run_id)
    return reading.page(errors, order="error_id", after=after_id, limit=limit)


def get_transform_errors_for_token(*, run_id: str, token_id: str) -> list[TransformError]:
    """What was rejected of a token, in order of time.

    Raises:
        NotRecorded, RunMismatch: the token is not there, or is another run's.
    """
    reading.one(Token, run_id=run_id, key=token_id)
    errors = TransformError.objects.filter(run_id=run_id, token_id=token_id)
    return list(errors.order_by("created_at", "error_id"))
