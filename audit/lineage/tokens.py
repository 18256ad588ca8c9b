"""The story of one token: everything that was done to it, and what it came from and became."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audit.errors import NotRecorded
from audit.lineage.absent import refuse
from audit.lineage.bodies import read_words_and_errors
from audit.lineage.excerpts import ERROR_LIMIT, Excerpt, excerpt, reading
from audit.lineage.findings import FindingLine, findings_about
from audit.lineage.nodes import NodeFacts, read_nodes
from audit.lineage.payload_words import payload_state, payload_word
from audit.lineage.rows import Making, making
from audit.lineage.runs import RunFacts, describe_run, run_beside, run_of
from audit.lineage.statements import load
from audit.lineage.visits import Visit, read_visits, tell_visits
from audit.models import (
    Artifact,
    ArtifactMember,
    Batch,
    Row,
    Token,
    TokenOutcome,
    TransformError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

RELATIVES_SHOWN = 100
VERDICTS_SHOWN = 100
BATCHES_SHOWN = 20
MEMBERS_SHOWN = 20
OUTPUTS_SHOWN = 100
REJECTIONS_SHOWN = 50

_RELATIVES = """
(SELECT t.*, true AS above, p.ordinal AS place,
        (SELECT count(*) FROM token_parents
         WHERE run_id = %(run_id)s AND token_id = %(token_id)s) AS many
 FROM token_parents p JOIN tokens t ON t.run_id = p.run_id AND t.token_id = p.parent_token_id
 WHERE p.run_id = %(run_id)s AND p.token_id = %(token_id)s
 ORDER BY p.ordinal LIMIT %(shown)s)
UNION ALL
(SELECT t.*, false, p.ordinal,
        (SELECT count(*) FROM token_parents
         WHERE run_id = %(run_id)s AND parent_token_id = %(token_id)s)
 FROM token_parents p JOIN tokens t ON t.run_id = p.run_id AND t.token_id = p.token_id
 WHERE p.run_id = %(run_id)s AND p.parent_token_id = %(token_id)s
 ORDER BY p.ordinal, p.token_id LIMIT %(shown)s)
"""

# By way of the token's own states: batches have no index on the state that carried them,
# but few of them exist per run.
_BATCHES = """
WITH its AS (
    (SELECT m.batch_id, m.ordinal, false AS carried FROM batch_members m
     WHERE m.run_id = %(run_id)s AND m.token_id = %(token_id)s LIMIT %(batches)s)
    UNION ALL
    (SELECT b.batch_id, NULL, true FROM batches b
     WHERE b.run_id = %(run_id)s AND b.aggregation_state_id IN (
         SELECT s.state_id FROM node_states s
         WHERE s.run_id = %(run_id)s AND s.token_id = %(token_id)s) LIMIT %(batches)s)
), each AS (
    SELECT batch_id, max(ordinal) AS own_place, bool_or(carried) AS carried
    FROM its GROUP BY batch_id
)
SELECT b.*, each.own_place, each.carried,
       ARRAY(SELECT m.token_id::text FROM batch_members m
             WHERE m.run_id = %(run_id)s AND m.batch_id = b.batch_id AND m.ordinal < %(members)s
             ORDER BY m.ordinal) AS first_members,
       (SELECT count(*) FROM batch_members m
        WHERE m.run_id = %(run_id)s AND m.batch_id = b.batch_id) AS many
