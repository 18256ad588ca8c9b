"""Batches: members wait, are consumed together, and their outputs descend from all of them."""

from __future__ import annotations

import pytest

from audit import recorder
from audit.errors import ContractViolated, IllegalTransition, RecordEnded, TokenEnded
from audit.models import BatchMember, TokenOutcome
from tests.recorder.world import NOON, end_state, end_token, make_run, make_state, make_token

pytestmark = pytest.mark.django_db
TOKENS = ["t0", "t1", "t2"]


@pytest.fixture(autouse=True)
def _batch(_var):
    make_run()
    for index, token_id in enumerate(TOKENS):
        make_token(token_id, index=index)
    recorder.create_batch(run_id="r", batch_id="b", aggregation_node_id="batcher", at=NOON)
    add()


def add(batch_id="b", token_ids=TOKENS):
    return recorder.add_batch_members(run_id="r", batch_id=batch_id, token_ids=token_ids, at=NOON)


def begin(**options):
    return recorder.begin_batch(
        run_id="r", batch_id="b", at=NOON, **({"trigger_type": "count"} | options)
    )


def complete(outputs=1, **options):
    return recorder.complete_batch(
        **{
            "run_id": "r",
            "batch_id": "b",
            "aggregation_state_id": "t0@batcher",
            "outputs": outputs,
            "at": NOON,
        }
        | options
    )


def work(status="completed"):
    make_state("t0", "batcher", 2)
    end_state("t0@batcher", status=status)


class TestAddBatchMembers:
    def test_lets_them_wait_in_order(self):
        members = recorder.get_batch_members(run_id="r", batch_id="b")

        assert [(m.ordinal, m.token_id) for m in members] == list(enumerate(TOKENS))
        assert recorder.count_outcomes(run_id="r") == {"buffered": 3}

    def test_closes_with_the_draft(self):
        begin()
        make_token("late", index=9)

        with pytest.raises(RecordEnded, match="executing"):
            add(token_ids=["late"])
        assert len(add()) == 3


class TestCompleteBatch:
    def test_consumes_members_and_gives_their_heirs(self):
        begin(trigger_reason="three is enough")
        work()

        (output,) = complete()

        parents = recorder.get_token_parents(run_id="r", token_id=output.token_id)
        assert [parent.token_id for parent in parents] == TOKENS
        assert recorder.count_outcomes(run_id="r") == {"buffered": 3, "consumed_in_batch": 3}
        (listed,) = recorder.get_batch_outputs(run_id="r", batch_id="b")
        assert (listed.output_type, listed.output_id) == ("token", output.token_id)
        (batch,) = recorder.get_batches_for_token(run_id="r", token_id="t1")
        assert (batch.status, batch.trigger_reason) == ("completed", "three is enough")

    def test_told_again_gives_the_same_heirs(self):
        begin()
        work()

        assert complete() == complete()

    def test_needs_a_completed_visit_at_its_node(self):
        begin()
        work(status="failed")

        with pytest.raises(ContractViolated, match="is failed"):
            complete()

    def test_refuses_a_draft(self):
        work()

        with pytest.raises(IllegalTransition, match="is draft"):
            complete()

    def test_leaves_nothing_when_a_member_has_ended_meanwhile(self):
        begin()
        work()
        end_token("t2")

        with pytest.raises(TokenEnded, match="t2"):
            complete()

        assert recorder.get_batch(run_id="r", batch_id="b").status == "executing"
        assert not TokenOutcome.objects.filter(outcome="consumed_in_batch").exists()


class TestFailBatch:
    def test_fails_every_member(self):
        begin()

        recorder.fail_batch(run_id="r", batch_id="b", error={"type": "E"}, at=NOON)

        assert recorder.count_outcomes(run_id="r") == {"buffered": 3, "failed": 3}


class TestRetryBatch:
    def test_takes_the_members_over_once(self):
        begin()
        recorder.fail_batch(run_id="r", batch_id="b", at=NOON)

        retry = recorder.retry_batch(run_id="r", batch_id="b", at=NOON)

        assert recorder.retry_batch(run_id="r", batch_id="b", at=NOON) == retry
        assert (retry.attempt, retry.retry_of, retry.status) == (1, "b", "draft")
        assert BatchMember.objects.filter(batch_id=retry.batch_id).count() == 3
        assert recorder.get_incomplete_batches(run_id="r") == [retry]

    def test_refuses_what_has_not_failed(self):
        with pytest.raises(IllegalTransition, match="cannot become retried"):
            recorder.retry_batch(run_id="r", batch_id="b", at=NOON)


class TestBeginBatch:
    def test_refuses_an_empty_one(self):
        recorder.create_batch(run_id="r", batch_id="e", aggregation_node_id="batcher", at=NOON)

        with pytest.raises(ContractViolated, match="no members"):
            recorder.begin_batch(run_id="r", batch_id="e", trigger_type="count", at=NOON)

    def test_told_again_is_the_same_and_told_otherwise_is_refused(self):
        begin()
        begin()

        with pytest.raises(IllegalTransition):
            begin(trigger_type="timeout")
