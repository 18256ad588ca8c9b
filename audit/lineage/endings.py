"""How one token ended and why: what a single sentence about it needs, in few queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.db.models.functions import Left

from audit.errors import NotRecorded
from audit.lineage.contents import WITHHELD, are_revealed
from audit.lineage.excerpts import headline
from audit.lineage.figures import OutcomeCount, in_order
from audit.lineage.nodes import NodeFacts, read_nodes
from audit.lineage.reasons import READ_AT_MOST, Reason, read_json, tell_reason
from audit.masking import masked
from audit.models import (
    ArtifactMember,
    BatchMember,
    Node,
    NodeState,
    RoutingEvent,
    Run,
    Token,
    TokenOutcome,
    TokenParent,
)
from audit.vocabulary import NodeStateStatus, NodeType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VISITS_READ = 500
ERROR_READ = 2_000
FAILED = {NodeStateStatus.FAILED.value, NodeStateStatus.REJECTED.value}

_CHILDREN = """
SELECT p.token_id FROM token_parents p
WHERE p.run_id = %(run)s AND p.parent_token_id = %(token)s
"""
_TOGETHER = """
SELECT t.token_id FROM tokens t
WHERE t.run_id = %(run)s AND t.expand_group_id = %(group)s AND t.token_id <> %(token)s
  AND t.token_id = ANY(ARRAY(
    SELECT p.token_id::text FROM token_parents p
    WHERE p.run_id = %(run)s AND p.parent_token_id = (
        SELECT parent_token_id FROM token_parents
        WHERE run_id = %(run)s AND token_id = %(token)s ORDER BY ordinal LIMIT 1)))
"""
# One walk along the index with all the ids, not a look-up for each: there may be 100,000.
_ENDED = """
WITH them AS MATERIALIZED (SELECT array_agg(token_id)::text[] AS keys FROM ({keys}) k),
last AS MATERIALIZED (
    SELECT DISTINCT ON (o.token_id) o.token_id, o.outcome FROM token_outcomes o
    WHERE o.run_id = %(run)s AND o.token_id = ANY((SELECT keys FROM them)::text[])
    ORDER BY o.token_id, o.is_terminal DESC, o.recorded_at DESC, o.outcome_id DESC
)
SELECT outcome, count(*) FROM last GROUP BY outcome
UNION ALL
SELECT '', coalesce(cardinality(keys), 0) - (SELECT count(*) FROM last) FROM them
"""


@dataclass(frozen=True, kw_only=True)
class Stop:
    """A visit that matters to the end; `attempt` of `attempts` counts from one."""

    state_id: str
    node: NodeFacts
    attempt: int
    attempts: int


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a token was made and ended.

    `decided` is the last visit that chose an edge, `failed` the last one if it failed, `seen` the
    last one at all. `written` is the file or address of the output that it is in. `siblings` and
    `children` say how those made with it and out of it ended. `place` of `places` is its place in
    the batch.
    """

    run_id: str
    row_id: str
    row_index: int
    token_id: str
    made: str
    branch: str | None
    parents: int
    outcome: str
    sink_name: str | None
    batch_id: str | None
    place: int | None
    places: int
    decided: Stop | None
    labels: tuple[str, ...]
    reason: Reason | None
    failed: Stop | None
    error: str | None
    seen: Stop | None
    retried: Stop | None
    written: str | None
    confirmed: bool
    siblings: tuple[OutcomeCount, ...]
    children: tuple[OutcomeCount, ...]


def tell_ending(*, run_id: str, token_id: str) -> Ending:
    """Gather how one token ended, in at most 18 queries however long its story is.

    Reads the row and the reason from their payloads where they are there and small.

    Raises:
        NotRecorded: there is no such token in the run.
    """
    of_it = {"run_id": run_id, "token_id": token_id}
    token = Token.objects.filter(**of_it).select_related("row").first()
    if token is None:
        raise NotRecorded("token", token_id)
    verdict = (
        TokenOutcome.objects.filter(**of_it)
        .defer("context_json")
        .order_by("is_terminal", "recorded_at", "outcome_id")
        .last()
    )
    visits = list(
        NodeState.objects.filter(**of_it)
        .annotate(error_head=Left("error_json", ERROR_READ))
        .only("state_id", "node_id", "step_index", "attempt", "status", "input_hash", "error_ref")
        .order_by("-step_index", "-attempt", "-state_id")[:VISITS_READ]
    )
    nodes = read_nodes(run_id, (visit.node_id for visit in visits))
    stops = [_stop(visit, visits, nodes) for visit in visits]
    decided, labels, reason = _decision(token, visits, stops)
    last_failed = bool(visits) and visits[0].status in FAILED
    blamed = next((place for place, visit in enumerate(visits) if visit.status in FAILED), None)
    batch_id = verdict.batch_id if verdict else None
    place, places = _place(run_id, token_id, batch_id)
    parents = TokenParent.objects.filter(**of_it)
    return Ending(
        run_id=run_id,
        row_id=token.row_id,
        row_index=token.row.row_index,
        token_id=token_id,
        made=_made(token),
        branch=token.branch_name,
        parents=parents.count(),
        outcome=verdict.outcome if verdict else "",
        sink_name=verdict.sink_name if verdict else None,
        batch_id=batch_id,
        place=place,
        places=places,
        decided=decided,
        labels=labels,
        reason=reason,
        failed=stops[blamed] if blamed is not None else None,
        error=_error(visits[blamed]) if blamed is not None else None,
        seen=stops[0] if stops and not last_failed else None,
        retried=next((stop for stop in stops if stop.attempts > 1), None),
        written=_written(of_it),
        confirmed=any(
            visit.status == NodeStateStatus.COMPLETED and nodes[visit.node_id].kind == NodeType.SINK
            for visit in visits
        ),
        siblings=_siblings(token),
        children=_ended(_CHILDREN, {"run": run_id, "token": token_id}),
    )


