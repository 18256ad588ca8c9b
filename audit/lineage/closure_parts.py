"""The records of the tokens of a lineage: one query for each kind, never one for each token."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from django.db import connection

from audit.lineage.closure_facts import (
    BY_EXPANSION,
    BY_FORK,
    BY_MERGE,
    BY_UNKNOWN,
    FROM_SOURCE,
    BatchFacts,
    ParentLink,
    RouteTaken,
    TokenFacts,
    VisitFacts,
)
from audit.vocabulary import Outcome, OutputType

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

# The verdict that counts is the final one, else the latest.
_TOKENS = """
SELECT t.token_id, t.row_id, r.row_index, t.branch_name, t.fork_group_id, t.join_group_id,
       t.expand_group_id, t.created_at, o.outcome, o.is_terminal, o.sink_name, o.error_hash,
       o.batch_id, r.source_data_hash
FROM unnest(%(tokens)s::text[]) AS k(id)
JOIN tokens t ON t.run_id = %(run)s AND t.token_id = k.id
JOIN rows r ON r.run_id = t.run_id AND r.row_id = t.row_id
LEFT JOIN LATERAL (
    SELECT * FROM token_outcomes x WHERE x.run_id = %(run)s AND x.token_id = k.id
    ORDER BY x.is_terminal DESC, x.recorded_at DESC, x.outcome_id DESC LIMIT 1) o ON true
"""

_LINKS = """
SELECT p.token_id, p.parent_token_id, p.ordinal
FROM unnest(%(tokens)s::text[]) AS k(id)
JOIN token_parents p ON p.run_id = %(run)s AND p.token_id = k.id
"""

_VISITS = """
SELECT s.state_id, s.token_id, s.node_id, s.step_index, s.attempt, s.status, s.started_at,
       s.completed_at, s.duration_ms, s.input_hash, s.output_hash,
       coalesce(s.error_hash, CASE WHEN s.error_json IS NOT NULL THEN '' END),
       c.calls, c.failed,
       (SELECT json_agg(json_build_array(e.label, r.mode, e.edge_id, e.to_node_id)
                        ORDER BY r.created_at, r.routing_group_id, r.ordinal)
        FROM routing_events r JOIN edges e ON e.run_id = r.run_id AND e.edge_id = r.edge_id
        WHERE r.run_id = %(run)s AND r.state_id = s.state_id)::text
FROM unnest(%(tokens)s::text[]) AS k(id)
JOIN node_states s ON s.run_id = %(run)s AND s.token_id = k.id
LEFT JOIN LATERAL (
    SELECT count(*) AS calls, count(*) FILTER (WHERE l.status = 'error') AS failed
    FROM calls l WHERE l.run_id = %(run)s AND l.state_id = s.state_id) c ON true
ORDER BY s.token_id, s.step_index, s.attempt, s.state_id
LIMIT %(rows)s
"""

_BATCHES = """
WITH mine AS (
    SELECT m.batch_id, json_agg(json_build_array(m.token_id, m.ordinal) ORDER BY m.ordinal) AS them
    FROM unnest(%(tokens)s::text[]) AS k(id)
    JOIN batch_members m ON m.run_id = %(run)s AND m.token_id = k.id
    GROUP BY m.batch_id
)
SELECT b.batch_id, b.aggregation_node_id, b.aggregation_state_id, b.status, b.trigger_type,
       b.attempt, mine.them::text,
       (SELECT count(*) FROM batch_members m
        WHERE m.run_id = b.run_id AND m.batch_id = b.batch_id),
       (SELECT json_agg(json_build_array(u.output_type, u.output_id)
                        ORDER BY u.output_type, u.output_id)
        FROM batch_outputs u WHERE u.run_id = b.run_id AND u.batch_id = b.batch_id
          AND (u.output_type <> 'token' OR u.output_id = ANY(%(tokens)s)))::text,
       EXISTS (SELECT FROM batch_outputs u
               WHERE u.run_id = b.run_id AND u.batch_id = b.batch_id),
       s.state_id, s.token_id, s.node_id, s.step_index, s.attempt, s.status, s.started_at,
       s.completed_at, s.duration_ms, s.input_hash, s.output_hash, s.error_hash,
       (SELECT count(*) FROM calls l WHERE l.run_id = b.run_id AND l.state_id = s.state_id),
       (SELECT count(*) FROM calls l WHERE l.run_id = b.run_id AND l.state_id = s.state_id
        AND l.status = 'error')
FROM batches b LEFT JOIN mine ON mine.batch_id = b.batch_id
LEFT JOIN LATERAL (
    SELECT * FROM node_states w
    WHERE w.run_id = b.run_id AND w.state_id = b.aggregation_state_id OFFSET 0) s ON true
WHERE b.run_id = %(run)s AND b.batch_id = ANY(%(batches)s)
ORDER BY b.created_at, b.batch_id
"""


def read_links(*, run_id: str, tokens: Collection[str]) -> tuple[ParentLink, ...]:
    """Who came from whom, with every parent on record, ordered by child and place. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_LINKS, {"run": run_id, "tokens": list(tokens)})
        found = sorted(cursor.fetchall(), key=lambda row: (row[0], row[2]))
    return tuple(ParentLink(token_id=t, parent_id=p, ordinal=o) for t, p, o in found)


def read_tokens(
    *, run_id: str, tokens: Collection[str], links: Iterable[ParentLink]
) -> tuple[dict[str, TokenFacts], dict[str, str]]:
    """The tokens in the order given, and the content hash of each of their rows. One query."""
    first: dict[str, ParentLink] = {}
    for link in links:
        first.setdefault(link.token_id, link)
    with connection.cursor() as cursor:
        cursor.execute(_TOKENS, {"run": run_id, "tokens": list(tokens)})
        found = {row[0]: row for row in cursor.fetchall()}
    facts = {key: _token(found[key], first.get(key)) for key in tokens if key in found}
    return facts, {row[1]: row[13] for row in found.values()}


