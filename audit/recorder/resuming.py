"""What resuming a failed run would mean: asked of the record, nothing written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import connection

from audit.models import Checkpoint, Node, Run
from audit.recorder import reading
from audit.recorder.batches import incomplete
from audit.recorder.bulk import allow_minutes
from audit.recorder.checkpoints import FORMAT_VERSION, get_latest_checkpoint, released_to
from audit.recorder.guards import TRANSITIONS
from audit.recorder.writing import one_event
from audit.vocabulary import BatchStatus, RunStatus

# Before this day the original's node ids changed from one start to the next.
_STABLE_NODES = datetime(2026, 1, 24, tzinfo=UTC)
# Tokens of one row that are named; the rest is counted.
_NAMED = 10

# A row is unfinished if one of its tokens has no final outcome, or has one that claims a delivery
# which no visit to a sink confirms: the last checkpoint's row may be ahead of rows that another
# sink was still to write. A row without token is unfinished, unless it was refused.
_UNFINISHED = """
WITH sunk AS MATERIALIZED (
    SELECT DISTINCT s.token_id FROM nodes n
    JOIN node_states s ON s.run_id = n.run_id AND s.node_id = n.node_id
    WHERE n.run_id = %(run_id)s AND n.node_type = 'sink' AND s.status = 'completed'
), tokens_left AS (
    SELECT t.row_id, t.token_id, o.token_id IS NULL AS endless
    FROM tokens t
    LEFT JOIN token_outcomes o
        ON o.run_id = t.run_id AND o.token_id = t.token_id AND o.is_terminal
    WHERE t.run_id = %(run_id)s AND (
        o.token_id IS NULL
        OR o.outcome IN ('completed', 'routed')
            AND NOT EXISTS (SELECT 1 FROM sunk WHERE sunk.token_id = t.token_id)
    )
), rows_left AS (
    SELECT row_id, count(*) AS tokens, count(*) FILTER (WHERE endless) AS endless,
        (array_agg(token_id ORDER BY token_id))[1:%(named)s] AS named
    FROM tokens_left GROUP BY row_id
    UNION ALL
    SELECT r.row_id, 0, 0, ARRAY[]::text[] FROM rows r
    WHERE r.run_id = %(run_id)s
        AND NOT EXISTS (SELECT 1 FROM tokens t WHERE t.run_id = r.run_id AND t.row_id = r.row_id)
        AND NOT EXISTS (
            SELECT 1 FROM validation_errors v WHERE v.run_id = r.run_id AND v.row_id = r.row_id
        )
), unfinished AS (
    SELECT r.row_index, l.*, coalesce(p.state = 'available', false) AS kept
    FROM rows_left l
    JOIN rows r ON r.run_id = %(run_id)s AND r.row_id = l.row_id
    LEFT JOIN payloads p ON p.content_hash = r.source_data_ref
)
"""
_COUNTED = """
SELECT count(*), coalesce(sum(tokens), 0), coalesce(sum(tokens - endless), 0),
    count(*) FILTER (WHERE NOT kept) FROM unfinished