FROM each JOIN batches b ON b.run_id = %(run_id)s AND b.batch_id = each.batch_id
ORDER BY b.created_at, b.batch_id
"""


@dataclass(frozen=True, kw_only=True)
class Relatives:
    """Parents or children in order: the first hundred, and how many there are."""

    shown: tuple[Token, ...]
    total: int


@dataclass(frozen=True, kw_only=True)
class BatchFacts:
    """A batch that the token waited in, or carried the result of; `members` are its first tokens.

    `ordinal` is the token's own place; None when it only carried the result.
    """

    batch: Batch
    node: NodeFacts
    ordinal: int | None
    carried: bool
    members: tuple[str, ...]
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
    """Gather one token's story in twelve queries at most, however long the story is.

    Raises:
        NotRecorded: there is no such run, or no such token.
        RunMismatch: the token belongs to another run.
    """
    token = _token(run_id, token_id)
    of_it = {"run_id": run_id, "token_id": token_id}
    verdicts = tuple(
        TokenOutcome.objects.filter(**of_it)
        .defer("context_json")
        .order_by("is_terminal", "recorded_at", "outcome_id")[:VERDICTS_SHOWN]
    )
    visited = read_visits(token=token)
    rejected = _rejected(of_it)
    batches = _batches(of_it)
    # What all of these name is looked up together: a query for nodes, and one for contents.
    nodes = read_nodes(
        run_id,
        visited.nodes
        | {record.transform_id for record in rejected}
        | {batch.aggregation_node_id for batch in batches},
    )
    words, kept = read_words_and_errors(
        words=visited.words,
        errors=[*visited.errors, [record.error_details_ref for record in rejected]],
    )
    visits = tell_visits(token=token, records=visited, nodes=nodes, words=words, kept=kept)
    parents, children = _relatives(of_it)
    keys = [
        token_id,
        *(visit.state_id for visit in visits.shown),
        *(verdict.outcome_id for verdict in verdicts),
        *(record.error_id for record in rejected),
    ]
    return TokenStory(
        run=run_of(token),
        row=token.row,
        token=token,
        made=making(token),
        payload=payload_word(token.row.source_data_ref, token.payload_state),
        visits=visits.shown,
        visits_total=visits.total,
        calls_total=visits.calls_total,
        verdicts=verdicts,
        parents=parents,
        children=children,
        batches=tuple(_told_batch(batch, nodes) for batch in batches),
        outputs=_outputs(run_id, token_id),
        rejections=tuple(_rejection(record, nodes, kept) for record in rejected),
        findings=findings_about(run_id=run_id, keys=keys),
    )


def _token(run_id: str, token_id: str) -> Any:
    """The token with its row, the state of its contents, and its run."""
    token = (
        Token.objects.filter(run_id=run_id, token_id=token_id)
        .select_related("row")
        .annotate(run_told=run_beside(Token), payload_state=payload_state("row__source_data_ref"))
        .first()
    )
    if token is None:
        describe_run(run_id=run_id)
        refuse("token", token_id, run_id=run_id)
        raise NotRecorded("token", token_id)
    return token


def _relatives(of_it: Mapping[str, str]) -> tuple[Relatives, Relatives]:
    """Parents and children in order. One query."""
    found = load(Token, _RELATIVES, {**of_it, "shown": RELATIVES_SHOWN})
    parents = sorted((one for one in found if one.above), key=lambda one: one.place)
    children = sorted(
        (one for one in found if not one.above), key=lambda one: (one.place, one.token_id)
    )
    above, below = (
        Relatives(shown=tuple(shown), total=shown[0].many if shown else 0)
        for shown in (parents, children)
    )
    return above, below


def _batches(of_it: Mapping[str, str]) -> list[Any]:
    """The batches with their first members, oldest first. One query."""
    caps = {"batches": BATCHES_SHOWN, "members": MEMBERS_SHOWN}
    return load(Batch, _BATCHES, {**of_it, **caps})


def _told_batch(batch: Any, nodes: Mapping[str, NodeFacts]) -> BatchFacts:
    return BatchFacts(
        batch=batch,
        node=nodes[batch.aggregation_node_id],
        ordinal=batch.own_place,
        carried=batch.carried,
        members=tuple(batch.first_members or ()),
        members_total=batch.many,
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


def _rejected(of_it: Mapping[str, str]) -> list[Any]:
    return list(
        TransformError.objects.filter(**of_it)
        .defer("row_data_json", "error_details_json")
        .annotate(**reading("error_details_json", limit=ERROR_LIMIT))
        .order_by("created_at", "error_id")[:REJECTIONS_SHOWN]
    )


def _rejection(
    record: Any, nodes: Mapping[str, NodeFacts], kept: Mapping[str | None, Excerpt | None]
) -> Rejection:
    return Rejection(
        error_id=record.error_id,
        node=nodes[record.transform_id],
        details=excerpt(record, "error_details_json") or kept.get(record.error_details_ref),
        row_hash=record.row_hash,
        destination=record.destination,
        created_at=record.created_at,
    )
