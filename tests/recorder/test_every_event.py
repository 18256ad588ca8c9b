"""What holds for every function that writes: refusals leave nothing, repeats change nothing."""

from __future__ import annotations

import inspect
from datetime import timedelta

import pytest
from django.db import transaction

from audit import errors, recorder
from audit.errors import (
    AuditError,
    ConflictingRecord,
    NotRecorded,
    RunEnded,
    RunMismatch,
    TokenEnded,
    ValueRefused,
)
from audit.models import AUDIT_MODELS
from tests.recorder.world import (
    NOON,
    SHA,
    end_state,
    end_token,
    make_row,
    make_run,
    make_state,
)

pytestmark = pytest.mark.django_db
LATER = NOON + timedelta(minutes=1)


def counts():
    return {model._meta.db_table: model.objects.count() for model in AUDIT_MODELS}


@pytest.fixture
def world():
    """Run `r`: token t at an open visit, token u free, a batch, an operation; run `s` as large."""
    for run_id in ("r", "s"):
        make_run(run_id)
        mark = "" if run_id == "r" else "2"
        for index, name in enumerate(("t", "u")):
            row = make_row(run_id, index, row_id=f"row-{name}{mark}")
            recorder.create_token(run_id=run_id, row_id=row.row_id, token_id=name + mark, at=NOON)
        make_state("t" + mark, run_id=run_id)
        recorder.create_batch(
            run_id=run_id, batch_id="b" + mark, aggregation_node_id="batcher", at=NOON
        )
        recorder.begin_operation(
            run_id=run_id,
            operation_id="o" + mark,
            node_id="source",
            operation_type="source_load",
            at=NOON,
        )


# Every event with an id of the caller's: (function, its parts).
EVENTS = {
    "node": (
        "register_node",
        {
            "node_id": "n",
            "plugin_name": "p",
            "node_type": "gate",
            "plugin_version": "1",
            "determinism": "seeded",
            "sequence": 9,
            "config": {"a": 1},
        },
    ),
    "edge": (
        "register_edge",
        {
            "edge_id": "e",
            "from_node_id": "model",
            "to_node_id": "sink",
            "label": "x",
            "mode": "move",
        },
    ),
    "row": (
        "create_row",
        {"row_id": "new", "source_node_id": "source", "row_index": 7, "data": {"a": 1}},
    ),
    "token": ("create_token", {"token_id": "new", "row_id": "row-t"}),
    "fork": ("fork_token", {"token_id": "u", "branches": ["a", "b"], "fork_group_id": "g"}),
    "expansion": ("expand_token", {"token_id": "u", "count": 3, "expand_group_id": "g"}),
    "merge": ("coalesce_tokens", {"token_ids": ["u"], "join_group_id": "g"}),
    "state": (
        "begin_node_state",
        {
            "state_id": "new",
            "token_id": "u",
            "node_id": "model",
            "step_index": 1,
            "input_data": {"a": 1},
        },
    ),
    "routing": (
        "record_routing_events",
        {
            "state_id": "at-gate",
            "routes": [recorder.Routing("gate>small")],
            "reason": {"why": "small"},
            "routing_group_id": "g",
        },
    ),
    "call": (
        "record_call",
        {
            "call_id": "c",
            "state_id": "t@model",
            "call_type": "llm",
            "status": "success",
            "request": {"q": 1},
            "response": {"a": 1},
        },
    ),
    "operation": (
        "begin_operation",
        {"operation_id": "new", "node_id": "sink", "operation_type": "sink_write"},
    ),
    "batch": ("create_batch", {"batch_id": "new", "aggregation_node_id": "batcher"}),
    "member": ("add_batch_members", {"batch_id": "b", "token_ids": ["t", "u"]}),
    "outcome": (
        "record_token_outcome",
        {"outcome_id": "x", "token_id": "u", "outcome": "failed", "error": {"type": "E"}},
    ),
    "validation error": (
        "record_validation_error",
        {
            "error_id": "v",
            "node_id": "source",
            "row_id": "row-t",
            "row_data": {"a": float("nan")},
            "error": "not a number",
            "schema_mode": "strict",
            "destination": "discard",
        },
    ),
    "transform error": (
        "record_transform_error",
        {
            "error_id": "v",
            "state_id": "t@model",
            "row_data": {"a": 1},
            "error_details": {"reason": "x"},
            "destination": "discard",
        },
    ),
    "artifact": (
        "register_artifact",
        {
            "artifact_id": "f",
            "sink_node_id": "sink",
            "artifact_type": "file",
            "path_or_uri": "file:///out.csv",
            "content_hash": SHA,
            "size_bytes": 3,
            "members": [recorder.Member("u", "at-sink")],
        },
    ),
    "checkpoint": (
        "create_checkpoint",
        {
            "checkpoint_id": "cp",
            "token_id": "t",
            "node_id": "sink",
            "upstream_topology_hash": SHA,
            "node_config_hash": SHA,
            "aggregation_state": {"_version": "1.0"},
        },
    ),
}
# What else each may name, and how another content of the same id looks.
OTHERWISE = {
    "node": {"config": {"a": 2}},
    "edge": {"label": "y"},
    "row": {"data": {"a": 2}},
    "token": {"branch_name": "x"},
    "fork": {"branches": ["a", "c"]},
    "expansion": {"count": 4},
    "merge": {"token_ids": ["u", "t3"]},
    "state": {"input_data": {"a": 2}},
    "routing": {"reason": {"why": "large"}},
    "call": {"response": {"a": 2}},
    "operation": {"operation_type": "runtime_preflight"},
    "batch": {"aggregation_node_id": "merge"},
    "outcome": {"error": {"type": "F"}},
    "validation error": {"error": "another"},
    "transform error": {"row_data": {"a": 2}},
    "artifact": {"size_bytes": 4},
    "checkpoint": {"aggregation_state": {"_version": "2.0"}},
}
LINKS = [
    ("row", "source_node_id"),
    ("token", "row_id"),
    ("fork", "token_id"),
    ("expansion", "token_id"),
    ("state", "token_id"),
    ("state", "node_id"),
    ("edge", "to_node_id"),
    ("routing", "state_id"),
    ("call", "state_id"),
    ("operation", "node_id"),
    ("batch", "aggregation_node_id"),
    ("member", "batch_id"),
    ("outcome", "token_id"),
    ("validation error", "row_id"),
    ("transform error", "state_id"),
    ("artifact", "sink_node_id"),
    ("checkpoint", "token_id"),
    ("checkpoint", "node_id"),
]


