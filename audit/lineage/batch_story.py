"""The batches of a run: who waited in them, what made them fire, and what came out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Q

from audit.errors import NotRecorded
from audit.lineage.absent import refuse
from audit.lineage.findings import FindingLine, findings_about
from audit.lineage.nodes import NodeFacts, read_nodes
from audit.lineage.runs import RunFacts, describe_run, run_beside, run_of
from audit.models import Artifact, Batch, BatchMember, BatchOutput, NodeState, Token, TokenOutcome
from audit.vocabulary import BatchStatus, OutputType, RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import QuerySet

BATCHES_A_PAGE = 100
MEMBERS_A_PAGE = 100
OUTPUTS_SHOWN = 100
_OVER = (BatchStatus.COMPLETED, BatchStatus.FAILED)


@dataclass(frozen=True, kw_only=True)
class BatchLine:
    """A batch, how much is in it and came of it, and the batch that tried it again."""

    batch: Batch
    node: NodeFacts
    members: int
    outputs: int
    retried_by: str | None
    abandoned: bool

    @property
    def waited_ms(self) -> float | None:
        """From its opening to its end in milliseconds; None without an end."""
        if self.batch.completed_at is None:
            return None
        waited: timedelta = self.batch.completed_at - self.batch.created_at
        return waited / timedelta(milliseconds=1)


@dataclass(frozen=True, kw_only=True)
class BatchesPage:
    """A hundred batches in the order of time."""

    run: RunFacts
    lines: tuple[BatchLine, ...]
    total: int
    next_after: str | None


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A token in a batch, and its last verdict; an empty word means none at all."""

    ordinal: int
    token: Token
    outcome: str


@dataclass(frozen=True, kw_only=True)
class BatchStory:
    """Everything the page of one batch tells; the first hundred outputs are shown.

    `carried_in` is the visit that flushed it; outputs that are named and not on record are absent.
    """

    run: RunFacts
    line: BatchLine
    carried_in: NodeState | None
    members: tuple[Waiting, ...]
    next_after: int | None
    tokens_out: tuple[Token, ...]
    artifacts_out: tuple[Artifact, ...]
    findings: tuple[FindingLine, ...]


def list_batches(*, run_id: str, after: str | None = None) -> BatchesPage:
    """A hundred batches of a run, after the batch with the id `after`, in eight queries at most.

    Raises:
        NotRecorded: there is no such run, or no batch `after` in it.
    """
    run = describe_run(run_id=run_id)
    everything = Batch.objects.filter(run_id=run_id)
    page = everything
    if after is not None:
        anchor = everything.filter(batch_id=after).first()
        if anchor is None:
            raise NotRecorded("batch", after)
        page = page.filter(
            Q(created_at__gt=anchor.created_at)
            | Q(created_at=anchor.created_at, batch_id__gt=after)
        )
    found = list(page.order_by("created_at", "batch_id")[: BATCHES_A_PAGE + 1])
    more, found = len(found) > BATCHES_A_PAGE, found[:BATCHES_A_PAGE]
    return BatchesPage(
        run=run,
        lines=_lines(run, found),
        total=everything.count(),
        next_after=found[-1].batch_id if more else None,
    )


def explain_batch(*, run_id: str, batch_id: str, after: int | None = None) -> BatchStory:
    """Gather one batch's story in twelve queries at most.

    Members come in their recorded order, a hundred at a time, behind the ordinal `after`.

    Raises:
        NotRecorded: there is no such run, or no such batch in it.
        RunMismatch: the batch belongs to another run.
    """
    its_own: QuerySet[Any] = Batch.objects.filter(run_id=run_id, batch_id=batch_id)
    batch = its_own.annotate(run_told=run_beside(Batch)).first()
    if batch is None:
        describe_run(run_id=run_id)
        refuse("batch", batch_id, run_id=run_id)
        raise NotRecorded("batch", batch_id)
    run = run_of(batch)
    (line,) = _lines(run, [batch])
    members, next_after = _members(batch, after)
    put_out = BatchOutput.objects.filter(run_id=run_id, batch_id=batch_id)
    tokens_out = _named(put_out, OutputType.TOKEN)
    return BatchStory(
        run=run,
        line=line,
        carried_in=NodeState.objects.filter(run_id=run_id, state_id=batch.aggregation_state_id)
        .only("run_id", "state_id", "token_id")
        .first(),
        members=members,
        next_after=next_after,
        tokens_out=tuple(
            Token.objects.filter(run_id=run_id, token_id__in=tokens_out)
            .select_related("row")
            .order_by("token_id")
        ),
        artifacts_out=tuple(
            Artifact.objects.filter(
                run_id=run_id, artifact_id__in=_named(put_out, OutputType.ARTIFACT)
            ).order_by("artifact_id")
        ),
        findings=findings_about(run_id=run_id, keys=[batch_id]),
    )


def _named(put_out: QuerySet[BatchOutput], kind: OutputType) -> list[str]:
    outputs = put_out.filter(output_type=kind).order_by("output_id")
    return list(outputs.values_list("output_id", flat=True)[:OUTPUTS_SHOWN])


def _lines(run: RunFacts, batches: list[Batch]) -> tuple[BatchLine, ...]:
    run_id, keys = run.run_id, [batch.batch_id for batch in batches]
    nodes = read_nodes(run_id, (batch.aggregation_node_id for batch in batches))
    members = _counted(BatchMember.objects.filter(run_id=run_id, batch_id__in=keys))
    outputs = _counted(BatchOutput.objects.filter(run_id=run_id, batch_id__in=keys))
    retried = dict(
        Batch.objects.filter(run_id=run_id, retry_of__in=keys).values_list("retry_of", "batch_id")
    )
    ended = run.status != RunStatus.RUNNING or run.imported
    return tuple(
        BatchLine(
            batch=batch,
            node=nodes[batch.aggregation_node_id],
            members=members.get(batch.batch_id, 0),
            outputs=outputs.get(batch.batch_id, 0),
            retried_by=retried.get(batch.batch_id),
            abandoned=ended and batch.status not in _OVER,
        )
        for batch in batches
    )


def _counted(records: QuerySet[BatchMember] | QuerySet[BatchOutput]) -> dict[str, int]:
    counted: Iterable[tuple[str, int]] = (
        records.values_list("batch_id").annotate(many=Count("run_id")).order_by()
    )
    return dict(counted)


def _members(batch: Batch, after: int | None) -> tuple[tuple[Waiting, ...], int | None]:
    run_id = batch.run_id
    members = BatchMember.objects.filter(run_id=run_id, batch_id=batch.batch_id)
    if after is not None:
        members = members.filter(ordinal__gt=after)
    page = list(members.order_by("ordinal")[: MEMBERS_A_PAGE + 1])
    more, page = len(page) > MEMBERS_A_PAGE, page[:MEMBERS_A_PAGE]
    token_ids = [member.token_id for member in page]
    tokens = {
        token.token_id: token
        for token in Token.objects.filter(run_id=run_id, token_id__in=token_ids).select_related(
            "row"
        )
    }
    # The last one said stays: final, else latest.
    verdicts = dict(
        TokenOutcome.objects.filter(run_id=run_id, token_id__in=token_ids)
        .order_by("token_id", "is_terminal", "recorded_at", "outcome_id")
        .values_list("token_id", "outcome")
    )
    waiting = tuple(
        Waiting(
            ordinal=member.ordinal,
            token=tokens[member.token_id],
            outcome=verdicts.get(member.token_id, ""),
        )
        for member in page
    )
    return waiting, page[-1].ordinal if more else None
