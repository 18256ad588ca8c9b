"""Lanes on a sheet: which cell stands where, and the lines between them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from audit.drawing import placing, routing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from audit.drawing.placing import Grid
    from audit.lineage.cells import Cell, Column
    from audit.lineage.lanes import Edge, Lane, Lanes

COLUMNS_A_PAGE = 24
# What stands left of the first cell of a lane needs this much room, in pixels.
_ROOM_FOR_WORDS = 150
# In a column that several nodes share, each cell has a name before its figure.
_FIGURE = 72


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """A cell, or so many columns without one; `words` where there is room to say something.

    `named` where the head of the column does not say which node the cell is of.
    """

    span: int
    left: int
    width: int
    cell: Cell | None = None
    named: bool = False
    words: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of the drawing. `kind`: way, creation, membership; by the numbers of its lanes."""

    kind: str
    path: str
    start: int
    end: int
    on_path: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SheetColumn:
    """A column with its place and width."""

    column: Column
    left: int
    width: int

    @property
    def is_shared(self) -> bool:
        """Whether a cell has to say which node it is of."""
        return len(self.column.nodes) > 1


@dataclass(frozen=True, kw_only=True, slots=True)
class SheetLane:
    """A lane with its slots and its place."""

    lane: Lane
    slots: tuple[Slot, ...]
    top: int
    middle: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    """One page of columns of a drawing, whole in height."""

    columns: tuple[SheetColumn, ...]
    lanes: tuple[SheetLane, ...]
    lines: tuple[Line, ...]
    width: int
    height: int
    ending: int
    page: int
    pages: int
    columns_total: int


def lay_out(lanes: Lanes, *, page: int = 1, columns_a_page: int = COLUMNS_A_PAGE) -> Sheet:
    """Place lanes on the page of columns with this number, counted from one; else on the last."""
    pages = max(1, -(-len(lanes.columns) // columns_a_page))
    page = min(page, pages)
    first = (page - 1) * columns_a_page
    columns = lanes.columns[first : first + columns_a_page]
    grid = placing.grid(widths=[_width(column) for column in columns], rows=len(lanes.lanes))
    return Sheet(
        columns=tuple(
            SheetColumn(column=column, left=left, width=width)
            for column, left, width in zip(columns, grid.starts, grid.widths, strict=True)
        ),
        lanes=tuple(
            SheetLane(
                lane=lane,
                slots=_slots(lane, columns, grid, first),
                top=placing.HEAD + placing.LANE * row,
                middle=grid.middle(row),
            )
            for row, lane in enumerate(lanes.lanes)
        ),
        lines=_lines(lanes, grid, first),
        width=grid.width,
        height=grid.height,
        ending=grid.ending,
        page=page,
        pages=pages,
        columns_total=len(lanes.columns),
    )


def _width(column: Column) -> int:
    if column.skipped:
        return placing.SKIPPED
    shared = len(column.nodes) > 1
    return placing.width_for(column.widest, extra=_FIGURE if shared else 0)


def _slots(lane: Lane, columns: Sequence[Column], grid: Grid, first: int) -> tuple[Slot, ...]:
    cells = {cell.column - first: cell for cell in lane.cells}
    slots: list[Slot] = []
    empty = 0

    def close(column: int) -> None:
        if empty:
            left = grid.starts[column - empty]
            width = sum(grid.widths[column - empty : column])
            words = not any(slot.cell or slot.words for slot in slots) and width >= _ROOM_FOR_WORDS
            slots.append(Slot(span=empty, left=left, width=width, words=words))

    for column, width in enumerate(grid.widths):
        cell = cells.get(column)
        if cell is None:
            empty += 1
            continue
        close(column)
        empty = 0
        slots.append(
            Slot(
                span=1,
                left=grid.starts[column],
                width=width - placing.GAP,
                cell=cell,
                named=len(columns[column].nodes) > 1,
            )
        )
    close(len(grid.widths))
    return tuple(slots)


def _lines(lanes: Lanes, grid: Grid, first: int) -> tuple[Line, ...]:
    by_number = {lane.number: lane for lane in lanes.lanes}
    lines = [line for lane in lanes.lanes for line in _ways(lane, grid, first)]
    lines += [_joint(edge, by_number, grid, first) for edge in lanes.edges]
    # What is on the path is drawn last, over everything else.
    return tuple(sorted(lines, key=lambda line: line.on_path))


def _ways(lane: Lane, grid: Grid, first: int) -> list[Line]:
    """Along one lane: from cell to cell, and to the sink."""
    y = grid.middle(lane.number - 1)
    columns = [cell.column - first for cell in lane.cells]
    if lane.ending.cell is not None:
        columns.append(len(grid.starts))
    return [
        Line(
            kind="way",
            path=routing.along(left=grid.right(one), right=grid.left(other), y=y),
            start=lane.number,
            end=lane.number,
            on_path=lane.on_path,
        )
        for one, other in pairwise(columns)
        # Both beyond the same edge of the page: nothing of it is to be seen.
        if max(one, other) >= 0 and min(one, other) < len(grid.starts)
    ]


def _joint(edge: Edge, lanes: Mapping[int, Lane], grid: Grid, first: int) -> Line:
    start, end = lanes[edge.start], lanes[edge.end]
    leaves, arrives = _leaves(start, end), _arrives(start, end)
    return Line(
        kind=edge.kind,
        path=routing.elbow(
            start=(
                grid.right(leaves - first) if leaves is not None else grid.right(-1),
                grid.middle(edge.start - 1),
            ),
            end=(
                grid.left(arrives - first) if arrives is not None else grid.ending,
                grid.middle(edge.end - 1),
            ),
        ),
        start=edge.start,
        end=edge.end,
        on_path=edge.on_path,
    )


def _leaves(start: Lane, end: Lane) -> int | None:
    """The last cell before what came of the lane; a batch is joined from the last one before it."""
    columns = [cell.column for cell in start.cells]
    if end.batch is not None:
        columns = _before(columns, end.cells) or columns
    return columns[-1] if columns else None


def _arrives(start: Lane, end: Lane) -> int | None:
    """The first cell; of a token that a batch handed on, the first behind the batch."""
    columns = [cell.column for cell in end.cells]
    if start.batch is not None and start.cells:
        columns = [column for column in columns if column > start.cells[-1].column]
    return columns[0] if columns else None


def _before(columns: Sequence[int], cells: Sequence[Cell]) -> list[int]:
    return [column for column in columns if not cells or column < cells[0].column]
