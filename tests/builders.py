"""Worlds for tests: plain functions that store records, all at one fixed noon.

Every function takes what it hangs on and any column by name, and returns what it stored. Ids
count up from one, so they are never equal by accident; name one where a test compares it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection

from audit import blobs, summaries
from audit.models import (
    Artifact,
    ArtifactMember,
    Batch,
    BatchMember,
    Call,
    Checkpoint,
    Edge,
    Finding,
    Import,
    Node,
    NodeState,
    Payload,
    PurgeItem,
    PurgePlan,
    RetentionPolicy,
    RoutingEvent,
    Row,
    Run,
    RunEvent,
    Token,
    TokenOutcome,
    TokenParent,
    TransformError,
    ValidationError,
)

NOON = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)

_numbers = itertools.count(1)


def new_id() -> str:
    """An id as the recorders write them: 32 digits of lower-case hex."""
    return f"{next(_numbers):032x}"


def digest(text: str) -> str:
    """The SHA-256 of a text, for columns that hold one."""
    return hashlib.sha256(text.encode()).hexdigest()


def after_noon(seconds: float) -> datetime:
    """An instant a little later than noon."""
    return NOON + timedelta(seconds=seconds)


def make_run(**columns: Any) -> Run:
    """A run that completed after ten seconds."""
    columns.setdefault("run_id", new_id())
    if columns.setdefault("status", "completed") != "running":
        columns.setdefault("completed_at", after_noon(10))
    defaults = {
        "started_at": NOON,
        "config_hash": digest("settings"),
        "settings_json": '{"source":{"plugin":"csv"}}',
        "canonical_version": "sha256-rfc8785-v1",
    }
    return Run.objects.create(**defaults | columns)


def make_node(run: Run, name: str = "tidy", kind: str = "transform", **columns: Any) -> Node:
    """A node whose id is derived from its kind and name, as recorders do."""
    prefix = "config_gate" if kind == "gate" else kind
    defaults = {
        "node_id": f"{prefix}_{name}_{digest(name)[:12]}",
        "plugin_name": name,
        "node_type": kind,
        "plugin_version": "1.0.0",
        "determinism": "deterministic",
        "config_hash": digest(name),
        "config_json": "{}",
        "registered_at": NOON,
    }
    return Node.objects.create(run_id=run.run_id, **defaults | columns)


def make_edge(source: Node, target: Node, label: str = "continue", **columns: Any) -> Edge:
    """An edge between two nodes of a run."""
    defaults = {"edge_id": new_id(), "default_mode": "move", "created_at": NOON}
    return Edge.objects.create(
        run_id=source.run_id,
        from_node_id=source.node_id,
        to_node_id=target.node_id,
        label=label,
        **defaults | columns,
    )


def make_row(source: Node, row_index: int = 0, **columns: Any) -> Row:
    """A row as a source delivered it; its content is told by its index."""
    defaults = {
        "row_id": new_id(),
        "source_data_hash": digest(f"row {row_index}"),
        "created_at": NOON,
    }
    return Row.objects.create(
        run_id=source.run_id,
        source_node_id=source.node_id,
        row_index=row_index,
        **defaults | columns,
    )


def make_token(row: Row, **columns: Any) -> Token:
    """A token of a row, initial unless a group says otherwise."""
    defaults = {"token_id": new_id(), "created_at": NOON}
    return Token.objects.create(run_id=row.run_id, row_id=row.row_id, **defaults | columns)


def make_child(parent: Token, ordinal: int = 0, **columns: Any) -> Token:
    """A token forked from another, or made otherwise as the columns say."""
    made = {"join_group_id", "expand_group_id"}.intersection(columns)
    groups = {} if made else {"fork_group_id": digest(parent.token_id)[:32]}
    child = make_token(parent.row, **groups | columns)
    make_parent(child, parent, ordinal)
    return child


def make_parent(child: Token, parent: Token, ordinal: int = 0) -> TokenParent:
    """The link between a token and one that it came from."""
    return TokenParent.objects.create(
        run_id=child.run_id,
        token_id=child.token_id,
        parent_token_id=parent.token_id,
        ordinal=ordinal,
    )


def make_state(token: Token, node: Node, step_index: int = 1, **columns: Any) -> NodeState:
    """A visit that completed in 20 ms and handed on what it was given."""
    status = columns.setdefault("status", "completed")
    defaults: dict[str, Any] = {
        "state_id": new_id(),
        "attempt": 0,
        "input_hash": digest("data"),
        "started_at": after_noon(step_index),
    }
    if status != "open":
        defaults |= {"completed_at": after_noon(step_index + 0.02), "duration_ms": 20.0}
    if status == "completed":
        defaults["output_hash"] = columns.get("input_hash", digest("data"))
    return NodeState.objects.create(
        run_id=token.run_id,
        token_id=token.token_id,
        node_id=node.node_id,
        step_index=step_index,
        **defaults | columns,
    )


def make_route(state: NodeState, edge: Edge, ordinal: int = 0, **columns: Any) -> RoutingEvent:
    """The edge that a gate chose during a visit."""
    defaults = {
        "event_id": new_id(),
        "routing_group_id": digest(state.state_id)[:32],
        "mode": "move",
        "created_at": NOON,
    }
    return RoutingEvent.objects.create(
        run_id=state.run_id,
        state_id=state.state_id,
        edge_id=edge.edge_id,
        ordinal=ordinal,
        **defaults | columns,
    )


def make_call(state: NodeState, call_index: int = 0, **columns: Any) -> Call:
    """A model call that was answered, of which hashes were kept."""
    defaults = {
        "call_id": new_id(),
        "call_type": "llm",
        "status": "success",
        "request_hash": digest("request"),
        "response_hash": digest("response"),
        "latency_ms": 1430.0,
        "created_at": after_noon(2),
    }
    return Call.objects.create(
        run_id=state.run_id,
        state_id=state.state_id,
        call_index=call_index,
        **defaults | columns,
    )


def make_outcome(token: Token, outcome: str = "completed", **columns: Any) -> TokenOutcome:
    """A verdict on a token; final unless it is `buffered`."""
    defaults = {
        "outcome_id": f"out_{new_id()[-12:]}",
        "is_terminal": outcome != "buffered",
        "recorded_at": after_noon(5),
    }
    return TokenOutcome.objects.create(
        run_id=token.run_id, token_id=token.token_id, outcome=outcome, **defaults | columns
    )


def make_batch(node: Node, *members: Token, **columns: Any) -> Batch:
    """A batch that fired by count, with these members."""
    defaults = {
        "batch_id": new_id(),
        "trigger_type": "count",
        "attempt": 0,
        "status": "completed",
        "created_at": NOON,
        "completed_at": after_noon(4),
    }
    batch = Batch.objects.create(
        run_id=node.run_id, aggregation_node_id=node.node_id, **defaults | columns
    )
    BatchMember.objects.bulk_create(
        BatchMember(
            run_id=node.run_id, batch_id=batch.batch_id, token_id=token.token_id, ordinal=ordinal
        )
        for ordinal, token in enumerate(members)
    )
    return batch


def make_checkpoint(
    token: Token, node: Node, sequence_number: int = 0, **columns: Any
) -> Checkpoint:
    """A mark that this token was written at this node."""
    defaults = {
        "checkpoint_id": f"cp-{new_id()}",
        "created_at": after_noon(sequence_number),
        "upstream_topology_hash": digest("topology"),
        "checkpoint_node_config_hash": digest("config"),
    }
    return Checkpoint.objects.create(
        run_id=token.run_id,
        token_id=token.token_id,
        node_id=node.node_id,
        sequence_number=sequence_number,
        **defaults | columns,
    )


def make_event(run: Run, kind: str = "resumed", **columns: Any) -> RunEvent:
    """Something that happened to a run as a whole."""
    defaults = {"event_id": f"ev_{new_id()[-8:]}", "recorded_at": after_noon(7)}
    return RunEvent.objects.create(run_id=run.run_id, kind=kind, **defaults | columns)


def make_artifact(state: NodeState, *members: NodeState, **columns: Any) -> Artifact:
    """A file that a sink wrote in this visit; the members beside it are inferred."""
    defaults = {
        "artifact_id": new_id(),
        "artifact_type": "file",
        "path_or_uri": "file:///data/out.csv",
        "content_hash": digest("file"),
        "size_bytes": 2048,
        "created_at": after_noon(6),
    }
    artifact = Artifact.objects.create(
        run_id=state.run_id,
        produced_by_state_id=state.state_id,
        sink_node_id=state.node_id,
        **defaults | columns,
    )
    ArtifactMember.objects.bulk_create(
        ArtifactMember(
            run_id=state.run_id,
            artifact_id=artifact.artifact_id,
            token_id=member.token_id,
            state_id=member.state_id,
            ordinal=ordinal,
            inferred=ordinal > 0,
        )
        for ordinal, member in enumerate((state, *members))
    )
    return artifact


def make_refusal(run: Run, **columns: Any) -> ValidationError:
    """A source record that validation refused and discarded."""
    defaults = {
        "error_id": f"verr_{new_id()[-12:]}",
        "row_hash": digest("refused"),
        "error": "amount: not a number",
        "schema_mode": "strict",
        "destination": "discard",
        "created_at": NOON,
    }
    return ValidationError.objects.create(run_id=run.run_id, **defaults | columns)


def make_rejection(token: Token, node: Node, **columns: Any) -> TransformError:
    """What a token carried, rejected by a transform and discarded."""
    defaults = {
        "error_id": f"terr_{new_id()[-12:]}",
        "row_hash": digest("rejected"),
        "error_details_json": '{"reason":"blocked_content"}',
        "destination": "discard",
        "created_at": after_noon(2),
    }
    return TransformError.objects.create(
        run_id=token.run_id,
        token_id=token.token_id,
        transform_id=node.node_id,
        **defaults | columns,
    )


def make_finding(run: Run, record_key: str = "", **columns: Any) -> Finding:
    """A habit of its era about one record."""
    defaults = {
        "code": "Q09",
        "level": "info",
        "table_name": "rows",
        "detail": "the payload was not kept",
        "occurrences": 1,
        "found_at": NOON,
    }
    return Finding.objects.create(run_id=run.run_id, record_key=record_key, **defaults | columns)


def make_import(run: Run, **columns: Any) -> Import:
    """The file that a run was imported from."""
    defaults = {
        "import_id": new_id(),
        "source_name": "audit.db",
        "source_sha256": digest("audit.db"),
        "source_bytes": 417_792,
        "era": "A",
        "schema_fingerprint": digest("schema"),
        "rests_on_clean_close": False,
        "outcome": "imported",
        "records_json": json.dumps({"runs": 1, "rows": 12}),
        "imported_at": after_noon(60),
    }
    return Import.objects.create(run_id=run.run_id, **defaults | columns)


def make_payload(content_hash: str, **columns: Any) -> Payload:
    """What is known of the bytes behind a reference: they are there."""
    defaults = {"state": "available", "size_bytes": 512, "recorded_at": NOON}
    return Payload.objects.create(content_hash=content_hash, **defaults | columns)


def make_purged(*refs: str) -> PurgePlan:
    """Tombstones in the place of payloads, by a plan as the database demands one.

    Payloads that are not known yet are made. Says nothing in the records of runs.
    """
    for ref in refs:
        Payload.objects.get_or_create(
            content_hash=ref,
            defaults={"state": "available", "size_bytes": 512, "recorded_at": NOON},
        )
    kind, _ = ContentType.objects.get_or_create(app_label="audit", model="purgeplan")
    may, _ = Permission.objects.get_or_create(
        codename="approve_retention",
        content_type__app_label="audit",
        defaults={"content_type": kind, "name": "Can approve"},
    )
    planner, approver = (User.objects.create_user(f"person {new_id()}") for _ in range(2))
    approver.user_permissions.add(may)
    policy = RetentionPolicy.objects.create(
        name=f"policy {new_id()}",
        version=1,
        scope="all",
        keep_days=0,
        delete_after_days=0,
        reason="the contract says so",
        made_by=planner.pk,
        made_at=NOON,
    )
    plan = PurgePlan.objects.create(
        status="drafting", made_by=planner.pk, made_at=NOON, wait_seconds=0, policies_json="[]"
    )
    PurgeItem.objects.bulk_create(
        PurgeItem(
            plan_id=plan.plan_id,
            content_hash=ref,
            size_bytes=512,
            policy_id=policy.policy_id,
            status="planned",
        )
        for ref in refs
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT landscape_list_digest(%s)", [plan.plan_id])
        (digest_,) = cursor.fetchone()
    mine = PurgePlan.objects.filter(plan_id=plan.plan_id)
    mine.update(
        status="proposed",
        items=len(refs),
        bytes=512 * len(refs),
        runs=0,
        digest=digest_,
        kept_json="{}",
        goes_json="{}",
        inline_json="{}",
    )
    mine.update(
        status="approved",
        approved_by=approver.pk,
        approved_at=NOON,
        approved_digest=digest_,
        typed_count=len(refs),
        may_begin_at=NOON,
    )
    mine.update(status="executing", begun_by=planner.pk, begun_at=NOON)
    blobs.purge(refs=refs, plan_id=plan.plan_id, at=after_noon(3600))
    PurgeItem.objects.filter(plan_id=plan.plan_id).update(
        status="purged", purged_at=after_noon(3600)
    )
    return mine.get()


def summarise(run: Run) -> None:
    """Count the run, as happens when an import ends."""
    summaries.refresh(run_id=run.run_id, at=after_noon(61))


@dataclass(frozen=True)
class World:
    """A run of one source, one transform and one sink, with its rows and their tokens."""

    run: Run
    source: Node
    transform: Node
    sink: Node
    rows: list[Row]
    tokens: list[Token]

    @property
    def node(self) -> Node:
        """Any of its nodes."""
        return self.transform


def make_world(rows: int = 2, **run_columns: Any) -> World:
    """A run whose rows all went from source through a transform to the sink, and are counted."""
    run = make_run(**run_columns)
    source = make_node(run, "csv", "source")
    transform = make_node(run, "tidy")
    sink = make_node(run, "output", "sink")
    made = [make_row(source, index) for index in range(rows)]
    tokens = [make_token(row) for row in made]
    for token in tokens:
        first = digest(f"row {token.row.row_index}")
        make_state(token, transform, 1, input_hash=first)
        make_state(token, sink, 2, input_hash=first, output_hash=digest("receipt"))
        make_outcome(token, "completed", sink_name="output")
    summarise(run)
    return World(run, source, transform, sink, made, tokens)
