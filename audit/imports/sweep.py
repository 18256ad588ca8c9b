"""What no constraint can see: habits of the eras (Q01-Q24) and broken invariants.

Each check is one statement over one stored run that yields (key, detail) for every record
concerned. The first ones are told one by one, the rest is counted, so a sweep costs a fixed
number of statements and little memory whatever it finds. Codes Q01-Q25 are those of the domain
reference: what genuine databases of an era always contain; everything else here should not be.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, NamedTuple

from django.db import connection

from audit.findings import Found
from audit.models import Edge
from audit.vocabulary import Era, FindingLevel

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_TOLD = {FindingLevel.INFO: 100, FindingLevel.ERROR: 1_000}

# Pipelines have tens of edges; a hostile one is not worth more memory than this.
MAX_EDGES = 100_000

ALL = frozenset(Era)
OLD = frozenset({Era.A, Era.A2})


class Check(NamedTuple):
    """One thing to look for."""

    code: str
    table: str
    statement: str
    level: FindingLevel = FindingLevel.INFO
    eras: frozenset[Era] = ALL


def sweep(*, run_id: str, era: Era) -> Iterator[Found]:
    """Look for everything in one run; errors first. Best inside `bulk.planned_for_scans`."""
    with connection.cursor() as cursor:
        for check in sorted(CHECKS, key=lambda each: each.level != FindingLevel.ERROR):
            if era in check.eras:
                yield from _found(cursor, check, run_id)


def pipeline_cycle(*, run_id: str) -> Iterator[Found]:
    """A pipeline goes forward; an edge that closes a circle contradicts it."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    edges = Edge.objects.filter(run_id=run_id).order_by("edge_id")
    for edge in edges[:MAX_EDGES].iterator():
        sorter.add(edge.to_node_id, edge.from_node_id)
    try:
        sorter.prepare()
    except CycleError as error:
        nodes = " → ".join(error.args[1])
        yield Found(
            "GRAPH", FindingLevel.ERROR, "edges", run_id, f"the pipeline runs in a circle: {nodes}"
        )


def _found(cursor: object, check: Check, run_id: str) -> Iterator[Found]:
    limit = MAX_TOLD[check.level]
    cursor.execute(  # type: ignore[attr-defined]  # Django's cursor wrapper has no public type
        f"SELECT key, detail, count(*) OVER () FROM ({check.statement}) found (key, detail) "
        "ORDER BY key LIMIT %(limit)s",
        {"run": run_id, "limit": limit},
    )
    rows = cursor.fetchall()  # type: ignore[attr-defined]
    for key, detail, _total in rows:
        yield Found(check.code, check.level, check.table, key, detail)
    if rows and (more := rows[0][2] - len(rows)):
        yield Found(
            check.code,
            check.level,
            check.table,
            "",
            f"{more:,} further records: {rows[0][1]}",
            occurrences=more,
        )


# A completed visit at a sink, with the name that outcomes call the sink by.
_DELIVERED = """
    SELECT s.token_id, min(s.started_at) AS started_at
    FROM node_states s
    JOIN nodes n ON n.run_id = %(run)s AND n.node_id = s.node_id AND n.node_type = 'sink'
    WHERE s.run_id = %(run)s AND s.status = 'completed' GROUP BY s.token_id
"""

# Tokens whose chain of hashes may break: they went through a batch.
_BATCHED = """
    SELECT token_id FROM batch_members WHERE run_id = %(run)s
    UNION SELECT token_id FROM token_outcomes
    WHERE run_id = %(run)s AND outcome IN ('consumed_in_batch', 'buffered')
"""

# Each completed visit beside the one before it on the same token.
_STEPS = f"""
    SELECT c.*, b.token_id IS NOT NULL AS batched FROM (
        SELECT s.state_id, s.token_id, s.input_hash, n.node_type,
               lag(s.output_hash) OVER w AS output_before, lag(n.node_type) OVER w AS type_before,
               lag(s.status) OVER w AS status_before, lag(s.input_hash) OVER w AS input_before,
               row_number() OVER w AS place
        FROM node_states s
        JOIN nodes n ON n.run_id = %(run)s AND n.node_id = s.node_id
        WHERE s.run_id = %(run)s
        WINDOW w AS (PARTITION BY s.token_id ORDER BY s.step_index, s.attempt, s.state_id)
    ) c LEFT JOIN ({_BATCHED}) b ON b.token_id = c.token_id
"""

_BREAK = """
    place > 1 AND (
        (status_before = 'completed' AND input_hash <> output_before)
        OR (status_before IN ('failed', 'rejected') AND input_hash <> input_before))
"""
_BREAK_EXPECTED = """
    (batched OR node_type IN ('aggregation', 'coalesce')
     OR type_before IN ('aggregation', 'coalesce', 'sink'))
"""

# Tokens without a final outcome in a run that says it ended well, beside what may explain it.
_ENDLESS = """
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
_QUARANTINED_AT_SOURCE = """
    EXISTS (SELECT 1 FROM validation_errors v WHERE v.run_id = %(run)s
            AND v.row_hash = e.source_data_hash AND v.destination <> 'discard')