"""
_LISTED = """
SELECT row_id, row_index, tokens, named, kept FROM unfinished
WHERE row_index > %(after)s ORDER BY row_index LIMIT %(limit)s
"""


@dataclass(frozen=True, kw_only=True)
class UnfinishedRow:
    """A row that a resumed run has to drive again."""

    row_id: str
    row_index: int
    # How many of its tokens are unfinished, and the first ten of them; 0 if it never had one.
    tokens: int
    token_ids: tuple[str, ...]
    # Whether its contents are there to be read.
    is_kept: bool


@dataclass(frozen=True, kw_only=True)
class UnfinishedBatch:
    """A batch that was not over, and what becomes of it: `keep`, or `retry` after failing it."""

    batch_id: str
    status: BatchStatus
    attempt: int
    to_do: str


@dataclass(frozen=True, kw_only=True)
class ResumePlan:
    """What resuming would mean; with `obstacles` it must not be done, and they say why."""

    run_id: str
    status: RunStatus
    obstacles: tuple[str, ...]
    # The newest that was not released, and why it cannot be used; without reasons it can.
    checkpoint: Checkpoint | None
    checkpoint_reasons: tuple[str, ...]
    rows_unfinished: int
    tokens_unfinished: int
    # Of these, tokens whose delivery no visit to a sink confirms.
    tokens_unconfirmed: int
    rows_without_contents: int
    # A page of each; `rows` goes on with `after_row_index`.
    rows: tuple[UnfinishedRow, ...]
    batches: tuple[UnfinishedBatch, ...]

    @property
    def can_resume(self) -> bool:
        return not self.obstacles


def validate_checkpoint(
    *,
    run_id: str,
    checkpoint_id: str,
    upstream_topology_hash: str | None = None,
    node_config_hash: str | None = None,
) -> tuple[str, ...]:
    """Why a pipeline cannot go on from a checkpoint; empty if it can.

    The hashes are those of the pipeline as it is now, made as for `create_checkpoint`. Without
    them only what stands on record is compared.

    Raises:
        NotRecorded, RunMismatch: the checkpoint is not there, or is another run's.
    """
    checkpoint = reading.one(Checkpoint, run_id=run_id, key=checkpoint_id)
    reasons = _reasons(checkpoint, upstream_topology_hash, node_config_hash)
    if checkpoint.sequence_number <= released_to(run_id):
        reasons = ("it was released", *reasons)
    return reasons


def plan_resume(
    *,
    run_id: str,
    upstream_topology_hash: str | None = None,
    node_config_hash: str | None = None,
    after_row_index: int = -1,
    limit: int = 100,
) -> ResumePlan:
    """What is left to do in a failed run, and whether it may go on. Writes nothing.

    Up to `limit` rows behind `after_row_index` and the first `limit` batches are listed, all are
    counted: the run is gone through once, memory stays the same.

    Raises:
        NotRecorded: there is no such run.
        ValueRefused: the limit is not between 1 and 1,000.
    """
    asked: dict[str, str | int] = {
        "run_id": run_id,
        "named": _NAMED,
        "after": after_row_index,
        "limit": reading.checked_limit(limit),
    }
    run = reading.one(Run, run_id=run_id, key=run_id)
    checkpoint = get_latest_checkpoint(run_id=run_id)
    reasons = _reasons(checkpoint, upstream_topology_hash, node_config_hash) if checkpoint else ()
    with one_event(), connection.cursor() as cursor:
        allow_minutes()
        cursor.execute(_UNFINISHED + _COUNTED, asked)
        rows, tokens, unconfirmed, lost = cursor.fetchone()
        cursor.execute(_UNFINISHED + _LISTED, asked)
        listed = cursor.fetchall()
    return ResumePlan(
        run_id=run_id,
        status=RunStatus(run.status),
        obstacles=_obstacles(run, checkpoint, reasons, lost),
        checkpoint=checkpoint,
        checkpoint_reasons=reasons,
        rows_unfinished=rows,
        tokens_unfinished=int(tokens),
        tokens_unconfirmed=int(unconfirmed),
        rows_without_contents=lost,
        rows=tuple(
            UnfinishedRow(
                row_id=row_id, row_index=index, tokens=count, token_ids=tuple(named), is_kept=kept
            )
            for row_id, index, count, named, kept in listed
        ),
        batches=_batches(run_id, limit),
    )


def _reasons(
    checkpoint: Checkpoint, topology_hash: str | None, config_hash: str | None
) -> tuple[str, ...]:
    node = Node.objects.filter(run_id=checkpoint.run_id, node_id=checkpoint.node_id).first()
    now = config_hash or (node.config_hash if node else None)
    version = checkpoint.format_version
    found = []
    if topology_hash not in {None, checkpoint.upstream_topology_hash}:
        found.append("the pipeline above it is another one than it was then")
    if checkpoint.checkpoint_node_config_hash != now:
        found.append(f"node {checkpoint.node_id} has another configuration than it had then")
    if version is not None and version > FORMAT_VERSION:
        found.append(f"it has format {version}, and {FORMAT_VERSION} is the last one known here")
    if version is None and checkpoint.created_at < _STABLE_NODES:
        found.append("it is older than 2026-01-24, when nodes got ids that stay the same")
    return tuple(found)


def _obstacles(
    run: Run, checkpoint: Checkpoint | None, reasons: tuple[str, ...], lost: int
) -> tuple[str, ...]:
    found = []
    if (run.status, RunStatus.RUNNING) not in TRANSITIONS[Run]:
        found.append(f"the run is {run.status}")
    if checkpoint is None:
        found.append("the run has no checkpoint, or all were released")
    found += [f"checkpoint {checkpoint.sequence_number}: {each}" for each in reasons if checkpoint]
    if lost:
        found.append(f"the contents of {lost:,} unfinished rows are not kept")
    return tuple(found)


def _batches(run_id: str, limit: int) -> tuple[UnfinishedBatch, ...]:
    """Drafts are kept, what was executing or has failed is tried again."""
    return tuple(
        UnfinishedBatch(
            batch_id=batch.batch_id,
            status=BatchStatus(batch.status),
            attempt=batch.attempt,
            to_do="keep" if batch.status == BatchStatus.DRAFT else "retry",
        )
        for batch in incomplete(run_id)[:limit]
    )
