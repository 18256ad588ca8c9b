"""Where the nodes and edges of a run graph stand: Graphviz places them, once per structure."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.cache import caches

if TYPE_CHECKING:
    from collections.abc import Sequence

# A box and the lines of text above and below it.
BOX = (124, 44)
ROOM = (124, 78)
MARGIN = 12

MOST_NODES = 300
MOST_EDGES = 900
SECONDS = 3.0

# A cache that all processes of a machine share.
KEPT_IN = "layouts"
_WORKER = Path(__file__).with_name("dot.py")
_KEPT_FOR = 7 * 24 * 3600
# Somebody may have been unlucky on a busy machine; nobody waits for the same graph all day.
_REFUSED_FOR = 600
# Change it when the drawing changes: what is kept then counts for nothing.
_VERSION = 1

# One at a time in each process: a second reader of a new pipeline finds it placed.
_placing = threading.Lock()


class NotDrawnError(Exception):
    """The graph is too large or too tangled to be drawn; says which."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A curve as the `d` of a path, and the middle of its label."""

    path: str
    label: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A drawing from its upper left corner; boxes by their upper left corners, in order."""

    width: float
    height: float
    boxes: tuple[tuple[float, float], ...]
    lines: tuple[Line, ...]


def place(*, nodes: int, edges: Sequence[tuple[int, int, int]]) -> Layout:
    """Place a graph of numbered nodes, left to right, in pixels; the same graph the same way.

    An edge is the numbers of its nodes and the room for its label. The result is kept in the
    cache, and so is a refusal, for ten minutes.

    Raises:
        NotDrawnError: over 300 nodes or 900 edges, or not placed within three seconds.
    """
    if nodes > MOST_NODES or len(edges) > MOST_EDGES:
        raise NotDrawnError(
            f"it has {nodes:,} nodes and {len(edges):,} edges; at most {MOST_NODES} and"
            f" {MOST_EDGES} are drawn"
        )
    asked = json.dumps({"box": ROOM, "nodes": nodes, "edges": edges})
    key = f"layout:{_VERSION}:{hashlib.sha256(asked.encode()).hexdigest()}"
    kept = caches[KEPT_IN].get(key)
    if kept is None:
        with _placing:
            kept = caches[KEPT_IN].get(key) or _ask(asked, key)
    if isinstance(kept, str):
        raise NotDrawnError(kept)
    assert isinstance(kept, Layout)
    return kept


def _ask(asked: str, key: str) -> Layout | str:
    try:
        worker = subprocess.run(  # noqa: S603  # our own script, and numbers for its input
            [sys.executable, "-I", str(_WORKER)],
            input=asked,
            capture_output=True,
            check=True,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        found: Layout | str = f"it is too tangled to be placed within {SECONDS:g} seconds"
    except subprocess.CalledProcessError:
        found = "Graphviz could not place it"
    else:
        found = _layout(json.loads(worker.stdout))
    caches[KEPT_IN].set(key, found, _REFUSED_FOR if isinstance(found, str) else _KEPT_FOR)
    return found


def _layout(told: dict[str, Any]) -> Layout:
    width, height = told["size"]

    def at(point: Sequence[float]) -> tuple[float, float]:
        # Graphviz counts from below.
        return round(point[0] + MARGIN, 1), round(height - point[1] + MARGIN, 1)

    boxes = []
    for centre in told["centres"]:
        x, y = at(centre)
        boxes.append((round(x - BOX[0] / 2, 1), round(y - BOX[1] / 2, 1)))
    lines = []
    for line in told["lines"]:
        start, *bends = (at(point) for point in line["curve"])
        path = f"M{start[0]},{start[1]}C" + " ".join(f"{x},{y}" for x, y in bends)
        lines.append(Line(path=path, label=at(line["label"])))
    return Layout(
        width=round(width + 2 * MARGIN, 1),
        height=round(height + 2 * MARGIN, 1),
        boxes=tuple(boxes),
        lines=tuple(lines),
    )
