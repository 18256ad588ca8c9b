"""Where Graphviz places a graph, and what happens when it cannot."""

import itertools
import random
import time

import pytest
from django.core.cache import caches

from audit.drawing import layout
from audit.drawing.layout import NotDrawnError, place

DIAMOND = [(0, 1, 54), (0, 2, 100), (1, 3, 54), (2, 3, 54), (0, 3, 54)]


def overlaps(placed):
    width, height = layout.ROOM
    return [
        (one, other)
        for one, other in itertools.combinations(placed.boxes, 2)
        if abs(one[0] - other[0]) < width and abs(one[1] - other[1]) < height
    ]


class TestPlace:
    def test_places_the_same_graph_the_same_way(self):
        first = place(nodes=4, edges=DIAMOND)
        caches[layout.KEPT_IN].clear()

        assert place(nodes=4, edges=DIAMOND) == first

    def test_goes_from_left_to_right(self):
        boxes = place(nodes=4, edges=DIAMOND).boxes

        assert boxes[0][0] < boxes[1][0] == boxes[2][0] < boxes[3][0]

    def test_lets_no_box_cover_another_and_none_leave_the_picture(self):
        chance = random.Random(4)
        edges = [(chance.randrange(max(0, n - 4), n), n, 54) for n in range(1, 60)]
        edges += [(*sorted(chance.sample(range(60), 2)), 54) for _ in range(10)]

        placed = place(nodes=60, edges=edges)

        assert overlaps(placed) == []
        assert all(0 <= x <= placed.width - layout.BOX[0] for x, _ in placed.boxes)
        assert all(0 <= y <= placed.height - layout.BOX[1] for _, y in placed.boxes)
        assert len(placed.lines) == len(edges)

    def test_places_what_no_pipeline_should_be(self):
        cases = {
            "nothing": (0, []),
            "one": (1, []),
            "a cycle": (3, [(0, 1, 54), (1, 2, 54), (2, 0, 54)]),
            "itself": (1, [(0, 0, 54)]),
            "side by side": (2, [(0, 1, 54), (0, 1, 90), (0, 1, 54)]),
            "apart": (3, []),
        }

        for nodes, edges in cases.values():
            placed = place(nodes=nodes, edges=edges)
            assert (len(placed.boxes), len(placed.lines)) == (nodes, len(edges))
            assert overlaps(placed) == []

    @pytest.mark.parametrize(("nodes", "edges"), [(301, 0), (2, 901)])
    def test_refuses_what_is_too_large_at_once(self, nodes, edges, monkeypatch):
        monkeypatch.setattr(layout.subprocess, "run", lambda *_, **__: pytest.fail("was asked"))

        with pytest.raises(NotDrawnError, match="at most 300 and 900 are drawn"):
            place(nodes=nodes, edges=[(0, 1, 54)] * edges)

    def test_gives_up_in_time_and_remembers_it(self, monkeypatch):
        chance = random.Random(1)
        edges = [(*sorted(chance.sample(range(300), 2)), 54) for _ in range(900)]
        monkeypatch.setattr(layout, "SECONDS", 0.5)
        began = time.monotonic()

        with pytest.raises(NotDrawnError, match="too tangled"):
            place(nodes=300, edges=edges)
        waited = time.monotonic() - began
        monkeypatch.setattr(layout.subprocess, "run", lambda *_, **__: pytest.fail("was asked"))
        with pytest.raises(NotDrawnError, match="too tangled"):
            place(nodes=300, edges=edges)

        assert waited < 2

    def test_survives_a_worker_that_dies(self, monkeypatch, tmp_path):
        broken = tmp_path / "dot.py"
        broken.write_text("import os; os.abort()")
        monkeypatch.setattr(layout, "_WORKER", broken)

        with pytest.raises(NotDrawnError, match="could not place"):
            place(nodes=2, edges=[(0, 1, 54)])
