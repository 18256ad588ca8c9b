"""How recorded values look on a page: times, sizes, hashes, keys, hostile text.

Everything recorded is hostile. `visible` shows what would hide, and the tags below build HTML
only through `format_html`, which escapes.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from datetime import UTC
from typing import TYPE_CHECKING

from django import template
from django.utils.html import format_html

from audit import masking
from audit.lineage import COUNTED_TO
from audit.lineage.bodies import laid_out
from audit.lineage.contents import told
from audit.vocabulary import ReproducibilityGrade

if TYPE_CHECKING:
    from datetime import datetime

    from django.utils.safestring import SafeString

register = template.Library()
register.filter(laid_out)
register.filter(told)

SHORT_HASH = 12
BRIEF = 60
WORDY_KEY = 48
_TIME_FIRST = re.compile(r"[0-9a-f]{12}7[0-9a-f]{19}")
_SHA256_DIGITS = 64
_GROUP = 8

_SHORT_TIMES = (
    (0.9995, 1000, 0, "µs"),
    (9.95, 1, 1, "ms"),
    (999.5, 1, 0, "ms"),
    (59_995, 0.001, 2, "s"),
)

# Control, format (bidi, zero width), surrogate, private and unassigned characters, and the two
# separators that break lines: none of them may act on a page, all of them may be seen.
_HIDING_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_HEX = re.compile(r"[0-9a-f]+")
_MAY_HIDE = re.compile(r"[^\x20-\x7e]")

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
    # Most are plain: asking that first is ten times faster than looking at every character.
    if isinstance(text, str) and text.isascii() and text.isprintable():
        return text
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
def masked(text: object) -> str:
    """Recorded text with its secrets masked: paths, addresses; before `brief` or `visible`."""
    return masking.masked(str(text))


@register.filter
def number(value: int) -> str:
    """1234567 as 1,234,567."""
    return f"{value:,}"


@register.filter
def so_far(value: int) -> str:
    """A count that stops at ten thousand: there may be more."""
    return f"at least {value:,}" if value >= COUNTED_TO else f"{value:,}"


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
    if not math.isfinite(milliseconds):
        return "not a time"
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
    """Twelve digits of a hash or an id, and that others are missing.

    The first ones, but the last of a UUID of version 7: its first are the time, and siblings that
    were made in one moment share them.
    """
    if _TIME_FIRST.fullmatch(digest):
        return "…" + digest[-SHORT_HASH:]
    return visible(digest[:SHORT_HASH]) + ("…" if len(digest) > SHORT_HASH else "")


@register.filter
def key(record_key: str) -> str:
    """A key of any table: twelve digits of a hex id, more of one that has words in it."""
    return short(record_key) if _HEX.fullmatch(record_key) else brief(record_key, WORDY_KEY)


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
def named(person: int, people: dict[int, str]) -> str:
    """Who it was: by name, or by number where the person is gone."""
    return brief(people[person], 30) if person in people else f"person {person}"


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
