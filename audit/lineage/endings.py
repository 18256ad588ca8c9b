"""How one token ended and why: what a single sentence about it needs, in few queries."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from django.db import connection

from audit import blobs
from audit.errors import NotRecorded
from audit.lineage.contents import WITHHELD, are_revealed
from audit.lineage.excerpts import headline
from audit.lineage.figures import OutcomeCount, in_order
from audit.lineage.nodes import NodeFacts, node_name
from audit.lineage.reasons import READ_AT_MOST, Reason, read_json, tell_reason
from audit.masking import masked
from audit.vocabulary import NodeStateStatus, NodeType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from audit.models import Payload

VISITS_READ = 500
ERROR_READ = 2_000
FAILED = {NodeStateStatus.FAILED.value, NodeStateStatus.REJECTED.value}

_ITSELF = """
SELECT t.row_id, r.row_index, t.branch_name AS branch, t.fork_group_id, t.join_group_id,
       t.expand_group_id, r.source_data_hash, r.source_data_ref, u.canonical_version,
       coalesce(o.outcome, '') AS outcome, o.sink_name, o.batch_id,
       (SELECT m.ordinal + 1 FROM batch_members m
        WHERE m.run_id = %(run)s AND m.batch_id = o.batch_id AND m.token_id = t.token_id) AS place,
       (SELECT count(*) FROM batch_members m
        WHERE m.run_id = %(run)s AND m.batch_id = o.batch_id) AS places,
       (SELECT count(*) FROM token_parents p
        WHERE p.run_id = %(run)s AND p.token_id = %(token)s) AS parents,
       (SELECT a.path_or_uri FROM artifact_members l
        JOIN artifacts a ON a.run_id = l.run_id AND a.artifact_id = l.artifact_id
        WHERE l.run_id = %(run)s AND l.token_id = %(token)s
        ORDER BY a.created_at, a.artifact_id LIMIT 1) AS written
FROM tokens t
JOIN rows r ON r.run_id = t.run_id AND r.row_id = t.row_id
JOIN runs u ON u.run_id = t.run_id
LEFT JOIN LATERAL (
    SELECT x.outcome, x.sink_name, x.batch_id FROM token_outcomes x
    WHERE x.run_id = %(run)s AND x.token_id = %(token)s
    ORDER BY x.is_terminal DESC, x.recorded_at DESC, x.outcome_id DESC LIMIT 1) o ON true
WHERE t.run_id = %(run)s AND t.token_id = %(token)s
"""
_VISITS = """
SELECT s.state_id, s.node_id, s.step_index, s.attempt, s.status, s.input_hash, s.error_ref,
       left(s.error_json, %(head)s) AS error_head, n.node_type, n.plugin_name, n.plugin_version,
       n.determinism
FROM node_states s JOIN nodes n ON n.run_id = s.run_id AND n.node_id = s.node_id
WHERE s.run_id = %(run)s AND s.token_id = %(token)s
ORDER BY s.step_index DESC, s.attempt DESC, s.state_id DESC LIMIT %(visits)s
"""
# The configuration of the gate comes with the first alone: it is long.
_CHOSEN = """
SELECT c.state_id, c.label, c.reason_hash, c.reason_ref,
       CASE WHEN c.number = 1 THEN (
           SELECT left(n.config_json, %(head)s) FROM nodes n
           WHERE n.run_id = %(run)s AND n.node_id = c.node_id) END AS config
FROM (
    SELECT s.state_id, s.node_id, e.label, r.reason_hash, r.reason_ref, row_number() OVER (
        ORDER BY s.step_index DESC, s.attempt DESC, s.state_id DESC, r.ordinal) AS number
    FROM node_states s
    JOIN routing_events r ON r.run_id = s.run_id AND r.state_id = s.state_id
    JOIN edges e ON e.run_id = r.run_id AND e.edge_id = r.edge_id
    WHERE s.run_id = %(run)s AND s.token_id = %(token)s
    ORDER BY number LIMIT 20) c
