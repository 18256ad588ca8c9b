"""Where a run could go on from, and what happened to it as a whole."""

import pytest
from django.urls import reverse

from audit import lineage
from audit.lineage import recovery
from tests.builders import make_checkpoint, make_event, make_run, make_world

pytestmark = pytest.mark.django_db

RELEASED = '{"reason":"the run is complete","to_sequence_number":1}'


@pytest.fixture
def world():
    return make_world(rows=1)


def make_marks(world, many):
    return [make_checkpoint(world.tokens[0], world.sink, number) for number in range(many)]


def ask(signed_in, run):
    return signed_in.get(reverse("audit:checkpoints", args=[run.run_id])).text


class TestExplainRecovery:
    def test_tells_what_was_released(self, world):
        marks = make_marks(world, 3)
        make_event(world.run, "checkpoints_released", detail_json=RELEASED)

        page = lineage.explain_recovery(run_id=world.run.run_id)

        assert [line.checkpoint for line in page.lines] == marks
        assert [line.released for line in page.lines] == [True, True, False]
        assert [line.since_start_ms for line in page.lines] == [0.0, 1000.0, 2000.0]
        assert (page.total, page.released, page.newest) == (3, 2, marks[2].created_at)

    def test_tells_from_which_mark_the_run_went_on(self, world):
        marks = make_marks(world, 2)
        event = make_event(
            world.run, detail_json=f'{{"checkpoint_id":"{marks[0].checkpoint_id}","from":"failed"}}'
        )

        page = lineage.explain_recovery(run_id=world.run.run_id)

        assert [line.resumed_at for line in page.lines] == [event.recorded_at, None]

    @pytest.mark.parametrize("detail", [None, "", "no JSON", "[]", '{"to_sequence_number":"x"}'])
    def test_takes_a_release_that_says_no_number_for_none(self, world, detail):
        make_marks(world, 1)
        make_event(world.run, "checkpoints_released", detail_json=detail)

        assert lineage.explain_recovery(run_id=world.run.run_id).released == 0

    def test_goes_through_all_of_them_once(self, world, monkeypatch):
        monkeypatch.setattr(recovery, "CHECKPOINTS_A_PAGE", 2)
        marks = make_marks(world, 5)

        seen, after = [], None
        while True:
            page = lineage.explain_recovery(run_id=world.run.run_id, after=after)
            seen += [line.checkpoint for line in page.lines]
            after = page.next_after
            if after is None:
                break

        assert seen == marks


class TestPage:
    def test_says_that_there_is_nothing_to_resume_from(self, signed_in):
        assert "No checkpoints: this run cannot be resumed." in ask(signed_in, make_run())

    def test_tells_resumes_and_releases(self, signed_in, world):
        make_marks(world, 2)
        make_event(world.run, "resumed", detail_json='{"from":"failed"}')
        make_event(world.run, "checkpoints_released", detail_json=RELEASED)

        text = ask(signed_in, world.run)

        assert "was resumed once" in text
        assert "checkpoints released" in text
        assert "All checkpoints were released" in text
