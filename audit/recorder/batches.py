"""Aggregation batches: members wait, the batch fires, its outputs are new tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction

from audit.errors import ContractViolated, IllegalTransition, RecordEnded
from audit.models import Batch, BatchMember, BatchOutput, NodeState, Token, TokenParent
from audit.recorder import contents, reading
from audit.recorder.guards import TRANSITIONS
from audit.recorder.outcomes import end_token
from audit.recorder.tokens import child_id, create_token
from audit.recorder.writing import add, check, new_id, require_live, word
from audit.vocabulary import BatchStatus, NodeStateStatus, Outcome, OutputType, TriggerType

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from django.db.models import QuerySet


def create_batch(
    *, run_id: str, aggregation_node_id: str, at: datetime, batch_id: str | None = None
) -> Batch:
    """Open a draft at an aggregation node.

    Raises:
        NotRecorded, RunMismatch: the node is not there, or is another run's.
        RunEnded: the run has ended.
        ConflictingRecord: the id is on record with other content.
    """
    return _create(run_id, aggregation_node_id, at, batch_id, attempt=0, retry_of=None)


@transaction.atomic
def add_batch_members(
    *, run_id: str, batch_id: str, token_ids: Sequence[str], at: datetime
) -> list[BatchMember]:
    """Tokens join a draft, in this order, and are buffered there.

    A token that is a member already stays where it is.

    Raises:
        NotRecorded, RunMismatch: batch or token are not there, or are another run's.
        RecordEnded: the batch is no draft any more.
        TokenEnded: a token has a final outcome.
        RunEnded: the run has ended.
    """
    batch = reading.one(Batch, run_id=run_id, key=batch_id, lock=True)
    members = {m.token_id: m for m in BatchMember.objects.filter(run_id=run_id, batch_id=batch_id)}
    wanted = [token_id for token_id in dict.fromkeys(token_ids) if token_id not in members]
    if wanted and batch.status != BatchStatus.DRAFT:
        raise RecordEnded("batch", batch_id, batch.status)
    ordinal = max((member.ordinal for member in members.values()), default=-1)
    for token_id in wanted:
        ordinal += 1
        members[token_id], _new = add(
            BatchMember,
            {"run_id": run_id, "batch_id": batch_id, "token_id": token_id, "ordinal": ordinal},
            kind="batch member",
            live_token=token_id,
        )
        _verdict(run_id, token_id, Outcome.BUFFERED, batch_id, at)
    return [members[token_id] for token_id in dict.fromkeys(token_ids)]


@transaction.atomic
def begin_batch(
    *,
    run_id: str,
    batch_id: str,
    trigger_type: TriggerType | str,
    at: datetime,
    trigger_reason: str | None = None,
) -> Batch:
    """A trigger fired: the draft becomes executing. Telling it twice is harmless.

    Raises:
        NotRecorded, RunMismatch: the batch is not there, or is another run's.
        IllegalTransition: it is no draft.
        ContractViolated: it has no members.
    """
    del at  # the original keeps no moment of it
    trigger = word(TriggerType, trigger_type, "trigger_type")
    batch = reading.one(Batch, run_id=run_id, key=batch_id, lock=True)
    told = (batch.status, batch.trigger_type, batch.trigger_reason)
    if told == (BatchStatus.EXECUTING, trigger, trigger_reason):
        return batch
    if not BatchMember.objects.filter(run_id=run_id, batch_id=batch_id).exists():
        raise ContractViolated(f"batch {batch_id} has no members")
    return _move(batch, BatchStatus.EXECUTING, trigger_type=trigger, trigger_reason=trigger_reason)


@transaction.atomic
def complete_batch(
    *,
    run_id: str,
    batch_id: str,
    aggregation_state_id: str,
    outputs: int,
    at: datetime,
    step_in_pipeline: int | None = None,
) -> list[Token]:
    """The batch worked: members are consumed, and `outputs` new tokens have all of them as parents.

    The new tokens travel for the row of the first member. Telling it twice gives the same tokens.

    Raises:
        NotRecorded, RunMismatch: batch or state are not there, or are another run's.
        IllegalTransition: the batch is not executing.
        ContractViolated: the state is not a completed one at the batch's node.
        TokenEnded: a member has a final outcome.
    """
    batch = reading.one(Batch, run_id=run_id, key=batch_id, lock=True)
    if batch.status == BatchStatus.COMPLETED and batch.aggregation_state_id == aggregation_state_id:
        return _output_tokens(run_id, batch_id)
    state = reading.one(NodeState, run_id=run_id, key=aggregation_state_id)
    if state.node_id != batch.aggregation_node_id or state.status != NodeStateStatus.COMPLETED:
        raise ContractViolated(
            f"state {aggregation_state_id} is {state.status} at {state.node_id}; batch {batch_id} "
            f"needs a completed one at {batch.aggregation_node_id}"
        )
    _move(batch, BatchStatus.COMPLETED, aggregation_state_id=aggregation_state_id, completed_at=at)
    members = get_batch_members(run_id=run_id, batch_id=batch_id)
    for member in sorted(members, key=lambda each: each.token_id):
        _verdict(run_id, member.token_id, Outcome.CONSUMED_IN_BATCH, batch_id, at)
    first = reading.one(Token, run_id=run_id, key=members[0].token_id)
    made = [
        create_token(
            run_id=run_id,
            row_id=first.row_id,
            token_id=child_id(run_id=run_id, made_by=batch_id, ordinal=ordinal, at=at),
            step_in_pipeline=step_in_pipeline,
            at=at,
        )
        for ordinal in range(outputs)
    ]
    TokenParent.objects.bulk_create(
        TokenParent(
            run_id=run_id,
            token_id=token.token_id,
            parent_token_id=member.token_id,
            ordinal=member.ordinal,
        )
        for token in made
        for member in members
    )
    for token in made:
        _put_out(run_id, batch_id, OutputType.TOKEN, token.token_id, at)
    return made


@transaction.atomic
def fail_batch(*, run_id: str, batch_id: str, at: datetime, error: object | None = None) -> Batch:
    """The batch failed or was given up. With `error`, every member fails with it.

    Without, members stay buffered and may be tried again by `retry_batch`.

    Raises:
        NotRecorded, RunMismatch: the batch is not there, or is another run's.
        IllegalTransition: it has ended otherwise.
        TokenEnded: a member has a final outcome.
    """
    batch = reading.one(Batch, run_id=run_id, key=batch_id, lock=True)
    if batch.status == BatchStatus.FAILED:
        return batch
    _move(batch, BatchStatus.FAILED, completed_at=at)
    if error is not None:
        told = contents.of(error, name="error")
        contents.keep(told, at=at)
        for member in sorted(
            get_batch_members(run_id=run_id, batch_id=batch_id), key=lambda each: each.token_id
        ):
            end_token(
                {
                    "run_id": run_id,
                    "outcome_id": f"out_{new_id(at)}",
                    "token_id": member.token_id,
                    "outcome": Outcome.FAILED,
                    "is_terminal": True,
                    "recorded_at": at,
                    "error_hash": told.hash,
                }
            )
    return batch


@transaction.atomic
def retry_batch(
    *, run_id: str, batch_id: str, at: datetime, new_batch_id: str | None = None
) -> Batch:
    """Open a new draft with the members of a failed batch; a batch is retried once.

    Told twice, it gives the retry that is on record.

    Raises:
        NotRecorded, RunMismatch: the batch is not there, or is another run's.
        IllegalTransition: it has not failed.
        TokenEnded: a member has a final outcome, so it cannot be tried again.
        ConflictingRecord: the new id is on record with other content.
        RunEnded: the run has ended.
    """
    failed = reading.one(Batch, run_id=run_id, key=batch_id, lock=True)
    if failed.status != BatchStatus.FAILED:
        raise IllegalTransition("batch", batch_id, status=failed.status, to="retried")
    held = Batch.objects.filter(run_id=run_id, retry_of=batch_id).first()
    if held is not None:
        return held
    members = get_batch_members(run_id=run_id, batch_id=batch_id)
    for member in members:
        require_live(run_id, member.token_id)
    retry = _create(
        run_id,
        failed.aggregation_node_id,
        at,
        new_batch_id,
        attempt=failed.attempt + 1,
        retry_of=batch_id,
    )
    add_batch_members(
        run_id=run_id,
        batch_id=retry.batch_id,
        token_ids=[member.token_id for member in members],
        at=at,
    )
    return retry


def get_batch(*, run_id: str, batch_id: str) -> Batch:
    """One batch as it stands.

    Raises:
        NotRecorded, RunMismatch: it is not there, or is another run's.
    """
    return reading.one(Batch, run_id=run_id, key=batch_id)


def get_batches(
    *,
    run_id: str,
    status: BatchStatus | str | None = None,
    node_id: str | None = None,
    after_id: str | None = None,
    limit: int = 100,
) -> list[Batch]:
    """A page of batches by id, of one status or node if asked for.

    Raises:
        NotRecorded: there is no such run.
        ValueRefused: an unknown status, or a limit that is not between 1 and 1,000.
    """
    reading.require_run(run_id)
    batches = Batch.objects.filter(run_id=run_id)
    if status is not None:
        batches = batches.filter(status=word(BatchStatus, status, "status"))
    if node_id is not None:
        batches = batches.filter(aggregation_node_id=node_id)
    return reading.page(batches, order="batch_id", after=after_id, limit=limit)


def get_incomplete_batches(*, run_id: str) -> list[Batch]:
    """What a resumed run has to look after: drafts, executing, and failed ones not yet retried.

    Raises:
        NotRecorded: there is no such run.
    """
    reading.require_run(run_id)
    return list(incomplete(run_id))


def incomplete(run_id: str) -> QuerySet[Batch]:
    """Batches that are not over, and were not retried, in the order of their making."""
    batches = Batch.objects.filter(run_id=run_id)
    retried = batches.filter(retry_of__isnull=False).values("retry_of")
    left = batches.exclude(status=BatchStatus.COMPLETED).exclude(batch_id__in=retried)
    return left.order_by("created_at", "batch_id")


def get_batch_members(*, run_id: str, batch_id: str) -> list[BatchMember]:
    """The members of a batch, in their order.

    Raises:
        NotRecorded, RunMismatch: the batch is not there, or is another run's.
    """
    reading.one(Batch, run_id=run_id, key=batch_id)
    return list(BatchMember.objects.filter(run_id=run_id, batch_id=batch_id).order_by("ordinal"))


def get_batch_outputs(*, run_id: str, batch_id: str) -> list[BatchOutput]:
    """What a batch put out.

    Raises:
        NotRecorded, RunMismatch: the batch is not there, or is another run's.
    """
    reading.one(Batch, run_id=run_id, key=batch_id)
    outputs = BatchOutput.objects.filter(run_id=run_id, batch_id=batch_id)
    return list(outputs.order_by("output_type", "output_id"))


def get_batches_for_token(*, run_id: str, token_id: str) -> list[Batch]:
    """The batches that a token waited in, the first attempt first.

    Raises:
        NotRecorded, RunMismatch: the token is not there, or is another run's.
    """
    reading.one(Token, run_id=run_id, key=token_id)
    batches = Batch.objects.filter(run_id=run_id, members__token_id=token_id)
    return list(batches.order_by("created_at", "attempt", "batch_id"))


def _create(
    run_id: str,
    aggregation_node_id: str,
    at: datetime,
    batch_id: str | None,
    *,
    attempt: int,
    retry_of: str | None,
) -> Batch:
    batch, _new = add(
        Batch,
        {
            "run_id": run_id,
            "batch_id": batch_id or new_id(at),
            "aggregation_node_id": aggregation_node_id,
            "attempt": attempt,
            "retry_of": retry_of,
            "status": BatchStatus.DRAFT,
            "created_at": at,
        },
        kind="batch",
    )
    return batch


def _move(batch: Batch, to: BatchStatus, **values: Any) -> Batch:
    if (batch.status, to) not in TRANSITIONS[Batch]:
        raise IllegalTransition("batch", batch.batch_id, status=batch.status, to=to)
    values["status"] = to
    check(Batch, values)
    for name, value in values.items():
        setattr(batch, name, value)
    batch.save(update_fields=list(values))
    return batch


def _verdict(run_id: str, token_id: str, outcome: Outcome, batch_id: str, at: datetime) -> None:
    end_token(
        {
            "run_id": run_id,
            "outcome_id": f"out_{new_id(at)}",
            "token_id": token_id,
            "outcome": outcome,
            "is_terminal": outcome != Outcome.BUFFERED,
            "recorded_at": at,
            "batch_id": batch_id,
        }
    )


def _put_out(run_id: str, batch_id: str, kind: OutputType, output_id: str, at: datetime) -> None:
    add(
        BatchOutput,
        {
            "run_id": run_id,
            "batch_output_id": new_id(at),
            "batch_id": batch_id,
            "output_type": kind,
            "output_id": output_id,
        },
        kind="batch output",
    )


def _output_tokens(run_id: str, batch_id: str) -> list[Token]:
    outputs = get_batch_outputs(run_id=run_id, batch_id=batch_id)
    return [reading.one(Token, run_id=run_id, key=each.output_id) for each in outputs]
