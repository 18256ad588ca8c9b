"""The cells of a lane, and the columns that they stand in."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.lineage.kinship import BATCH
from audit.lineage.signatures import attempts_by_place
from audit.vocabulary import NodeType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from audit.lineage.closure_facts import (
        BatchFacts,
        Closure,
        PathStep,
        PlacedNode,
        TokenFacts,
        VisitFacts,
    )
    from audit.lineage.folding import Fold
    from audit.lineage.kinship import Kinship

STEP, SKIPPED = "step", "skipped"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """What happened at one step: the last attempt, `attempt` of `attempts`, counted from one.

    A fold has `tokens` instead of a visit. `away` where the token left for a sink that is not
    the next step; `label` is the edge that it took.
    """

    column: int
    node: PlacedNode | None
    node_id: str
    status: str
    attempt: int
    attempts: int
    duration_ms: float | None
    state_id: str | None
    tokens: int | None
    away: bool
    label: str | None
    calls: int = 0
    calls_failed: int = 0
    older: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One step of the pipeline, with every node that shares it; or a number of steps skipped."""

    kind: str
    nodes: tuple[PlacedNode, ...] = ()
    skipped: int = 0
    widest: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneEnding:
    """How a lane ended: a verdict, a batch's status, or nothing. A sink is part of it.

    `cell` is the visit to the sink, where that was the last; `children` counts what was made
    of the token; `batches` are those that it waited in.
    """

    kind: str
    word: str
    sink: str | None = None
    cell: Cell | None = None
    children: int = 0
    batches: tuple[str, ...] = ()


Places = dict[tuple[int, int], int]


def columns_of(closure: Closure, kin: Kinship) -> tuple[tuple[Column, ...], Places]:
    """The columns of every token, shown or folded, so that opening a fold moves none.

    A column is a layer of the pipeline; a lane that visits one twice has two beside each other.
    """
    at: dict[tuple[int, int], dict[str, PlacedNode]] = defaultdict(dict)
    for path in kin.paths.values():
        places = [step.node_id for step in path]
        _take(closure, at, places[:-1] if _ends_in_sink(closure, places) else places)
    for batch in closure.batches:
        _take(closure, at, [batch.node_id])
    for group in closure.groups:
        places = [step.node_id for step in group.path]
        _take(closure, at, places[:-1] if _ends_in_sink(closure, places) else places)
    between = {node.layer for node in closure.nodes.values() if node.kind != NodeType.SINK}
    columns: list[Column] = []
    found: Places = {}
    layer = None
    for place in sorted(at):
        skipped = 0
        if layer is not None:
            skipped = len([one for one in between if layer < one < place[0]])
        if skipped:
            columns.append(Column(kind=SKIPPED, skipped=skipped))
        layer = place[0]
        found[place] = len(columns)
        nodes = tuple(sorted(at[place].values(), key=lambda node: (node.name, node.node_id)))
        columns.append(
            Column(
                kind=STEP, nodes=nodes, widest=max((len(node.name) for node in nodes), default=0)
            )
        )
    return tuple(columns), found


def token_cells(
    closure: Closure,
    token: TokenFacts,
    visits: Sequence[VisitFacts],
    places: Mapping[tuple[int, int], int],
    *,
    children: int,
) -> tuple[tuple[Cell, ...], LaneEnding]:
    """The cells of one token and how it ended."""
    made = attempts_by_place(visits)
    ids = [attempts[-1].node_id for attempts in made]
    numbers = _numbers(closure, ids, places)
    cells = [_cell(closure, one, number) for one, number in zip(made, numbers, strict=True)]
    last = cells.pop() if _ends_in_sink(closure, ids) else None
    ending = LaneEnding(
        kind="outcome",
        word=token.outcome or "",
        sink=token.sink_name or (last.node.name if last and last.node else None),
        cell=last,
        children=children,
        batches=tuple(
            batch.batch_id for batch in closure.batches if batch.batch_id == token.batch_id
        ),
    )
    return tuple(cells), ending


def batch_cells(
    closure: Closure, kin: Kinship, batch: BatchFacts, places: Mapping[tuple[int, int], int]
) -> tuple[tuple[Cell, ...], LaneEnding, tuple[VisitFacts, ...]]:
    """The one cell of a batch: the visit that worked it, whichever token made that."""
    (number,) = _numbers(closure, [batch.node_id], places)
    ending = LaneEnding(kind=BATCH, word=batch.status, children=len(batch.outputs))
    visit = kin.batch_visits.get(batch.state_id or "")
    if visit is not None:
        return (_cell(closure, (visit,), number),), ending, (visit,)
    node = closure.nodes.get(batch.node_id)
    cell = Cell(
        column=number,
        node=node,
        node_id=batch.node_id,
        status=batch.status,
        attempt=batch.attempt + 1,
        attempts=batch.attempt + 1,
        duration_ms=None,
        state_id=None,
        tokens=None,
        away=False,
        label=None,
    )
    return (cell,), ending, ()


