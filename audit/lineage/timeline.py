"""Everything that was recorded of a row or a token, as one list in the order of time."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import connection

from audit.lineage.contents import told

if TYPE_CHECKING:
    from collections.abc import Collection

EVENTS_A_PAGE = 200
TEXT_READ = 160

# One line for each kind of event. Equal times are told in the order of the steps, and at one step
# attempt by attempt, each as a visit goes on; `nth` and the key make the order whole.
_EVENTS = """
WITH told AS MATERIALIZED (SELECT unnest(%(tokens)s::text[]) AS token_id),
visits AS (
    SELECT s.*, 4 * s.attempt::bigint AS turn FROM told k JOIN node_states s
        ON s.run_id = %(run)s AND s.token_id = k.token_id
), waited AS (
    SELECT b.*, min(m.token_id) AS token_id
    FROM told k
    JOIN batch_members m ON m.run_id = %(run)s AND m.token_id = k.token_id
    JOIN batches b ON b.run_id = %(run)s AND b.batch_id = m.batch_id
    GROUP BY b.run_id, b.batch_id
), written AS (
    SELECT a.*, min(m.token_id) AS token_id, bool_and(m.inferred) AS inferred
    FROM told k
    JOIN artifact_members m ON m.run_id = %(run)s AND m.token_id = k.token_id
    JOIN artifacts a ON a.run_id = %(run)s AND a.artifact_id = m.artifact_id
    GROUP BY a.run_id, a.artifact_id
), events (at, step, rank, nth, key, kind, token_id, state_id, node_id, word, text, ms) AS (
    SELECT created_at, -3, 0::bigint, 0, row_id::text, 'row', NULL::text, NULL::text,
           source_node_id::text, NULL::text, row_index::text, NULL::float8
    FROM rows WHERE run_id = %(run)s AND row_id = ANY(%(rows)s)
    UNION ALL
    SELECT created_at, -2, 0, 0, error_id, 'refused', NULL, NULL, node_id, destination,
           left(error, %(read)s), NULL
    FROM validation_errors WHERE run_id = %(run)s AND row_id = ANY(%(rows)s)
    UNION ALL
    SELECT t.created_at, coalesce(t.step_in_pipeline, -1), -1, 0, t.token_id, 'token', t.token_id,
           NULL, NULL,
           CASE WHEN t.join_group_id IS NOT NULL THEN 'merge'
                WHEN t.fork_group_id IS NOT NULL THEN 'fork'
                WHEN t.expand_group_id IS NOT NULL THEN 'expansion'
                WHEN EXISTS (SELECT FROM token_parents p WHERE p.run_id = %(run)s
                             AND p.token_id = t.token_id) THEN 'unknown' ELSE 'initial' END,
           t.branch_name, NULL
    FROM told k JOIN tokens t ON t.run_id = %(run)s AND t.token_id = k.token_id
    UNION ALL
    SELECT started_at, step_index, turn, attempt, state_id, 'begun', token_id, state_id, node_id,
           NULL, attempt::text, NULL FROM visits
    UNION ALL
    SELECT completed_at, step_index, turn + 3, attempt, state_id, 'ended', token_id, state_id,
           node_id, status, left(error_json, %(read)s), duration_ms
    FROM visits WHERE completed_at IS NOT NULL
    UNION ALL
    SELECT c.created_at, v.step_index, v.turn + 1, c.call_index, c.call_id, 'call', v.token_id,
           v.state_id, v.node_id, c.status, c.call_type, c.latency_ms
    FROM visits v JOIN calls c ON c.run_id = %(run)s AND c.state_id = v.state_id
    UNION ALL
    SELECT r.created_at, v.step_index, v.turn + 2, r.ordinal, r.event_id, 'route', v.token_id,
           v.state_id, e.to_node_id, r.mode, left(e.label, %(read)s), NULL
    FROM visits v
    JOIN routing_events r ON r.run_id = %(run)s AND r.state_id = v.state_id
    JOIN edges e ON e.run_id = %(run)s AND e.edge_id = r.edge_id
    UNION ALL
    SELECT x.created_at, 2147483640, 0, 0, x.error_id, 'rejected', x.token_id, x.state_id,
           x.transform_id, x.destination, left(x.error_details_json, %(read)s), NULL
    FROM told k JOIN transform_errors x ON x.run_id = %(run)s AND x.token_id = k.token_id
    UNION ALL
    SELECT created_at, 2147483641, 0, attempt, batch_id, 'batch', token_id, NULL,
           aggregation_node_id, NULL, NULL, NULL FROM waited
    UNION ALL
    SELECT completed_at, 2147483642, 0, attempt, batch_id, 'batch_ended', token_id, NULL,
           aggregation_node_id, status, trigger_type, NULL
    FROM waited WHERE completed_at IS NOT NULL
    UNION ALL
    SELECT created_at, 2147483643, 0, 0, artifact_id, 'artifact', token_id, produced_by_state_id,
           sink_node_id, CASE WHEN inferred THEN 'inferred' ELSE 'recorded' END,
           left(path_or_uri, %(read)s), NULL FROM written
    UNION ALL
    SELECT o.recorded_at, 2147483644, CASE WHEN o.is_terminal THEN 1 ELSE 0 END, 0, o.outcome_id,
           'outcome', o.token_id, NULL, NULL, o.outcome, left(o.sink_name, %(read)s), NULL
    FROM told k JOIN token_outcomes o ON o.run_id = %(run)s AND o.token_id = k.token_id
)
SELECT at, step, rank, nth, key, kind, token_id, state_id, node_id, word, text, ms FROM events
WHERE %(at)s::timestamptz IS NULL
   OR (at, step, rank, nth, kind COLLATE "C", key COLLATE "C")
      > (%(at)s::timestamptz, %(step)s, %(rank)s, %(nth)s, %(kind)s, %(key)s)
