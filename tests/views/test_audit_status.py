"""How a status looks."""

import pytest

from audit.lineage.figures import OutcomeCount
from audit.models import Batch, Call, Finding, NodeState, Payload, Run, TokenOutcome
from audit.templatetags import audit_status as shown


class TestLooks:
    @pytest.mark.parametrize(
        ("kind", "field"),
        [
            ("run", Run._meta.get_field("status")),
            ("state", NodeState._meta.get_field("status")),
            ("outcome", TokenOutcome._meta.get_field("outcome")),
            ("batch", Batch._meta.get_field("status")),
            ("call", Call._meta.get_field("status")),
            ("export", Run._meta.get_field("export_status")),
            ("finding", Finding._meta.get_field("level")),
            ("payload", Payload._meta.get_field("state")),
        ],
    )
    def test_exist_for_every_word_that_the_database_may_hold(self, kind, field):
        assert {word for word, _ in field.choices} <= shown.LOOKS[kind].keys()

    def test_have_a_glyph_and_a_word_each(self):
        chip = shown.chip("outcome", "failed", " × 2")

        assert 'class="chip bad"' in chip
        assert "#g-cross" in chip
        assert "failed × 2" in chip


def outcomes(*counts):
    return [OutcomeCount(outcome=word, tokens=tokens) for word, tokens in counts]


class TestOutcomeBar:
    def test_is_told_in_words_too(self):
        bar = shown.outcome_bar(outcomes(("completed", 1200), ("failed", 3)))

        assert 'aria-label="1,200 completed, 3 failed"' in bar

    def test_fills_its_width_and_shows_the_rare(self):
        bar = shown.outcome_bar(outcomes(("completed", 10**9), ("failed", 1)))

        assert 'class="fill-good" x="0" y="0" width="991"' in bar
        assert 'class="fill-bad" x="994" y="0" width="3"' in bar

    def test_of_nothing_is_words(self):
        assert shown.outcome_bar([]) == '<span class="nothing">no tokens</span>'