def fold_cells(
    closure: Closure, kin: Kinship, fold: Fold, places: Mapping[tuple[int, int], int]
) -> tuple[tuple[Cell, ...], LaneEnding]:
    """The path that all tokens of a fold took, with their number instead of a duration."""
    if fold.kind == BATCH:
        example = kin.batches[fold.example[1]] if fold.example else None
        if example is None:
            return (), LaneEnding(kind=BATCH, word="")
        (cell,), ending, _ = batch_cells(closure, kin, example, places)
        return (_counted(cell, fold.tokens),), ending
    path: tuple[PathStep, ...]
    if fold.example and fold.example[1] in closure.tokens:
        token = closure.tokens[fold.example[1]]
        path, outcome, sink = kin.paths[token.token_id], token.outcome, token.sink_name
    elif fold.group:
        path, outcome, sink = fold.group.path, fold.group.outcome, fold.group.sink_name
    else:
        return (), LaneEnding(kind="outcome", word="")
    ids = [step.node_id for step in path]
    numbers = _numbers(closure, ids, places)
    cells = [
        Cell(
            column=number,
            node=closure.nodes.get(step.node_id),
            node_id=step.node_id,
            status=step.status,
            attempt=2 if step.retried else 1,
            attempts=2 if step.retried else 1,
            duration_ms=None,
            state_id=None,
            tokens=fold.tokens,
            away=False,
            label=step.label,
        )
        for step, number in zip(path, numbers, strict=True)
    ]
    last = cells.pop() if _ends_in_sink(closure, ids) else None
    waited = sorted({closure.tokens[key].batch_id or "" for _kind, key in fold.members} - {""})
    ending = LaneEnding(
        kind="outcome",
        word=outcome or "",
        sink=sink or (last.node.name if last and last.node else None),
        cell=last,
        batches=tuple(waited),
    )
    return tuple(cells), ending


def _counted(cell: Cell, tokens: int) -> Cell:
    return Cell(
        column=cell.column,
        node=cell.node,
        node_id=cell.node_id,
        status=cell.status,
        attempt=1,
        attempts=1,
        duration_ms=None,
        state_id=None,
        tokens=tokens,
        away=False,
        label=None,
    )


def _cell(closure: Closure, attempts: Sequence[VisitFacts], number: int) -> Cell:
    last = attempts[-1]
    targets = [closure.nodes.get(route.to_node_id) for route in last.routes]
    return Cell(
        column=number,
        node=closure.nodes.get(last.node_id),
        node_id=last.node_id,
        status=last.status,
        attempt=last.attempt + 1,
        attempts=max(last.attempts, len(attempts)),
        duration_ms=last.duration_ms,
        state_id=last.state_id,
        tokens=None,
        away=any(node is not None and node.kind == NodeType.SINK for node in targets),
        label=", ".join(route.label for route in last.routes) or None,
        calls=last.calls,
        calls_failed=last.calls_failed,
        older=tuple(visit.state_id for visit in attempts[:-1]),
    )


def _ends_in_sink(closure: Closure, places: Sequence[str]) -> bool:
    node = closure.nodes.get(places[-1]) if places else None
    return node is not None and node.kind == NodeType.SINK


def _layers(closure: Closure, places: Iterable[str]) -> list[tuple[int, int]]:
    """The column key of each place: its layer, and how often the lane was there before."""
    seen: dict[int, int] = defaultdict(int)
    keys = []
    for node_id in places:
        node = closure.nodes.get(node_id)
        layer = node.layer if node else 0
        keys.append((layer, seen[layer]))
        seen[layer] += 1
    return keys


def _numbers(
    closure: Closure, places: Sequence[str], known: Mapping[tuple[int, int], int]
) -> list[int]:
    # The last may be the sink, which has no column of its own.
    return [known.get(key, -1) for key in _layers(closure, places)]


def _take(
    closure: Closure, at: dict[tuple[int, int], dict[str, PlacedNode]], places: Sequence[str]
) -> None:
    for key, node_id in zip(_layers(closure, places), places, strict=True):
        node = closure.nodes.get(node_id)
        if node is not None:
            at[key][node_id] = node
        else:
            at.setdefault(key, {})
