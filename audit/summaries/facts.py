"""One pass over a run: what became of every token and every row, in temporary tables.

`told_tokens` has one line for each token, `told_rows` one for each row; ledger and journeys are
counted from them. A token's path is what its last attempt at every place came to and what was
chosen there; a row's path is the set of its tokens' paths, each taken by one token or by several.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from audit.vocabulary import Outcome, RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.backends.utils import CursorWrapper

# Where a token stands when no verdict says so.
UNACCOUNTED = "unaccounted"
OPEN = "open"
REFUSED = "refused"
DELIVERED = "delivered"

# The worst first: a row is counted once, under the worst that befell any of its tokens.
STANDINGS = (
    UNACCOUNTED,
    Outcome.FAILED.value,
    Outcome.QUARANTINED.value,
    REFUSED,
    OPEN,
    Outcome.BUFFERED.value,
    Outcome.ROUTED.value,
    Outcome.COMPLETED.value,
    DELIVERED,
    Outcome.CONSUMED_IN_BATCH.value,
    Outcome.COALESCED.value,
    Outcome.FORKED.value,
    Outcome.EXPANDED.value,
)

# A run that says so of itself leaves no token without an end; others may.
_ENDED_WELL = (RunStatus.COMPLETED, RunStatus.COMPLETED_WITH_FAILURES, RunStatus.EMPTY)

_TOKENS = """
CREATE TEMPORARY TABLE told_tokens ON COMMIT DROP AS
WITH visits AS (
    SELECT token_id, step_index, node_id, state_id, status, attempt > 0 AS retried
    FROM node_states s WHERE run_id = %(run)s AND NOT EXISTS (
        SELECT FROM node_states later WHERE later.run_id = %(run)s AND later.attempt > 0
        AND later.token_id = s.token_id AND later.step_index = s.step_index
        AND later.node_id = s.node_id AND later.attempt > s.attempt)
), routes AS (
    SELECT state_id, array_agg(edge_id ORDER BY edge_id)::text AS edges
    FROM routing_events WHERE run_id = %(run)s GROUP BY state_id
), paths AS (
    SELECT v.token_id, bool_or(v.retried) AS retried,
           bool_or(v.status = 'completed' AND n.node_type = 'sink') AS delivered,
           (array_agg(v.node_id ORDER BY v.step_index, v.node_id))[count(*)] AS last_node,
           string_agg(ROW(v.node_id, v.status, v.retried, r.edges)::text, ''
                      ORDER BY v.step_index, v.node_id) AS path
    FROM visits v
    JOIN nodes n ON n.run_id = %(run)s AND n.node_id = v.node_id
    LEFT JOIN routes r ON r.state_id = v.state_id
    GROUP BY v.token_id
), spans AS (
    SELECT token_id, min(started_at) AS started_at, max(completed_at) AS ended_at
    FROM node_states WHERE run_id = %(run)s GROUP BY token_id
), verdicts AS (
    SELECT DISTINCT ON (token_id) token_id, outcome, sink_name, batch_id
    FROM token_outcomes WHERE run_id = %(run)s
    ORDER BY token_id, is_terminal DESC, recorded_at DESC, outcome_id DESC
), parents AS (
    SELECT DISTINCT parent_token_id AS token_id FROM token_parents WHERE run_id = %(run)s
), put_out AS (
    SELECT DISTINCT output_id AS token_id FROM batch_outputs
    WHERE run_id = %(run)s AND output_type = 'token'
), told AS (
    SELECT t.token_id, t.row_id, t.branch_name, p.path, p.last_node, v.sink_name,
           coalesce(v.outcome, '') AS outcome, coalesce(p.retried, false) AS retried,
           coalesce(p.delivered, false) AS delivered, s.started_at, s.ended_at,
           coalesce(b.aggregation_node_id, p.last_node) AS place,
           CASE WHEN t.join_group_id IS NOT NULL THEN 'merge'
                WHEN t.fork_group_id IS NOT NULL THEN 'fork'
                WHEN t.expand_group_id IS NOT NULL THEN 'expansion'
                WHEN o.token_id IS NOT NULL THEN 'batch'
                ELSE 'source' END AS made,
           CASE WHEN v.outcome IN ('completed', 'routed', 'failed', 'quarantined',
                                   'consumed_in_batch') THEN v.outcome
                WHEN v.outcome IN ('forked', 'expanded', 'coalesced') AND c.token_id IS NOT NULL
                     THEN v.outcome
                WHEN p.delivered THEN 'delivered'
                WHEN v.outcome = 'buffered' THEN v.outcome
                WHEN %(ended_well)s THEN 'unaccounted'
                ELSE 'open' END AS standing
    FROM tokens t
    LEFT JOIN paths p ON p.token_id = t.token_id
    LEFT JOIN spans s ON s.token_id = t.token_id
    LEFT JOIN verdicts v ON v.token_id = t.token_id
    LEFT JOIN parents c ON c.token_id = t.token_id
    LEFT JOIN put_out o ON o.token_id = t.token_id
    LEFT JOIN batches b ON b.run_id = %(run)s AND b.batch_id = v.batch_id
    WHERE t.run_id = %(run)s
)
SELECT token_id, row_id, branch_name, sink_name, outcome, retried, started_at, ended_at, place,
       made, standing, array_position(%(standings)s::text[], standing::text) AS rank,
       outcome IN ('completed', 'routed') AND NOT delivered AS unconfirmed,
       encode(sha256(convert_to(
           ROW(made, branch_name, standing, outcome, sink_name, path)::text, 'UTF8'
       )), 'hex') AS sign
