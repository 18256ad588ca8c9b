"""How recorded values look on a page: times, sizes, hashes, status words, hostile text.

Everything recorded is hostile. `visible` shows what would hide, and the tags below build HTML
only through `format_html`, which escapes.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

from django import template
from django.utils.html import format_html, format_html_join

from audit.vocabulary import (
    BatchStatus,
    CallStatus,
    ExportStatus,
    FindingLevel,
    NodeStateStatus,
    Outcome,
    PayloadState,
    ReproducibilityGrade,
    RunStatus,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from django.utils.safestring import SafeString

register = template.Library()

SHORT_HASH = 12
BRIEF = 60
_SHA256_DIGITS = 64
_GROUP = 8
_BAR = 1000
_SLIVER = 6

_SHORT_TIMES = (
    (0.9995, 1000, 0, "µs"),
    (9.95, 1, 1, "ms"),
    (999.5, 1, 0, "ms"),
    (59_995, 0.001, 2, "s"),
)

# Control, format (bidi, zero width), surrogate, private and unassigned characters, and the two
# separators that break lines: none of them may act on a page, all of them may be seen.
_HIDING_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_MAY_HIDE = re.compile(r"[^\x20-\x7e]")
_JSON_PARTS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^"{}\[\],:]+|"', re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Look:
    """A status as it is shown: one of five families, a glyph and a word; never colour alone."""

    family: str
    glyph: str
    word: str


def _good(word: str) -> Look:
    return Look(family="good", glyph="check", word=word)


def _bad(word: str, glyph: str = "cross") -> Look:
    return Look(family="bad", glyph=glyph, word=word)


def _care(word: str, glyph: str = "bang") -> Look:
    return Look(family="care", glyph=glyph, word=word)


def _other(word: str) -> Look:
    return Look(family="other", glyph="away", word=word)


def _structural(word: str, glyph: str) -> Look:
    return Look(family="structural", glyph=glyph, word=word)


_NO_END = _care("no end recorded")

LOOKS: dict[str, dict[str, Look]] = {
    "run": {
        RunStatus.RUNNING: _structural("running", "clock"),
        RunStatus.COMPLETED: _good("completed"),
        RunStatus.FAILED: _bad("failed"),
        RunStatus.COMPLETED_WITH_FAILURES: _care("completed with failures"),
        RunStatus.EMPTY: _structural("empty", "dash"),
        RunStatus.INTERRUPTED: _care("interrupted"),
        "no_end": _NO_END,
    },
    "state": {
        NodeStateStatus.OPEN: _structural("open", "clock"),
        NodeStateStatus.PENDING: _structural("pending", "clock"),
        NodeStateStatus.COMPLETED: _good("completed"),
        NodeStateStatus.FAILED: _bad("failed"),
        NodeStateStatus.REJECTED: _bad("rejected"),
        "retried": _care("completed after retry", "retry"),
        "never_ended": _care("never ended"),
    },
    "outcome": {
        Outcome.COMPLETED: _good("completed"),
        Outcome.ROUTED: _other("routed"),
        Outcome.FORKED: _structural("forked", "fork"),
        Outcome.FAILED: _bad("failed"),
        Outcome.QUARANTINED: _bad("quarantined", "barred"),
        Outcome.CONSUMED_IN_BATCH: _structural("consumed in batch", "batch"),
        Outcome.COALESCED: _structural("coalesced", "merge"),
        Outcome.EXPANDED: _structural("expanded", "expand"),
        Outcome.BUFFERED: _structural("buffered", "batch"),
        "": _structural("no outcome recorded", "dash"),
    },
    "batch": {
        BatchStatus.DRAFT: _structural("draft", "clock"),
        BatchStatus.EXECUTING: _structural("executing", "clock"),
        BatchStatus.COMPLETED: _good("completed"),
        BatchStatus.FAILED: _bad("failed"),
    },
    "call": {CallStatus.SUCCESS: _good("success"), CallStatus.ERROR: _bad("error")},
    "export": {
        ExportStatus.PENDING: _structural("pending", "clock"),
        ExportStatus.COMPLETED: _good("completed"),
        ExportStatus.FAILED: _bad("failed"),
    },
    "finding": {
        FindingLevel.INFO: _structural("habit of its era", "dash"),
        FindingLevel.ERROR: _bad("should not be"),
    },
    "payload": {
        PayloadState.AVAILABLE: _good("available"),
        PayloadState.MISSING: _bad("missing"),
        PayloadState.CORRUPTED: _bad("corrupted"),
        PayloadState.PURGED: _structural("purged", "dash"),
        "hash_only": _structural("hash only", "dash"),
        "not_looked_for": _structural("unknown, not looked for", "dash"),
        "none_recorded": _structural("none recorded", "dash"),
    },
    "house": {"ready": _good("ready"), "one_login": _care("one login")},
}

GRADES = {
    ReproducibilityGrade.FULL_REPRODUCIBLE.value: "can be recomputed",
    ReproducibilityGrade.REPLAY_REPRODUCIBLE.value: "can be replayed from recordings",
    ReproducibilityGrade.ATTRIBUTABLE_ONLY.value: "can be traced, not replayed",
}
GRADE_WORD = {
    ReproducibilityGrade.FULL_REPRODUCIBLE.value: "recompute",
    ReproducibilityGrade.REPLAY_REPRODUCIBLE.value: "replay",
    ReproducibilityGrade.ATTRIBUTABLE_ONLY.value: "trace only",
}
MADE = {
    "initial": "from the source row",
    "fork": "by a fork",
    "expansion": "by an expansion",
    "merge": "by a merge",
}


@register.filter
def visible(text: object) -> str:
    """The text with everything that would hide or act written out: `‹U+202E›`.

    Line feeds and tabs stay: places that keep them are marked up for it.
    """
    return _MAY_HIDE.sub(_shown, str(text))


def _shown(match: re.Match[str]) -> str:
    character = match[0]
    if character in "\n\t" or unicodedata.category(character) not in _HIDING_CATEGORIES:
        return character
    return f"‹U+{ord(character):04X}›"


@register.filter
def brief(text: object, limit: int = BRIEF) -> str:
    """A name for a table or a title: visible, on one line, and at most `limit` characters."""
    words = " ".join(str(text)[: 2 * limit].split())
    cut = len(words) > limit or len(str(text)) > 2 * limit
    return visible(words[:limit]) + ("…" if cut else "")


@register.filter
def number(value: int) -> str:
    """1234567 as 1,234,567."""
    return f"{value:,}"


@register.filter
def size(value: int) -> str:
    """Bytes as people say them, and exactly."""
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:  # noqa: PLR2004  # decimal units
            return f"{amount:,.0f} {unit}" if unit == "B" else f"{amount:,.1f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} TB"


@register.filter
def duration(milliseconds: float) -> str:
    """190 µs, 820 ms, 1.43 s, 16 min 58 s, 1 h 12 min; a number and its unit do not part."""
    if milliseconds < 0:
        return "−" + duration(-milliseconds)
    # Limits stand half a digit early: what would round up to the next unit is told in it.
    for limit, factor, digits, unit in _SHORT_TIMES:
        if milliseconds < limit:
            return f"{milliseconds * factor:.{digits}f} {unit}" if milliseconds else "0 ms"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    hours, rest = divmod(minutes, 60)
    return f"{hours:,} h {rest:02} min" if hours else f"{minutes} min {seconds:02} s"


@register.filter
def since(later: datetime, earlier: datetime) -> float:
    """Milliseconds from the earlier instant to the later."""
    gap: timedelta = later - earlier
    return gap.total_seconds() * 1000


@register.filter
def clock(instant: datetime) -> str:
    """2026-11-22 10:15:03.123Z: milliseconds, cut and never rounded up, with the zone."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S}.{instant.microsecond // 1000:03}Z"


