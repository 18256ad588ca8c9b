"""What a question costs: at most twelve queries, and as many of a lean record as of a full one."""

import pytest

from audit import lineage
from tests.builders import (
    digest,
    make_artifact,
    make_batch,
    make_call,
    make_checkpoint,
    make_child,
    make_edge,
    make_event,
    make_finding,
    make_import,
    make_node,
    make_outcome,
    make_parent,
    make_refusal,
    make_rejection,
    make_route,
    make_row,
    make_run,
    make_state,
    make_token,
    summarise,
)

pytestmark = pytest.mark.django_db

MOST = 12


def full(size):
    """A token with so many of everything that a record can have, and the keys beside it."""
    run = make_run()
    make_import(run)
    source, sink = make_node(run, "csv", "source"), make_node(run, "output", "sink")
    gate = make_node(run, "gate", "gate", config_json='{"condition": "True"}')
    price, totals = make_node(run, "price"), make_node(run, "totals", "aggregation")
    make_edge(source, gate)
    edge = make_edge(gate, sink, "high")
    rows = [make_row(source, place, source_data_ref=digest(f"row {place}")) for place in range(3)]
    token = make_token(rows[1], expand_group_id="parts")
    parents = [make_token(rows[1]) for _ in range(size)]
    for place, parent in enumerate(parents):
        make_parent(token, parent, place)
        make_child(parent, 1, expand_group_id="parts")
    for place in range(size):
        state = make_state(token, gate, 2, attempt=place, input_hash=rows[1].source_data_hash)
        make_route(state, edge, reason_ref=digest(f"reason {place}"))
        call = make_call(
            state,
            status="error",
            request_ref=digest(f"request {place}"),
            response_ref=digest(f"response {place}"),
            error_ref=digest(f"call {place}"),
        )
        ref = digest(f"state {place}")
        failed = make_state(token, price, 3, attempt=place, status="failed", error_ref=ref)
        make_outcome(token, "buffered", outcome_id=f"out-{place}")
        ref = digest(f"rejected {place}")
        rejected = make_rejection(
            token, gate, error_details_json=None, error_details_ref=ref, error_details_hash=ref
        )
        batch = make_batch(totals, token, aggregation_state_id=state.state_id)
        make_batch(totals, *parents, token)
        others = [make_state(parent, sink, 9 + place, attempt=place) for parent in parents]
        artifact = make_artifact(make_state(token, sink, 9, attempt=place), *others)
        own = {"row_id": rows[1].row_id, "row_hash": digest("own")}
        for columns in (own, {"row_hash": rows[1].source_data_hash}):
            ref = digest(f"refused {place}")
            make_refusal(run, error=None, error_ref=ref, error_hash=ref, **columns)
        make_checkpoint(token, sink, place)
        make_event(run)
        child = make_child(token, place)
        make_state(child, gate, 4)
        for key in (token.token_id, rejected.error_id, rows[1].row_id):
            make_finding(run, key)
    summarise(run)
    return {
        "run": run.run_id,
        "row": rows[1].row_id,
        "token": token.token_id,
        "visit": state.state_id,
        "failed": failed.state_id,
        "call": call.call_id,
        "node": gate.node_id,
        "batch": batch.batch_id,
        "artifact": artifact.artifact_id,
    }


QUESTIONS = {
    "token": lambda of: lineage.explain_token(**key(of, "token")),
    "token closure": lambda of: lineage.gather_closure(**key(of, "token")),
    "token ending": lambda of: lineage.tell_ending(**key(of, "token")),
    "row": lambda of: lineage.explain_row(**key(of, "row")),
    "row, further on": lambda of: lineage.explain_row(**key(of, "row"), after=of["token"]),
    "row closure": lambda of: lineage.gather_row(**key(of, "row")),
    "visit": lambda of: lineage.explain_visit(run_id=of["run"], state_id=of["visit"]),
    "failed visit": lambda of: lineage.explain_visit(run_id=of["run"], state_id=of["failed"]),
    "call": lambda of: lineage.explain_call(**key(of, "call")),
    "node": lambda of: lineage.explain_node(**key(of, "node")),
    "batch": lambda of: lineage.explain_batch(**key(of, "batch")),
    "artifact": lambda of: lineage.explain_artifact(**key(of, "artifact")),
    "run": lambda of: lineage.explain_run(**key(of, "run")),
    "run's ledger": lambda of: lineage.explain_ledger(**key(of, "run")),
    "run's graph": lambda of: lineage.explain_graph(**key(of, "run")),
    "run's recovery": lambda of: lineage.explain_recovery(**key(of, "run")),
}


def key(of, kind):
    return {"run_id": of["run"], f"{kind}_id": of[kind]}


def test_no_question_about_a_record_takes_more_than_twelve_queries_at_any_size(
    signed_in, count_queries
):
    small, large = full(2), full(7)

    with lineage.revealed():
        costs = {
            name: [count_queries(lambda ask=ask, of=of: ask(of)) for of in (small, large)]
            for name, ask in QUESTIONS.items()
        }

    assert {name: cost for name, cost in costs.items() if max(cost) > MOST} == {}
    assert {name: cost for name, cost in costs.items() if cost[0] != cost[1]} == {}
    # All that the page of such a token asks, who looks and that it is kept included.
    pages = [f"/runs/{of['run']}/tokens/{of['token']}/" for of in (small, large)]
    assert [count_queries(lambda page=page: signed_in.get(page)) for page in pages] == [34, 34]


def test_every_question_that_explains_is_among_them():
    assert {name for name in lineage.__all__ if name.startswith(("explain_", "gather_"))} == {
        name for ask in QUESTIONS.values() for name in ask.__code__.co_names if "_" in name
    } - {"tell_ending"}
