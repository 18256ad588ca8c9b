"""What a run put out, and the tokens, rows and batches behind it."""

import itertools

import pytest
from django.urls import reverse

from audit import lineage
from audit.errors import NotRecorded, RunMismatch
from audit.lineage import artifact_story
from audit.models import BatchOutput
from tests.builders import (
    after_noon,
    digest,
    make_artifact,
    make_batch,
    make_node,
    make_row,
    make_run,
    make_state,
    make_token,
    new_id,
)

pytestmark = pytest.mark.django_db


# No two writes at one step.
_places = itertools.count(9)


@pytest.fixture
def run():
    return make_run()


def make_tokens(run, many):
    source = make_node(run, "csv", "source")
    return [make_token(make_row(source, index)) for index in range(many)]


def write(tokens, **columns):
    """An artifact of visits to one sink, the first of them recorded."""
    place = next(_places)
    sink = make_node(tokens[0], f"sink {place}", "sink")
    return make_artifact(*(make_state(token, sink, place) for token in tokens), **columns)


def explain(artifact, **asked):
    return lineage.explain_artifact(
        run_id=artifact.run_id, artifact_id=artifact.artifact_id, **asked
    )


class TestListArtifacts:
    def test_tells_the_oldest_first_with_their_tokens(self, run):
        tokens = make_tokens(run, 3)
        late = write(tokens, created_at=after_noon(9))
        early = write(tokens[:1])

        page = lineage.list_artifacts(run_id=run.run_id)

        assert [line.artifact for line in page.lines] == [early, late]
        assert [(line.members, line.inferred) for line in page.lines] == [(1, 0), (3, 2)]
        assert (page.total, page.next_after) == (2, None)

    def test_goes_through_all_of_them_once(self, run, monkeypatch):
        monkeypatch.setattr(artifact_story, "ARTIFACTS_A_PAGE", 2)
        made = [write([token]) for token in make_tokens(run, 5)]

        seen, after = [], None
        while True:
            page = lineage.list_artifacts(run_id=run.run_id, after=after)
            seen += [line.artifact for line in page.lines]
            after = page.next_after
            if after is None:
                break

        assert seen == sorted(made, key=lambda artifact: artifact.artifact_id)

    def test_costs_the_same_at_two_sizes(self, run, count_queries):
        other = make_run()
        write(make_tokens(run, 1))
        for token in make_tokens(other, 20):
            write([token])

        costs = {
            count_queries(lambda r=r: lineage.list_artifacts(run_id=r.run_id)) for r in (run, other)
        }

        assert len(costs) == 1


class TestExplainArtifact:
    def test_tells_its_rows_and_what_is_inferred(self, run):
        first, second = make_tokens(run, 2)
        twin = make_token(first.row)
        artifact = write([first, second, twin])

        story = explain(artifact)

        assert [(line.token, line.inferred) for line in story.members] == [
            (first, False),
            (second, True),
            (twin, True),
        ]
        assert (story.members_total, story.recorded, story.inferred) == (3, 1, 2)
        assert story.rows == 2
        assert story.written_in.state_id == artifact.produced_by_state_id

    def test_names_the_batch_behind_a_member_and_how_it_belongs_to_it(self, run):
        *members, plain = make_tokens(run, 4)
        node = make_node(run, "totals", "aggregation")
        heir = make_token(members[0].row)
        flush = make_state(members[2], node, 3)
        batch = make_batch(node, *members, aggregation_state_id=flush.state_id)
        BatchOutput.objects.create(
            run_id=run.run_id,
            batch_output_id=new_id(),
            batch_id=batch.batch_id,
            output_type="token",
            output_id=heir.token_id,
        )

        story = explain(write([heir, members[0], members[2], plain]))

        assert [[(hop.how, hop.members) for hop in line.hops] for line in story.members] == [
            [("output", 3)],
            [("member", 3)],
            [("carried", 3)],
            [],
        ]
        assert story.members[0].hops[0].node.name == "totals"

    def test_names_three_batches_of_a_token_and_counts_the_others(self, run):
        (token,) = make_tokens(run, 1)
        node = make_node(run, "totals", "aggregation")
        for _ in range(5):
            make_batch(node, token)

        (line,) = explain(write([token])).members

        assert (len(line.hops), line.hops_further) == (3, 2)

    def test_goes_through_all_members_once(self, run, monkeypatch):
        monkeypatch.setattr(artifact_story, "MEMBERS_A_PAGE", 2)
        tokens = make_tokens(run, 5)
        artifact = write(tokens)

        seen, after = [], None
        while True:
            story = explain(artifact, after=after)
            seen += [line.token for line in story.members]
            after = story.next_after
            if after is None:
                break

        assert seen == tokens

    def test_costs_the_same_at_two_sizes(self, run, count_queries):
        tokens = make_tokens(run, 60)
        node = make_node(run, "totals", "aggregation")
        for token in tokens:
            make_batch(node, token)
        small, large = write(tokens[:1]), write(tokens[1:])

        costs = {count_queries(lambda a=a: explain(a)) for a in (small, large)}

        assert len(costs) == 1

    def test_refuses_one_of_another_run_by_name(self, run):
        other = make_run()
        artifact = write(make_tokens(other, 1))

        with pytest.raises(RunMismatch, match=f"belongs to run {other.run_id}"):
            lineage.explain_artifact(run_id=run.run_id, artifact_id=artifact.artifact_id)

    def test_refuses_an_id_of_another_kind(self, run):
        (token,) = make_tokens(run, 1)

        with pytest.raises(NotRecorded, match="is a token, not an artifact"):
            lineage.explain_artifact(run_id=run.run_id, artifact_id=token.token_id)


class TestPage:
    def test_answers_for_an_artifact(self, signed_in, run):
        artifact = write(make_tokens(run, 3))

        text = signed_in.get(address(artifact)).text

        assert "made from" in text
        assert "1 recorded and 2 inferred" in text
        assert digest("file")[:8] in text

    def test_says_that_another_run_has_it(self, signed_in, run):
        artifact = write(make_tokens(make_run(), 1))

        answer = signed_in.get(reverse("audit:artifact", args=[run.run_id, artifact.artifact_id]))

        assert answer.status_code == 404
        assert "belongs to run" in answer.text

    def test_refuses_a_place_that_is_no_number(self, signed_in, run):
        answer = signed_in.get(address(write(make_tokens(run, 1))), {"after": "-1"})

        assert answer.status_code == 400
        assert "is the place of a member, a whole number" in answer.text

    def test_survives_a_place_behind_everything(self, signed_in, run):
        answer = signed_in.get(address(write(make_tokens(run, 1))), {"after": "9" * 18})

        assert answer.status_code == 200
        assert "No further token." in answer.text

    def test_says_that_nothing_was_put_out(self, signed_in, run):
        text = signed_in.get(reverse("audit:artifacts", args=[run.run_id])).text

        assert "No artifact is recorded in this run." in text


def address(artifact):
    return reverse("audit:artifact", args=[artifact.run_id, artifact.artifact_id])