@pytest.fixture
def event(world):
    """Call an event by its name, some of its parts replaced."""
    make_state("u", "gate", 2, state_id="at-gate")
    make_state("u", "sink", 3, state_id="at-sink")
    recorder.create_token(run_id="r", row_id="row-u", token_id="t3", at=NOON)

    def call(name, *, run_id="r", at=NOON, **parts):
        function, told = EVENTS[name]
        return getattr(recorder, function)(run_id=run_id, at=at, **(told | parts))

    return call


def keys(result):
    return [each.pk for each in result] if isinstance(result, list) else result.pk


class TestEveryEvent:
    @pytest.mark.parametrize("name", EVENTS)
    def test_told_again_is_the_same_record_even_later(self, event, name):
        first = event(name)
        after = counts()

        again = event(name, at=LATER)

        assert keys(again) == keys(first)
        assert counts() == after

    @pytest.mark.parametrize("name", OTHERWISE)
    def test_told_otherwise_under_its_id_is_refused(self, event, name):
        event(name)
        after = counts()

        with pytest.raises((ConflictingRecord, TokenEnded)):
            event(name, **OTHERWISE[name])

        assert counts() == after

    @pytest.mark.parametrize(("name", "part"), LINKS)
    def test_refuses_what_is_not_there(self, event, name, part):
        before = counts()

        with pytest.raises(NotRecorded, match="nowhere"):
            event(name, **{part: "nowhere"})

        assert counts() == before

    @pytest.mark.parametrize("name", ["fork", "call", "member", "outcome", "token"])
    def test_refuses_what_belongs_to_another_run(self, event, name):
        foreign = {
            "fork": {"token_id": "u2"},
            "call": {"state_id": "t2@model"},
            "member": {"batch_id": "b2"},
            "outcome": {"token_id": "u2"},
            "token": {"row_id": "row-t2"},
        }
        before = counts()

        with pytest.raises(RunMismatch) as refused:
            event(name, **foreign[name])

        assert (refused.value.asked, refused.value.actual) == ("r", "s")
        assert counts() == before

    @pytest.mark.parametrize("name", EVENTS)
    def test_refuses_a_run_that_has_ended(self, event, name):
        recorder.complete_run(run_id="r", status="failed", at=NOON)
        before = counts()

        with pytest.raises(RunEnded, match="failed"):
            event(name)

        assert counts() == before

    @pytest.mark.parametrize("name", EVENTS)
    def test_refuses_a_run_that_nobody_recorded(self, event, name):
        with pytest.raises((NotRecorded, RunMismatch)):
            event(name, run_id="unheard")

    @pytest.mark.parametrize("name", ["fork", "expansion", "merge", "state", "outcome", "member"])
    def test_refuses_a_token_that_has_ended(self, event, name):
        end_token("u")
        before = counts()

        with pytest.raises(TokenEnded, match="u already ended: completed") as refused:
            event(name)

        assert refused.value.token_id == "u"
        assert counts() == before

    @pytest.mark.parametrize(
        "name", sorted(set(EVENTS) - {"member", "merge", "routing", "artifact"})
    )
    def test_refuses_text_that_no_column_holds(self, event, name):
        function, parts = EVENTS[name]
        part = next(iter(parts))
        before = counts()
        for odd, words in (("x" * 300, "more than"), ("a\0b", "NUL"), ("\ud800", "surrogate")):
            with pytest.raises((ValueRefused, NotRecorded), match=rf"{words}|no .* is on record"):
                event(name, **{part: odd})

        assert function in recorder.__all__
        assert counts() == before

    @pytest.mark.parametrize("name", EVENTS)
    def test_leaves_the_callers_transaction_usable(self, event, name):
        with transaction.atomic():
            with pytest.raises(AuditError):
                event(name, run_id="unheard")
            event(name)

    @pytest.mark.parametrize("name", EVENTS)
    def test_vanishes_with_the_callers_transaction(self, event, name):
        before = counts()

        def fail_afterwards():
            event(name)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            transaction.atomic(fail_afterwards)()

        assert counts() == before