FROM told
"""

_ROWS = """
CREATE TEMPORARY TABLE told_rows ON COMMIT DROP AS
WITH parts AS (
    SELECT row_id, sign, count(*) > 1 AS several, min(rank) AS rank, bool_or(retried) AS retried,
           min(started_at) AS started_at, max(ended_at) AS ended_at
    FROM told_tokens GROUP BY row_id, sign
), told AS (
    SELECT row_id, min(rank) AS rank, bool_or(retried) AS retried,
           extract(epoch FROM max(ended_at) - min(started_at))::float8 * 1000 AS took_ms,
           string_agg(sign || several::int, '' ORDER BY sign) AS paths
    FROM parts GROUP BY row_id
), refused AS (
    SELECT DISTINCT row_id FROM validation_errors
    WHERE run_id = %(run)s AND row_id IS NOT NULL
)
SELECT r.row_id, r.row_index, r.source_node_id, t.took_ms, coalesce(t.retried, false) AS retried,
       coalesce(t.rank, array_position(%(standings)s::text[],
                        CASE WHEN f.row_id IS NOT NULL THEN 'refused'
                             WHEN %(ended_well)s THEN 'unaccounted' ELSE 'open' END)) AS rank,
       encode(sha256(convert_to(
           coalesce(t.paths, CASE WHEN f.row_id IS NOT NULL THEN 'refused' ELSE '' END), 'UTF8'
       )), 'hex') AS journey
FROM rows r
LEFT JOIN told t ON t.row_id = r.row_id
LEFT JOIN refused f ON f.row_id = r.row_id
WHERE r.run_id = %(run)s
"""


@contextmanager
def told(cursor: CursorWrapper, *, run_id: str, status: str) -> Iterator[None]:
    """Tell what became of everything in a run, while the block runs; needs a transaction."""
    asked: dict[str, Any] = {
        "run": run_id,
        "standings": list(STANDINGS),
        "ended_well": status in _ENDED_WELL,
    }
    for statement in (_TOKENS, _ROWS):
        cursor.execute(statement, asked)
    for table in ("told_tokens", "told_rows"):
        cursor.execute(f"ANALYZE {table}")
    yield
    cursor.execute("DROP TABLE told_tokens, told_rows")
