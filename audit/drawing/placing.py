"""Columns and rows of fixed sizes, side by side: where each begins and ends, in pixels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAD = 48
LANE = 30
CELL = 24
GAP = 10
LABEL = 152
ENDING = 160
NARROWEST = 88
WIDEST = 208
SKIPPED = 40
# A little more than a character of the widest common face needs.
_LETTER = 8.4
_ROUND = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """Left edge and inner width of each column between the labels and the endings."""

    starts: tuple[int, ...]
    widths: tuple[int, ...]
    rows: int

    @property
    def ending(self) -> int:
        """Where the last column, which tells how a lane ended, begins."""
        return LABEL + sum(self.widths)

    @property
    def width(self) -> int:
        """The whole drawing, labels and endings included."""
        return self.ending + ENDING

    @property
    def height(self) -> int:
        """The whole drawing, the head included."""
        return HEAD + LANE * self.rows

    def left(self, column: int) -> int:
        """The left edge of a cell; left of all where the column is on an earlier page."""
        if column < 0:
            return LABEL
        return self.starts[column] if column < len(self.starts) else self.ending

    def right(self, column: int) -> int:
        """The right edge of a cell."""
        if column < 0:
            return LABEL
        if column >= len(self.starts):
            return self.ending
        return self.starts[column] + self.widths[column] - GAP

    def middle(self, row: int) -> int:
        """The height at which the lines of a row run."""
        return HEAD + LANE * row + LANE // 2


def width_for(letters: int, *, extra: int = 0) -> int:
    """A column wide enough for so many letters and `extra` pixels, gap included."""
    wanted = round(letters * _LETTER) + extra + GAP
    return min(WIDEST, max(NARROWEST, -(-wanted // _ROUND) * _ROUND))


def grid(*, widths: Sequence[int], rows: int) -> Grid:
    """Columns of these widths, gaps included, behind the labels."""
    starts = accumulate(widths[:-1], initial=LABEL) if widths else ()
    return Grid(starts=tuple(starts), widths=tuple(widths), rows=rows)
