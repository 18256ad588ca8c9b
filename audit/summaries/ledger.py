"""Double entry for tokens: what came in and what came of it, for a run and for each node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from audit.summaries.facts import STANDINGS

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

# Unaccounted rows and unconfirmed deliveries that are listed; the rest is counted.
LISTED = 100
PASSED_ON = "passed_on"

_ROWS_IN = """
SELECT source_node_id, count(*) FROM told_rows GROUP BY source_node_id ORDER BY source_node_id
"""
_ROWS_OUT = "SELECT rank, count(*) FROM told_rows GROUP BY rank ORDER BY rank"
_MADE = "SELECT made, count(*) FROM told_tokens GROUP BY made ORDER BY made"
_ENDED = "SELECT standing, count(*) FROM told_tokens GROUP BY standing ORDER BY standing"

# A token was at a node if it visited it, or waited there in a batch. Of what a source delivered,
# a row that never became a token is still there, and so is one whose token went nowhere.
_NODES = """
WITH places AS (
    SELECT s.token_id, s.node_id FROM node_states s
    JOIN nodes n ON n.run_id = %(run)s AND n.node_id = s.node_id AND n.node_type <> 'source'
    WHERE s.run_id = %(run)s
    UNION
    SELECT m.token_id, b.aggregation_node_id FROM batch_members m
    JOIN batches b ON b.run_id = %(run)s AND b.batch_id = m.batch_id
    WHERE m.run_id = %(run)s
), delivered AS (
    SELECT DISTINCT ON (r.row_id) r.source_node_id AS node_id,
           CASE WHEN t.token_id IS NULL THEN r.rank
                WHEN t.place IS NULL OR t.place = r.source_node_id THEN t.rank END AS rank,
           coalesce(t.unconfirmed AND (t.place IS NULL OR t.place = r.source_node_id), false)
               AS unconfirmed
    FROM told_rows r LEFT JOIN told_tokens t ON t.row_id = r.row_id
    ORDER BY r.row_id, t.made <> 'source', t.token_id
)
SELECT node_id, rank, count(*), count(*) FILTER (WHERE unconfirmed) FROM (
    SELECT p.node_id, CASE WHEN t.place = p.node_id THEN t.rank END AS rank,
           t.unconfirmed AND t.place = p.node_id AS unconfirmed
    FROM places p JOIN told_tokens t ON t.token_id = p.token_id
    UNION ALL SELECT node_id, rank, unconfirmed FROM delivered
) entries GROUP BY node_id, rank ORDER BY node_id, rank
"""

_UNACCOUNTED = """
SELECT r.row_index, r.row_id, t.token_id, t.outcome, t.place
FROM told_rows r LEFT JOIN told_tokens t ON t.row_id = r.row_id AND t.standing = 'unaccounted'
WHERE r.rank = %(rank)s ORDER BY r.row_index, t.token_id LIMIT %(listed)s
"""

_UNCONFIRMED = """
SELECT r.row_index, r.row_id, t.token_id, t.sink_name, t.place
FROM told_tokens t JOIN told_rows r ON r.row_id = t.row_id
WHERE t.unconfirmed ORDER BY r.row_index, t.token_id LIMIT %(listed)s
"""


def take(cursor: CursorWrapper, *, run_id: str) -> dict[str, Any]:
    """The ledger that `told_tokens` and `told_rows` give, as it is stored."""
    asked: dict[str, Any] = {"run": run_id, "rank": 1, "listed": LISTED}

    def counted(statement: str) -> dict[Any, int]:
        cursor.execute(statement, asked)
        return dict(cursor.fetchall())

    nodes: dict[str, dict[str, Any]] = {}
    cursor.execute(_NODES, asked)
    for node_id, rank, tokens, unconfirmed in cursor.fetchall():
        account = nodes.setdefault(node_id, {"in": 0, "out": {}, "unconfirmed": 0})
        account["in"] += tokens
        account["out"][PASSED_ON if rank is None else STANDINGS[rank - 1]] = tokens
        account["unconfirmed"] += unconfirmed
    cursor.execute("SELECT count(*) FROM told_tokens WHERE unconfirmed")
    (unconfirmed,) = cursor.fetchone()
    listed = {}
    for name, statement in (("unaccounted", _UNACCOUNTED), ("unconfirmed", _UNCONFIRMED)):
        cursor.execute(statement, asked)
        listed[name] = cursor.fetchall()
    return {
        "rows_in": counted(_ROWS_IN),
        "rows_out": {STANDINGS[rank - 1]: rows for rank, rows in counted(_ROWS_OUT).items()},
        "made": counted(_MADE),
        "ended": counted(_ENDED),
        "unconfirmed": unconfirmed,
        "nodes": nodes,
        "listed": listed,
    }
