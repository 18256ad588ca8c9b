"""How lanes look: the label, the cells, the words left of them, and how a lane ended."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode

from audit.lineage.closure_facts import (
    BY_BATCH,
    BY_EXPANSION,
    BY_FORK,
    BY_MERGE,
    FROM_SOURCE,
)
from audit.lineage.signatures import QUARANTINED, span_ms
from audit.templatetags.audit_format import brief, duration, number, share, short
from audit.templatetags.audit_status import LOOKS, Look, glyph
from audit.vocabulary import NodeStateStatus, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from django.utils.safestring import SafeString

    from audit.lineage.cells import Cell, LaneEnding
    from audit.lineage.closure_facts import TokenFacts
    from audit.lineage.lanes import Lane

register = template.Library()

# A fraction that says nothing.
_WHOLE = re.compile(r"\.0+(?=\D)")

LABEL = 40
NODE = 26
WORDS = 90
_DIGITS = 6

_INTO_A_SINK = (Outcome.COMPLETED, Outcome.ROUTED, Outcome.COALESCED)
_INTO_SEVERAL = {Outcome.FORKED: "forked in", Outcome.EXPANDED: "into"}
_AWAY = Look(family="other", glyph="away", word="routed")


@register.filter
def token_name(token: TokenFacts) -> str:
    """What people call a token among those it was made with."""
    names = {
        FROM_SOURCE: f"row {token.row_index:,}",
        BY_FORK: brief(token.branch_name, LABEL) if token.branch_name else "",
        BY_EXPANSION: f"part {token.ordinal:,}",
        BY_MERGE: f"row {token.row_index:,}, merged",
        BY_BATCH: "result",
    }
    return names.get(token.made) or short(token.token_id)


def first_digits(key: str) -> str:
    """As much of an id as a label has room for: its head, or the tail where a time comes first."""
    told = short(key)
    return told[-_DIGITS:] if told.startswith("…") else told[:_DIGITS]


@register.filter
def lane_name(lane: Lane) -> str:
    """The label of a lane."""
    if lane.token is not None:
        return token_name(lane.token)
    if lane.fold is not None:
        return f"+{lane.fold.tokens:,} {'batches' if lane.fold.kind == 'batch' else 'more'}"
    if lane.batch is not None:
        return f"batch {first_digits(lane.key)}"
    return short(lane.key)


@register.filter
def cell_look(cell: Cell, run_has_ended: object) -> Look:
    """The look of a visit: success after a failure and a token sent away look different."""
    looks = LOOKS["state"]
    if cell.status == NodeStateStatus.COMPLETED:
        if cell.away:
            return _AWAY
        if cell.attempt > 1:
            return looks["retried"]
    if cell.status == NodeStateStatus.OPEN and run_has_ended:
        return looks["never_ended"]
    return looks.get(cell.status) or LOOKS["batch"][cell.status]


@register.filter
def ending_look(ending: LaneEnding) -> Look:
    """How a lane ended, in the words of its last column."""
    if ending.kind == "ghost":
        return Look(family="structural", glyph="dash", word="in another database")
    if ending.kind == "batch":
        return LOOKS["batch"].get(ending.word) or LOOKS["outcome"][""]
    look = LOOKS["outcome"][ending.word]
    return Look(family=look.family, glyph=look.glyph, word=_ending_words(ending, look.word))


def _ending_words(ending: LaneEnding, word: str) -> str:
    if ending.sink and ending.word in {"", *_INTO_A_SINK}:
        return brief(ending.sink, NODE)
    if ending.batches and ending.word in {Outcome.CONSUMED_IN_BATCH, Outcome.BUFFERED}:
        first, *more = ending.batches
        return f"in {len(more) + 1:,} batches" if more else f"in batch {first_digits(first)}"
    if ending.children and ending.word in _INTO_SEVERAL:
        return f"{_INTO_SEVERAL[Outcome(ending.word)]} {ending.children:,}"
    return "merged" if ending.word == Outcome.COALESCED else word


@register.filter
def cell_figure(cell: Cell) -> str:
    """The figure in a cell: how many tokens, which attempt, or how long."""
    if cell.tokens is not None:
        return number(cell.tokens)
    if cell.attempts > 1:
        return f"{cell.attempt} of {cell.attempts}"
    return duration(cell.duration_ms) if cell.duration_ms is not None else ""


@register.filter
def cell_name(cell: Cell) -> str:
    """The node of a cell."""
    return brief(cell.node.name if cell.node else cell.node_id, NODE)


@register.simple_tag
def lane_cell(  # noqa: PLR0913, PLR0917  # all that a cell depends on
    cell: Cell,
    lane: Lane,
    query: Any,
    run_has_ended: object,
    selected: str | None,
    named: bool,  # noqa: FBT001  # called by templates
) -> SafeString:
    """A cell as a link: glyph, node, status, and a figure; none of them by colour alone."""
    look = cell_look(cell, run_has_ended)
    picked = cell.state_id is not None and selected in {cell.state_id, *cell.older}
    inside = format_html(
        '{}<span class="cell-node">{}</span><span class="unseen">, {}{}</span>'
        ' <span class="cell-figure">{}</span>',
        glyph(_act(cell, lane) or look.glyph),
        cell_name(cell),
        look.word,
        ", " + duration(cell.duration_ms)
        if cell.attempts > 1 and cell.duration_ms is not None
        else "",
        cell_figure(cell) or _without_figure(lane, look),
    )
    classes = f"cell {look.family}"
    classes += " named" if named else ""
    classes += " stack" if cell.tokens is not None else ""
    if cell.state_id is None:
        if lane.fold is None:
            return format_html('<span class="{}">{}</span>', classes, inside)
        return format_html(
            '<a class="{}" href="{}">{}</a>', classes, query.opening(lane.fold.key), inside
        )
    return format_html(
        '<a class="{}" href="{}{}#selected" data-state="{}"{}{}>{}</a>',
        classes,
        query.picking,
        urlencode({"": cell.state_id})[1:],
        cell.state_id,
        format_html(' aria-current="{}"', "true") if picked else "",
        format_html(" {}", "data-bad") if look.family == "bad" else "",
        inside,
    )


def _without_figure(lane: Lane, look: Look) -> str:
    return number(lane.batch.members_total) if lane.batch is not None else look.word


def _act(cell: Cell, lane: Lane) -> str | None:
    """The glyph of the act that ended a lane stands in the cell that did it."""
    if cell.status != NodeStateStatus.COMPLETED or cell is not (lane.cells or (None,))[-1]:
        return None
    acts = {Outcome.FORKED: "fork", Outcome.EXPANDED: "expand"}
    return acts.get(Outcome(lane.ending.word)) if lane.ending.word in set(acts) else None


@register.simple_tag
def lane_ending(
    lane: Lane,
    query: Any,
    run_id: str,
    selected: str | None,
) -> SafeString:
    """How a lane ended: a chip that leads to the visit of the sink, or to the token."""
    look = ending_look(lane.ending)
    inside = format_html("{}{}", glyph(look.glyph), look.word)
    cell = lane.ending.cell
    if cell is not None and cell.state_id is not None:
        attempt = f", attempt {cell.attempt} of {cell.attempts}" if cell.attempts > 1 else ""
        return format_html(
            '<a class="cell end {}" href="{}{}#selected" data-state="{}"{}{}>{}'
            '<span class="unseen">, {}, {}{}</span></a>',
            look.family,
            query.picking,
            urlencode({"": cell.state_id})[1:],
            cell.state_id,
            format_html(' aria-current="{}"', "true") if selected == cell.state_id else "",
            format_html(" {}", "data-bad") if look.family == "bad" else "",
            inside,
            LOOKS["state"][cell.status].word,
            cell_name(cell),
            attempt,
        )
    if lane.token is not None:
        return format_html(
            '<a class="cell end {}" href="{}#verdicts"{}>{}</a>',
            look.family,
            "" if lane.is_focus else token_address(run_id, lane.key, query),
            format_html(" {}", "data-bad") if look.family == "bad" else "",
            inside,
        )
    return format_html('<span class="cell end {}">{}</span>', look.family, inside)


@register.simple_tag
def token_address(run_id: str, token_id: str, query: Any) -> str:
    """The page of a token, looked at in the same way."""
    address = reverse("audit:token", kwargs={"run_id": run_id, "token_id": token_id})
    return f"{address}{query.anywhere}"


@register.simple_tag
def lane_words(lane: Lane, reasons: Mapping[str, str]) -> str:
    """Why a lane is there; empty where that needs no saying."""
    if lane.fold is not None:
        words = [f"{share(lane.fold.tokens, max(lane.fold.of, 1))} of {lane.fold.of:,}"]
        if lane.fold.p50_ms is not None and lane.fold.p95_ms is not None:
            words.append(f"p50 {duration(lane.fold.p50_ms)}")
            words.append(f"p95 {duration(lane.fold.p95_ms)}")
        return ", ".join(words)
    if lane.batch is not None:
        told = len(lane.batch.members)
        if told == lane.batch.members_total:
            return f"{told:,} member{'' if told == 1 else 's'}, all told here"
        return f"{told:,} of {lane.batch.members_total:,} members are told here"
    if lane.severity <= QUARANTINED:
        for cell in (*reversed(lane.cells), lane.ending.cell):
            if cell is not None and cell.state_id is not None and cell.state_id in reasons:
                return brief(reasons[cell.state_id], WORDS)
    if lane.like_it:
        return f"one of {lane.like_it + 1:,} that took this path"
    away = [cell for cell in lane.cells if cell.away and cell.label]
    return f"took {brief(away[-1].label, NODE)}" if away else ""


@register.filter
def share_bar(part: int, whole: int) -> int:
    """The length of a bar of a hundred; nothing that occurs is thinner than one."""
    return max(1, round(100 * part / whole)) if whole else 0


@register.simple_tag
def lane_toggle(lane: Lane, query: Any) -> str:
    """The address that opens a fold, or folds again what was opened."""
    if lane.folds_again:
        return str(query.folding(lane.folds_again))
    return str(query.opening(lane.fold.key)) if lane.fold else ""


@register.simple_tag
def column_page(query: Any, page: int, by: int) -> str:
    """The address of a page of columns further on or back."""
    return str(query.address(page=page + by))


@register.simple_tag
def lane_head(placed: Any) -> SafeString:
    """The head of a column: the node it is of, or how many share it, or how many were skipped."""
    column = placed.column
    if column.skipped:
        words = f"{column.skipped} step{'' if column.skipped == 1 else 's'} skipped"
        return format_html(
            '<th scope="col" class="skipped" title="{}">⋯<span class="unseen">{}</span></th>',
            words,
            words,
        )
    if len(column.nodes) == 1:
        node = column.nodes[0]
        return format_html(
            '<th scope="col" title="{}">{}<span>{}</span></th>',
            brief(node.node_id, 80),
            brief(node.name, NODE),
            node.kind,
        )
    kinds = sorted({node.kind for node in column.nodes})
    return format_html(
        '<th scope="col" title="{}">{}<span>{}</span></th>',
        brief(", ".join(node.name for node in column.nodes), 200),
        f"{len(column.nodes)} branches" if column.nodes else "unknown node",
        ", ".join(kinds),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """A lane in figures; durations in milliseconds, from the first start to the last end."""

    start: datetime | None
    lasted_ms: float | None
    calls: int
    failed: int


@register.simple_tag
def lane_totals(lane: Lane) -> Totals:
    """When a lane began, how long it lasted, and its calls."""
    return Totals(
        start=min((visit.started_at for visit in lane.visits), default=None),
        lasted_ms=span_ms(lane.visits),
        calls=sum(visit.calls for visit in lane.visits),
        failed=sum(visit.calls_failed for visit in lane.visits),
    )


@register.simple_tag
def time_bar(bar: Any, query: Any, run_has_ended: object) -> SafeString:
    """One attempt on the axis of time, as a link to it."""
    visit = bar.visit
    look = LOOKS["state"][visit.status]
    if visit.status == NodeStateStatus.COMPLETED and visit.attempt:
        look = LOOKS["state"]["retried"]
    elif visit.status == NodeStateStatus.OPEN and run_has_ended:
        look = LOOKS["state"]["never_ended"]
    lasted = duration(visit.duration_ms) if visit.duration_ms is not None else "no end recorded"
    words = f"{brief(bar.name, NODE)}, attempt {visit.attempt + 1}, {look.word}, {lasted}"
    picked = query.visit == visit.state_id
    return format_html(
        '<a href="{}{}#selected" data-state="{}" aria-label="{}"{}{}><title>{}</title>'
        '<rect class="attempt fill-{}" x="{}%" y="4" width="{}%" height="22" rx="2"/></a>',
        query.picking,
        urlencode({"": visit.state_id})[1:],
        visit.state_id,
        words,
        format_html(' aria-current="{}"', "true") if picked else "",
        format_html(" {}", "data-bad") if look.family == "bad" else "",
        words,
        look.family,
        bar.left,
        bar.width,
    )


@register.simple_tag
def track_words(track: Any, reasons: Mapping[str, str]) -> str:
    """What stands beside the bars of a lane: its longest visit and its last."""
    if track.lane.fold is not None or not track.bars:
        return lane_words(track.lane, reasons)
    words = brief(track.longest.name, NODE)
    if track.longest.visit.duration_ms is not None:
        words += f" {duration(track.longest.visit.duration_ms)}"
    last = track.bars[-1]
    if last is not track.longest:
        words += f", then {brief(last.name, NODE)}"
    return f"{words}, {track.not_drawn:,} not drawn" if track.not_drawn else words


@register.filter
def since_start(milliseconds: float) -> str:
    """An instant on the axis, from its beginning: `0 s`, `2 s`, `1 min 30 s`."""
    return "0 s" if not milliseconds else _WHOLE.sub("", duration(milliseconds))


@register.filter
def percent(part: float) -> str:
    """A part of one, in whole per cent, never rounded to all or nothing."""
    if 0 < part < 0.01:  # noqa: PLR2004
        return "< 1 %"
    return "> 99 %" if 0.99 < part < 1 else f"{part * 100:.0f} %"  # noqa: PLR2004


@register.filter
def above(height: float) -> float:
    """Where a column that stands on the floor of its lane begins."""
    return round(26 - height, 1)
