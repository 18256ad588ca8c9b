"""A lineage as plain data, field by field: what is downloaded and asked for by programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from audit.lineage.closure_facts import BatchFacts, Closure, GroupFacts, TokenFacts, VisitFacts
    from audit.lineage.lanes import Lanes

FORMAT = "landscape-lineage/1"


def lineage_data(closure: Closure, *, lanes: Lanes) -> dict[str, Any]:
    """Everything that is told of a lineage, and in which lane of the view each token stands."""
    return {
        "format": FORMAT,
        "run_id": closure.run.run_id,
        "token_id": closure.focus_id,
        "row_ids": list(closure.row_ids),
        "tokens_total": closure.tokens_total,
        "visits_total": closure.visits_total,
        "limits": list(closure.limits),
        "tokens": [_token(closure, token) for token in closure.tokens.values()],
        "links": [
            {"token_id": link.token_id, "parent_id": link.parent_id, "ordinal": link.ordinal}
            for link in closure.links
        ],
        "parents_elsewhere": sorted(closure.ghosts),
        "visits": [_visit(visit) for visits in closure.visits.values() for visit in visits],
        "batches": [_batch(batch) for batch in closure.batches],
        "groups": [_group(group) for group in closure.groups],
        "hops": [
            {
                "kind": hop.kind,
                "from_state": hop.from_state,
                "to_state": hop.to_state,
                "token_id": hop.token_id,
                "parent_id": hop.parent_id,
                "verdict": hop.verdict,
                "reason": hop.reason,
            }
            for hop in closure.hops
        ],
        "nodes": [
            {
                "node_id": node.node_id,
                "name": node.name,
                "type": node.kind,
                "plugin": node.plugin,
                "version": node.version,
                "layer": node.layer,
            }
            for node in closure.nodes.values()
        ],
        "lanes": [
            {
                "number": lane.number,
                "kind": lane.kind,
                "key": lane.key,
                "tokens": lane.fold.tokens if lane.fold else 1 if lane.token else 0,
                "states": [
                    cell.state_id
                    for cell in (*lane.cells, lane.ending.cell)
                    if cell is not None and cell.state_id is not None
                ],
            }
            for lane in lanes.lanes
        ],
        "edges": [
            {"kind": edge.kind, "from_lane": edge.start, "to_lane": edge.end}
            for edge in lanes.edges
        ],
        "left_out": {
            "lanes": lanes.left_out_lanes + lanes.beyond_lanes,
            "tokens": lanes.left_out_tokens + lanes.beyond_tokens,
        },
    }


def _token(closure: Closure, token: TokenFacts) -> dict[str, Any]:
    return {
        "token_id": token.token_id,
        "row_id": token.row_id,
        "row_index": token.row_index,
        "branch_name": token.branch_name,
        "made": token.made,
        "group_id": token.group_id,
        "ordinal": token.ordinal,
        "outcome": token.outcome,
        "is_terminal": token.is_terminal,
        "sink_name": token.sink_name,
        "error_hash": token.error_hash,
        "batch_id": token.batch_id,
        "created_at": _instant(token.created_at),
        "is_ancestor": token.token_id in closure.ancestors,
    }


def _visit(visit: VisitFacts) -> dict[str, Any]:
    return {
        "state_id": visit.state_id,
        "token_id": visit.token_id,
        "node_id": visit.node_id,
        "step_index": visit.step_index,
        "attempt": visit.attempt,
        "status": visit.status,
        "started_at": _instant(visit.started_at),
        "completed_at": _instant(visit.completed_at),
        "duration_ms": visit.duration_ms,
        "input_hash": visit.input_hash,
        "output_hash": visit.output_hash,
        "calls": visit.calls,
        "calls_failed": visit.calls_failed,
        "routes": [
            {
                "label": route.label,
                "mode": route.mode,
                "edge_id": route.edge_id,
                "to_node_id": route.to_node_id,
            }
            for route in visit.routes
        ],
    }


def _batch(batch: BatchFacts) -> dict[str, Any]:
    return {
        "batch_id": batch.batch_id,
        "node_id": batch.node_id,
        "state_id": batch.state_id,
        "status": batch.status,
        "trigger_type": batch.trigger_type,
        "attempt": batch.attempt,
        "members_total": batch.members_total,
        "members": [{"token_id": key, "ordinal": place} for key, place in batch.members],
        "outputs": [{"type": kind, "id": key} for kind, key in batch.outputs],
        "outputs_inferred": batch.inferred,
    }


def _group(group: GroupFacts) -> dict[str, Any]:
    return {
        "group_key": group.group_key,
        "parent_id": group.parent_id,
        "made": group.made,
        "group_id": group.group_id,
        "branch_name": group.branch_name,
        "path": [
            {
                "node_id": step.node_id,
                "step_index": step.step_index,
                "status": step.status,
                "retried": step.retried,
                "label": step.label,
            }
            for step in group.path
        ],
        "outcome": group.outcome,
        "sink_name": group.sink_name,
        "tokens": group.tokens,
        "example_id": group.example_id,
        "p50_ms": group.p50_ms,
        "p95_ms": group.p95_ms,
        "started_at": _instant(group.started_at),
        "ended_at": _instant(group.ended_at),
        "at_work": list(group.at_work),
    }


def _instant(instant: datetime | None) -> str | None:
    return instant.isoformat(timespec="microseconds") if instant else None
