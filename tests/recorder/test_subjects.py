"""What each subject promises of its own: contracts, lineage, numbers, grades, contents."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from audit import recorder
from audit.canonical import stable_hash
from audit.errors import (
    AlreadyRecorded,
    ContractViolated,
    DuplicateOutcome,
    IllegalTransition,
    NotRecorded,
    RecordEnded,
    RunUnfinished,
    TokenEnded,
    ValueRefused,
)
from audit.models import (
    Call,
    Payload,
    RoutingEvent,
    Row,
    Token,
    TokenOutcome,
    TransformError,
    ValidationError,
)
from audit.recorder import NewRow
from audit.vocabulary import Outcome
from tests.builders import make_purged
from tests.conftest import empty_tables
from tests.recorder.world import (
    NOON,
    SHA,
    end_state,
    end_token,
    make_row,
    make_run,
    make_state,
    make_token,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _run(_var):
    make_run()


def call(**parts):
    parts = {"state_id": "t@model", "call_type": "llm", "status": "success", "request": 1} | parts
    return recorder.record_call(run_id="r", at=NOON, **parts)


class TestCompleteRun:
    def test_grades_by_both_rules_and_notes_it(self):
        run = recorder.complete_run(run_id="r", status="completed", at=NOON)

        assert run.reproducibility_grade == "replay_reproducible"
        (event,) = recorder.get_run_events(run_id="r")
        assert '"grade_by_first_rule":"replay_reproducible"' in event.detail_json

    def test_grades_a_run_whose_answers_were_not_kept_no_better_than_that(self):
        grades = recorder.Grades("replay_reproducible", "replay_reproducible", 1)

        assert grades.stored == "attributable_only"

    def test_refuses_to_be_complete_with_a_token_on_its_way(self):
        make_token()

        with pytest.raises(RunUnfinished, match="without a final outcome: t"):
            recorder.complete_run(run_id="r", status="completed", at=NOON)
        recorder.complete_run(run_id="r", status="failed", at=NOON)

    def test_refuses_to_be_complete_with_an_open_visit(self):
        make_token()
        make_state()
        end_token()

        with pytest.raises(RunUnfinished, match="t@model"):
            recorder.complete_run(run_id="r", status="completed", at=NOON)

    def test_happens_once(self):
        recorder.complete_run(run_id="r", status="completed", at=NOON)
        again = recorder.complete_run(run_id="r", status="completed", at=NOON + timedelta(1))

        assert again.completed_at == NOON
        with pytest.raises(IllegalTransition):
            recorder.complete_run(run_id="r", status="failed", at=NOON)

    def test_is_no_way_back(self):
        with pytest.raises(IllegalTransition):
            recorder.complete_run(run_id="r", status="running", at=NOON)


class TestResumeRun:
    def test_lets_a_failed_run_go_on_and_says_from_where(self):
        make_token()
        recorder.create_checkpoint(
            run_id="r",
            checkpoint_id="cp",
            token_id="t",
            node_id="sink",
            upstream_topology_hash=SHA,
            node_config_hash=SHA,
            at=NOON,
        )
        recorder.complete_run(run_id="r", status="failed", at=NOON)

        run = recorder.resume_run(run_id="r", checkpoint_id="cp", at=NOON)

        assert (run.status, run.completed_at) == ("running", None)
        assert '"checkpoint_id":"cp"' in recorder.get_run_events(run_id="r")[-1].detail_json
        make_state()

    def test_refuses_a_run_that_is_going_or_complete(self):
        with pytest.raises(IllegalTransition):
            recorder.resume_run(run_id="r", at=NOON)
        recorder.complete_run(run_id="r", status="completed", at=NOON)
        with pytest.raises(IllegalTransition):
            recorder.resume_run(run_id="r", at=NOON)


class TestRuns:
    def test_are_listed_newest_first_page_by_page(self):
        recorder.begin_run(run_id="old", settings={}, at=NOON - timedelta(1))
        recorder.begin_run(run_id="new", settings={}, at=NOON + timedelta(1))

        first = recorder.list_runs(limit=2)
        second = recorder.list_runs(limit=2, after=first[-1])

        assert [run.run_id for run in first + second] == ["new", "r", "old"]

    def test_hash_their_settings(self):
        assert recorder.get_run(run_id="r").config_hash == stable_hash({"name": "claims"})

    def test_refuse_a_replay_without_source(self):
        with pytest.raises(ContractViolated):
            recorder.begin_run(settings={}, run_mode="replay", at=NOON)

    def test_keep_the_schema_of_their_source_or_say_so(self):
        recorder.begin_run(run_id="x", settings={}, source_schema={"a": "int"}, at=NOON)

        assert recorder.get_source_schema(run_id="x") == '{"a":"int"}'
        with pytest.raises(NotRecorded):
            recorder.get_source_schema(run_id="r")

    def test_export_pending_then_done_and_no_other_way(self):
        with pytest.raises(IllegalTransition):
            recorder.set_export_status(run_id="r", status="completed", at=NOON)
        recorder.set_export_status(run_id="r", status="pending", export_format="csv", at=NOON)
        recorder.set_export_status(run_id="r", status="failed", error="full", at=NOON)
        recorder.set_export_status(run_id="r", status="pending", at=NOON)

        run = recorder.set_export_status(run_id="r", status="completed", at=NOON)

        assert (run.export_format, run.export_error, run.exported_at) == ("csv", None, NOON)


class TestCreateRowsBatch:
    def rows(self, count, **options):
        return [
            NewRow(row_index=i, data={"id": i}, row_id=f"x{i}", **options) for i in range(count)
        ]

    def batch(self, rows, **options):
        return recorder.create_rows_batch(
            run_id="r", source_node_id="source", rows=rows, at=NOON, **options
        )

    def test_gives_each_row_its_token(self):
        made = self.batch(self.rows(3))

        assert [(row.row_index, token.row_id) for row, token in made] == [
            (0, "x0"),
            (1, "x1"),
            (2, "x2"),
        ]
        assert recorder.get_row_data(run_id="r", row_id="x2").data == {"id": 2}

    def test_takes_few_statements(self, count_queries):
        assert count_queries(lambda: self.batch(self.rows(10_000), keep_data=False)) <= 25 * 6

    @pytest.mark.django_db(transaction=True)
    def test_plans_anew_while_a_new_database_fills(self):
        # PostgreSQL keeps the plans of foreign keys; one for empty tables reads the whole run.
        empty_tables()
        connection.close()
        make_run()

        with transaction.atomic(), connection.cursor() as cursor:
            self.batch(self.rows(4_000), keep_data=False)
            cursor.execute(
                "SELECT pg_stat_get_xact_tuples_returned('rows_one_per_index'::regclass)"
            )
            read = cursor.fetchone()[0]

        # Every token by way of half the run would be eight million.
        assert read < 1_000_000

    def test_names_the_index_that_is_taken_and_keeps_nothing_of_the_chunk(self):
        make_row(index=2)

        with pytest.raises(AlreadyRecorded, match="row_index 2"):
            self.batch(self.rows(4))
        assert Row.objects.count() == 1

    def test_names_the_row_that_has_no_canonical_form(self):
        bad = NewRow(row_index=7, data={"a": [float("nan")]})

        with pytest.raises(ValueRefused, match=r"rows\[7\]\.data\.a\[0\]: nan"):
            self.batch([*self.rows(2), bad])
        assert Row.objects.count() == 0

    def test_told_again_doubles_nothing(self):
        rows = [
            NewRow(row_index=i, data={"id": i}, row_id=f"x{i}", token_id=f"t{i}") for i in range(3)
        ]
        self.batch(rows)
        self.batch(rows)

        assert (Row.objects.count(), Token.objects.count()) == (3, 3)

    def test_keeps_no_data_where_none_are_wanted(self):
        self.batch(self.rows(1), keep_data=False)

        assert recorder.get_row_data(run_id="r", row_id="x0").kept.state == "hash_only"
        assert Payload.objects.count() == 0


class TestGetRowData:
    def test_tells_each_state(self, settings):
        row = make_row()
        path = settings.LANDSCAPE_VAR / "payloads" / row.source_data_ref[:2] / row.source_data_ref

        def state(**options):
            return recorder.get_row_data(run_id="r", row_id="row0", **options).kept.state

        assert state() == "available"
        assert state(may_read=False) == "withheld"
        path.write_bytes(b"{}")
        assert state() == "corrupted"
        path.unlink()
        assert state() == "missing"
        make_purged(*Payload.objects.values_list("content_hash", flat=True))
        assert state() == "purged"


class TestPages:
    def test_of_rows_and_tokens_go_on_where_the_last_one_ended(self):
        for index in range(5):
            make_token(f"t{index}", index=index)

        first = recorder.get_rows(run_id="r", limit=3)
        rest = recorder.get_rows(run_id="r", after_index=first[-1].row_index, limit=3)
        assert [row.row_index for row in first + rest] == [0, 1, 2, 3, 4]
        assert [row.row_index for row in recorder.iter_rows(run_id="r")] == [0, 1, 2, 3, 4]
        tokens = recorder.get_tokens_for_run(run_id="r", after_id="t3")
        assert [token.token_id for token in tokens] == ["t4"]
        assert len(list(recorder.iter_tokens(run_id="r"))) == 5

    @pytest.mark.parametrize("limit", [0, 1_001])
    def test_have_a_limit(self, limit):
        with pytest.raises(ValueRefused, match="between 1 and 1000"):
            recorder.get_rows(run_id="r", limit=limit)


class TestForkAndMerge:
    def test_leave_the_ancestry_that_happened(self):
        make_token()

        left, right = recorder.fork_token(run_id="r", token_id="t", branches=["l", "r"], at=NOON)
        merged = recorder.coalesce_tokens(
            run_id="r", token_ids=[right.token_id, left.token_id], at=NOON
        )

        children = recorder.get_child_tokens(run_id="r", token_id="t")
        assert [child.branch_name for child in children] == ["l", "r"]
        parents = recorder.get_token_parents(run_id="r", token_id=merged.token_id)
        assert parents == [right, left]
        group = recorder.get_token_outcome(run_id="r", token_id="t").fork_group_id
        assert {left.fork_group_id, right.fork_group_id} == {group}
        assert recorder.count_outcomes(run_id="r") == {"forked": 1, "coalesced": 2}

    @pytest.mark.parametrize("branches", [[], ["a", "a"]])
    def test_refuse_branches_that_are_none(self, branches):
        make_token()

        with pytest.raises(ContractViolated):
            recorder.fork_token(run_id="r", token_id="t", branches=branches, at=NOON)

    def test_refuse_tokens_of_two_rows(self):
        make_token("a", index=0)
        make_token("b", index=1)

        with pytest.raises(ContractViolated, match="2 rows"):
            recorder.coalesce_tokens(run_id="r", token_ids=["a", "b"], at=NOON)

    def test_an_expansion_into_500(self, count_queries):
        make_token()

        children = recorder.expand_token(run_id="r", token_id="t", count=500, at=NOON)

        assert len({child.token_id for child in children}) == 500
        assert len(recorder.get_child_tokens(run_id="r", token_id="t")) == 500


class TestOutcomes:
    NEEDED = {
        "completed": {"sink_name": "s"},
        "routed": {"sink_name": "s"},
        "forked": {"fork_group_id": "g"},
        "failed": {"error": "e"},
        "quarantined": {"error": "e"},
        "consumed_in_batch": {"batch_id": "b"},
        "coalesced": {"join_group_id": "g"},
        "expanded": {"expand_group_id": "g"},
        "buffered": {"batch_id": "b"},
    }
    ALLOWED = {"routed": {"error"}, "quarantined": {"sink_name"}, "coalesced": {"sink_name"}}

    @pytest.mark.parametrize("outcome", Outcome.values)
    def test_have_what_they_need_and_nothing_else(self, outcome):
        make_token()
        recorder.create_batch(run_id="r", batch_id="b", aggregation_node_id="batcher", at=NOON)
        needed = self.NEEDED[outcome]
        with pytest.raises(ContractViolated, match="needs"):
            end_token(outcome=outcome)
        for part in ({"sink_name", "batch_id", "fork_group_id", "error"} - set(needed)) - (
            self.ALLOWED.get(outcome, set())
        ):
            with pytest.raises(ContractViolated, match="cannot have"):
                end_token(outcome=outcome, **needed, **{part: "x"})

        end_token(outcome=outcome, **needed)

        assert TokenOutcome.objects.get().is_terminal == (outcome != "buffered")

    def test_end_a_token_once(self):
        make_token()
        end_token()

        with pytest.raises(DuplicateOutcome, match="t already ended: completed"):
            end_token(outcome="failed", error="late")

    def test_may_wait_and_then_end(self):
        make_token()
        recorder.create_batch(run_id="r", batch_id="b", aggregation_node_id="batcher", at=NOON)
        end_token(outcome="buffered", batch_id="b")
        end_token()

        assert recorder.get_token_outcome(run_id="r", token_id="t").outcome == "completed"
        assert len(recorder.get_token_outcomes_for_row(run_id="r", row_id="row0")) == 2
        with pytest.raises(TokenEnded):
            end_token(outcome="buffered", batch_id="b")

    def test_of_a_row_are_found_by_index(self):
        make_token()
        with CaptureQueriesContext(connection) as sent:
            recorder.get_token_outcomes_for_row(run_id="r", row_id="row0")

        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute(f"EXPLAIN {sent[-1]['sql']}")
            plan = " ".join(line for (line,) in cursor.fetchall())
        assert "token_outcomes_by_token" in plan or "token_outcomes_one_final" in plan


class TestNodeStates:
    def test_number_their_attempts(self):
        make_token()
        attempts = []
        for step in (1, 2, 3):
            state = make_state(step=step, attempt=None, state_id=f"s{step}")
            end_state(f"s{step}", status="failed")
            attempts.append(state.attempt)

        assert attempts == [0, 1, 2]

    @pytest.mark.parametrize(
        ("status", "parts"),
        [
            ("completed", {"output_data": None}),
            ("completed", {"error": "e"}),
            ("failed", {"error": None}),
            ("pending", {"output_data": 1}),
            ("open", {}),
            ("rejected", {}),
        ],
    )
    def test_end_with_what_belongs_to_their_end(self, status, parts):
        make_token()
        make_state()

        with pytest.raises(ContractViolated):
            end_state(status=status, **parts)

    def test_may_wait_for_an_answer(self):
        make_token()
        make_state()
        end_state(status="pending")

        assert end_state().status == "completed"

    @pytest.mark.parametrize("duration", [-1, float("nan"), float("inf"), "1", True])
    def test_last_a_finite_time(self, duration):
        make_token()
        make_state()

        with pytest.raises(ValueRefused, match="duration_ms"):
            end_state(duration_ms=duration)

    def test_take_an_instant_with_a_zone(self):
        make_token()
        make_state()

        with pytest.raises(ValueRefused, match="time zone"):
            end_state(at=NOON.replace(tzinfo=None))


class TestRouting:
    def test_keeps_the_reason(self):
        make_token()
        make_state(node_id="gate")

        recorder.record_routing_event(
            run_id="r", state_id="t@gate", edge_id="gate>small", mode="move", reason={}, at=NOON
        )

        event = RoutingEvent.objects.get()
        assert event.reason_ref == event.reason_hash == stable_hash({})

    def test_leaves_from_the_node_of_the_visit(self):
        make_token()
        make_state(node_id="gate")

        with pytest.raises(ContractViolated, match="leaves model, not gate"):
            recorder.record_routing_event(
                run_id="r",
                state_id="t@gate",
                edge_id="model>continue",
                mode="move",
                reason={},
                at=NOON,
            )

    def test_copies_along_several_edges_or_none(self):
        make_token()
        make_state(node_id="gate")
        routes = [recorder.Routing("gate>small", "copy"), recorder.Routing("gate>large", "move")]

        with pytest.raises(ContractViolated, match="copies"):
            recorder.record_routing_events(
                run_id="r", state_id="t@gate", routes=routes, reason={}, at=NOON
            )
        assert RoutingEvent.objects.count() == 0


class TestCalls:
    def test_are_numbered_by_their_parent(self):
        make_token()
        make_state()
        recorder.begin_operation(
            run_id="r", operation_id="o", node_id="source", operation_type="source_load", at=NOON
        )

        numbers = [call().call_index, call().call_index]
        numbers.append(call(state_id=None, operation_id="o").call_index)

        assert numbers == [0, 1, 0]

    @pytest.mark.parametrize(
        "parts",
        [
            {"operation_id": "o"},
            {"state_id": None},
            {"error": "e"},
            {"status": "error"},
        ],
    )
    def test_have_one_parent_and_an_error_if_they_failed(self, parts):
        with pytest.raises(ContractViolated):
            call(**parts)

    def test_belong_to_a_visit_that_is_not_over(self):
        make_token()
        make_state()
        end_state()

        with pytest.raises(RecordEnded, match="completed"):
            call()

    def test_are_found_again_one_after_the_other(self):
        make_token()
        make_state()
        made = [call(request={"q": 1}, response=answer) for answer in ("a", "b")]

        found = [
            recorder.find_call_by_request(
                run_id="r", call_type="llm", request={"q": 1}, occurrence=occurrence
            )
            for occurrence in range(3)
        ]

        assert found == [*made, None]

    def test_tell_what_became_of_their_bodies(self):
        make_token()
        make_state()
        call(call_id="c", status="error", error={"type": "timeout"}, response=None)

        assert recorder.get_call_data(run_id="r", call_id="c").kept.state == "never_stored"
        assert recorder.get_call_data(run_id="r", call_id="c", part="error").data == {
            "type": "timeout"
        }


class TestPersonalData:
    def test_stays_out_of_the_trail(self):
        """Everything told here is a secret; none of it may stand in a column."""
        secret = "Ada Lovelace, 1815"
        make_row(data={"name": secret})
        recorder.create_token(run_id="r", row_id="row0", token_id="t", at=NOON)
        make_state()
        make_state(node_id="gate", step=2)
        recorder.record_routing_event(
            run_id="r",
            state_id="t@gate",
            edge_id="gate>small",
            mode="move",
            reason={"because": secret},
            at=NOON,
        )
        call(request=secret, response=secret)
        call(status="error", error=secret)
        recorder.record_validation_error(
            run_id="r",
            row_data=secret,
            error=secret,
            schema_mode="strict",
            destination="discard",
            at=NOON,
        )
        recorder.record_transform_error(
            run_id="r",
            state_id="t@model",
            row_data=secret,
            error_details=secret,
            destination="discard",
            at=NOON,
        )
        end_state(status="failed", error=secret)
        recorder.begin_operation(
            run_id="r",
            operation_id="o",
            node_id="source",
            operation_type="source_load",
            input_data=secret,
            at=NOON,
        )
        recorder.complete_operation(
            run_id="r",
            operation_id="o",
            status="failed",
            error=secret,
            output_data=secret,
            duration_ms=1,
            at=NOON,
        )
        end_token(outcome="quarantined", error=secret)

        from audit.models import AUDIT_MODELS

        told = [str(record) for model in AUDIT_MODELS for record in model.objects.values_list()]
        assert [line for line in told if "Lovelace" in line] == []
        refs = {
            *Call.objects.exclude(error_ref=None).values_list("error_ref", flat=True),
            *ValidationError.objects.values_list("row_data_ref", flat=True),
            *TransformError.objects.values_list("error_details_ref", flat=True),
        }
        assert set(Payload.objects.values_list("content_hash", flat=True)) >= refs


class TestFailures:
    def test_of_a_row_are_not_those_of_its_twin(self):
        for index in (0, 1):
            make_row(index=index, data={"same": 1})
        recorder.record_validation_error(
            run_id="r",
            row_id="row0",
            row_data={"same": 1},
            error="x",
            schema_mode="strict",
            destination="discard",
            at=NOON,
        )

        def found(row_id, **options):
            return len(recorder.get_validation_errors_for_row(run_id="r", row_id=row_id, **options))

        assert (found("row0"), found("row1")) == (1, 0)
        assert (found("row0", by_content=True), found("row1", by_content=True)) == (0, 1)

    def test_keep_a_row_without_canonical_form_as_text(self):
        error = recorder.record_validation_error(
            run_id="r",
            row_data={"value": float("nan")},
            error="nan",
            schema_mode="strict",
            destination="discard",
            at=NOON,
        )

        assert error.row_hash.startswith("49ce040dd7d56208")
        assert error.row_data_ref != error.row_hash


class TestCheckpoints:
    def make(self, **options):
        return recorder.create_checkpoint(
            run_id="r",
            token_id="t",
            node_id="sink",
            upstream_topology_hash=SHA,
            node_config_hash=SHA,
            at=NOON,
            **options,
        )

    def test_are_created_found_listed_and_released(self):
        make_token()
        made = [self.make() for _ in range(3)]

        assert [each.sequence_number for each in made] == [0, 1, 2]
        assert recorder.get_latest_checkpoint(run_id="r") == made[2]
        recorder.release_checkpoints(run_id="r", reason="complete", at=NOON)
        assert recorder.get_latest_checkpoint(run_id="r") is None
        assert recorder.get_checkpoints_for_run(run_id="r", after_sequence=0) == made[1:]
        assert recorder.release_checkpoints(run_id="r", reason="again", at=NOON) is None
        assert self.make().sequence_number == 3

    def test_refuse_a_state_that_is_too_big(self, monkeypatch):
        make_token()
        monkeypatch.setattr("audit.recorder.contents.MAX_JSON", 10)

        with pytest.raises(ValueRefused, match="aggregation_state"):
            self.make(aggregation_state={"tokens": "x" * 20})