def _made(token: Token) -> str:
    if token.join_group_id is not None:
        return "merge"
    if token.fork_group_id is not None:
        return "fork"
    return "expansion" if token.expand_group_id is not None else "initial"


def _stop(visit: NodeState, visits: Sequence[NodeState], nodes: Mapping[str, NodeFacts]) -> Stop:
    here = (visit.node_id, visit.step_index)
    attempts = [each.attempt for each in visits if (each.node_id, each.step_index) == here]
    return Stop(
        state_id=visit.state_id,
        node=nodes[visit.node_id],
        attempt=visit.attempt + 1,
        attempts=max(attempts) + 1,
    )


def _decision(
    token: Token, visits: Sequence[NodeState], stops: Sequence[Stop]
) -> tuple[Stop | None, tuple[str, ...], Reason | None]:
    """The last choice that was made for a token. Visits come latest first."""
    events = list(
        RoutingEvent.objects.filter(run_id=token.run_id, state__token_id=token.token_id)
        .select_related("edge")
        .order_by("-state__step_index", "-state__attempt", "-state_id", "ordinal")[:20]
    )
    known = {visit.state_id: place for place, visit in enumerate(visits)}
    events = [event for event in events if event.state_id in known]
    if not events:
        return None, (), None
    first = events[0]
    chosen = [event for event in events if event.state_id == first.state_id]
    place = known[first.state_id]
    visit = visits[place]
    gate = (
        Node.objects.filter(run_id=token.run_id, node_id=visit.node_id)
        .annotate(config_head=Left("config_json", READ_AT_MOST))
        .values_list("config_head", flat=True)
        .first()
    )
    # The gate saw the row itself only where what it was given has the row's hash.
    same = visit.input_hash == token.row.source_data_hash
    row = read_json(token.row.source_data_ref) if same else None
    version = Run.objects.values_list("canonical_version", flat=True).get(run_id=token.run_id)
    reason = tell_reason(
        event=first,
        config=gate,
        version=version,
        row=row if isinstance(row, dict) else None,
    )
    return stops[place], tuple(event.edge.label for event in chosen), reason


def _error(visit: Any) -> str | None:
    if not are_revealed():
        return WITHHELD if visit.error_head is not None or visit.error_ref is not None else None
    if visit.error_head is not None:
        return headline(visit.error_head)
    told = read_json(visit.error_ref)
    if isinstance(told, dict):
        for key in ("message", "reason", "failure_reason", "error", "exception"):
            if isinstance(told.get(key), str):
                return " ".join(masked(told[key]).split())
    return masked(told) if isinstance(told, str) else None


def _place(run_id: str, token_id: str, batch_id: str | None) -> tuple[int | None, int]:
    members = BatchMember.objects.filter(run_id=run_id, batch_id=batch_id)
    own = members.filter(token_id=token_id).values_list("ordinal", flat=True).first()
    return (None if own is None else own + 1, members.count())


def _written(of_it: Mapping[str, str]) -> str | None:
    outputs = ArtifactMember.objects.filter(**of_it).order_by("artifact__created_at", "artifact_id")
    return outputs.values_list("artifact__path_or_uri", flat=True).first()


def _siblings(token: Token) -> tuple[OutcomeCount, ...]:
    """The others that were made of the same parent in one expansion. One query."""
    if token.expand_group_id is None:
        return ()
    return _ended(
        _TOGETHER,
        {"run": token.run_id, "token": token.token_id, "group": token.expand_group_id},
    )


def _ended(keys: str, asked: dict[str, str]) -> tuple[OutcomeCount, ...]:
    with connection.cursor() as cursor:
        cursor.execute(_ENDED.format(keys=keys), asked)
        return in_order({verdict or "": int(tokens) for verdict, tokens in cursor if tokens})
