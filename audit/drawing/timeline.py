"""Stretches of time on one line, in per cent: where each stands, and where nothing happened.

Idle stretches can be folded. A folded one is drawn a fixed width whatever its length, so its
length has to be printed beside it: `Gap` has both.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Idle time is worth folding where it is more than this part of the whole.
MUCH_IDLE = 0.35
_LONG_GAP = 0.04
_FOLDED_WIDTH = 4.0
_NARROWEST = 0.3
_TICKS = 8
_SHORTEST_MS = 0.001
_NEAR_THE_END = 94.0
_LEFT, _RIGHT = 0.5, 99.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """An idle stretch that is folded: where it is drawn, and how long it really is."""

    left: float
    width: float
    start_ms: float
    length_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """From milliseconds since the start to per cent of the width."""

    span_ms: float
    idle: float
    gaps: tuple[Gap, ...]
    ticks: tuple[tuple[float, float, str], ...]
    knots: tuple[tuple[float, float], ...]

    @property
    def is_mostly_idle(self) -> bool:
        """Whether folding is worth an offer."""
        return self.idle > MUCH_IDLE

    def at(self, ms: float) -> float:
        """Where an instant stands."""
        return _between(self.knots, ms)

    def bar(self, start_ms: float, end_ms: float) -> tuple[float, float]:
        """Left edge and width; what was there is never too thin to be seen."""
        left, right = self.at(start_ms), self.at(end_ms)
        return left, max(_NARROWEST, round(right - left, 3))


def scale(stretches: Iterable[tuple[float, float]], *, fold: bool) -> Scale:
    """A scale on which all stretches of (start, end) find room; long idle ones folded if asked."""
    busy = _merged(stretches)
    span = max([_SHORTEST_MS, *(end for _, end in busy)])
    idle = [
        (end, start)
        for (_, end), (start, _) in zip([(0.0, 0.0), *busy], busy, strict=False)
        if start > end
    ]
    share = sum(end - start for start, end in idle) / span
    folded = [one for one in idle if fold and one[1] - one[0] > span * _LONG_GAP]
    knots = _knots(span, folded)
    gaps = tuple(
        Gap(
            left=_between(knots, start),
            width=round(_between(knots, end) - _between(knots, start), 3),
            start_ms=start,
            length_ms=end - start,
        )
        for start, end in folded
    )
    return Scale(
        span_ms=span, idle=share, gaps=gaps, ticks=_ticks(span, folded, knots), knots=knots
    )


def _merged(stretches: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for start, end in sorted(stretches):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, max(start, end)))
    return merged


def _knots(span: float, folded: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    told = span - sum(end - start for start, end in folded)
    room = (_RIGHT - _LEFT) - _FOLDED_WIDTH * len(folded)
    per_ms = room / told if told else 0.0
    knots = [(0.0, _LEFT)]
    for start, end in folded:
        at, place = knots[-1]
        left = place + (start - at) * per_ms
        knots += [(start, left), (end, left + _FOLDED_WIDTH)]
    at, place = knots[-1]
    knots.append((span, place + (span - at) * per_ms))
    return tuple(knots)


def _between(knots: Sequence[tuple[float, float]], ms: float) -> float:
    place = min(max(bisect_right(knots, (ms, float("inf"))), 1), len(knots) - 1)
    (from_ms, left), (to_ms, right) = knots[place - 1], knots[place]
    if to_ms <= from_ms:
        return round(right, 3)
    return round(
        left + (right - left) * (min(max(ms, from_ms), to_ms) - from_ms) / (to_ms - from_ms), 3
    )


def _ticks(
    span: float,
    folded: Sequence[tuple[float, float]],
    knots: Sequence[tuple[float, float]],
) -> tuple[tuple[float, float, str], ...]:
    """Round instants, and both edges of whatever is folded; where the label of each is held."""
    told = span - sum(end - start for start, end in folded)
    step = _round_up(told / _TICKS)
    ticks: list[tuple[float, float, str]] = []
    for start, end in folded:
        ticks.append((_between(knots, start), start, "end"))
        ticks.append((_between(knots, end), end, "start"))
    number = 0
    at = 0.0
    while at <= span and number <= 4 * _TICKS:
        place = _between(knots, at)
        if all(abs(place - other) > 100 / _TICKS / 2 for other, *_ in ticks):
            anchor = "end" if place > _NEAR_THE_END else "middle" if place > 1 else "start"
            ticks.append((place, at, anchor))
            number += 1
        at += step
        inside = next((end for start, end in folded if start < at < end), None)
        if inside is not None:
            at = -(-inside // step) * step
    return tuple(sorted(ticks))


def _round_up(ms: float) -> float:
    size = 0.001
    while size < ms:
        for factor in (1, 2, 5):
            if size * factor >= ms:
                return size * factor
        size *= 10
    return size