@register.simple_tag
def moment(instant: datetime) -> SafeString:
    """A time element: to the millisecond for people, to the microsecond for machines."""
    return format_html(
        '<time datetime="{}Z">{}</time>',
        f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}",
        clock(instant),
    )


@register.filter
def short(digest: str) -> str:
    """The first twelve digits of a hash or an id; the rest is said to be missing."""
    return visible(digest[:SHORT_HASH]) + ("…" if len(digest) > SHORT_HASH else "")


@register.filter
def algorithm(digest: str) -> str:
    """The label of a full SHA-256; an older, cut hash gets none."""
    return "sha256:" if len(digest) == _SHA256_DIGITS else ""


@register.filter
def groups(digest: str) -> list[str]:
    """A hash in full, in groups of eight digits."""
    return [visible(digest[place : place + _GROUP]) for place in range(0, len(digest), _GROUP)]


@register.filter
def anchor(node_id: str) -> str:
    """The name of a node's place on the run page: ids may hold anything, anchors may not."""
    return "node-" + hashlib.sha256(node_id.encode()).hexdigest()[:SHORT_HASH]


@register.filter
def cut_underscores(word: str) -> str:
    """A stored word as people read it: `end_of_source` as end of source."""
    return word.replace("_", " ")


@register.filter
def grade_words(grade: str | None) -> str:
    """What re-running can promise, in plain words."""
    return GRADES.get(grade or "", "not graded")


@register.filter
def grade_word(grade: str) -> str:
    """The same for a narrow column."""
    return GRADE_WORD[grade]


@register.filter
def made_words(how: str) -> str:
    """How a token came to be, in plain words."""
    return MADE[how]


@register.filter
def family(outcome: str) -> str:
    """The family of an outcome, for the key beside a bar."""
    return LOOKS["outcome"][outcome].family


