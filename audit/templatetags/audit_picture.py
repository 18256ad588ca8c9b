"""The parts of a lineage as a picture of its own: no style sheet goes along with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import template
from django.utils.html import format_html

from audit.drawing.placing import CELL, ENDING, GAP, LABEL
from audit.templatetags.audit_format import brief
from audit.templatetags.audit_lane import (
    cell_figure,
    cell_look,
    cell_name,
    ending_look,
    lane_name,
    lane_words,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.utils.safestring import SafeString

    from audit.templatetags.audit_status import Look

register = template.Library()

# The light theme of tokens.css: fill, ink, edge, dashes.
_COLOURS = {
    "good": ("#cfe4f7", "#0b3a5e", "#7fa6c9", ""),
    "other": ("#7b5ea7", "#ffffff", "#7b5ea7", ""),
    "bad": ("#9f1d12", "#ffffff", "#9f1d12", ""),
    "care": ("#f2c94c", "#2b2100", "#b8942c", ""),
    "structural": ("#ffffff", "#454e57", "#808a94", "3 2"),
}
_LETTER = 6.6
_INDENT = 8


@register.simple_tag
def svg_head(placed: Any) -> SafeString:
    """The head of a column."""
    column = placed.column
    if column.skipped:
        name, kind = "⋯", f"{column.skipped} skipped"
    elif len(column.nodes) == 1:
        name, kind = column.nodes[0].name, column.nodes[0].kind
    else:
        name = f"{len(column.nodes)} branches"
        kind = ", ".join(sorted({node.kind for node in column.nodes}))
    return format_html(
        '<text x="{}" y="20" font-weight="600">{}</text>'
        '<text x="{}" y="36" fill="#616b75">{}</text>',
        placed.left,
        _fitting(name, placed.width - GAP),
        placed.left,
        _fitting(kind, placed.width - GAP),
    )


@register.simple_tag
def svg_label(row: Any) -> SafeString:
    """The label of a lane, in the strip on the left; the focus has a bar."""
    lane = row.lane
    left = 14 + _INDENT * lane.depth
    return format_html(
        '{}<text x="{}" y="{}"{}>{}</text>',
        format_html('<rect x="0" y="{}" width="3" height="30" fill="#0a5596"/>', row.top)
        if lane.is_focus
        else "",
        left,
        row.middle + 4,
        format_html(' font-weight="{}"', 600) if lane.on_path else "",
        _fitting(lane_name(lane), LABEL - left),
    )


@register.simple_tag
def svg_cell(slot: Any, row: Any, run_has_ended: object) -> SafeString:
    """A cell: a box with glyph, name and figure."""
    cell = slot.cell
    look = cell_look(cell, run_has_ended)
    words = cell_figure(cell) or look.word
    words = f"{cell_name(cell)} {words}" if slot.named else words
    attributes = f"{cell_name(cell)}, {look.word}, {cell_figure(cell)}"
    return _box(
        look,
        left=slot.left,
        width=slot.width,
        middle=row.middle,
        words=words,
        title=attributes,
        state=cell.state_id,
    )


@register.simple_tag
def svg_ending(row: Any, left: int) -> SafeString:
    """How a lane ended."""
    ending = row.lane.ending
    look = ending_look(ending)
    width = min(ENDING - GAP, round(len(look.word) * _LETTER) + 34)
    state = ending.cell.state_id if ending.cell is not None else None
    return _box(
        look,
        left=left,
        width=width,
        middle=row.middle,
        words=look.word,
        title=look.word,
        state=state,
    )


@register.simple_tag
def svg_words(slot: Any, row: Any, reasons: Mapping[str, str]) -> SafeString | str:
    """Why a lane is there, left of its first cell."""
    words = lane_words(row.lane, reasons)
    if not words:
        return ""
    return format_html(
        '<text x="{}" y="{}" text-anchor="end" fill="#454e57">{}</text>',
        slot.left + slot.width - 22,
        row.middle + 4,
        _fitting(words, slot.width - 30),
    )


def _box(  # noqa: PLR0913  # a box has this many sides
    look: Look,
    *,
    left: int,
    width: int,
    middle: int,
    words: str,
    title: str,
    state: str | None,
) -> SafeString:
    fill, ink, edge, dashes = _COLOURS[look.family]
    top = middle - CELL // 2
    return format_html(
        '<g{}><title>{}</title><rect x="{}" y="{}" width="{}" height="{}" rx="3" fill="{}"'
        ' stroke="{}"{}/><use href="#g-{}" x="{}" y="{}" width="12" height="12" fill="none"'
        ' stroke="{}" stroke-width="1.7"/><text x="{}" y="{}" fill="{}">{}</text></g>',
        format_html(' data-state="{}"', state) if state is not None else "",
        title,
        left,
        top,
        width,
        CELL,
        fill,
        edge,
        format_html(' stroke-dasharray="{}"', dashes) if dashes else "",
        look.glyph,
        left + 7,
        middle - 6,
        ink,
        left + 24,
        middle + 4,
        ink,
        _fitting(words, width - 24),
    )


def _fitting(words: str, width: int) -> str:
    return brief(words, max(1, int(width / _LETTER)))
