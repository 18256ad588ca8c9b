"""A run with a canary in every column that holds contents, and an address for every route."""

from __future__ import annotations

import json
from dataclasses import dataclass

from django.urls import URLPattern, URLResolver, get_resolver, reverse

from audit import payloads
from audit.models import Call, Export, NodeState, Operation, Payload, Run
from tests.builders import (
    NOON,
    digest,
    make_artifact,
    make_batch,
    make_call,
    make_checkpoint,
    make_edge,
    make_event,
    make_import,
    make_node,
    make_outcome,
    make_payload,
    make_refusal,
    make_rejection,
    make_route,
    make_row,
    make_run,
    make_state,
    make_token,
    new_id,
    summarise,
)

CANARY = "canary-5f1c"
# Held by the trail, and never shown by any page.
NEVER_SHOWN = {"row-data", "aggregation", "outcome-context", "refused-row", "rejected-row"}


def canary(name):
    """A word that stands in one column and nowhere else."""
    return f"{CANARY}-{name}"


def said(name, **more):
    """An error or a context as JSON."""
    return json.dumps({"message": canary(name)} | more)


def kept(text):
    """Contents in the store, and known to be there."""
    ref = payloads.store(text.encode())
    if not Payload.objects.filter(content_hash=ref).exists():
        make_payload(ref, size_bytes=len(text))
    return ref


@dataclass
class Planted:
    """What was planted, and the keys of one of each."""

    run: Run
    keys: dict[str, str | int]

    def address(self, name):
        """The address of a route of this world, by its name."""
        return reverse(name, kwargs={key: self.keys[key] for key in PARAMETERS[name]})


def planted(*, requested_by):
    """One run with contents wherever there can be any."""
    settings = {"pipeline": "claims", "prompt": canary("settings")}
    run = make_run(
        settings_json=json.dumps(settings),
        export_error=canary("export-error"),
        export_status="failed",
    )
    config = {"condition": f"row['amount'] > '{canary('rule')}'", "routes": {"true": "output"}}
    source = make_node(run, "csv", "source")
    gate = make_node(run, "gate", "gate", config_json=json.dumps(config))
    sink = make_node(run, "output", "sink")
    totals = make_node(run, "totals", "aggregation")
    edge = make_edge(gate, sink, "true")
    row = make_row(source, 0, source_data_ref=kept(said("row-data", amount=canary("amount"))))
    token = make_token(row)
    failed = make_state(
        token,
        gate,
        1,
        status="failed",
        error_json=said("visit-error"),
        error_hash=digest("e")[:16],
    )
    again = make_state(
        token,
        gate,
        1,
        attempt=1,
        input_hash=row.source_data_hash,
        context_before_json=said("before"),
        context_after_json=said("after"),
        success_reason_json=said("success"),
    )
    make_state(token, totals, 2, status="failed", error_ref=kept(said("visit-error-kept")))
    reason = {"condition": f"row['amount'] > '{canary('reason')}'", "result": "true"}
    ref = kept(json.dumps(reason))
    make_route(again, edge, reason_ref=ref, reason_hash=ref)
    call = make_call(
        failed,
        status="error",
        error_json=said("call-error"),
        request_ref=kept(canary("request")),
        response_ref=kept(canary("response")),
    )
    written = make_state(token, sink, 3)
    artifact = make_artifact(written)
    batch = make_batch(totals, token, trigger_reason=canary("trigger"))
    make_checkpoint(token, gate, 0, aggregation_state_json=said("aggregation"))
    make_event(run, detail_json=said("event"))
    make_rejection(
        token, gate, error_details_json=said("rejection"), row_data_json=said("rejected-row")
    )
    make_refusal(run, error=canary("refusal"), row_data_json=said("refused-row"), row_id=row.row_id)
    make_outcome(token, "routed", sink_name="output", context_json=said("outcome-context"))
    make_import(run)
    Operation.objects.create(
        run_id=run.run_id,
        operation_id=new_id(),
        node_id=source.node_id,
        operation_type="source_load",
        status="failed",
        started_at=NOON,
        completed_at=NOON,
        error_message=canary("operation"),
    )
    summarise(run)
    export = Export.objects.create(
        export_id=new_id(),
        run_id=run.run_id,
        requested_by=requested_by,
        requested_at=NOON,
        with_csv=False,
        with_payloads=False,
        provisional=False,
        status="requested",
        step="sealing",
        attempt=0,
        fence=0,
        due_at=NOON,
        records_done=0,
    )
    keys = {
        "run_id": run.run_id,
        "row_id": row.row_id,
        "token_id": token.token_id,
        "state_id": again.state_id,
        "call_id": call.call_id,
        "node_id": gate.node_id,
        "batch_id": batch.batch_id,
        "artifact_id": artifact.artifact_id,
        "export_id": export.export_id,
        "name": "verify.py",
        "record_type": "row",
        "plan_id": 4242,
        "session_id": 4242,
        "key": row.row_id,
        # Of a policy, a hold, a plan, a person: nobody made one, so no act is done by asking.
        "number": 4242,
        "job_id": "no-such-job-1",
    }
    assert NodeState.objects.filter(run_id=run.run_id).count() == 4
    assert Call.objects.filter(state__run_id=run.run_id).count() == 1
    return Planted(run, keys)


def _routes(patterns, spaces, parameters):
    for each in patterns:
        inside = parameters | set(each.pattern.converters)
        if isinstance(each, URLResolver):
            space = [*spaces, each.namespace] if each.namespace else spaces
            yield from _routes(each.url_patterns, space, inside)
        elif isinstance(each, URLPattern):
            yield ":".join([*spaces, each.name or "(unnamed)"]), sorted(inside)


# Every route of the site and the keys in its address.
PARAMETERS = dict(_routes(get_resolver().url_patterns, [], set()))