def _token(row: Sequence[Any], link: ParentLink | None) -> TokenFacts:
    token_id, row_id, row_index, branch, fork, join, expansion = row[:7]
    if join is not None:
        made, group = BY_MERGE, join
    elif fork is not None:
        made, group = BY_FORK, fork
    elif expansion is not None:
        made, group = BY_EXPANSION, expansion
    else:
        made, group = (BY_UNKNOWN if link else FROM_SOURCE), None
    return TokenFacts(
        token_id=token_id,
        row_id=row_id,
        row_index=row_index,
        branch_name=branch,
        made=made,
        group_id=group,
        # The place among the parents is no place among siblings.
        ordinal=link.ordinal if link and made in (BY_FORK, BY_EXPANSION) else 0,
        outcome=row[8],
        is_terminal=bool(row[9]),
        sink_name=row[10],
        error_hash=row[11],
        batch_id=row[12],
        created_at=row[7],
    )


def read_visits(
    *, run_id: str, tokens: Collection[str], limit: int
) -> tuple[dict[str, tuple[VisitFacts, ...]], bool]:
    """The visits of each token in the order of steps and attempts; and whether some were cut.

    One query.
    """
    with connection.cursor() as cursor:
        cursor.execute(_VISITS, {"run": run_id, "tokens": list(tokens), "rows": limit + 1})
        found = cursor.fetchall()
    cut, found = len(found) > limit, found[:limit]
    attempts = Counter((row[1], row[2], row[3]) for row in found)
    visits: dict[str, list[VisitFacts]] = defaultdict(list)
    for row in found:
        visits[row[1]].append(
            VisitFacts(
                state_id=row[0],
                token_id=row[1],
                node_id=row[2],
                step_index=row[3],
                attempt=row[4],
                attempts=attempts[row[1], row[2], row[3]],
                status=row[5],
                started_at=row[6],
                completed_at=row[7],
                duration_ms=row[8],
                input_hash=row[9],
                output_hash=row[10],
                error_hash=row[11],
                calls=row[12],
                calls_failed=row[13],
                routes=_routes(row[14]),
            )
        )
    return {key: tuple(made) for key, made in visits.items()}, cut


def _routes(text: str | None) -> tuple[RouteTaken, ...]:
    if text is None:
        return ()
    return tuple(
        RouteTaken(label=label, mode=mode, edge_id=edge, to_node_id=to)
        for label, mode, edge, to in json.loads(text)
    )


def read_batches(
    *,
    run_id: str,
    batches: Collection[str],
    tokens: Mapping[str, TokenFacts],
    links: Iterable[ParentLink],
) -> tuple[BatchFacts, ...]:
    """The batches with their members and outputs in this lineage, oldest first. One query.

    Outputs that no record names are inferred from the verdicts, as the walk does, and marked.
    """
    with connection.cursor() as cursor:
        cursor.execute(_BATCHES, {"run": run_id, "tokens": list(tokens), "batches": list(batches)})
        found = cursor.fetchall()
    children: dict[str, list[str]] = defaultdict(list)
    for link in links:
        children[link.parent_id].append(link.token_id)
    facts = []
    for row in found:
        members = tuple((token, place) for token, place in json.loads(row[6] or "[]"))
        recorded = tuple((kind, key) for kind, key in json.loads(row[8] or "[]"))
        outputs = recorded
        if not row[9] and row[3] == "completed":
            outputs = _inferred(members, tokens, children)
        facts.append(
            BatchFacts(
                batch_id=row[0],
                node_id=row[1],
                state_id=row[2],
                status=row[3],
                trigger_type=row[4],
                attempt=row[5],
                members_total=row[7],
                members=members,
                outputs=outputs,
                inferred=not row[9] and bool(outputs),
                visit=_worked(row[10:]) if row[10] is not None else None,
            )
        )
    return tuple(facts)


def _worked(row: Sequence[Any]) -> VisitFacts:
    return VisitFacts(
        state_id=row[0],
        token_id=row[1],
        node_id=row[2],
        step_index=row[3],
        attempt=row[4],
        attempts=row[4] + 1,
        status=row[5],
        started_at=row[6],
        completed_at=row[7],
        duration_ms=row[8],
        input_hash=row[9],
        output_hash=row[10],
        error_hash=row[11],
        calls=row[12],
        calls_failed=row[13],
        routes=(),
    )


def _inferred(
    members: Sequence[tuple[str, int]],
    tokens: Mapping[str, TokenFacts],
    children: Mapping[str, Sequence[str]],
) -> tuple[tuple[str, str], ...]:
    consumed = {place for key, place in members if tokens[key].outcome == Outcome.CONSUMED_IN_BATCH}
    outputs = []
    for key, place in members:
        token = tokens[key]
        if place in consumed:
            outputs += [child for child in children.get(key, ()) if child in tokens]
        elif (
            token.is_terminal
            and token.outcome not in (Outcome.FAILED, Outcome.QUARANTINED)
            and consumed & {place - 1, place + 1}
        ):
            outputs.append(key)
    return tuple((OutputType.TOKEN.value, key) for key in outputs)


def came_out(tokens: Mapping[str, TokenFacts], batches: Iterable[BatchFacts]) -> dict[str, str]:
    """The tokens that were made by a batch, and by which. A member that went on was not made."""
    made = {}
    for batch in batches:
        members = {key for key, _place in batch.members}
        for kind, key in batch.outputs:
            if kind == OutputType.TOKEN and key in tokens and key not in members:
                made[key] = batch.batch_id
    return made
