"""A lineage as lanes: a row for each token, batch or fold, a column for each step they share.

The same rows in the same order serve every way of drawing them. Order comes from recorded
parents and steps, never from clocks; what is equal in all of these is ordered by id.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.lineage.cells import Cell, Column, LaneEnding, batch_cells, fold_cells, token_cells
from audit.lineage.cells import columns_of as _columns_of
from audit.lineage.folding import FOLD, Fold, Folded, fold
from audit.lineage.kinship import BATCH, GHOST, TOKEN, Item, Kinship, kinship, rank
from audit.lineage.signatures import NORMAL, QUARANTINED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from audit.lineage.closure_facts import BatchFacts, Closure, TokenFacts, VisitFacts

LANES_SHOWN = 300
DEEPEST_INDENT = 6

CREATION, MEMBERSHIP = "creation", "membership"

ERRORS, NOT_GOOD = "errors", "not_good"


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """What the address asks for: folds to open, lanes to keep (`errors`, `not_good`), a text."""

    opened: frozenset[str] = frozenset()
    keep: str | None = None
    text: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Lane:
    """One row. `number` counts from 1; `parents` are the numbers of lanes that it came from.

    A fold stands for `fold.tokens` siblings; `folds_again` is the key that folds an opened one.
    """

    number: int
    kind: str
    key: str
    depth: int
    token: TokenFacts | None
    batch: BatchFacts | None
    fold: Fold | None
    example: TokenFacts | None
    parents: tuple[int, ...]
    cells: tuple[Cell, ...]
    ending: LaneEnding
    visits: tuple[VisitFacts, ...]
    severity: int
    is_focus: bool
    on_path: bool
    folds_again: str | None
    like_it: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Edge:
    """From one lane to another, by number: who made whom, or who waited in which batch."""

    kind: str
    start: int
    end: int
    on_path: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Lanes:
    """Every lane shown, and how many are not: folded, left out by choice, beyond the cap."""

    lanes: tuple[Lane, ...]
    columns: tuple[Column, ...]
    edges: tuple[Edge, ...]
    folded_tokens: int
    folds: int
    left_out_lanes: int
    left_out_tokens: int
    beyond_lanes: int
    beyond_tokens: int
    circular: bool
    troubles: int


@dataclass(kw_only=True, slots=True)
class _Unit:
    """A lane to be: what it stands for and where it belongs among its siblings."""

    item: Item
    parents: tuple[Item, ...]
    place: tuple[object, ...]
    severity: int
    tokens: int
    is_batch: bool


def lay_lanes(closure: Closure, *, view: View | None = None) -> Lanes:
    """The lanes of a closure: signed, folded, ordered, capped. Costs no query."""
    view = view or View()
    kin = kinship(closure)
    folded = fold(closure, kin, opened=view.opened, wanted=_matching(closure, view.text))
    units = _units(closure, kin, folded)
    order = _order(units)
    kept = [item for item in order if _is_kept(closure, units[item], folded, view)]
    shown = _capped(closure, kept, folded)
    left_out = set(order) - set(kept)
    beyond = set(kept) - set(shown)
    numbers = {item: number for number, item in enumerate(shown, start=1)}
    depths = _depths(order, units)
    columns, places = _columns_of(closure, kin)
    on_path = _on_path(closure, folded)
    likes = {one.example: one.tokens for one in folded.folds.values() if one.example}
    grouped: dict[str, int] = defaultdict(int)
    for group in closure.groups:
        grouped[group.parent_id] += group.tokens
    lanes = tuple(
        _lane(
            closure,
            kin,
            folded,
            units[item],
            number=numbers[item],
            parents=tuple(numbers[one] for one in units[item].parents if one in numbers),
            depth=depths[item],
            places=places,
            on_path=item in on_path,
            likes=likes,
            grouped=grouped,
        )
        for item in shown
    )
    return Lanes(
        lanes=lanes,
        columns=columns,
        edges=_edges(lanes),
        folded_tokens=sum(units[item].tokens for item in shown if item[0] == FOLD),
        folds=sum(item[0] == FOLD for item in shown),
        left_out_lanes=len(left_out),
        left_out_tokens=sum(units[item].tokens for item in left_out),
        beyond_lanes=len(beyond),
        beyond_tokens=sum(units[item].tokens for item in beyond),
        circular=kin.circular,
        troubles=sum(lane.severity <= QUARANTINED for lane in lanes),
    )


def _matching(closure: Closure, text: str | None) -> tuple[str, ...]:
    """The tokens that a text finds: by id, branch, place among the siblings, sink or batch."""
    if not text:
        return ()
    word = text.casefold()
    batches = {
        key
        for batch in closure.batches
        if batch.batch_id.startswith(text) or batch.batch_id.endswith(text)
        for key, _place in batch.members
    }
    return tuple(
        key
        for key, token in closure.tokens.items()
        if key.startswith(text)
        or key.endswith(text)
        or key in batches
        or word in (token.branch_name or "").casefold()
        or word in (token.sink_name or "").casefold()
        or (word.isdecimal() and token.made == "expansion" and str(token.ordinal) == word)
    )


def _units(closure: Closure, kin: Kinship, folded: Folded) -> dict[Item, _Unit]:
    def unit_of(item: Item) -> Item:
        key = folded.hidden_in.get(item)
        return (FOLD, key) if key else item

    units: dict[Item, _Unit] = {}
    for item in kin.order:
        if item in folded.hidden_in:
            continue
        severity, where = folded.class_of.get(item, (NORMAL, rank(closure, item)))
        units[item] = _Unit(
            item=item,
            parents=_others(item, (unit_of(one) for one in kin.parents[item])),
            place=(severity, *where, 0, *rank(closure, item)),
            severity=kin.severities[item],
            tokens=item[0] == TOKEN,
            is_batch=item[0] == BATCH,
        )
    for key, one in folded.folds.items():
        item = (FOLD, key)
        units[item] = _Unit(
            item=item,
            parents=_others(item, (unit_of(parent) for parent in one.parents)),
            place=(one.severity, *one.rank, 1, 0, key),
            severity=one.severity,
            tokens=one.hidden,
            is_batch=one.kind == BATCH,
        )
    return units


def _others(item: Item, parents: Iterable[Item]) -> tuple[Item, ...]:
    return tuple(dict.fromkeys(one for one in parents if one != item))


def _order(units: Mapping[Item, _Unit]) -> list[Item]:
    """Everything behind all that it came from; a child right behind its parent, batches last."""
    children: dict[Item, list[Item]] = defaultdict(list)
    missing = {}
    for item, unit in units.items():
        missing[item] = len(unit.parents)
        for one in unit.parents:
            children[one].append(item)

    def worst_last(items: Iterable[Item]) -> list[Item]:
        return sorted(items, key=lambda item: units[item].place, reverse=True)

    stack = worst_last(item for item, count in missing.items() if not count)
    batches: list[Item] = []
    order: list[Item] = []
    left = dict.fromkeys(worst_last(units))
    while len(order) < len(units):
        if not stack:
            # Folded lanes can stand on a circle where single tokens do not: the first begins.
            stack = worst_last(batches) or [next(item for item in reversed(left))]
            batches = []
        item = stack.pop()
        if item not in left:
            continue
        del left[item]
        order.append(item)
        for child in children[item]:
            missing[child] -= 1
        ready = [child for child in children[item] if not missing[child] and child in left]
        batches += [child for child in ready if units[child].is_batch]
        stack += worst_last(child for child in ready if not units[child].is_batch)
    return order


def _is_kept(closure: Closure, unit: _Unit, folded: Folded, view: View) -> bool:
    if unit.item in folded.pinned:
        return True
    if view.text and not (closure.focus_id is None and unit.item[0] == BATCH):
        return False
    if view.keep == ERRORS:
        return unit.severity <= QUARANTINED
    return view.keep != NOT_GOOD or unit.severity < NORMAL


def _capped(closure: Closure, kept: Sequence[Item], folded: Folded) -> list[Item]:
    """At most three hundred: the focus and the nearest of its ancestors, then from the top."""
    if len(kept) <= LANES_SHOWN:
        return list(kept)
    focus = (TOKEN, closure.focus_id or "")
    nearest = [item for item in reversed(kept) if item in folded.pinned and item != focus]
    rest = [item for item in kept if item not in folded.pinned]
    if len(nearest) >= LANES_SHOWN:
        chosen = {focus, *nearest[: LANES_SHOWN - 1]}
    else:
        room = LANES_SHOWN - len(nearest) - (focus in kept)
        chosen = {*nearest, *rest[:room], focus}
    return [item for item in kept if item in chosen]


def _depths(order: Sequence[Item], units: Mapping[Item, _Unit]) -> dict[Item, int]:
    """How far a label stands in: one step a generation; what was merged comes back out."""
    depths: dict[Item, int] = {}
    for item in order:
        above = [depths[one] for one in units[item].parents if one in depths]
        if item[0] == BATCH or not above:
            depths[item] = 0
        elif len(above) == 1:
            depths[item] = min(DEEPEST_INDENT, above[0] + 1)
        else:
            depths[item] = max(0, min(above) - 1)
    return depths


def _on_path(closure: Closure, folded: Folded) -> set[Item]:
    path = {(TOKEN, key) for key in closure.ancestors}
    if closure.focus_id:
        path.add((TOKEN, closure.focus_id))
    path |= {item for item in folded.pinned if item[0] != TOKEN}
    return path | {(FOLD, folded.hidden_in[item]) for item in path if item in folded.hidden_in}


def _lane(  # noqa: PLR0913  # a lane has this many sides
    closure: Closure,
    kin: Kinship,
    folded: Folded,
    unit: _Unit,
    *,
    number: int,
    parents: tuple[int, ...],
    depth: int,
    places: Mapping[tuple[int, int], int],
    on_path: bool,
    likes: Mapping[Item, int],
    grouped: Mapping[str, int],
) -> Lane:
    kind, key = unit.item
    token = closure.tokens.get(key) if kind == TOKEN else None
    batch = kin.batches.get(key) if kind == BATCH else None
    one = folded.folds[key] if kind == FOLD else None
    example = None
    visits: tuple[VisitFacts, ...] = ()
    if token is not None:
        visits = tuple(
            visit for visit in closure.visits.get(key, ()) if visit.state_id not in kin.batch_visits
        )
        children = sum(child[0] == TOKEN for child in kin.children.get(unit.item, ()))
        children += grouped.get(key, 0)
        cells, ending = token_cells(closure, token, visits, places, children=children)
    elif batch is not None:
        cells, ending, visits = batch_cells(closure, kin, batch, places)
    elif one is not None:
        example = closure.tokens.get(one.example[1]) if one.example else None
        cells, ending = fold_cells(closure, kin, one, places)
        # Of a group in SQL hardly any times are read: some of them would pass for all.
        visits = tuple(
            visit
            for member in (() if one.group else one.members)
            for visit in closure.visits.get(member[1], ())
            if visit.state_id not in kin.batch_visits
        )
    else:
        cells, ending = (), LaneEnding(kind=GHOST, word="")
    return Lane(
        number=number,
        kind=kind,
        key=key,
        depth=depth,
        token=token,
        batch=batch,
        fold=one,
        example=example,
        parents=parents,
        cells=cells,
        ending=ending,
        visits=visits,
        severity=unit.severity,
        is_focus=kind == TOKEN and key == closure.focus_id,
        on_path=on_path,
        folds_again=folded.opened_by.get(unit.item) or (one.key if one and one.is_open else None),
        like_it=likes.get(unit.item, 0),
    )


def _edges(lanes: Sequence[Lane]) -> tuple[Edge, ...]:
    by_number = {lane.number: lane for lane in lanes}
    edges = [
        Edge(
            kind=MEMBERSHIP
            if BATCH in (lane.kind, by_number[parent].kind)
            or (lane.fold and lane.fold.kind == BATCH)
            else CREATION,
            start=parent,
            end=lane.number,
            on_path=lane.on_path and by_number[parent].on_path,
        )
        for lane in lanes
        for parent in lane.parents
    ]
    # What is on the path is drawn last, over everything else.
    return tuple(sorted(edges, key=lambda edge: (edge.on_path, edge.start, edge.end)))
