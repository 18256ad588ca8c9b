"""What the sinks of a run put out, and what each of it was made from."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import connection
from django.db.models import Count, Q

from audit.errors import NotRecorded
from audit.lineage.absent import refuse
from audit.lineage.findings import FindingLine, findings_about
from audit.lineage.nodes import NodeFacts, read_nodes
from audit.lineage.rows import Making, making
from audit.lineage.runs import RunFacts, describe_run
from audit.models import Artifact, ArtifactMember, NodeState, Token

if TYPE_CHECKING:
    from collections.abc import Sequence

ARTIFACTS_A_PAGE = 100
MEMBERS_A_PAGE = 100
# Batches behind the members of one page, and of them behind one member.
HOPS_READ = 1_000
HOPS_SHOWN = 3

# LATERAL, because a run of yesterday has no statistics: PostgreSQL would take it for one row.
_COUNTED = """
SELECT count(*), count(*) FILTER (WHERE m.inferred), count(DISTINCT t.row_id)
FROM artifact_members m
CROSS JOIN LATERAL (
    SELECT t.row_id FROM tokens t
    WHERE t.run_id = m.run_id AND t.token_id = m.token_id OFFSET 0) t
WHERE m.run_id = %(run)s AND m.artifact_id = %(artifact)s
"""

_HOPS = """
WITH hops AS (
    SELECT o.output_id AS token_id, o.batch_id, 'output' AS how FROM batch_outputs o
    WHERE o.run_id = %(run)s AND o.output_type = 'token' AND o.output_id = ANY(%(tokens)s)
    UNION ALL
    SELECT s.token_id, b.batch_id, 'carried' FROM batches b
    CROSS JOIN LATERAL (
        SELECT s.token_id FROM node_states s
        WHERE s.run_id = b.run_id AND s.state_id = b.aggregation_state_id OFFSET 0) s
    WHERE b.run_id = %(run)s AND b.aggregation_state_id IS NOT NULL
        AND s.token_id = ANY(%(tokens)s)
    UNION ALL
    SELECT m.token_id, m.batch_id, 'member' FROM batch_members m
    WHERE m.run_id = %(run)s AND m.token_id = ANY(%(tokens)s)
), told AS MATERIALIZED (
    SELECT token_id, batch_id,
           (array_agg(how ORDER BY array_position(ARRAY['output', 'carried', 'member'], how)))[1]
               AS how
    FROM hops GROUP BY token_id, batch_id ORDER BY token_id, batch_id LIMIT %(limit)s
), sized AS MATERIALIZED (
    -- Once for each batch: its members may be a hundred thousand, and all on this page.
    SELECT d.batch_id, b.aggregation_node_id, m.members
    FROM (SELECT DISTINCT batch_id FROM told) d
    CROSS JOIN LATERAL (
        SELECT b.aggregation_node_id FROM batches b
        WHERE b.run_id = %(run)s AND b.batch_id = d.batch_id OFFSET 0) b
    CROSS JOIN LATERAL (
        SELECT count(*) AS members FROM batch_members m
        WHERE m.run_id = %(run)s AND m.batch_id = d.batch_id) m
)
SELECT told.token_id, told.batch_id, told.how, sized.aggregation_node_id, sized.members
FROM told JOIN sized USING (batch_id) ORDER BY told.token_id, told.batch_id
"""


@dataclass(frozen=True, kw_only=True)
class ArtifactLine:
    """An artifact in the list, and how many tokens are in it."""

    artifact: Artifact
    sink: NodeFacts
    members: int
    inferred: int


@dataclass(frozen=True, kw_only=True)
class ArtifactsPage:
    """A hundred artifacts in the order of time."""

    run: RunFacts
    lines: tuple[ArtifactLine, ...]
    total: int
    next_after: str | None


@dataclass(frozen=True, kw_only=True)
class BatchHop:
    """How a token belongs to a batch: its `output`, `carried` its result, or only a `member`."""

    batch_id: str
    how: str
    node: NodeFacts
    members: int


@dataclass(frozen=True, kw_only=True)
class MemberLine:
    """A token that is in an artifact; inferred where no record says so outright."""

    ordinal: int
    inferred: bool
    state_id: str
    token: Token
    made: Making
    hops: tuple[BatchHop, ...]
    hops_further: int


@dataclass(frozen=True, kw_only=True)
class ArtifactStory:
    """Everything the page of one artifact tells; counts are of all its members."""

    run: RunFacts
    artifact: Artifact
    sink: NodeFacts
    written_in: NodeState
    members: tuple[MemberLine, ...]
    members_total: int
    inferred: int
    rows: int
    next_after: int | None
    findings: tuple[FindingLine, ...]

    @property
    def recorded(self) -> int:
        """Members that the sink itself named."""
        return self.members_total - self.inferred


def list_artifacts(*, run_id: str, after: str | None = None) -> ArtifactsPage:
    """A hundred artifacts of a run, after the artifact with the id `after`. Six queries at most.

    Raises:
        NotRecorded: there is no such run, or no artifact `after` in it.
    """
    run = describe_run(run_id=run_id)
    everything = Artifact.objects.filter(run_id=run_id)
    page = everything
    if after is not None:
        anchor = everything.filter(artifact_id=after).first()
        if anchor is None:
            raise NotRecorded("artifact", after)
        page = page.filter(
            Q(created_at__gt=anchor.created_at)
            | Q(created_at=anchor.created_at, artifact_id__gt=after)
        )
    found = list(page.order_by("created_at", "artifact_id")[: ARTIFACTS_A_PAGE + 1])
    more, found = len(found) > ARTIFACTS_A_PAGE, found[:ARTIFACTS_A_PAGE]
    nodes = read_nodes(run_id, (artifact.sink_node_id for artifact in found))
    counted = {
        artifact_id: (members, inferred)
        for artifact_id, members, inferred in ArtifactMember.objects.filter(
            run_id=run_id, artifact_id__in=[artifact.artifact_id for artifact in found]
        )
        .values_list("artifact_id")
        .annotate(members=Count("token_id"), guessed=Count("token_id", filter=Q(inferred=True)))
        .order_by()
    }
    return ArtifactsPage(
        run=run,
        lines=tuple(
            ArtifactLine(
                artifact=artifact,
                sink=nodes[artifact.sink_node_id],
                members=counted.get(artifact.artifact_id, (0, 0))[0],
                inferred=counted.get(artifact.artifact_id, (0, 0))[1],
            )
            for artifact in found
        ),
        total=everything.count(),
        next_after=found[-1].artifact_id if more else None,
    )


def explain_artifact(*, run_id: str, artifact_id: str, after: int | None = None) -> ArtifactStory:
    """Gather one artifact's story in a fixed number of queries.

    Members come in their recorded order, a hundred at a time, behind the ordinal `after`.

    Raises:
        NotRecorded: there is no such run, or no such artifact in it.
        RunMismatch: the artifact belongs to another run.
    """
    run = describe_run(run_id=run_id)
    artifact = Artifact.objects.filter(run_id=run_id, artifact_id=artifact_id).first()
    if artifact is None:
        refuse("artifact", artifact_id, run_id=run_id)
        raise NotRecorded("artifact", artifact_id)
    with connection.cursor() as cursor:
        cursor.execute(_COUNTED, {"run": run_id, "artifact": artifact_id})
        total, inferred, rows = cursor.fetchone()
    members, next_after = _members(artifact, after)
    return ArtifactStory(
        run=run,
        artifact=artifact,
        sink=read_nodes(run_id, [artifact.sink_node_id])[artifact.sink_node_id],
        written_in=NodeState.objects.only("run_id", "state_id", "token_id", "attempt").get(
            run_id=run_id, state_id=artifact.produced_by_state_id
        ),
        members=members,
        members_total=total,
        inferred=inferred,
        rows=rows,
        next_after=next_after,
        findings=findings_about(run_id=run_id, keys=[artifact_id]),
    )


def _members(artifact: Artifact, after: int | None) -> tuple[tuple[MemberLine, ...], int | None]:
    run_id = artifact.run_id
    members = ArtifactMember.objects.filter(run_id=run_id, artifact_id=artifact.artifact_id)
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
    hops = read_hops(run_id, token_ids)
    lines = tuple(
        MemberLine(
            ordinal=member.ordinal,
            inferred=member.inferred,
            state_id=member.state_id,
            token=tokens[member.token_id],
            made=making(tokens[member.token_id]),
            hops=tuple(hops[member.token_id][:HOPS_SHOWN]),
            hops_further=len(hops[member.token_id][HOPS_SHOWN:]),
        )
        for member in page
    )
    return lines, page[-1].ordinal if more else None


def read_hops(run_id: str, token_ids: Sequence[str]) -> dict[str, list[BatchHop]]:
    """The batches behind these tokens, by token. Two queries."""
    with connection.cursor() as cursor:
        cursor.execute(_HOPS, {"run": run_id, "tokens": list(token_ids), "limit": HOPS_READ})
        found = cursor.fetchall()
    nodes = read_nodes(run_id, {row[3] for row in found})
    hops: dict[str, list[BatchHop]] = defaultdict(list)
    for token_id, batch_id, how, node_id, members in found:
        hops[token_id].append(
            BatchHop(batch_id=batch_id, how=how, node=nodes[node_id], members=members)
        )
    return hops
