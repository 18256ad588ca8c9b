"""What went wrong in a run, told by class."""

import hashlib

import pytest
from django.urls import reverse

from audit import error_classes as counting
from audit import lineage, payloads, summaries
from audit.errors import NotRecorded
from audit.lineage import error_classes
from audit.models import Operation, RunSummary
from tests.builders import (
    NOON,
    after_noon,
    make_call,
    make_node,
    make_payload,
    make_refusal,
    make_rejection,
    make_row,
    make_run,
    make_state,
    make_token,
    make_world,
    new_id,
)

pytestmark = pytest.mark.django_db


def keep(text):
    ref = payloads.store(text.encode())
    make_payload(ref, size_bytes=len(text))
    assert ref == hashlib.sha256(text.encode()).hexdigest()
    return ref


@pytest.fixture
def run(settings, tmp_path):
    settings.LANDSCAPE_VAR = tmp_path
    return make_run()


def make_failures(run, *errors, **columns):
    """A visit at one node for each error, each for a row of its own, a second apart."""
    source, node = make_node(run, "csv", "source"), make_node(run, "model")
    return [
        make_state(
            make_token(make_row(source, index)),
            node,
            1,
            status="failed",
            started_at=after_noon(index),
            error_json=error,
            **columns,
        )
        for index, error in enumerate(errors)
    ]


def kinds(run):
    return {kind.kind: kind for kind in lineage.list_errors(run_id=run.run_id).kinds}


class TestListErrors:
    def test_takes_errors_that_differ_in_numbers_for_one_class(self, run):
        states = make_failures(run, "no answer in 30 s", "no answer in 31 s", "refused")

        kind = kinds(run)["visit"]

        assert (kind.records, kind.classes_total, kind.cut) == (3, 2, False)
        first, second = kind.classes
        assert (first.records, first.rows, first.node.name) == (2, 2, "model")
        assert (first.first_at, first.last_at) == (after_noon(0), after_noon(1))
        assert first.example == states[0]
        assert (first.text.text, second.text.text) == ("no answer in 30 s", "refused")

    def test_tells_the_same_words_at_another_node_apart(self, run):
        (state,) = make_failures(run, "refused")
        other = make_node(run, "other")
        make_state(state.token, other, 2, status="failed", error_json="refused")

        assert [one.rows for one in kinds(run)["visit"].classes] == [1, 1]

    def test_reads_the_text_of_an_error_that_is_kept_as_a_payload(self, run):
        ref = keep('{"exception":"too late","type":"Timeout"}')
        make_failures(run, None, None, error_ref=ref, error_hash=ref)

        (one,) = kinds(run)["visit"].classes

        assert one.records == 2
        assert one.text.headline == "Timeout: too late"

    def test_has_no_text_where_the_contents_are_not_there(self, run):
        make_failures(run, None, error_ref="a" * 64, error_hash="a" * 64)

        assert kinds(run)["visit"].classes[0].text is None

    def test_gathers_every_kind(self, run):
        (state,) = make_failures(run, "late")
        done = make_state(state.token, make_node(run, "scorer"), 2)
        make_call(done, status="error", error_json="gone", response_hash=None)
        make_refusal(run, node_id=None)
        make_rejection(state.token, state.node)
        Operation.objects.create(
            run_id=run.run_id,
            operation_id=new_id(),
            node_id=state.node_id,
            operation_type="source_load",
            started_at=NOON,
            completed_at=NOON,
            duration_ms=1.0,
            status="failed",
            error_message="no such file",
        )

        told = kinds(run)

        assert {name: kind.records for name, kind in told.items()} == {
            "validation": 1,
            "transform": 1,
            "visit": 1,
            "call": 1,
            "operation": 1,
        }
        assert told["call"].classes[0].node.name == "scorer"
        assert told["call"].classes[0].rows == 1
        assert told["validation"].classes[0].node is None
        assert told["operation"].classes[0].text.text == "no such file"

    def test_says_what_it_did_not_look_through(self, run, monkeypatch):
        monkeypatch.setattr(error_classes, "RECORDS_READ", 2)
        make_failures(run, "a", "b", "c")

        kind = kinds(run)["visit"]

        assert (kind.records, kind.cut) == (2, True)

    def test_tells_the_most_frequent_and_counts_the_others(self, run, monkeypatch):
        monkeypatch.setattr(counting, "CLASSES_TOLD", 1)
        make_failures(run, "rare", "often", "often")

        kind = kinds(run)["visit"]

        assert [one.text.text for one in kind.classes] == ["often"]
        assert (kind.classes_total, kind.records) == (2, 3)

    def test_tells_of_a_run_that_was_counted_what_it_would_count(self, run):
        make_failures(run, "no answer in 30 s", "no answer in 31 s", "refused")
        make_refusal(run, node_id=None)
        now = lineage.list_errors(run_id=run.run_id)

        summaries.refresh(run_id=run.run_id, at=NOON)

        kept = lineage.list_errors(run_id=run.run_id)
        assert (now.counted_at, kept.counted_at) == (None, NOON)
        assert kept.kinds == now.kinds

    def test_keeps_no_words_of_an_error(self, run):
        make_failures(run, "the secret is out")

        summaries.refresh(run_id=run.run_id, at=NOON)

        assert "secret" not in RunSummary.objects.get(run_id=run.run_id).errors_json

    def test_costs_the_same_at_two_sizes(self, run, count_queries):
        other = make_run()
        make_failures(run, "a")
        make_failures(other, *("x" * size for size in range(1, 25)))

        costs = {
            count_queries(lambda r=r: lineage.list_errors(run_id=r.run_id)) for r in (run, other)
        }

        assert len(costs) == 1

    def test_refuses_a_run_that_is_not_there(self):
        with pytest.raises(NotRecorded, match="run nowhere"):
            lineage.list_errors(run_id="nowhere")


class TestPage:
    def test_says_what_failed_and_where_it_stands(self, signed_in, run):
        states = make_failures(run, "late 1", "late 2")

        text = signed_in.get(reverse("audit:errors", args=[run.run_id])).text

        assert "2 failed visits of 1 class" in text
        assert reverse("audit:visit", args=[run.run_id, states[0].state_id]) in text

    def test_says_that_nothing_failed_and_what_was_looked_through(self, signed_in):
        text = signed_in.get(reverse("audit:errors", args=[make_world().run.run_id])).text

        assert "No errors are recorded in this run." in text
        assert "looked through: validation errors, transform errors, visits, calls" in text
