"""The sentence about a token or a row: what it says, and that each clause leads to its record."""

import json
import shutil

import pytest
from django.urls import reverse

from audit import blobs, imports, lineage
from audit.canonical import canonical_bytes, stable_hash
from audit.models import Row, Token
from audit.views import endings
from tests import audit_files
from tests.builders import (
    NOON,
    make_artifact,
    make_batch,
    make_child,
    make_edge,
    make_node,
    make_outcome,
    make_route,
    make_row,
    make_run,
    make_state,
    make_token,
    make_world,
    new_id,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _revealed():
    """Sentences are told as to somebody to whom contents were revealed."""
    with lineage.revealed():
        yield


CONDITION = "row['amount'] > 1000"
HOSTILE = "<script>alert(1)</script> " + "x" * 500


@pytest.fixture(autouse=True)
def _var(settings, tmp_path):
    settings.LANDSCAPE_VAR = tmp_path / "var"


def keep(value):
    """Store a payload and return its hash, which is its reference."""
    content = canonical_bytes(value)
    blobs.keep(contents={stable_hash(value): content}, at=NOON)
    return stable_hash(value)


def sentence(token):
    ending = lineage.tell_ending(run_id=token.run_id, token_id=token.token_id)
    return "".join(piece.text for piece in endings.about_token(ending))


class Gate:
    """A run of source, gate and two sinks."""

    def __init__(self, **run):
        run.setdefault("canonical_version", "sha256-rfc8785-v2")
        self.run = make_run(**run)
        self.source = make_node(self.run, "csv", "source")
        config = {"condition": CONDITION, "routes": {"true": "high", "false": "continue"}}
        self.gate = make_node(self.run, "large", "gate", config_json=json.dumps(config))
        self.high = make_node(self.run, "high", "sink")
        self.edge = make_edge(self.gate, self.high, "true")

    def routed(self, *, row=None, reason=None, **event):
        data = keep(row) if row else stable_hash("unknown")
        token = make_token(
            make_row(self.source, 4, source_data_hash=data, source_data_ref=data if row else None)
        )
        state = make_state(token, self.gate, 1, input_hash=data)
        if reason is not None:
            event |= {"reason_hash": keep(reason), "reason_ref": keep(reason)}
        make_route(state, self.edge, **event)
        make_artifact(make_state(token, self.high, 2), path_or_uri="file:///out/high%20ones.csv")
        make_outcome(token, "routed", sink_name="high")
        return token


class TestAboutARoutedToken:
    def test_says_why_with_the_values_of_the_row(self):
        reason = {"condition": CONDITION, "result": "true"}

        token = Gate().routed(row={"amount": 1500}, reason=reason)

        assert sentence(token) == (
            "Made from row 4, this token was routed to high because amount 1500 > 1000 at large,"
            " first attempt, and written to high ones.csv."
        )

    def test_says_so_when_the_reason_was_made_again(self):
        made = stable_hash({"condition": CONDITION, "result": "true"})

        told = sentence(Gate().routed(reason_hash=made))

        assert "because amount > 1000 at large (made again from the configuration" in told
        assert "its hash agrees" in told

    def test_says_so_when_it_only_knows_the_configuration(self):
        assert "(as configured; no reason is recorded)" in sentence(Gate().routed())

    def test_takes_no_reason_whose_bytes_were_altered(self, settings):
        token = Gate().routed(reason={"condition": "row['x'] < 1", "result": "true"})
        (payload,) = (settings.LANDSCAPE_VAR / "payloads").glob("*/*")
        payload.write_bytes(b'{"condition":"a lie"}')

        told = sentence(token)

        assert "a lie" not in told
        assert "as configured" in told

    def test_tells_a_rule_with_its_inputs(self):
        reason = {"rule": "confidence >= 0.7", "inputs": {"confidence": 0.61}, "verdict": "low"}

        told = sentence(Gate().routed(reason=reason))

        assert "because confidence >= 0.7 gives low (confidence is 0.61) at large" in told

    def test_says_that_no_sink_confirms_it(self):
        world = make_world(rows=0)
        token = make_token(make_row(world.source))
        make_outcome(token, "completed", sink_name="output")

        assert sentence(token) == (
            "Made from row 0, this token was completed into output, first attempt,"
            " but no sink visit confirms it."
        )

    def test_counts_attempts(self):
        world = make_world(rows=1)
        make_state(world.tokens[0], world.transform, 1, attempt=1)

        assert ", attempt 2 of 2 at tidy, and seen by the sink." in sentence(world.tokens[0])

    def test_leads_each_clause_to_its_record(self):
        token = Gate().routed(row={"amount": 1500})

        pieces = endings.about_token(
            lineage.tell_ending(run_id=token.run_id, token_id=token.token_id)
        )

        url = reverse("audit:token", args=[token.run_id, token.token_id])
        links = {piece.text: piece.href for piece in pieces if piece.href}
        assert links["row 4"] == reverse("audit:row", args=[token.run_id, token.row_id])
        visit = reverse("audit:visit", args=[token.run_id, token.states.get(step_index=1).state_id])
        assert links["large"] == links["amount 1500 > 1000"] == visit
        assert links["was routed to high"] == f"{url}#verdicts"
        assert links["written to high ones.csv"] == f"{url}#outputs"


class TestAboutOtherEnds:
    def test_a_failure_cites_its_error_and_its_attempts(self):
        world = make_world(rows=0)
        token = make_token(make_row(world.source))
        for attempt in range(3):
            error = json.dumps({"type": "ConnectionError", "exception": f"no answer {attempt}"})
            make_state(
                token, world.transform, 1, attempt=attempt, status="failed", error_json=error
            )
        make_outcome(token, "failed")

        assert sentence(token) == (
            "Made from row 0, this token failed at tidy after 3 attempts:"
            " “ConnectionError: no answer 2”."
        )

    def test_a_failure_of_ours_is_read_from_its_payload(self):
        world = make_world(rows=0)
        token = make_token(make_row(world.source))
        ref = keep({"message": "late"})
        make_state(token, world.transform, 1, status="failed", error_hash=ref, error_ref=ref)
        make_outcome(token, "failed")

        assert sentence(token).endswith("this token failed at tidy: “late”.")

    def test_a_diversion_names_the_failure_as_its_reason(self):
        world = make_world(rows=0)
        token = make_token(make_row(world.source))
        state = make_state(
            token, world.transform, 1, status="failed", error_json='{"reason":"blocked_content"}'
        )
        make_route(state, make_edge(world.transform, world.sink, "__error__"), mode="divert")
        make_state(token, world.sink, 2)
        make_outcome(token, "routed", sink_name="output")

        assert sentence(token) == (
            "Made from row 0, this token was routed to output because it failed at tidy:"
            " “blocked_content”, first attempt, and seen by the sink."
        )

    def test_an_expansion_counts_its_children_and_a_child_the_others(self):
        world = make_world(rows=0)
        root = make_token(make_row(world.source))
        make_state(root, world.transform, 1)
        make_outcome(root, "expanded")
        group = new_id()
        lines = [make_child(root, place, expand_group_id=group) for place in range(5)]
        for line in lines[:4]:
            make_outcome(line, "completed")
        make_outcome(lines[4], "failed")

        assert sentence(root) == (
            "Made from row 0, this token was expanded at tidy into 5 tokens:"
            " 4 were completed and 1 failed."
        )
        assert sentence(lines[0]).endswith(" Of the other 4, 3 were completed and 1 failed.")

    def test_a_batch_tells_the_place_in_it(self):
        world = make_world(rows=0)
        tokens = [make_token(make_row(world.source, index)) for index in range(3)]
        batch = make_batch(world.transform, *tokens)
        make_outcome(tokens[1], "consumed_in_batch", batch_id=batch.batch_id)
        make_outcome(tokens[2], "buffered", batch_id=batch.batch_id)

        assert sentence(tokens[1]).endswith("was consumed in a batch as member 2 of 3.")
        assert sentence(tokens[2]).endswith("waits in a batch as member 3 of 3.")

    def test_a_merge_tells_of_whom(self):
        world = make_world(rows=0)
        root = make_token(make_row(world.source))
        merged = make_child(root, 0, join_group_id=new_id())
        make_state(merged, world.sink, 1)
        make_outcome(merged, "coalesced")

        assert sentence(merged) == (
            "Merged from 1 token of row 0, this token was coalesced at output."
        )

    def test_no_verdict_tells_where_it_was_last(self):
        world = make_world(rows=0)
        token = make_token(make_row(world.source))
        assert sentence(token).endswith("has no outcome recorded; no visit of it is recorded.")

        make_state(token, world.transform, 1, status="open")

        assert sentence(token).endswith("has no outcome recorded; it was last seen at tidy.")

    def test_hostile_text_is_shortened_and_marked(self, signed_in):
        world = make_world(rows=0)
        token = make_token(make_row(world.source))
        make_state(
            token, world.transform, 1, status="failed", error_json=json.dumps({"reason": HOSTILE})
        )
        make_outcome(token, "failed")

        answer = signed_in.get(reverse("audit:token", args=[token.run_id, token.token_id]))

        assert "<script>alert" not in answer.text
        (line,) = (text for text in sentence(token).split("\n"))
        assert line.endswith("xxx…”.")
        assert len(line) < 250

    @pytest.mark.parametrize(
        "config",
        ["", "[]", "{", '{"condition": 3}', "[" * 2000, '{"condition":"row[]","routes":3}'],
    )
    def test_odd_configurations_give_no_reason_or_a_plain_one(self, config):
        gate = Gate()
        other = make_node(gate.run, "odd", "gate", config_json=config)
        token = make_token(make_row(gate.source))
        make_route(make_state(token, other, 1), make_edge(other, gate.high, "yes"))
        make_outcome(token, "routed", sink_name="high")

        assert "this token was routed to high" in sentence(token)


class TestCost:
    def test_is_the_same_for_few_and_many_siblings(self, count_queries):
        costs = set()
        for size in (2, 40):
            world = make_world(rows=0)
            root = make_token(make_row(world.source))
            group = new_id()
            line, *_ = [make_child(root, place, expand_group_id=group) for place in range(size)]
            costs.add(count_queries(lambda line=line: sentence(line)))

        assert len(costs) == 1


@pytest.mark.skipif(not audit_files.DATA.is_dir(), reason=f"no data in {audit_files.DATA}")
class TestRealRuns:
    def bring(self, tmp_path, name, payloads=None):
        copy = tmp_path / "audit.db"
        shutil.copyfile(audit_files.DATA / name / "audit.db", copy)
        imports.import_file(
            copy,
            at=NOON,
            payload_folder=audit_files.DATA / name / payloads if payloads else None,
            progress=lambda *_told: None,
        )

    @pytest.mark.parametrize(
        "name",
        ["fork_coalesce", "agg_passthrough", "retries", "quarantine", "calls", "recorder_edges"],
    )
    def test_have_a_sentence_for_every_token_and_row(self, signed_in, tmp_path, name):
        self.bring(tmp_path, f"era-a/{name}", "payloads")

        for token in Token.objects.all():
            assert sentence(token).startswith("M")
            assert sentence(token).endswith(".")
        for row in Row.objects.all():
            assert (
                signed_in.get(reverse("audit:row", args=[row.run_id, row.row_id])).status_code
                == 200
            )

    def test_tell_the_reason_that_the_hash_of_an_old_gate_proves(self, tmp_path):
        self.bring(tmp_path, "era-a/threshold_gate")

        told = sentence(Token.objects.get(row__row_index=1))

        assert "because amount > 1000 at amount_threshold (made again from the conf" in told
        assert "and its hash agrees), first attempt, and written to high_values.csv." in told
