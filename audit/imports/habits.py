"""What genuine databases of an era always contain, by the codes of the domain reference.

Q13, Q20, Q21 and Q25 belong to eras that are not imported; Q16 and Q22 refuse a run.
"""

from __future__ import annotations

from audit.imports.checks import (
    BREAK,
    BREAK_EXPECTED,
    DELIVERED,
    ENDLESS,
    OLD,
    QUARANTINED_AT_SOURCE,
    STEPS,
    Check,
)

QUIRKS = (
    Check(
        "Q01",
        "runs",
        """
        SELECT run_id, 'the run completed without a reproducibility grade' FROM runs
        WHERE run_id = %(run)s AND status = 'completed' AND reproducibility_grade IS NULL""",
    ),
    Check(
        "Q02",
        "token_outcomes",
        """
        SELECT outcome_id, 'token ' || token_id || ' was consumed in a batch that is not named'
        FROM token_outcomes
        WHERE run_id = %(run)s AND outcome = 'consumed_in_batch' AND batch_id IS NULL""",
    ),
    Check(
        "Q03",
        "tokens",
        f"""
        SELECT t.token_id, 'the merged token reached a sink, but its outcome says coalesced'
        FROM tokens t
        JOIN token_outcomes o ON o.run_id = %(run)s AND o.token_id = t.token_id
             AND o.outcome = 'coalesced' AND o.sink_name IS NULL
        JOIN ({DELIVERED}) d ON d.token_id = t.token_id
        WHERE t.run_id = %(run)s AND t.join_group_id IS NOT NULL
        UNION ALL
        SELECT e.token_id, 'the merged token has no outcome' FROM ({ENDLESS}) e
        WHERE e.join_group_id IS NOT NULL AND e.buffered IS NOT TRUE""",
    ),
    Check(
        "Q04",
        "tokens",
        f"""
        SELECT e.token_id, 'the row was quarantined to a sink; its token has no outcome'
        FROM ({ENDLESS}) e
        WHERE e.join_group_id IS NULL AND e.buffered IS NOT TRUE AND {QUARANTINED_AT_SOURCE}""",
    ),
    Check(
        "Q05",
        "token_outcomes",
        f"""
        SELECT o.outcome_id, CASE WHEN d.token_id IS NULL
            THEN 'delivery to ' || o.sink_name || ' is claimed; no sink visit confirms it'
            ELSE 'the outcome was recorded before the sink was visited' END
        FROM token_outcomes o
        JOIN runs u ON u.run_id = o.run_id
        LEFT JOIN ({DELIVERED}) d ON d.token_id = o.token_id
        WHERE o.run_id = %(run)s AND o.outcome IN ('completed', 'routed')
          AND o.sink_name IS NOT NULL
          AND (d.started_at > o.recorded_at OR (d.token_id IS NULL AND u.status <> 'completed'))""",
    ),
    Check(
        "Q06",
        "artifacts",
        """
        SELECT a.artifact_id, count(*) || ' tokens are in this write; only one is recorded'
        FROM artifacts a
        JOIN artifact_members m ON m.run_id = %(run)s AND m.artifact_id = a.artifact_id
        WHERE a.run_id = %(run)s GROUP BY a.artifact_id HAVING count(*) > 1""",
    ),
    Check(
        "Q07",
        "nodes",
        """
        SELECT node_id, concat_ws('; ',
            CASE WHEN sequence_in_pipeline IS NULL THEN 'no place in the pipeline is recorded' END,
            CASE WHEN node_type = 'source' AND plugin_version = '0.0.0'
                 THEN 'the version of the source plugin is 0.0.0' END)
        FROM nodes WHERE run_id = %(run)s AND (sequence_in_pipeline IS NULL
            OR (node_type = 'source' AND plugin_version = '0.0.0'))""",
    ),
    Check(
        "Q08",
        "token_outcomes",
        """
        SELECT o.outcome_id, 'token ' || o.token_id || ' stayed buffered in a batch that failed'
        FROM token_outcomes o
        JOIN batches b ON b.run_id = %(run)s AND b.batch_id = o.batch_id AND b.status = 'failed'
        WHERE o.run_id = %(run)s AND o.outcome = 'buffered' AND NOT EXISTS (
            SELECT 1 FROM token_outcomes x WHERE x.run_id = %(run)s
            AND x.token_id = o.token_id AND x.is_terminal)""",
    ),
    Check(
        "Q09",
        "rows",
        """
        SELECT %(run)s, 'no row keeps a reference to its source data' FROM rows
        WHERE run_id = %(run)s HAVING count(*) > 0 AND count(source_data_ref) = 0""",
    ),
    Check(
        "Q10",
        "routing_events",
        """
        SELECT event_id, 'the reason is known by its hash only' FROM routing_events
        WHERE run_id = %(run)s AND reason_ref IS NULL""",
    ),
    Check(
        "Q11",
        "runs",
        """
        SELECT u.run_id, 'the run says failed, but every batch and visit is complete'
        FROM runs u WHERE u.run_id = %(run)s AND u.status = 'failed'
        AND EXISTS (SELECT 1 FROM batches b WHERE b.run_id = %(run)s)
        AND NOT EXISTS (SELECT 1 FROM batches b
                        WHERE b.run_id = %(run)s AND b.status <> 'completed')
        AND NOT EXISTS (SELECT 1 FROM node_states s WHERE s.run_id = %(run)s
                        AND s.status <> 'completed')""",
        eras=OLD,
    ),
    Check(
        "Q12",
        "node_states",
        """
        SELECT s.state_id, 'the visit was left ' || s.status || ' by a run that failed'
        FROM node_states s JOIN runs u ON u.run_id = s.run_id AND u.status = 'failed'
        WHERE s.run_id = %(run)s AND s.status IN ('open', 'pending')""",
    ),
    Check(
        "Q14",
        "node_states",
        """
        SELECT s.state_id, 'step 0 at an aggregation: the flush at the end of the source'
        FROM node_states s
        JOIN nodes n ON n.run_id = %(run)s AND n.node_id = s.node_id
             AND n.node_type = 'aggregation'
        WHERE s.run_id = %(run)s AND s.step_index = 0""",
        eras=OLD,
    ),
    Check(
        "Q15",
        "node_states",
        f"""
        SELECT state_id, 'input differs from the output before it, as it must after a '
            || CASE WHEN batched THEN 'batch' ELSE coalesce(type_before, node_type) END
        FROM ({STEPS}) s WHERE {BREAK} AND {BREAK_EXPECTED}""",
    ),
    Check(
        "Q17",
        "edges",
        """
        SELECT e.edge_id, 'a route of this gate is recorded under the label continue'
        FROM edges e JOIN nodes n ON n.run_id = %(run)s AND n.node_id = e.from_node_id
             AND n.node_type = 'gate' AND n.config_json LIKE '%%"continue"%%'
        WHERE e.run_id = %(run)s AND e.label = 'continue'""",
        eras=OLD,
    ),
    Check(
        "Q18",
        "token_outcomes",
        """
        SELECT outcome_id, 'the hash of the error has 16 digits' FROM token_outcomes
        WHERE run_id = %(run)s AND length(error_hash) = 16""",
    ),
    Check(
        "Q19",
        "runs",
        """
        SELECT u.run_id, CASE WHEN u.status = 'running' THEN 'the run is running and has an end'
            ELSE 'the run ended before its last record' END
        FROM runs u WHERE u.run_id = %(run)s AND u.completed_at IS NOT NULL AND (
            u.status = 'running'
            OR u.completed_at < (SELECT max(s.completed_at) FROM node_states s
                                 WHERE s.run_id = %(run)s)
            OR u.completed_at < (SELECT max(o.recorded_at) FROM token_outcomes o
                                 WHERE o.run_id = %(run)s))""",
    ),
    Check(
        "Q23",
        "token_outcomes",
        """
        SELECT o.outcome_id, 'token ' || o.token_id || ' stayed buffered in a completed batch'
        FROM token_outcomes o
        JOIN runs u ON u.run_id = o.run_id AND u.status = 'completed'
        JOIN batches b ON b.run_id = %(run)s AND b.batch_id = o.batch_id AND b.status <> 'failed'
        WHERE o.run_id = %(run)s AND o.outcome = 'buffered' AND NOT EXISTS (
            SELECT 1 FROM token_outcomes x WHERE x.run_id = %(run)s
            AND x.token_id = o.token_id AND x.is_terminal)""",
    ),
    Check(
        "Q24",
        "runs",
        """
        SELECT run_id, 'no end is recorded: killed, waiting for a batch, or still going'
        FROM runs WHERE run_id = %(run)s AND status = 'running'""",
    ),
)
