"""The batches of a run, and who waited in them."""

import pytest
from django.urls import reverse

from audit import lineage
from audit.errors import RunMismatch
from audit.lineage import batch_story
from audit.models import BatchOutput
from tests.builders import (
    after_noon,
    make_artifact,
    make_batch,
    make_node,
    make_outcome,
    make_row,
    make_run,
    make_state,
    make_token,
    new_id,
)

pytestmark = pytest.mark.django_db


def make_tokens(run, many):
    source = make_node(run, f"csv {new_id()}", "source")
    return [make_token(make_row(source, index)) for index in range(many)]


def totals(run):
    return make_node(run, f"totals {new_id()}", "aggregation")


def put_out(batch, kind, key):
    BatchOutput.objects.create(
        run_id=batch.run_id,
        batch_output_id=new_id(),
        batch_id=batch.batch_id,
        output_type=kind,
        output_id=key,
    )


def explain(batch, **asked):
    return lineage.explain_batch(run_id=batch.run_id, batch_id=batch.batch_id, **asked)


def page_of(batch):
    return reverse("audit:batch", args=[batch.run_id, batch.batch_id])


@pytest.fixture
def run():
    return make_run()


class TestListBatches:
    def test_counts_members_and_outputs_and_tells_the_oldest_first(self, run):
        tokens = make_tokens(run, 3)
        late = make_batch(totals(run), *tokens, created_at=after_noon(3))
        early = make_batch(totals(run), *tokens[:1])
        put_out(late, "token", tokens[0].token_id)

        page = lineage.list_batches(run_id=run.run_id)

        told = [(line.batch, line.members, line.outputs) for line in page.lines]
        assert told == [(early, 1, 0), (late, 3, 1)]
        assert [line.waited_ms for line in page.lines] == [4000.0, 1000.0]

    @pytest.mark.parametrize(
        ("ended", "status", "abandoned"),
        [
            ("completed", "draft", True),
            ("failed", "executing", True),
            ("completed", "completed", False),
            ("failed", "failed", False),
            ("running", "draft", False),
        ],
    )
    def test_calls_those_abandoned_that_outlived_their_run(self, ended, status, abandoned):
        run = make_run(status=ended)
        make_batch(totals(run), status=status, completed_at=None)

        (line,) = lineage.list_batches(run_id=run.run_id).lines

        assert (line.abandoned, line.waited_ms) == (abandoned, None)

    def test_goes_through_all_of_them_once(self, run, monkeypatch):
        monkeypatch.setattr(batch_story, "BATCHES_A_PAGE", 2)
        node = totals(run)
        made = [make_batch(node) for _ in range(5)]

        seen, after = [], None
        while True:
            page = lineage.list_batches(run_id=run.run_id, after=after)
            seen += [line.batch for line in page.lines]
            after = page.next_after
            if after is None:
                break

        assert seen == made


class TestExplainBatch:
    def test_tells_members_in_order_with_their_last_verdict(self, run):
        first, second, third = make_tokens(run, 3)
        batch = make_batch(totals(run), third, first, second)
        make_outcome(first, "consumed_in_batch")
        make_outcome(first, "buffered")
        make_outcome(third, "buffered")

        story = explain(batch)

        assert [(one.ordinal, one.token, one.outcome) for one in story.members] == [
            (0, third, "buffered"),
            (1, first, "consumed_in_batch"),
            (2, second, ""),
        ]

    def test_tells_what_it_put_out_and_where_it_was_flushed(self, run):
        token, heir = make_tokens(run, 2)
        node = totals(run)
        flush = make_state(token, node, 3)
        artifact = make_artifact(make_state(heir, make_node(run, "out", "sink"), 4))
        batch = make_batch(node, token, aggregation_state_id=flush.state_id)
        put_out(batch, "token", heir.token_id)
        put_out(batch, "artifact", artifact.artifact_id)
        put_out(batch, "token", "nowhere")

        story = explain(batch)

        assert (story.tokens_out, story.artifacts_out) == ((heir,), (artifact,))
        assert story.line.outputs == 3
        assert story.carried_in == flush

    def test_names_the_attempts_before_and_behind(self, run):
        node = totals(run)
        first = make_batch(node, status="failed")
        second = make_batch(node, attempt=1, retry_of=first.batch_id)

        assert explain(first).line.retried_by == second.batch_id
        assert explain(second).line.batch.retry_of == first.batch_id

    def test_goes_through_all_members_once(self, run, monkeypatch):
        monkeypatch.setattr(batch_story, "MEMBERS_A_PAGE", 2)
        tokens = make_tokens(run, 5)
        batch = make_batch(totals(run), *tokens)

        seen, after = [], None
        while True:
            story = explain(batch, after=after)
            seen += [one.token for one in story.members]
            after = story.next_after
            if after is None:
                break

        assert seen == tokens

    def test_refuses_one_of_another_run_by_name(self, run):
        other = make_run()
        batch = make_batch(totals(other))

        with pytest.raises(RunMismatch, match=f"belongs to run {other.run_id}"):
            lineage.explain_batch(run_id=run.run_id, batch_id=batch.batch_id)


class TestPage:
    def test_explains_a_batch_that_was_abandoned(self, signed_in, run):
        batch = make_batch(totals(run), *make_tokens(run, 2), status="draft", completed_at=None)

        text = signed_in.get(page_of(batch)).text

        assert "was abandoned: the run ended before a trigger fired" in text

    def test_leads_to_its_members_outputs_and_attempts(self, signed_in, run):
        member, heir = make_tokens(run, 2)
        node = totals(run)
        before = make_batch(node, status="failed")
        batch = make_batch(node, member, attempt=1, retry_of=before.batch_id)
        put_out(batch, "token", heir.token_id)

        text = signed_in.get(page_of(batch)).text

        for token in (member, heir):
            assert reverse("audit:token", args=[run.run_id, token.token_id]) in text
        assert page_of(before) in text

    def test_is_what_an_output_leads_to(self, signed_in, run):
        (heir,) = make_tokens(run, 1)
        batch = make_batch(totals(run))
        put_out(batch, "token", heir.token_id)
        artifact = make_artifact(make_state(heir, make_node(run, "out", "sink"), 4))

        text = signed_in.get(
            reverse("audit:artifact", args=[run.run_id, artifact.artifact_id])
        ).text

        assert page_of(batch) in text
