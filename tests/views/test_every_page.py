"""What holds for every page: who may see it, what it costs, what it never does."""

import re
from html import escape

import pytest
from django.urls import reverse

from audit import payloads
from audit.models import Artifact, Batch, Call, NodeState, Payload
from tests.builders import (
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
    make_payload,
    make_refusal,
    make_rejection,
    make_route,
    make_row,
    make_run,
    make_state,
    make_token,
    make_world,
    summarise,
)

pytestmark = pytest.mark.django_db

# Markup, a quote to leave an attribute, a right-to-left override, a zero-width space, a bell.
HOSTILE = "<script>alert(1)</script>\"'><b>\u202egnp.exe\u200b\x07"
LONG = "n" * 10_240


def addresses(world):
    run_id = world.run.run_id
    row, token = world.rows[0], world.tokens[0]
    call = Call.objects.filter(run_id=run_id).first() or make_call(
        NodeState.objects.filter(run_id=run_id).first()
    )
    return {
        "runs": reverse("audit:runs"),
        "run": reverse("audit:run", args=[run_id]),
        "ledger": reverse("audit:ledger", args=[run_id]),
        "journeys": reverse("audit:journeys", args=[run_id]),
        "node": reverse("audit:node", args=[run_id, world.node.node_id]),
        "rows": reverse("audit:rows", args=[run_id]),
        "row": reverse("audit:row", args=[run_id, row.row_id]),
        "token": reverse("audit:token", args=[run_id, token.token_id]),
        "visit": reverse("audit:visit", args=[run_id, call.state_id]),
        "call": reverse("audit:call", args=[run_id, call.call_id]),
        "batches": reverse("audit:batches", args=[run_id]),
        "batch": reverse("audit:batch", args=[run_id, a_batch(world).batch_id]),
        "checkpoints": reverse("audit:checkpoints", args=[run_id]),
        "errors": reverse("audit:errors", args=[run_id]),
        "artifacts": reverse("audit:artifacts", args=[run_id]),
        "artifact": reverse("audit:artifact", args=[run_id, an_artifact(run_id).artifact_id]),
        "record": reverse("audit:record", args=[run_id, "token", token.token_id]),
    }


def an_artifact(run_id):
    """The first artifact of a run."""
    state = NodeState.objects.filter(run_id=run_id).first()
    return Artifact.objects.filter(run_id=run_id).first() or make_artifact(state)


def a_batch(world):
    """The first batch of a run."""
    first = Batch.objects.filter(run_id=world.run.run_id).first()
    return first or make_batch(world.node, world.tokens[0])


PAGES = [
    "runs",
    "run",
    "node",
    "ledger",
    "journeys",
    "rows",
    "row",
    "token",
    "visit",
    "call",
    "errors",
    "batches",
    "batch",
    "checkpoints",
    "artifacts",
    "artifact",
    "record",
]


# Pages that hold contents: shown in the answer of a POST.
REVEAL = set(PAGES) - {"runs", "ledger", "journeys", "rows", "artifacts", "artifact", "record"}


def revealed(client, page, address):
    """The page with all that it can show."""
    return client.post(address) if page in REVEAL else client.get(address)


@pytest.mark.parametrize("page", PAGES)
class TestEveryPage:
    def test_sends_a_stranger_to_the_login(self, client, page):
        address = addresses(make_world())[page]

        answer = client.get(address)

        assert answer.status_code == 302
        assert answer.url == f"/accounts/login/?next={address}"

    def test_only_reads(self, signed_in, page, read_only):
        address = addresses(make_world())[page]

        with read_only():
            answers = [signed_in.get(address), revealed(signed_in, page, address)]

        assert {answer.status_code for answer in answers} == {200}

    def test_refuses_a_parameter_that_it_does_not_know(self, signed_in, page):
        answer = signed_in.get(addresses(make_world())[page], {"surprise": "1"})

        assert answer.status_code == 400
        assert "does not know the parameter “surprise”" in answer.text

    def test_refuses_to_be_written_to(self, signed_in, page):
        address = addresses(make_world())[page]

        assert signed_in.put(address).status_code == 405
        assert page in REVEAL or signed_in.post(address).status_code == 405

    def test_holds_no_style_and_no_script_of_its_own(self, signed_in, page):
        text = revealed(signed_in, page, addresses(full_world())[page]).text

        assert not re.search(r"\sstyle=|<style|\son[a-z]+=|javascript:", text)
        assert re.findall(r"<script(?![^>]*\ssrc=)", text) == []

    def test_shows_hostile_text_without_obeying_it(self, signed_in, page):
        world = full_world(HOSTILE)

        text = revealed(signed_in, page, addresses(world)[page]).text

        assert "<script>alert" not in text
        assert "<b>" not in text
        for hidden in ("\u202e", "\u200b", "\x07"):
            assert hidden not in text

    def test_stays_small_whatever_names_are_given(self, signed_in, page):
        world = full_world(LONG)

        answer = revealed(signed_in, page, addresses(world)[page])

        assert answer.status_code == 200
        assert len(answer.content) < 100_000

    def test_costs_the_same_at_two_sizes(self, signed_in, page, count_queries):
        small, large = full_world(), full_world(size=25)

        costs = [
            count_queries(lambda world=world: revealed(signed_in, page, addresses(world)[page]))
            for world in (small, large)
        ]

        assert costs[0] == costs[1]


