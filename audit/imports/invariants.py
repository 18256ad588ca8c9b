"""What no genuine run should break, and what only a whole run can tell."""

from __future__ import annotations

from audit.imports.checks import (
    BREAK,
    BREAK_EXPECTED,
    DELIVERED,
    ENDLESS,
    QUARANTINED_AT_SOURCE,
    STEPS,
    Check,
)
from audit.vocabulary import FindingLevel

INVARIANTS = (
    Check(
        "TOKEN_WITHOUT_OUTCOME",
        "tokens",
        f"""
        SELECT e.token_id, 'the run completed, but this token has no final outcome'
        FROM ({ENDLESS}) e
        WHERE e.join_group_id IS NULL AND e.buffered IS NOT TRUE
          AND NOT {QUARANTINED_AT_SOURCE}""",
        FindingLevel.ERROR,
    ),
    Check(
        "OUTCOME_WITHOUT_DELIVERY",
        "token_outcomes",
        f"""
        SELECT o.outcome_id, 'token ' || o.token_id || ' is said to be in ' || o.sink_name
            || '; no completed visit at a sink confirms it'
        FROM token_outcomes o JOIN runs u ON u.run_id = o.run_id AND u.status = 'completed'
        LEFT JOIN ({DELIVERED}) d ON d.token_id = o.token_id
        WHERE o.run_id = %(run)s AND o.outcome IN ('completed', 'routed')
          AND o.sink_name IS NOT NULL AND d.token_id IS NULL""",
        FindingLevel.ERROR,
    ),
    Check(
        "OPEN_IN_COMPLETED_RUN",
        "node_states",
        """
        SELECT s.state_id, 'the visit is ' || s.status || ' in a run that completed'
        FROM node_states s JOIN runs u ON u.run_id = s.run_id AND u.status = 'completed'
        WHERE s.run_id = %(run)s AND s.status IN ('open', 'pending')""",
        FindingLevel.ERROR,
    ),
    Check(
        "ATTEMPT_GAP",
        "node_states",
        """
        SELECT min(state_id),
               'token ' || token_id || ' at ' || node_id || ': attempts are not 0, 1, …'
        FROM node_states WHERE run_id = %(run)s GROUP BY token_id, node_id
        HAVING max(attempt) + 1 <> count(*) OR min(attempt) <> 0""",
        FindingLevel.ERROR,
    ),
    Check(
        "ATTEMPT_AFTER_SUCCESS",
        "node_states",
        """
        SELECT state_id, 'attempt ' || attempt || ' follows one that did not fail' FROM (
            SELECT state_id, attempt, lag(status) OVER (
                PARTITION BY token_id, node_id ORDER BY attempt) AS before
            FROM node_states WHERE run_id = %(run)s) s
        WHERE before = 'completed'""",
        FindingLevel.ERROR,
    ),
    Check(
        "HASH_CHAIN_BREAK",
        "node_states",
        f"""
        SELECT state_id, 'the input is not what the visit before it left'
        FROM ({STEPS}) s WHERE {BREAK} AND NOT {BREAK_EXPECTED}""",
        FindingLevel.ERROR,
    ),
    Check(
        "FIRST_INPUT_DIFFERS",
        "node_states",
        f"""
        SELECT s.state_id, 'the first input is not the row that the source delivered'
        FROM ({STEPS}) s
        JOIN tokens t ON t.run_id = %(run)s AND t.token_id = s.token_id
        JOIN rows r ON r.run_id = %(run)s AND r.row_id = t.row_id
        WHERE s.place = 1 AND NOT s.batched AND s.node_type <> 'aggregation'
          AND s.input_hash <> r.source_data_hash AND NOT EXISTS (
            SELECT 1 FROM token_parents p
            WHERE p.run_id = %(run)s AND p.token_id = t.token_id)""",
        FindingLevel.ERROR,
    ),
    Check(
        "ROUTING_GROUP",
        "routing_events",
        """
        SELECT min(event_id), 'decision ' || routing_group_id || ': one state, one reason, '
            || 'ordinals 0, 1, … and only copies when there are several'
        FROM routing_events WHERE run_id = %(run)s GROUP BY routing_group_id
        HAVING count(DISTINCT state_id) > 1 OR max(ordinal) + 1 <> count(*) OR min(ordinal) <> 0
            OR count(DISTINCT coalesce(reason_hash, '')) > 1
            OR (count(*) > 1 AND bool_or(mode <> 'copy'))""",
        FindingLevel.ERROR,
    ),
    Check(
        "ROUTING_EDGE",
        "routing_events",
        """
        SELECT v.event_id, 'the edge does not leave the node that decided'
        FROM routing_events v
        JOIN node_states s ON s.run_id = %(run)s AND s.state_id = v.state_id
        JOIN edges e ON e.run_id = %(run)s AND e.edge_id = v.edge_id
        WHERE v.run_id = %(run)s AND e.from_node_id <> s.node_id""",
        FindingLevel.ERROR,
    ),
    Check(
        "PARENTS",
        "tokens",
        """
        SELECT t.token_id, CASE
            WHEN num_nonnulls(t.fork_group_id, t.join_group_id, t.expand_group_id) > 1
                THEN 'the token claims to be made in two ways'
            ELSE 'it has ' || count(p.token_id) || ' parents, which does not fit how it was made'
            END
        FROM tokens t
        LEFT JOIN token_parents p ON p.run_id = %(run)s AND p.token_id = t.token_id
        WHERE t.run_id = %(run)s
        GROUP BY t.token_id, t.fork_group_id, t.join_group_id, t.expand_group_id
        HAVING num_nonnulls(t.fork_group_id, t.join_group_id, t.expand_group_id) > 1
            OR (num_nonnulls(t.fork_group_id, t.expand_group_id) = 1 AND count(p.token_id) <> 1)
            OR (t.join_group_id IS NOT NULL AND count(p.token_id) = 0)
            OR (num_nonnulls(t.fork_group_id, t.join_group_id, t.expand_group_id) = 0
                AND count(p.token_id) > 0)""",
        FindingLevel.ERROR,
    ),
    Check(
        "FORK_GROUP",
        "tokens",
        """
        SELECT t.token_id, 'its fork group is not the one that its parent ended in'
        FROM tokens t
        JOIN token_parents p ON p.run_id = %(run)s AND p.token_id = t.token_id
        LEFT JOIN token_outcomes o ON o.run_id = %(run)s AND o.token_id = p.parent_token_id
             AND o.outcome = 'forked'
        JOIN runs u ON u.run_id = t.run_id AND u.status = 'completed'
        WHERE t.run_id = %(run)s AND t.fork_group_id IS NOT NULL
          AND o.fork_group_id IS DISTINCT FROM t.fork_group_id""",
        FindingLevel.ERROR,
    ),
    Check(
        "BATCH",
        "batches",
        """
        SELECT b.batch_id, CASE WHEN b.status = 'completed' AND b.aggregation_state_id IS NULL
            THEN 'the batch completed without a visit that flushed it'
            ELSE 'its members are not numbered 0, 1, …' END
        FROM batches b
        LEFT JOIN batch_members m ON m.run_id = %(run)s AND m.batch_id = b.batch_id
        WHERE b.run_id = %(run)s GROUP BY b.batch_id, b.status, b.aggregation_state_id
        HAVING (b.status = 'completed' AND b.aggregation_state_id IS NULL)
            OR (count(m.token_id) > 0
                AND (max(m.ordinal) + 1 <> count(m.token_id) OR min(m.ordinal) <> 0))""",
        FindingLevel.ERROR,
    ),
    Check(
        "TIME_ORDER",
        "node_states",
        """
        SELECT state_id, 'the visit ended before it began' FROM node_states
        WHERE run_id = %(run)s AND completed_at < started_at""",
        FindingLevel.ERROR,
    ),
    Check(
        "TIME_ORDER",
        "runs",
        """
        SELECT run_id, 'the run ended before it began' FROM runs
        WHERE run_id = %(run)s AND completed_at < started_at""",
        FindingLevel.ERROR,
    ),
    Check(
        "ARTIFACT_SINK",
        "artifacts",
        """
        SELECT a.artifact_id, 'its sink is not a sink, or not the node of the visit that wrote it'
        FROM artifacts a
        JOIN node_states s ON s.run_id = %(run)s AND s.state_id = a.produced_by_state_id
        JOIN nodes n ON n.run_id = %(run)s AND n.node_id = a.sink_node_id
        WHERE a.run_id = %(run)s AND (s.node_id <> a.sink_node_id OR n.node_type <> 'sink')""",
        FindingLevel.ERROR,
    ),
    Check(
        "REF_DIFFERS",
        "rows",
        """
        SELECT row_id, 'the reference to the source data is not their hash' FROM rows
        WHERE run_id = %(run)s AND source_data_ref <> source_data_hash""",
        FindingLevel.ERROR,
    ),
    Check(
        "REF_DIFFERS",
        "calls",
        """
        SELECT call_id, 'a reference to a request or response is not its hash' FROM calls
        WHERE run_id = %(run)s
          AND (request_ref <> request_hash OR response_ref IS DISTINCT FROM response_hash
               AND response_ref IS NOT NULL)""",
        FindingLevel.ERROR,
    ),
    Check(
        "GRAPH",
        "edges",
        """
        SELECT e.edge_id, 'an edge enters a source or leaves a sink'
        FROM edges e
        JOIN nodes f ON f.run_id = %(run)s AND f.node_id = e.from_node_id
        JOIN nodes t ON t.run_id = %(run)s AND t.node_id = e.to_node_id
        WHERE e.run_id = %(run)s AND (f.node_type = 'sink' OR t.node_type = 'source')""",
        FindingLevel.ERROR,
    ),
    Check(
        "ARTIFACT_AMBIGUOUS",
        "artifacts",
        """
        SELECT a.artifact_id, 'another write shares sink and duration: members are not inferred'
        FROM (SELECT a.artifact_id, count(*) OVER (
                  PARTITION BY a.sink_node_id, s.duration_ms) AS claims
              FROM artifacts a
              JOIN node_states s ON s.run_id = %(run)s AND s.state_id = a.produced_by_state_id
              WHERE a.run_id = %(run)s) a WHERE claims > 1""",
    ),
    Check(
        "UNKNOWN_HASHING",
        "runs",
        """
        SELECT run_id, 'hashes are shown but cannot be recomputed: ' || canonical_version FROM runs
        WHERE run_id = %(run)s AND canonical_version <> 'sha256-rfc8785-v1'""",
    ),
)