class TestApi:
    @pytest.mark.parametrize("name", recorder.__all__)
    def test_is_keyword_only_typed_and_documented(self, name):
        thing = getattr(recorder, name)
        if not inspect.isfunction(thing):
            assert thing.__doc__
            return
        signature = inspect.signature(thing)
        by_place = [
            part for part in signature.parameters.values() if part.kind != part.KEYWORD_ONLY
        ]

        assert len(by_place) == (name == "connect")
        assert signature.return_annotation is not signature.empty
        assert "Raises:" in thing.__doc__ or name == "close"

    def test_raises_only_named_errors(self):
        """Every error that a docstring names exists."""
        named = set()
        for name in recorder.__all__:
            told = (getattr(recorder, name).__doc__ or "").partition("Raises:")[2]
            for line in told.splitlines():
                head, colon, _rest = line.strip().partition(":")
                if colon and head.replace(", ", "").isalnum() and head[0].isupper():
                    named |= set(head.split(", "))

        assert all(hasattr(errors, name) or name == "ValueError" for name in named), named

    @pytest.mark.parametrize(
        ("function", "part"),
        [
            ("begin_run", "run_mode"),
            ("complete_run", "status"),
            ("register_node", "node_type"),
            ("register_node", "determinism"),
            ("complete_node_state", "status"),
            ("record_call", "call_type"),
            ("begin_batch", "trigger_type"),
            ("record_token_outcome", "outcome"),
            ("complete_operation", "status"),
            ("set_export_status", "status"),
        ],
    )
    def test_takes_words_of_its_vocabularies_only(self, world, function, part):
        call = getattr(recorder, function)
        told = {
            name: "t" for name, p in inspect.signature(call).parameters.items()
            if p.default is p.empty
        }  # fmt: skip
        told |= {"at": NOON, "config": {}, "settings": {}, "duration_ms": 1.0}
        told |= {"node_type": "gate", "call_type": "llm", "status": "success"}
        told = {name: told[name] for name in told if name in inspect.signature(call).parameters}

        with pytest.raises(ValueRefused, match="'no such word' is none of") as refused:
            call(**told | {part: "no such word"})

        assert refused.value.path == part


class TestEnds:
    def test_told_again_are_the_same(self, world):
        first = end_state()

        assert end_state(at=LATER).completed_at == first.completed_at

    def test_told_otherwise_are_refused(self, world):
        end_state()

        with pytest.raises(errors.IllegalTransition, match="completed and cannot become failed"):
            end_state(status="failed")
        with pytest.raises(errors.IllegalTransition):
            end_state(output_data={"ok": False})