ORDER BY c.number
"""
_CHILDREN = """
SELECT p.token_id FROM token_parents p
WHERE p.run_id = %(run)s AND p.parent_token_id = %(token)s
"""
_SIBLINGS = """
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
SELECT {kind} AS kind, outcome, tokens FROM (
    WITH them AS MATERIALIZED (SELECT array_agg(token_id)::text[] AS keys FROM ({keys}) k),
    last AS MATERIALIZED (
        SELECT DISTINCT ON (o.token_id) o.token_id, o.outcome FROM token_outcomes o
        WHERE o.run_id = %(run)s AND o.token_id = ANY((SELECT keys FROM them)::text[])
        ORDER BY o.token_id, o.is_terminal DESC, o.recorded_at DESC, o.outcome_id DESC
    )
    SELECT outcome, count(*) AS tokens FROM last GROUP BY outcome
    UNION ALL
    SELECT '', coalesce(cardinality(keys), 0) - (SELECT count(*) FROM last) FROM them
) counted
"""
_ALONE = _ENDED.format(kind="'children'", keys=_CHILDREN)
# Only where the token was made by an expansion.
_AMONG_OTHERS = f"""{_ALONE} UNION ALL {_ENDED.format(kind="'siblings'", keys=_SIBLINGS)}"""


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
    """Gather how one token ended, in at most five queries however long its story is.

    Reads the row, the reason and the error from their payloads where they are there and small.

    Raises:
        NotRecorded: there is no such token in the run.
    """
    of_it = {"run": run_id, "token": token_id}
    found = _asked(_ITSELF, of_it)
    if not found:
        raise NotRecorded("token", token_id)
    (token,) = found
    visits = _asked(_VISITS, {**of_it, "head": ERROR_READ, "visits": VISITS_READ})
    stops = _stops(visits)
    known = {visit.state_id: place for place, visit in enumerate(visits)}
    events = [
        event
        for event in _asked(_CHOSEN, {**of_it, "head": READ_AT_MOST})
        if event.state_id in known
    ]
    blamed = next((place for place, visit in enumerate(visits) if visit.status in FAILED), None)
    decided = known[events[0].state_id] if events else None
    contents = _contents(
        token,
        events[0] if events else None,
        visits[decided] if decided is not None else None,
        visits[blamed] if blamed is not None else None,
    )
    last_failed = bool(visits) and visits[0].status in FAILED
    siblings, children = _others(of_it, token.expand_group_id)
    return Ending(
        run_id=run_id,
        row_id=token.row_id,
        row_index=token.row_index,
        token_id=token_id,
        made=_made(token),
        branch=token.branch,
        parents=token.parents,
        outcome=token.outcome,
        sink_name=token.sink_name,
        batch_id=token.batch_id,
        place=token.place,
        places=token.places,
        decided=stops[decided] if decided is not None else None,
        labels=tuple(event.label for event in events if event.state_id == events[0].state_id),
        reason=contents.reason,
        failed=stops[blamed] if blamed is not None else None,
        error=contents.error,
        seen=stops[0] if stops and not last_failed else None,
        retried=next((stop for stop in stops if stop.attempts > 1), None),
        written=token.written,
        confirmed=any(
            visit.status == NodeStateStatus.COMPLETED and visit.node_type == NodeType.SINK
            for visit in visits
        ),
        siblings=siblings,
        children=children,
    )


def _asked(statement: str, parameters: Mapping[str, str | int | None]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        names = [column.name for column in cursor.description]
        return [SimpleNamespace(**dict(zip(names, values, strict=True))) for values in cursor]


def _made(token: Any) -> str:
    if token.join_group_id is not None:
        return "merge"
    if token.fork_group_id is not None:
        return "fork"
    return "expansion" if token.expand_group_id is not None else "initial"


def _stops(visits: Sequence[Any]) -> list[Stop]:
    """The visits, latest first, each with how many attempts there were at its place."""
    attempts: dict[tuple[str, int], int] = {}
    for visit in visits:
        here = (visit.node_id, visit.step_index)
        attempts[here] = max(attempts.get(here, 0), visit.attempt + 1)
    return [
        Stop(
            state_id=visit.state_id,
            node=NodeFacts(
                node_id=visit.node_id,
                name=node_name(visit.node_id),
                kind=visit.node_type,
                plugin=visit.plugin_name,
                version=visit.plugin_version,
                determinism=visit.determinism,
            ),
            attempt=visit.attempt + 1,
            attempts=attempts[visit.node_id, visit.step_index],
        )
        for visit in visits
    ]


@dataclass(frozen=True, kw_only=True)
class _Contents:
    """Why the last choice was made, and what the blamed visit said."""

    reason: Reason | None
    error: str | None


def _contents(token: Any, event: Any, decided: Any, blamed: Any) -> _Contents:
    # The gate saw the row itself only where what it was given has the row's hash.
    same = decided is not None and decided.input_hash == token.source_data_hash
    row_ref = token.source_data_ref if same else None
    error_ref = blamed.error_ref if blamed is not None and blamed.error_head is None else None
    refs = {row_ref, event and event.reason_ref, error_ref} - {None}
    known = blobs.known(refs=refs)
    row = read_json(row_ref, known)
    return _Contents(
        reason=tell_reason(
            event=event,
            told=read_json(event.reason_ref, known),
            version=token.canonical_version,
            row=row if isinstance(row, dict) else None,
        )
        if event is not None
        else None,
        error=_error(blamed, known) if blamed is not None else None,
    )


def _error(visit: Any, known: Mapping[str, Payload]) -> str | None:
    if not are_revealed():
        return WITHHELD if visit.error_head is not None or visit.error_ref is not None else None
    if visit.error_head is not None:
        return headline(visit.error_head)
    told = read_json(visit.error_ref, known)
    if isinstance(told, dict):
        for key in ("message", "reason", "failure_reason", "error", "exception"):
            if isinstance(told.get(key), str):
                return " ".join(masked(told[key]).split())
    return masked(told) if isinstance(told, str) else None


def _others(
    of_it: Mapping[str, str], group: str | None
) -> tuple[tuple[OutcomeCount, ...], tuple[OutcomeCount, ...]]:
    """How those expanded of the same parent ended, and those that came of it. One query."""
    counts: dict[str, dict[str, int]] = {"siblings": {}, "children": {}}
    statement = _ALONE if group is None else _AMONG_OTHERS
    for line in _asked(statement, {**of_it, "group": group}):
        if line.tokens:
            counts[line.kind][line.outcome or ""] = int(line.tokens)
    return in_order(counts["siblings"]), in_order(counts["children"])
