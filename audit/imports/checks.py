"""What a check is, and the questions that several checks share."""

from __future__ import annotations

from typing import NamedTuple

from audit.vocabulary import Era, FindingLevel

ALL = frozenset(Era)
OLD = frozenset({Era.A, Era.A2})


class Check(NamedTuple):
    """One thing to look for."""

    code: str
    table: str
    statement: str
    level: FindingLevel = FindingLevel.INFO
    eras: frozenset[Era] = ALL


# A completed visit at a sink, with the name that outcomes call the sink by.
DELIVERED = """
    SELECT s.token_id, min(s.started_at) AS started_at
    FROM node_states s
    JOIN nodes n ON n.run_id = %(run)s AND n.node_id = s.node_id AND n.node_type = 'sink'
    WHERE s.run_id = %(run)s AND s.status = 'completed' GROUP BY s.token_id
"""

# Tokens whose chain of hashes may break: they went through a batch.
BATCHED = """
    SELECT token_id FROM batch_members WHERE run_id = %(run)s
    UNION SELECT token_id FROM token_outcomes
    WHERE run_id = %(run)s AND outcome IN ('consumed_in_batch', 'buffered')
"""

# Each completed visit beside the one before it on the same token.
STEPS = f"""
    SELECT c.*, b.token_id IS NOT NULL AS batched FROM (
        SELECT s.state_id, s.token_id, s.input_hash, n.node_type,
               lag(s.output_hash) OVER w AS output_before, lag(n.node_type) OVER w AS type_before,
               lag(s.status) OVER w AS status_before, lag(s.input_hash) OVER w AS input_before,
               row_number() OVER w AS place
        FROM node_states s
        JOIN nodes n ON n.run_id = %(run)s AND n.node_id = s.node_id
        WHERE s.run_id = %(run)s
        WINDOW w AS (PARTITION BY s.token_id ORDER BY s.step_index, s.attempt, s.state_id)
    ) c LEFT JOIN ({BATCHED}) b ON b.token_id = c.token_id
"""

BREAK = """
    place > 1 AND (
        (status_before = 'completed' AND input_hash <> output_before)
        OR (status_before IN ('failed', 'rejected') AND input_hash <> input_before))
"""
BREAK_EXPECTED = """
    (batched OR node_type IN ('aggregation', 'coalesce')
     OR type_before IN ('aggregation', 'coalesce', 'sink'))
"""

# Tokens without a final outcome in a run that says it ended well, beside what may explain it.
ENDLESS = """
    SELECT t.token_id, t.join_group_id, r.source_data_hash,
           bool_or(o.outcome = 'buffered') AS buffered
    FROM tokens t
    JOIN runs u ON u.run_id = t.run_id AND u.status = 'completed'
    JOIN rows r ON r.run_id = %(run)s AND r.row_id = t.row_id
    LEFT JOIN token_outcomes o ON o.run_id = %(run)s AND o.token_id = t.token_id
    WHERE t.run_id = %(run)s
    GROUP BY t.token_id, t.join_group_id, r.source_data_hash
    HAVING NOT coalesce(bool_or(o.is_terminal), false)
"""
QUARANTINED_AT_SOURCE = """
    EXISTS (SELECT 1 FROM validation_errors v WHERE v.run_id = %(run)s
            AND v.row_hash = e.source_data_hash AND v.destination <> 'discard')
"""