def full_world(name="plain", size=1):
    """A run with at least one of everything that a page can show, all named the same way."""
    short = name[:50]
    run = make_run(settings_json=f'{{"name": "{name}"}}', export_error=name, export_status="failed")
    source = make_node(run, "csv", "source", plugin_name=name, plugin_version=name)
    gate = make_node(run, "gate", "gate", node_id=short, plugin_name=name, config_json=name)
    sink = make_node(run, "output", "sink")
    totals = make_node(run, "totals", "aggregation")
    edge = make_edge(gate, sink, name)
    rows, tokens = [], []
    for index in range(size):
        row = make_row(source, index, source_data_ref=name)
        token = make_token(row)
        rows.append(row)
        tokens.append(token)
        child = make_child(token, 0, branch_name=name)
        make_outcome(child, "failed", error_hash=short)
        state = make_state(token, gate, 1, status="failed", error_json=name)
        again = make_state(token, gate, 1, attempt=1)
        make_route(again, edge, reason_ref=kept(name), reason_hash=short)
        make_call(state, status="error", error_json=name, request_ref=kept(name), response_ref=name)
        make_artifact(make_state(token, sink, 2), path_or_uri=name, artifact_type=name)
        make_batch(totals, token, trigger_reason=name)
        make_checkpoint(token, gate, index)
        make_event(run, detail_json=name)
        make_rejection(token, gate, error_details_json=name, destination=name)
        make_outcome(token, "routed", sink_name=name)
        make_refusal(run, row_hash=row.source_data_hash, error=name, destination=name)
        make_finding(run, row.row_id, detail=name, level="error")
        make_finding(run, token.token_id, detail=name, code=name, table_name="tokens")
        make_finding(run, f"key {name}", detail=name, code="Q99", table_name=name)
    make_import(run, source_name=name)
    summarise(run)
    return FullWorld(run, gate, rows, tokens)


def kept(text):
    """Contents in the store, and known to be there."""
    ref = payloads.store(text.encode("utf-8", "surrogatepass"))
    if not Payload.objects.filter(content_hash=ref).exists():
        make_payload(ref)
    return ref


class FullWorld:
    def __init__(self, run, node, rows, tokens):
        self.run, self.node, self.rows, self.tokens = run, node, rows, tokens


class TestKeysInAddresses:
    @pytest.mark.parametrize(
        "key",
        ["a/b", "..", ".", "~", "~2F", "a~2Fb", "ä?#&%", "a b", "<b>", "\u202ex", "\\", "''\n"],
    )
    def test_lead_to_the_record_whatever_they_hold(self, signed_in, key):
        run = make_run(run_id=key)
        source = make_node(run, "csv", "source")
        token = make_token(make_row(source, row_id=key), token_id=key)
        summarise(run)

        listed = signed_in.get("/runs/").text
        statuses = [
            signed_in.get(reverse(f"audit:{name}", args=arguments)).status_code
            for name, arguments in (
                ("run", [key]),
                ("rows", [key]),
                ("row", [key, token.row_id]),
                ("token", [key, key]),
            )
        ]

        assert escape(reverse("audit:run", args=[key])) in listed
        assert statuses == [200] * 4

    def test_lead_nowhere_with_a_nul(self, signed_in):
        assert signed_in.get("/runs/a%00b/").status_code == 404


class TestNotThere:
    @pytest.mark.parametrize(
        ("address", "words"),
        [
            ("/runs/nowhere/", "There is no run nowhere on record."),
            ("/runs/nowhere/ledger/", "There is no run nowhere on record."),
            ("/runs/nowhere/journeys/", "There is no run nowhere on record."),
            ("/runs/{run}/journeys/?after=nowhere", "There is no journey nowhere on record."),
            ("/runs/nowhere/dag.svg", "There is no run nowhere on record."),
            ("/runs/{run}/nodes/nowhere/", "There is no node nowhere on record."),
            ("/runs/nowhere/rows/", "There is no run nowhere on record."),
            ("/runs/{run}/rows/nowhere/", "There is no row nowhere on record."),
            ("/runs/{run}/tokens/nowhere/", "There is no token nowhere on record."),
            ("/runs/{run}/states/nowhere/", "There is no visit nowhere on record."),
            ("/runs/{run}/calls/nowhere/", "There is no call nowhere on record."),
            ("/runs/nowhere/batches/", "There is no run nowhere on record."),
            ("/runs/{run}/batches/?after=nowhere", "There is no batch nowhere on record."),
            ("/runs/{run}/batches/nowhere/", "There is no batch nowhere on record."),
            ("/runs/nowhere/checkpoints/", "There is no run nowhere on record."),
            (
                "/runs/{run}/checkpoints/?after=nowhere",
                "There is no checkpoint nowhere on record.",
            ),
            ("/runs/nowhere/errors/", "There is no run nowhere on record."),
            ("/runs/nowhere/artifacts/", "There is no run nowhere on record."),
            ("/runs/{run}/artifacts/?after=nowhere", "There is no artifact nowhere on record."),
            ("/runs/{run}/artifacts/nowhere/", "There is no artifact nowhere on record."),
            ("/nothing/", "There is no page at this address."),
        ],
    )
    def test_says_which_thing_is_not_there(self, signed_in, address, words):
        world = make_world()

        answer = signed_in.get(address.format(run=world.run.run_id))

        assert answer.status_code == 404
        assert words in answer.text

    def test_tells_a_stranger_nothing_about_what_is_there(self, client):
        world = make_world()

        there = client.get(reverse("audit:run", args=[world.run.run_id]))
        nowhere = client.get("/runs/nowhere/")

        assert there.status_code == nowhere.status_code == 302


class TestOurFault:
    def test_has_a_page_without_a_database_or_a_user(self, client, monkeypatch, settings):
        client.raise_request_exception = False
        monkeypatch.setattr("audit.views.health.lineage.schema_fits", lambda: 1 / 0)

        answer = client.get("/health/ready")

        assert answer.status_code == 500
        assert "This page could not be made." in answer.text
