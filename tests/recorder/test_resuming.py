"""What a plan of resuming tells, and what keeps a checkpoint from being used."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connection

from audit import recorder
from audit.errors import NotRecorded, RunMismatch, ValueRefused
from audit.models import Node, Payload
from tests.builders import make_purged
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


def make_checkpoint(token_id="t", **options):
    sink = Node.objects.get(run_id="r", node_id="sink")
    return recorder.create_checkpoint(
        **{
            "run_id": "r",
            "token_id": token_id,
            "node_id": "sink",
            "upstream_topology_hash": SHA,
            "node_config_hash": sink.config_hash,
            "at": NOON,
        }
        | options
    )


def deliver(token_id):
    """A completed visit to the sink, then the outcome."""
    make_state(token_id, "sink", step=3)
    end_state(f"{token_id}@sink")
    end_token(token_id)


def fail():
    recorder.complete_run(run_id="r", status="failed", at=NOON)


def plan(**options):
    return recorder.plan_resume(run_id="r", **options)


class TestPlanResume:
    def test_says_what_is_left_of_a_failed_run(self):
        make_token("done", index=0)
        deliver("done")
        make_token("lost", index=1)
        make_checkpoint("done")
        fail()

        told = plan(upstream_topology_hash=SHA)

        assert (told.can_resume, told.obstacles) == (True, ())
        assert told.checkpoint.token_id == "done"
        assert (told.rows_unfinished, told.tokens_unfinished) == (1, 1)
        (row,) = told.rows
        assert (row.row_id, row.row_index, row.token_ids) == ("row1", 1, ("lost",))
        assert row.is_kept

    def test_believes_a_delivery_only_if_a_sink_confirms_it(self):
        make_token("claims", index=0)
        end_token("claims")
        make_token("failed at the sink", index=1)
        make_state("failed at the sink", "sink", step=3)
        end_state("failed at the sink@sink", status="failed")
        end_token("failed at the sink", outcome="failed", error="full")

        told = plan()

        assert [row.token_ids for row in told.rows] == [("claims",)]
        assert (told.tokens_unfinished, told.tokens_unconfirmed) == (1, 1)

    def test_counts_a_row_that_never_travelled_unless_it_was_refused(self):
        make_row(index=0)
        make_row(index=1)
        recorder.record_validation_error(
            run_id="r",
            row_id="row1",
            row_data={},
            error="x",
            schema_mode="strict",
            destination="discard",
            at=NOON,
        )

        told = plan()

        assert [(row.row_id, row.tokens) for row in told.rows] == [("row0", 0)]
        assert told.tokens_unfinished == 0

    def test_looks_at_every_branch_of_a_row(self):
        make_token()
        left, right = recorder.fork_token(
            run_id="r", token_id="t", branches=["left", "right"], at=NOON
        )
        deliver(left.token_id)

        assert plan().rows[0].token_ids == (right.token_id,)
        deliver(right.token_id)
        assert plan().rows == ()

    @pytest.mark.parametrize("status", ["running", "completed"])
    def test_refuses_a_run_that_has_not_failed(self, status):
        if status == "completed":
            recorder.complete_run(run_id="r", status="completed", at=NOON)

        told = plan()

        assert not told.can_resume
        assert told.obstacles[0] == f"the run is {status}"

    def test_needs_a_checkpoint_that_was_not_released(self):
        make_token()
        make_checkpoint()
        recorder.release_checkpoints(run_id="r", reason="tidy", at=NOON)
        fail()

        assert plan().obstacles == ("the run has no checkpoint, or all were released",)

    def test_needs_the_pipeline_that_the_checkpoint_was_made_in(self):
        make_token()
        make_checkpoint()
        fail()

        told = plan(upstream_topology_hash="cd" * 32, node_config_hash="cd" * 32)

        assert told.obstacles == (
            "checkpoint 0: the pipeline above it is another one than it was then",
            "checkpoint 0: node sink has another configuration than it had then",
        )

    def test_needs_the_contents_of_what_is_left(self):
        make_token()
        make_checkpoint()
        fail()
        make_purged(*Payload.objects.values_list("content_hash", flat=True))

        told = plan()

        assert told.obstacles == ("the contents of 1 unfinished rows are not kept",)
        assert (told.rows_without_contents, told.rows[0].is_kept) == (1, False)

    def test_says_what_becomes_of_batches(self):
        for batch_id in ("draft", "fired", "failed", "retried"):
            make_token(batch_id, index=len(recorder.get_rows(run_id="r")))
            recorder.create_batch(
                run_id="r", batch_id=batch_id, aggregation_node_id="batcher", at=NOON
            )
            recorder.add_batch_members(run_id="r", batch_id=batch_id, token_ids=[batch_id], at=NOON)
        for batch_id in ("fired", "failed", "retried"):
            recorder.begin_batch(run_id="r", batch_id=batch_id, trigger_type="count", at=NOON)
        for batch_id in ("failed", "retried"):
            recorder.fail_batch(run_id="r", batch_id=batch_id, at=NOON)
        recorder.retry_batch(run_id="r", batch_id="retried", new_batch_id="again", at=NOON)

        told = {batch.batch_id: (batch.status, batch.to_do) for batch in plan().batches}

        assert told == {
            "draft": ("draft", "keep"),
            "fired": ("executing", "retry"),
            "failed": ("failed", "retry"),
            "again": ("draft", "keep"),
        }

    def test_goes_on_page_by_page(self):
        for index in range(5):
            make_row(index=index)

        first = plan(limit=3)
        second = plan(limit=3, after_row_index=first.rows[-1].row_index)

        assert [row.row_index for row in first.rows + second.rows] == [0, 1, 2, 3, 4]
        assert first.rows_unfinished == second.rows_unfinished == 5

    def test_costs_the_same_at_two_sizes_and_names_ten_tokens(self, count_queries):
        make_token()
        make_checkpoint()
        small = count_queries(plan)
        recorder.expand_token(run_id="r", token_id="t", count=50, at=NOON)
        make_token("other", index=1)

        assert count_queries(plan) == small
        assert (plan().rows[0].tokens, len(plan().rows[0].token_ids)) == (50, 10)

    def test_writes_nothing(self):
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL transaction_read_only = on")

        assert plan().rows_unfinished == 0

    def test_refuses_an_unknown_run_and_a_page_without_size(self):
        with pytest.raises(NotRecorded):
            recorder.plan_resume(run_id="unheard")
        with pytest.raises(ValueRefused, match="limit"):
            plan(limit=0)


class TestValidateCheckpoint:
    def test_finds_nothing_in_the_pipeline_that_made_it(self):
        make_token()
        checkpoint = make_checkpoint()

        reasons = recorder.validate_checkpoint(
            run_id="r", checkpoint_id=checkpoint.checkpoint_id, upstream_topology_hash=SHA
        )

        assert reasons == ()

    def test_compares_with_the_configuration_on_record_if_it_is_told_nothing(self):
        make_token()
        checkpoint = make_checkpoint(node_config_hash=SHA)

        reasons = recorder.validate_checkpoint(run_id="r", checkpoint_id=checkpoint.checkpoint_id)

        assert reasons == ("node sink has another configuration than it had then",)

    def test_refuses_a_released_one(self):
        make_token()
        checkpoint = make_checkpoint()
        recorder.release_checkpoints(run_id="r", reason="tidy", at=NOON)

        reasons = recorder.validate_checkpoint(run_id="r", checkpoint_id=checkpoint.checkpoint_id)

        assert reasons == ("it was released",)

    @pytest.mark.parametrize(
        ("parts", "reason"),
        [
            ({"format_version": 3}, "it has format 3"),
            (
                {"format_version": None, "created_at": datetime(2026, 1, 23, tzinfo=UTC)},
                "older than 2026-01-24",
            ),
        ],
    )
    def test_refuses_formats_that_cannot_be_trusted(self, monkeypatch, parts, reason):
        make_token()
        for name, value in parts.items():
            if name == "format_version":
                monkeypatch.setattr("audit.recorder.checkpoints.FORMAT_VERSION", value)
        checkpoint = make_checkpoint(at=parts.get("created_at", NOON))

        (told,) = recorder.validate_checkpoint(run_id="r", checkpoint_id=checkpoint.checkpoint_id)

        assert reason in told

    def test_is_asked_of_its_own_run(self):
        make_token()
        checkpoint = make_checkpoint()
        make_run("other")

        with pytest.raises(RunMismatch):
            recorder.validate_checkpoint(run_id="other", checkpoint_id=checkpoint.checkpoint_id)
