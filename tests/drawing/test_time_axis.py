"""Time on a line: where it stands, and that folding it is honest."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.drawing.timeline import scale

# That drawing examples is slow on a busy machine says nothing of what is tested.
on_a_busy_machine = settings(suppress_health_check=[HealthCheck.too_slow])

stretches = st.lists(
    st.tuples(st.floats(0, 1e9), st.floats(0, 1e6)).map(lambda one: (one[0], one[0] + one[1])),
    min_size=1,
    max_size=30,
)


class TestScale:
    def test_measures_what_was_idle(self):
        assert scale([(0, 10), (5, 20), (80, 100)], fold=False).idle == pytest.approx(0.6)

    def test_folds_nothing_unless_asked(self):
        on = scale([(0, 10), (990, 1000)], fold=False)

        assert on.gaps == ()
        assert on.at(500) == pytest.approx(50, abs=0.1)
        assert on.is_mostly_idle

    def test_keeps_the_length_of_what_it_folds(self):
        on = scale([(0, 10), (990, 1000)], fold=True)

        (gap,) = on.gaps
        assert (gap.start_ms, gap.length_ms) == (10, 980)
        assert gap.width == pytest.approx(4, abs=0.01)
        assert on.at(990) - on.at(10) == pytest.approx(4, abs=0.01)

    def test_marks_both_edges_of_what_it_folds(self):
        on = scale([(0, 10), (990, 1000)], fold=True)

        assert {10, 990} <= {ms for _, ms, _ in on.ticks}

    def test_of_nothing_is_a_scale_too(self):
        assert scale([], fold=True).at(0) == 0.5

    @on_a_busy_machine
    @given(stretches, st.booleans())
    def test_never_turns_back_and_never_leaves_the_line(self, ones, fold):
        on = scale(ones, fold=fold)

        instants = sorted({0.0, *(edge for one in ones for edge in one)})
        places = [on.at(instant) for instant in instants]
        assert places == sorted(places)
        assert 0 <= places[0] <= places[-1] <= 100.001

    @on_a_busy_machine
    @given(stretches, st.booleans())
    def test_shows_every_stretch(self, ones, fold):
        on = scale(ones, fold=fold)

        assert all(on.bar(*one)[1] > 0 for one in ones)
