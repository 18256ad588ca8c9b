"""Checkpoints: durable marks from which a failed run can go on; released, never deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from audit.errors import ContractViolated
from audit.models import Checkpoint, Run, RunEvent
from audit.payloads import is_ref
from audit.recorder import contents, reading
from audit.recorder.runs import note
from audit.recorder.writing import add, check, new_id, one_event, prepared
from audit.vocabulary import RunEventKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

FORMAT_VERSION = 2


def create_checkpoint(
    *,
    run_id: str,
    token_id: str,
    node_id: str,
    upstream_topology_hash: str,
    node_config_hash: str,
    at: datetime,
    aggregation_state: Mapping[str, Any] | None = None,
    checkpoint_id: str | None = None,
) -> Checkpoint:
    """Mark the last token durably written. Checkpoints of a run are numbered from 0.

    Raises:
        ContractViolated: a hash that is no SHA-256.
        NotRecorded, RunMismatch: token or node are not there, or are another run's.
        RunEnded: the run has ended.
        ConflictingRecord: the id is on record with other content.
        ValueRefused: an aggregation state without canonical form, or over 10 MB.
    """
    for digest in (upstream_topology_hash, node_config_hash):
        if not is_ref(digest):
            raise ContractViolated(f"{digest!r:.80} is no SHA-256 in lower-case hex")
    check(Checkpoint, {"run_id": run_id, "checkpoint_id": checkpoint_id})
    state = contents.inline(aggregation_state, name="aggregation_state")
    with one_event():
        # Held until the transaction ends, so the next number is nobody else's.
        reading.one(Run, run_id=run_id, key=run_id, lock=True)
        held = (
            checkpoint_id
            and Checkpoint.objects.filter(run_id=run_id, checkpoint_id=checkpoint_id).first()
        )
        return add(
            Checkpoint,
            {
                "run_id": run_id,
                "checkpoint_id": checkpoint_id or f"cp-{new_id(at)}",
                "token_id": token_id,
                "node_id": node_id,
                "sequence_number": held.sequence_number if held else _next_number(run_id),
                "aggregation_state_json": state,
                "created_at": at,
                "upstream_topology_hash": upstream_topology_hash,
                "checkpoint_node_config_hash": node_config_hash,
                "format_version": FORMAT_VERSION,
            },
            kind="checkpoint",
        )[0]


def _next_number(run_id: str) -> int:
    with prepared() as cursor:
        cursor.execute(
            "SELECT coalesce(max(sequence_number) + 1, 0) FROM checkpoints WHERE run_id = %s",
            [run_id],
        )
        return int(cursor.fetchone()[0])


def get_checkpoint(*, run_id: str, checkpoint_id: str) -> Checkpoint:
    """One checkpoint.

    Raises:
        NotRecorded, RunMismatch: it is not there, or is another run's.
    """
    return reading.one(Checkpoint, run_id=run_id, key=checkpoint_id)


def get_latest_checkpoint(*, run_id: str) -> Checkpoint | None:
    """The checkpoint to resume from; None where there is none, or all were released.

    Raises:
        NotRecorded: there is no such run.
    """
    reading.require_run(run_id)
    newest = Checkpoint.objects.filter(run_id=run_id).order_by("sequence_number").last()
    if newest is None or newest.sequence_number <= released_to(run_id):
        return None
    return newest


def get_checkpoints_for_run(
    *, run_id: str, after_sequence: int | None = None, limit: int = 100
) -> list[Checkpoint]:
    """A page of a run's checkpoints in order, the released ones included.

    Raises:
        NotRecorded: there is no such run.
        ValueRefused: the limit is not between 1 and 1,000.
    """
    reading.require_run(run_id)
    checkpoints = Checkpoint.objects.filter(run_id=run_id)
    return reading.page(checkpoints, order="sequence_number", after=after_sequence, limit=limit)


def release_checkpoints(*, run_id: str, reason: str, at: datetime) -> RunEvent | None:
    """Say that nobody resumes from the checkpoints so far; they stay on record.

    Returns None where there is nothing to release.

    Raises:
        NotRecorded: there is no such run.
    """
    with one_event():
        reading.one(Run, run_id=run_id, key=run_id, lock=True)
        newest = get_latest_checkpoint(run_id=run_id)
        if newest is None:
            return None
        detail = {"reason": reason, "to_sequence_number": newest.sequence_number}
        return note(run_id, RunEventKind.CHECKPOINTS_RELEASED, at=at, detail=detail)


def released_to(run_id: str) -> int:
    """The highest number that was released; -1 where none was."""
    with prepared() as cursor:
        cursor.execute(
            "SELECT coalesce(max((detail_json::json ->> 'to_sequence_number')::int), -1) "
            "FROM run_events WHERE run_id = %s AND kind = %s",
            [run_id, RunEventKind.CHECKPOINTS_RELEASED],
        )
        return int(cursor.fetchone()[0])
