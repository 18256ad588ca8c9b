"""The parts of a closure: every token of a lineage, its visits, and how they hang together.

Three relations are told apart and never mixed: who came from whom (`ParentLink`), who waited
in which batch and what came of it (`BatchFacts`), and who travelled for the same source row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.lineage.nodes import NodeFacts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from audit.lineage.runs import RunFacts

# How a token was made.
FROM_SOURCE = "source"
BY_FORK = "fork"
BY_EXPANSION = "expansion"
BY_MERGE = "merge"
BY_BATCH = "batch"
BY_UNKNOWN = "unknown"

# Verdicts on a hop: do the hashes on both of its sides say the same?
AGREES = "agrees"
BREAKS_EXPECTED = "breaks_expected"
BREAKS = "breaks"
CANNOT_TELL = "cannot_tell"

# What a hop is.
VISIT_HOP = "visit"
RETRY_HOP = "retry"
CREATION_HOP = "creation"
BATCH_HOP = "batch"
SINK_HOP = "sink"


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenFacts:
    """One token; `ordinal` is its place among the siblings that were made with it.

    `group_id` is the fork, expansion or join group; `outcome` is the verdict that counts.
    """

    token_id: str
    row_id: str
    row_index: int
    branch_name: str | None
    made: str
    group_id: str | None
    ordinal: int
    outcome: str | None
    is_terminal: bool
    sink_name: str | None
    error_hash: str | None
    batch_id: str | None
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class RouteTaken:
    """An edge that a visit chose."""

    label: str
    mode: str
    edge_id: str
    to_node_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class VisitFacts:
    """One attempt, counted from 0, of `attempts` by this token at this node and step."""

    state_id: str
    token_id: str
    node_id: str
    step_index: int
    attempt: int
    attempts: int
    status: str
    started_at: datetime
    completed_at: datetime | None
    duration_ms: float | None
    input_hash: str
    output_hash: str | None
    error_hash: str | None
    calls: int
    calls_failed: int
    routes: tuple[RouteTaken, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ParentLink:
    """The token came from the parent; `ordinal` as recorded with the link."""

    token_id: str
    parent_id: str
    ordinal: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchFacts:
    """A batch; `members` and `outputs` are those in this closure, `members_total` all there are.

    A member is (token id, ordinal), an output (`token` or `artifact`, its id). `inferred` when
    no record names the outputs: then they are told by the verdicts of the members. `visit` worked
    it; it belongs to one of the members, which need not be told here.
    """

    batch_id: str
    node_id: str
    state_id: str | None
    status: str
    trigger_type: str | None
    attempt: int
    members_total: int
    members: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, str], ...]
    inferred: bool
    visit: VisitFacts | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PathStep:
    """One place on the path of a token: how its last attempt there ended, and what it chose.

    `label` is the edge label; several of a fork are joined by a comma.
    """

    node_id: str
    step_index: int
    status: str
    retried: bool
    label: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupFacts:
    """Equal siblings that are told together and are not among the closure's tokens.

    `tokens` is how many; `group_key` names the group across requests. The token `example_id`
    is equal to them and is among the closure's tokens. Durations are those of a token from its
    first start to its last end, in milliseconds; `at_work` counts those under way, example
    included, in equal parts of the time from `started_at` to `ended_at`. Nothing of it where no
    visit is recorded.
    """

    group_key: str
    parent_id: str
    made: str
    group_id: str | None
    branch_name: str | None
    path: tuple[PathStep, ...]
    outcome: str | None
    sink_name: str | None
    tokens: int
    example_id: str
    p50_ms: float | None
    p95_ms: float | None
    worst_status: str | None
    started_at: datetime | None
    ended_at: datetime | None
    at_work: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacedNode(NodeFacts):
    """A node and its column: the longest way to it over the edges of the pipeline."""

    layer: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Hop:
    """One step of the story from a state to a state, and whether the hashes carry it.

    `reason` says why in words. `from_state` is None where the story starts at the source row.
    """

    kind: str
    from_state: str | None
    to_state: str | None
    token_id: str
    parent_id: str | None
    verdict: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Closure:
    """A whole lineage: what a token came from, what came of it, and what was done to each.

    `limits` says in words what was cut; empty means that nothing was. `ghosts` are parents
    that are named and not in the database.
    """

    run: RunFacts
    focus_id: str | None
    row_ids: tuple[str, ...]
    tokens: Mapping[str, TokenFacts]
    links: tuple[ParentLink, ...]
    visits: Mapping[str, tuple[VisitFacts, ...]]
    batches: tuple[BatchFacts, ...]
    groups: tuple[GroupFacts, ...]
    ghosts: frozenset[str]
    ancestors: frozenset[str]
    nodes: Mapping[str, PlacedNode]
    hops: tuple[Hop, ...]
    tokens_total: int
    visits_total: int
    limits: tuple[str, ...]