ORDER BY at, step, rank, nth, kind COLLATE "C", key COLLATE "C" LIMIT %(rows_read)s
"""


# Events whose text is what an error says.
_CONTENTS = {"ended", "rejected", "refused"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where in the list an event stands."""

    at: datetime
    step: int
    rank: int
    nth: int
    kind: str
    key: str

    def __str__(self) -> str:
        return f"{self.at.isoformat()}~{self.step}~{self.rank}~{self.nth}~{self.kind}~{self.key}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One event; which of the others is there depends on its `place.kind`.

    `row` was delivered, `refused` by validation, `token` made (`word` says how, `text` its
    branch), a visit `begun` or `ended` (`word` its status), `call`, `route` (`node_id` is where
    to, `text` the label), `rejected` by a transform, `batch` opened, `batch_ended`, `artifact`
    written (`word`: recorded or inferred), `outcome`. `ms` is how long it took.
    """

    place: Place
    token_id: str | None
    state_id: str | None
    node_id: str | None
    word: str | None
    text: str | None
    ms: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """A page of events; `next_after` is where the next page goes on, None at the end."""

    events: tuple[Event, ...]
    next_after: Place | None


def place_of(text: str) -> Place:
    """The place that was written as this text.

    Raises:
        ValueError: it is none.
    """
    at, step, rank, nth, kind, key = text.split("~", 5)
    instant = datetime.fromisoformat(at)
    numbers = {"step": int(step), "rank": int(rank), "nth": int(nth)}
    if instant.tzinfo is None or any(abs(number) >= 2**40 for number in numbers.values()):
        raise ValueError(text)
    return Place(at=instant, kind=kind, key=key, **numbers)


def read_timeline(
    *,
    run_id: str,
    tokens: Collection[str],
    rows: Collection[str] = (),
    after: Place | None = None,
    limit: int = EVENTS_A_PAGE,
) -> Timeline:
    """What was recorded of these tokens, and of these rows before them. One query.

    Events that have no time, like the members of a batch, are told with what has one.
    """
    since = {each.name: getattr(after, each.name, None) for each in fields(Place)}
    with connection.cursor() as cursor:
        cursor.execute(
            _EVENTS,
            {
                "run": run_id,
                "tokens": list(tokens),
                "rows": list(rows),
                "read": TEXT_READ,
                "rows_read": limit + 1,
                **since,
            },
        )
        found = cursor.fetchall()
    events = tuple(
        Event(
            place=Place(at=at, step=step, rank=rank, nth=nth, kind=kind, key=key),
            token_id=token,
            state_id=state,
            node_id=node,
            word=word,
            text=told(text) if kind in _CONTENTS else text,
            ms=ms,
        )
        for at, step, rank, nth, key, kind, token, state, node, word, text, ms in found[:limit]
    )
    return Timeline(events=events, next_after=events[-1].place if len(found) > limit else None)