@register.filter
def outcome_word(outcome: str) -> str:
    """An outcome in the words of its chip."""
    return LOOKS["outcome"][outcome].word


@register.filter
def laid_out(text: str) -> str:
    """JSON with line breaks and indents between its parts; the parts stay as recorded.

    Text that is not JSON, or only the beginning of it, comes back as it is.
    """
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    out: list[str] = []
    depth, opened = 0, False
    for part in _JSON_PARTS.findall(text):
        if not part.strip():
            continue
        closing = part in "}]"
        depth -= closing
        if opened is not closing and (opened or closing):
            out.append("\n" + "  " * depth)
        out.append(f"{part} " if part == ":" else part.strip())
        if part == ",":
            out.append("\n" + "  " * depth)
        opened = part in "{["
        depth += opened
    return "".join(out)


@register.filter
def share(part: int, whole: int) -> str:
    """A part in per cent, with one digit, never rounded to nothing or to all."""
    percent = 100 * part / whole
    if part and percent < 0.1:  # noqa: PLR2004
        return "< 0.1 %"
    if part < whole and percent > 99.9:  # noqa: PLR2004
        return "> 99.9 %"
    return f"{percent:.1f} %"


@register.filter
def times(count: int) -> str:
    """How many, after a status: ` × 3`."""
    return f" × {count:,}"


@register.filter
def records_words(records_json: str) -> str:
    """The records of an import, table by table."""
    counts: dict[str, int] = json.loads(records_json)
    return ", ".join(
        f"{cut_underscores(table)} {count:,}" for table, count in counts.items() if count
    )


@register.filter
def payload_words(state: str) -> str:
    """The state of a payload in the words of its chip."""
    return LOOKS["payload"][state].word


@register.simple_tag
def payload_word(state: str) -> SafeString:
    """The state of a payload in a table: quiet while nothing is wrong, a chip when it is."""
    look = LOOKS["payload"][state]
    if look.family == "bad":
        return chip("payload", state)
    return format_html('<span class="{}">{}</span>', "quiet", look.word)


@register.simple_tag
def hash_mark(words: str) -> SafeString:
    """What a hash equals, with an equals sign; or that it differs, without one."""
    sign = glyph("equal") if words.startswith("same") else ""
    return format_html('<span class="mark-words">{}{}</span>', sign, words)


@register.simple_tag
def chip(kind: str, word: str, extra: str = "") -> SafeString:
    """A status: family, glyph, word, and what belongs to it in the same breath."""
    look = LOOKS[kind][word]
    return format_html(
        '<span class="chip {}">{}{}{}</span>', look.family, glyph(look.glyph), look.word, extra
    )


@register.simple_tag
def run_chip(status: str, has_no_end: bool) -> SafeString:  # noqa: FBT001  # called by templates
    """The status of a run; an imported one that says running has no end on record."""
    return chip("run", "no_end" if has_no_end else status)


@register.simple_tag
def visit_chip(status: str, attempt: int, run_has_ended: bool) -> SafeString:  # noqa: FBT001
    """The status of a visit; success after a failure, and a visit left behind, need a look."""
    if status == NodeStateStatus.COMPLETED and attempt > 1:
        status = "retried"
    elif status == NodeStateStatus.OPEN and run_has_ended:
        status = "never_ended"
    return chip("state", status)


@register.simple_tag
def glyph(name: str) -> SafeString:
    """One glyph of the sprite; decoration, since a word always stands beside it."""
    return format_html(
        '<svg class="glyph" viewBox="0 0 12 12" aria-hidden="true"><use href="#g-{}"/></svg>', name
    )


@register.simple_tag
def outcome_bar(outcomes: Iterable[object]) -> SafeString:
    """Outcomes as one bar of rectangles, in the order given; also told in words."""
    counts = [(str(getattr(o, "outcome")), int(getattr(o, "tokens"))) for o in outcomes]  # noqa: B009
    total = sum(tokens for _, tokens in counts)
    if not total:
        return format_html('<span class="nothing">{}</span>', "no tokens")
    # What is rare must still be seen; the widest part gives way to it.
    widths = [max(_SLIVER, _BAR * tokens // total) for _, tokens in counts]
    widths[widths.index(max(widths))] += _BAR - sum(widths)
    places = [sum(widths[:index]) for index in range(len(widths))]
    return format_html(
        '<svg class="bar" viewBox="0 0 {} 10" preserveAspectRatio="none" role="img"'
        ' aria-label="{}">{}</svg>',
        _BAR,
        ", ".join(f"{tokens:,} {outcome_word(word)}" for word, tokens in counts),
        format_html_join(
            "",
            '<rect class="fill-{}" x="{}" y="0" width="{}" height="10"/>',
            (
                (family(word), place, max(1, width - 3))
                for (word, _), place, width in zip(counts, places, widths, strict=True)
            ),
        ),
    )
