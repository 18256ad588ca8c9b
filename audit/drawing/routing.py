"""Lines between cells: straight along a row, or with one bend in the gap before the target."""

from __future__ import annotations

from audit.drawing.placing import GAP, LANE

_HALF = GAP // 2
_BELOW = LANE // 2


def along(*, left: int, right: int, y: int) -> str:
    """From a cell to a later one of its row; back under the row where that stands further left."""
    if right >= left:
        return f"M{left} {y}H{right}"
    under = y + _BELOW
    return f"M{left} {y}h{_HALF}V{under}H{right - _HALF}V{y}H{right}"


def elbow(*, start: tuple[int, int], end: tuple[int, int]) -> str:
    """From the right edge of a cell to the left edge of one in another row."""
    (left, top), (right, bottom) = start, end
    bend = right - _HALF
    if bend >= left:
        return f"M{left} {top}H{bend}V{bottom}H{right}"
    # The target stands further left: around, between the two rows.
    between = top + (_BELOW if bottom > top else -_BELOW)
    return f"M{left} {top}h{_HALF}V{between}H{bend}V{bottom}H{right}"
