"""Lanes on an axis of time: a bar for each attempt, and the waits between them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from audit.drawing.timeline import Scale, scale

if TYPE_CHECKING:
    from datetime import datetime

    from audit.lineage.closure_facts import Closure, GroupFacts, VisitFacts
    from audit.lineage.lanes import Lane, Lanes

BARS_A_LANE = 200
BINS = 100
# Words stand right of the bars, or left of them, or nowhere: bars are never written over.
_LAST_ON_THE_RIGHT = 65.0
_FIRST_ON_THE_LEFT = 25.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """An attempt, in per cent of the width."""

    left: float
    width: float
    visit: VisitFacts
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """One lane on the line of time.

    Its words stand right of the bars, or left where `before`, where they are told. `strip` are the
    columns of a fold: left, width, height.
    """

    lane: Lane
    bars: tuple[Bar, ...]
    waits: tuple[tuple[float, float], ...]
    strip: tuple[tuple[float, float, float], ...]
    words_at: float
    before: bool
    is_told: bool
    longest: Bar | None
    not_drawn: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """Every lane on one scale, which begins at `start`."""

    start: datetime | None
    scale: Scale
    tracks: tuple[Track, ...]


def lay_in_time(closure: Closure, lanes: Lanes, *, fold: bool) -> Timeline:
    """Place the attempts of all lanes; the scale is that of the whole lineage, folded or not."""
    visits = [visit for made in closure.visits.values() for visit in made]
    counted = [part for group in closure.groups for part in _parts(group)]
    start = min(
        [*(visit.started_at for visit in visits), *(begin for begin, _, _ in counted)], default=None
    )
    if start is None:
        empty = scale((), fold=False)
        return Timeline(start=None, scale=empty, tracks=tuple(_nothing(one) for one in lanes.lanes))
    last = max(
        [*(visit.completed_at or visit.started_at for visit in visits)]
        + [end for _, end, _ in counted]
    )
    stretches = [(visit.started_at, visit.completed_at or last) for visit in visits]
    stretches += [(begin, end) for begin, end, _ in counted]
    ends = scale(((_ms(start, begin), _ms(start, end)) for begin, end in stretches), fold=fold)
    return Timeline(
        start=start,
        scale=ends,
        tracks=tuple(
            _strip(lane, ends, start, last)
            if lane.fold is not None
            else _track(closure, lane, ends, start, last)
            for lane in lanes.lanes
        ),
    )


def _track(closure: Closure, lane: Lane, on: Scale, start: datetime, last: datetime) -> Track:
    visits = sorted(lane.visits, key=lambda v: (v.started_at, v.step_index, v.attempt, v.state_id))
    shown = visits[:BARS_A_LANE]
    bars = []
    waits = []
    # A token waits from the moment at which it was made; a batch from its first member.
    free = lane.token.created_at if lane.token is not None else None
    for visit in shown:
        begin, end = _ms(start, visit.started_at), _ms(start, visit.completed_at or last)
        if free is not None and _ms(start, free) < begin:
            left, width = on.bar(max(0.0, _ms(start, free)), begin)
            waits.append((left, width))
        left, width = on.bar(begin, end)
        node = closure.nodes.get(visit.node_id)
        bars.append(
            Bar(left=left, width=width, visit=visit, name=node.name if node else visit.node_id)
        )
        free = max(free, visit.completed_at or last) if free else visit.completed_at or last
    right = max((bar.left + bar.width for bar in bars), default=0.0)
    before = right > _LAST_ON_THE_RIGHT
    left_edge = min([bar.left for bar in bars] + [wait for wait, _ in waits], default=0.0)
    return Track(
        lane=lane,
        bars=tuple(bars),
        waits=tuple(waits),
        strip=(),
        words_at=round(left_edge if before else right, 3),
        before=before,
        is_told=not before or left_edge > _FIRST_ON_THE_LEFT,
        longest=max(bars, key=lambda bar: bar.visit.duration_ms or 0.0, default=None),
        not_drawn=len(visits) - len(shown),
    )


def _parts(group: GroupFacts) -> list[tuple[datetime, datetime, int]]:
    """The time of a group that was counted by the database: begin, end and how many, where any."""
    if group.started_at is None or group.ended_at is None:
        return []
    length = (group.ended_at - group.started_at) / max(1, len(group.at_work))
    return [
        (group.started_at + length * place, group.started_at + length * (place + 1), tokens)
        for place, tokens in enumerate(group.at_work)
        if tokens
    ]


def _strip(lane: Lane, on: Scale, start: datetime, last: datetime) -> Track:
    """How many of the folded tokens were at work, as columns.

    Of a group in SQL no single visit is read: a token counts from its first start to its last end.
    """
    counts = [0] * BINS

    def places(begin: datetime, end: datetime) -> range:
        left, width = on.bar(_ms(start, begin), _ms(start, end))
        return range(int(left), min(BINS, int(left + width) + 1))

    for visit in lane.visits:
        for place in places(visit.started_at, visit.completed_at or last):
            counts[place] += 1
    group = lane.fold.group if lane.fold is not None else None
    for begin, end, tokens in _parts(group) if group is not None else ():
        for place in places(begin, end):
            counts[place] = max(counts[place], tokens)
    most = max(counts)
    strip = tuple(
        (float(place), 1.0, round(18 * count / most, 1))
        for place, count in enumerate(counts)
        if count
    )
    right = strip[-1][0] + 1 if strip else 0.0
    before = right > _LAST_ON_THE_RIGHT
    return Track(
        lane=lane,
        bars=(),
        waits=(),
        strip=strip,
        words_at=strip[0][0] if strip and before else right,
        before=before,
        is_told=not before or strip[0][0] > _FIRST_ON_THE_LEFT,
        longest=None,
        not_drawn=0,
    )


def _nothing(lane: Lane) -> Track:
    return Track(
        lane=lane,
        bars=(),
        waits=(),
        strip=(),
        words_at=0.0,
        before=False,
        is_told=True,
        longest=None,
        not_drawn=0,
    )


def _ms(start: datetime, instant: datetime) -> float:
    return (instant - start) / timedelta(milliseconds=1)
