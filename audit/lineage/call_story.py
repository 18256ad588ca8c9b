"""The story of one external call: what was asked, what came back, and where it belongs."""

from __future__ import annotations

from dataclasses import dataclass

from audit.errors import NotRecorded
from audit.lineage.absent import refuse
from audit.lineage.bodies import Body, read_bodies, unkept
from audit.lineage.excerpts import ERROR_LIMIT, Excerpt, excerpt, reading
from audit.lineage.findings import FindingLine, findings_about
from audit.lineage.nodes import NodeFacts, read_nodes
from audit.lineage.runs import RunFacts, describe_run
from audit.models import Call, NodeState, Operation, Row


@dataclass(frozen=True, kw_only=True)
class CallStory:
    """Everything the page of one call tells: it was made in a visit, or in an operation."""

    run: RunFacts
    call: Call
    node: NodeFacts
    state: NodeState | None
    operation: Operation | None
    row: Row | None
    request: Body
    response: Body
    error: Body | None
    error_text: Excerpt | None
    before: Call | None
    behind: Call | None
    findings: tuple[FindingLine, ...]


def explain_call(*, run_id: str, call_id: str) -> CallStory:
    """Gather one call's story in a fixed number of queries; bodies are read and proven.

    Raises:
        NotRecorded: there is no such run, or no such call in it.
    """
    run = describe_run(run_id=run_id)
    call = (
        Call.objects.filter(run_id=run_id, call_id=call_id)
        .defer("error_json")
        .annotate(**reading("error_json", limit=ERROR_LIMIT))
        .first()
    )
    if call is None:
        refuse("call", call_id, run_id=run_id)
        raise NotRecorded("call", call_id)
    state = (
        NodeState.objects.filter(run_id=run_id, state_id=call.state_id)
        .only("run_id", "state_id", "node_id", "token_id", "attempt")
        .first()
    )
    operation = Operation.objects.filter(run_id=run_id, operation_id=call.operation_id).first()
    token_id = state.token_id if state else None
    row = Row.objects.filter(run_id=run_id, tokens__token_id=token_id).first()
    node_id = (state or operation).node_id  # type: ignore[union-attr]  # it has one of them
    parts = [
        (call.request_ref, call.request_hash),
        (call.response_ref, call.response_hash),
        (call.error_ref, call.error_hash),
    ]
    bodies = read_bodies(parts=parts)
    request, response, error = (bodies.get(ref) or unkept(digest) for ref, digest in parts)
    # The calls of the same parent, by their number.
    others = Call.objects.filter(
        run_id=run_id, state_id=call.state_id, operation_id=call.operation_id
    ).only("run_id", "call_id", "call_index")
    return CallStory(
        run=run,
        call=call,
        node=read_nodes(run_id, [node_id])[node_id],
        state=state,
        operation=operation,
        row=row,
        request=request,
        response=response,
        error=error if call.error_hash else None,
        error_text=excerpt(call, "error_json") or error.excerpt,
        before=others.filter(call_index__lt=call.call_index).order_by("-call_index").first(),
        behind=others.filter(call_index__gt=call.call_index).order_by("call_index").first(),
        findings=findings_about(run_id=run_id, keys=[call_id]),
    )