"""

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
        JOIN ({_DELIVERED}) d ON d.token_id = t.token_id
        WHERE t.run_id = %(run)s AND t.join_group_id IS NOT NULL
        UNION ALL
        SELECT e.token_id, 'the merged token has no outcome' FROM ({_ENDLESS}) e
        WHERE e.join_group_id IS NOT NULL AND e.buffered IS NOT TRUE""",
    ),
    Check(
        "Q04",
        "tokens",
        f"""
        SELECT e.token_id, 'the row was quarantined to a sink; its token has no outcome'
        FROM ({_ENDLESS}) e
        WHERE e.join_group_id IS NULL AND e.buffered IS NOT TRUE AND {_QUARANTINED_AT_SOURCE}""",
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
        LEFT JOIN ({_DELIVERED}) d ON d.token_id = o.token_id
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
        FROM ({_STEPS}) s WHERE {_BREAK} AND {_BREAK_EXPECTED}""",
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

_ERROR = FindingLevel.ERROR

INVARIANTS = (
    Check(
        "TOKEN_WITHOUT_OUTCOME",
        "tokens",
        f"""
        SELECT e.token_id, 'the run completed, but this token has no final outcome'
        FROM ({_ENDLESS}) e
        WHERE e.join_group_id IS NULL AND e.buffered IS NOT TRUE
          AND NOT {_QUARANTINED_AT_SOURCE}""",
        _ERROR,
    ),
    Check(
        "OUTCOME_WITHOUT_DELIVERY",
        "token_outcomes",
        f"""
        SELECT o.outcome_id, 'token ' || o.token_id || ' is said to be in ' || o.sink_name
            || '; no completed visit at a sink confirms it'
        FROM token_outcomes o JOIN runs u ON u.run_id = o.run_id AND u.status = 'completed'
        LEFT JOIN ({_DELIVERED}) d ON d.token_id = o.token_id
        WHERE o.run_id = %(run)s AND o.outcome IN ('completed', 'routed')
          AND o.sink_name IS NOT NULL AND d.token_id IS NULL""",
        _ERROR,
    ),
    Check(
        "OPEN_IN_COMPLETED_RUN",
        "node_states",
        """
        SELECT s.state_id, 'the visit is ' || s.status || ' in a run that completed'
        FROM node_states s JOIN runs u ON u.run_id = s.run_id AND u.status = 'completed'
        WHERE s.run_id = %(run)s AND s.status IN ('open', 'pending')""",
        _ERROR,
    ),
    Check(
        "ATTEMPT_GAP",
        "node_states",
        """
        SELECT min(state_id),
               'token ' || token_id || ' at ' || node_id || ': attempts are not 0, 1, …'
        FROM node_states WHERE run_id = %(run)s GROUP BY token_id, node_id
        HAVING max(attempt) + 1 <> count(*) OR min(attempt) <> 0""",
        _ERROR,
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
        _ERROR,
    ),
    Check(
        "HASH_CHAIN_BREAK",
        "node_states",
        f"""
        SELECT state_id, 'the input is not what the visit before it left'
        FROM ({_STEPS}) s WHERE {_BREAK} AND NOT {_BREAK_EXPECTED}""",
        _ERROR,
    ),
    Check(
        "FIRST_INPUT_DIFFERS",
        "node_states",
        f"""
        SELECT s.state_id, 'the first input is not the row that the source delivered'
        FROM ({_STEPS}) s
        JOIN tokens t ON t.run_id = %(run)s AND t.token_id = s.token_id
        JOIN rows r ON r.run_id = %(run)s AND r.row_id = t.row_id
        WHERE s.place = 1 AND NOT s.batched AND s.node_type <> 'aggregation'
          AND s.input_hash <> r.source_data_hash AND NOT EXISTS (
            SELECT 1 FROM token_parents p
            WHERE p.run_id = %(run)s AND p.token_id = t.token_id)""",
        _ERROR,
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
        _ERROR,
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
        _ERROR,
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
        _ERROR,
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
        _ERROR,
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
        _ERROR,
    ),
    Check(
        "TIME_ORDER",
        "node_states",
        """
        SELECT state_id, 'the visit ended before it began' FROM node_states
        WHERE run_id = %(run)s AND completed_at < started_at""",
        _ERROR,
    ),
    Check(
        "TIME_ORDER",
        "runs",
        """
        SELECT run_id, 'the run ended before it began' FROM runs
        WHERE run_id = %(run)s AND completed_at < started_at""",
        _ERROR,
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
        _ERROR,
    ),
    Check(
        "REF_DIFFERS",
        "rows",
        """
        SELECT row_id, 'the reference to the source data is not their hash' FROM rows
        WHERE run_id = %(run)s AND source_data_ref <> source_data_hash""",
        _ERROR,
    ),
    Check(
        "REF_DIFFERS",
        "calls",
        """
        SELECT call_id, 'a reference to a request or response is not its hash' FROM calls
        WHERE run_id = %(run)s
          AND (request_ref <> request_hash OR response_ref IS DISTINCT FROM response_hash
               AND response_ref IS NOT NULL)""",
        _ERROR,
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
        _ERROR,
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

CHECKS = (*QUIRKS, *INVARIANTS)
