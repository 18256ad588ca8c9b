"""The story of one token: everything that was done to it, and what it came from and became."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Count

from audit.errors import NotRecorded
from audit.lineage.absent import refuse
from audit.lineage.bodies import read_errors
from audit.lineage.excerpts import ERROR_LIMIT, Excerpt, excerpt, reading
from audit.lineage.findings import FindingLine, findings_about
from audit.lineage.nodes import NodeFacts, read_nodes
from audit.lineage.payload_words import payload_words
from audit.lineage.rows import Making, making
from audit.lineage.runs import RunFacts, describe_run
from audit.lineage.visits import Visit, read_visits
from audit.models import (
    Artifact,
    ArtifactMember,
    Batch,
    BatchMember,
    NodeState,
    Row,
    Token,
    TokenOutcome,
    TokenParent,
    TransformError,
)

if TYPE_CHECKING:
    from datetime import datetime

RELATIVES_SHOWN = 100
VERDICTS_SHOWN = 100
BATCHES_SHOWN = 20
MEMBERS_SHOWN = 20
OUTPUTS_SHOWN = 100
REJECTIONS_SHOWN = 50


@dataclass(frozen=True, kw_only=True)
class Relatives:
    """Parents or children in order: the first hundred, and how many there are."""

    shown: tuple[Token, ...]
    total: int


@dataclass(frozen=True, kw_only=True)
class BatchFacts:
    """A batch that the token waited in, or carried the result of, with its first members.

    `ordinal` is the token's own place; None when it only carried the result.
    """

    batch: Batch
    node: NodeFacts
    ordinal: int | None
    carried: bool
    members: tuple[BatchMember, ...]
    members_total: int


@dataclass(frozen=True, kw_only=True)
class OutputFacts:
    """An artifact that the token is in; inferred when no record says so outright."""

    artifact: Artifact
    inferred: bool


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """A transform rejected what the token carried."""

    error_id: str
    node: NodeFacts
    details: Excerpt | None
    row_hash: str
    destination: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class TokenStory:
    """Everything the page of one token tells."""

    run: RunFacts
    row: Row
    token: Token
    made: Making
    payload: str
    visits: tuple[Visit, ...]
    visits_total: int
    calls_total: int
    verdicts: tuple[TokenOutcome, ...]
    parents: Relatives
    children: Relatives
    batches: tuple[BatchFacts, ...]
    outputs: tuple[OutputFacts, ...]
    rejections: tuple[Rejection, ...]
    findings: tuple[FindingLine, ...]

    @property
    def verdict(self) -> TokenOutcome | None:
        """The verdict that counts: the final one, else the latest."""
        return self.verdicts[-1] if self.verdicts else None


def explain_token(*, run_id: str, token_id: str) -> TokenStory:
    """Gather one token's story in a fixed number of queries, however long the story is.

    Raises:
        NotRecorded: there is no such run, or no such token.
        RunMismatch: the token belongs to another run.
    """
    run = describe_run(run_id=run_id)
    token = Token.objects.filter(run_id=run_id, token_id=token_id).select_related("row").first()
    if token is None:
        refuse("token", token_id, run_id=run_id)
        raise NotRecorded("token", token_id)
    of_it = {"run_id": run_id, "token_id": token_id}
    verdicts = tuple(
        TokenOutcome.objects.filter(**of_it)
        .defer("context_json")
        .order_by("is_terminal", "recorded_at", "outcome_id")[:VERDICTS_SHOWN]
    )
    visits = read_visits(token=token)
    rejections = _rejections(run_id, token_id)
    keys = [
        token_id,
        *(visit.state_id for visit in visits.shown),
        *(verdict.outcome_id for verdict in verdicts),
        *(rejection.error_id for rejection in rejections),
    ]
    return TokenStory(
        run=run,
        row=token.row,
        token=token,
        made=making(token),
        payload=payload_words([token.row.source_data_ref])[token.row.source_data_ref],
        visits=visits.shown,
        visits_total=visits.total,
        calls_total=visits.calls_total,
        verdicts=verdicts,
        parents=_parents(run_id, token_id),
        children=_children(run_id, token_id),
        batches=_batches(run_id, token_id),
        outputs=_outputs(run_id, token_id),
        rejections=rejections,
        findings=findings_about(run_id=run_id, keys=keys),
    )


def _parents(run_id: str, token_id: str) -> Relatives:
    links = TokenParent.objects.filter(run_id=run_id, token_id=token_id)
    shown = links.select_related("parent").order_by("ordinal")[:RELATIVES_SHOWN]
    return Relatives(shown=tuple(link.parent for link in shown), total=links.count())


def _children(run_id: str, token_id: str) -> Relatives:
    links = TokenParent.objects.filter(run_id=run_id, parent_token_id=token_id)
    shown = links.select_related("token").order_by("ordinal", "token_id")[:RELATIVES_SHOWN]
    return Relatives(shown=tuple(link.token for link in shown), total=links.count())


def _batches(run_id: str, token_id: str) -> tuple[BatchFacts, ...]:
    places = dict(
        BatchMember.objects.filter(run_id=run_id, token_id=token_id).values_list(
            "batch_id", "ordinal"
        )[:BATCHES_SHOWN]
    )
    # By way of the token's own states: batches have no index on the state that carried them,
    # but few of them exist per run.
    carried = set(
        Batch.objects.filter(
            run_id=run_id,
            aggregation_state_id__in=NodeState.objects.filter(
                run_id=run_id, token_id=token_id
            ).values("state_id"),
        ).values_list("batch_id", flat=True)[:BATCHES_SHOWN]
    )
    batch_ids = places.keys() | carried
    members: dict[str, list[BatchMember]] = defaultdict(list)
    for member in BatchMember.objects.filter(
        run_id=run_id, batch_id__in=batch_ids, ordinal__lt=MEMBERS_SHOWN
    ).order_by("batch_id", "ordinal"):
        members[member.batch_id].append(member)
    totals = dict(
        BatchMember.objects.filter(run_id=run_id, batch_id__in=batch_ids)
        .values_list("batch_id")
        .annotate(total=Count("token_id"))
        .order_by()
    )
    batches = list(
        Batch.objects.filter(run_id=run_id, batch_id__in=batch_ids).order_by(
            "created_at", "batch_id"
        )
    )
    nodes = read_nodes(run_id, (batch.aggregation_node_id for batch in batches))
    return tuple(
        BatchFacts(
            batch=batch,
            node=nodes[batch.aggregation_node_id],
            ordinal=places.get(batch.batch_id),
            carried=batch.batch_id in carried,
            members=tuple(members[batch.batch_id]),
            members_total=totals.get(batch.batch_id, 0),
        )
        for batch in batches
    )


def _outputs(run_id: str, token_id: str) -> tuple[OutputFacts, ...]:
    links = (
        ArtifactMember.objects.filter(run_id=run_id, token_id=token_id)
        .select_related("artifact")
        .order_by("artifact__created_at", "artifact_id")
    )
    return tuple(
        OutputFacts(artifact=link.artifact, inferred=link.inferred)
        for link in links[:OUTPUTS_SHOWN]
    )


def _rejections(run_id: str, token_id: str) -> tuple[Rejection, ...]:
    found = list(
        TransformError.objects.filter(run_id=run_id, token_id=token_id)
        .defer("row_data_json", "error_details_json")
        .annotate(**reading("error_details_json", limit=ERROR_LIMIT))
        .order_by("created_at", "error_id")[:REJECTIONS_SHOWN]
    )
    nodes = read_nodes(run_id, (record.transform_id for record in found))
    kept = read_errors(refs=(record.error_details_ref for record in found))
    return tuple(
        Rejection(
            error_id=record.error_id,
            node=nodes[record.transform_id],
            details=excerpt(record, "error_details_json") or kept.get(record.error_details_ref),
            row_hash=record.row_hash,
            destination=record.destination,
            created_at=record.created_at,
        )
        for record in found
    )
