"""How a status looks: one of five families, a glyph and a word; never colour alone.

Also what stands where nothing does: every kind of nothing has its words.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from django import template
from django.utils.html import format_html, format_html_join

from audit.templatetags.audit_format import duration, number, times
from audit.vocabulary import (
    BatchStatus,
    CallStatus,
    ExportJobStatus,
    ExportStatus,
    FindingLevel,
    HoldStatus,
    ImportJobStatus,
    ImportOutcome,
    NodeStateStatus,
    Outcome,
    PayloadState,
    PlanStatus,
    RunStatus,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.utils.safestring import SafeString

    from audit.lineage.figures import OutcomeCount

register = template.Library()

# A bar is drawn this wide, and stretched; nothing that occurs is thinner than a sliver.
_BAR = 1000
_SLIVER = 6


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

_OUTCOMES: dict[str, Look] = {
    Outcome.COMPLETED: _good("completed"),
    Outcome.ROUTED: _other("routed"),
    Outcome.FORKED: _structural("forked", "fork"),
    Outcome.FAILED: _bad("failed"),
    Outcome.QUARANTINED: _bad("quarantined", "barred"),
    Outcome.CONSUMED_IN_BATCH: _structural("consumed in batch", "batch"),
    Outcome.COALESCED: _structural("coalesced", "merge"),
    Outcome.EXPANDED: _structural("expanded", "expand"),
    Outcome.BUFFERED: _structural("buffered", "batch"),
}

LOOKS: dict[str, Mapping[str, Look]] = {
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
    "outcome": _OUTCOMES | {"": _structural("no outcome recorded", "dash")},
    # Where rows and tokens stand, verdict or not.
    "standing": _OUTCOMES
    | {
        "delivered": _care("seen at a sink"),
        "refused": _bad("refused by validation", "barred"),
        "open": _structural("left open", "clock"),
        "unaccounted": _bad("unaccounted"),
    },
    "batch": {
        BatchStatus.DRAFT: _structural("draft", "clock"),
        BatchStatus.EXECUTING: _structural("executing", "clock"),
        BatchStatus.COMPLETED: _good("completed"),
        BatchStatus.FAILED: _bad("failed"),
    },
    "call": {CallStatus.SUCCESS: _good("success"), CallStatus.ERROR: _bad("error")},
    # By the exit status of verify.py.
    "verdict": {
        "0": _good("VERIFIED"),
        "1": _bad("FAILED"),
        "2": _structural("CANNOT TELL", "dash"),
        "3": _care("VERIFIED WITH FINDINGS"),
    },
    "export": {
        ExportStatus.PENDING: _structural("pending", "clock"),
        ExportStatus.COMPLETED: _good("completed"),
        ExportStatus.FAILED: _bad("failed"),
    },
    "job": {
        ExportJobStatus.REQUESTED: _structural("requested", "clock"),
        ExportJobStatus.RUNNING: _structural("writing", "clock"),
        ExportJobStatus.PUBLISHING: _structural("publishing", "clock"),
        ExportJobStatus.WAITING: _care("tries again", "retry"),
        ExportJobStatus.CANCELLING: _structural("stopping", "clock"),
        ExportJobStatus.SUCCEEDED: _good("ready"),
        ExportJobStatus.FAILED: _bad("failed"),
        ExportJobStatus.CANCELLED: _structural("cancelled", "dash"),
        ExportJobStatus.EXPIRED: _structural("expired", "dash"),
        "provisional": _care("provisional"),
    },
    "import": {
        ImportJobStatus.REQUESTED: _structural("requested", "clock"),
        ImportJobStatus.RUNNING: _structural("importing", "clock"),
        ImportJobStatus.WAITING: _care("tries again", "retry"),
        ImportJobStatus.CANCELLING: _structural("stopping", "clock"),
        ImportJobStatus.SUCCEEDED: _good("imported"),
        ImportJobStatus.REFUSED: _bad("refused", "barred"),
        ImportJobStatus.FAILED: _bad("failed"),
        ImportJobStatus.CANCELLED: _structural("cancelled", "dash"),
    },
    "import_outcome": {
        ImportOutcome.IMPORTED: _good("imported"),
        ImportOutcome.EXTENDED: _good("extended"),
        ImportOutcome.ALREADY_PRESENT: _structural("already present", "equal"),
        ImportOutcome.REFUSED: _bad("refused", "barred"),
    },
    "account": {
        "open": _good("may sign in"),
        "shut": _structural("deactivated", "dash"),
    },
    "api_token": {
        "live": _good("live"),
        "expired": _structural("expired", "clock"),
        "revoked": _structural("revoked", "dash"),
    },
    "plan": {
        PlanStatus.PROPOSED: _care("waits for a second person"),
        PlanStatus.APPROVED: _structural("approved, waits", "clock"),
        PlanStatus.DECLINED: _structural("declined", "dash"),
        PlanStatus.EXECUTING: _structural("deleting", "clock"),
        PlanStatus.STOPPING: _structural("stopping", "clock"),
        PlanStatus.EXECUTED: _good("executed"),
        PlanStatus.STOPPED: _care("stopped"),
    },
    "hold": {
        HoldStatus.ACTIVE: _structural("holds", "barred"),
        HoldStatus.RELEASE_ASKED: _care("holds, release asked for"),
        HoldStatus.RELEASED: _structural("released", "dash"),
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
        "withheld": _structural("withheld", "barred"),
        "not_looked_for": _structural("unknown, not looked for", "dash"),
        "none_recorded": _structural("none recorded", "dash"),
    },
    "hop": {
        "agrees": _good("agrees"),
        "breaks_expected": _structural("breaks, as expected", "dash"),
        "breaks": _bad("breaks"),
        "cannot_tell": _structural("cannot be told", "dash"),
    },
    "seal": {
        "sealed": _good("sealed"),
        "differs": _bad("differs from its seal"),
        "forged": _bad("signature does not hold"),
        "key_unknown": _bad("key unknown", "bang"),
        "key_compromised": _care("key compromised"),
        "unsealed": _structural("not sealed yet", "clock"),
        "not_ended": _structural("not ended", "clock"),
    },
    "key": {
        "active": _good("in use"),
        "retired": _structural("retired", "dash"),
        "compromised": _bad("compromised"),
    },
    "house": {
        "ready": _good("ready"),
        "one_login": _care("one login"),
        "unwell": _bad("needs a person", "bang"),
    },
}


@register.filter
def family(outcome: str) -> str:
    """The family of an outcome, for the key beside a bar."""
    return LOOKS["outcome"][outcome].family


@register.filter
def standing_family(standing: str) -> str:
    """The family of where something stands, for the swatch in an account."""
    return LOOKS["standing"][standing].family


@register.filter
def standing_word(standing: str) -> str:
    """Where something stands, in the words of its chip."""
    return LOOKS["standing"][standing].word


@register.filter
def outcome_word(outcome: str) -> str:
    """An outcome in the words of its chip."""
    return LOOKS["outcome"][outcome].word


@register.filter
def payload_words(state: str) -> str:
    """The state of a payload in the words of its chip."""
    return LOOKS["payload"][state].word


@register.simple_tag
@cache
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
@lru_cache(maxsize=1024)
def chip(kind: str, word: str, extra: str = "") -> SafeString:
    """A status: family, glyph, word, and what belongs to it in the same breath."""
    look = LOOKS[kind][word]
    return format_html(
        '<span class="chip {}">{}{}{}</span>', look.family, glyph(look.glyph), look.word, extra
    )


@register.simple_tag
def chip_of(standing: str, tokens: int) -> SafeString:
    """A standing with how many have it."""
    return chip("standing", standing, times(tokens))


@register.simple_tag
@cache
def step_mark(status: str, retried: bool) -> SafeString | str:  # noqa: FBT001  # by templates
    """How a place on a path ended, where it did not simply complete: a glyph and a word."""
    if status == NodeStateStatus.COMPLETED:
        status = "retried" if retried else ""
    if not status:
        return ""
    look = LOOKS["state"][status]
    style = "bad-text" if look.family == "bad" else "quiet"
    return format_html('<span class="{}">{}{}</span> ', style, glyph(look.glyph), look.word)


@register.simple_tag
def outcome_chips(outcomes: Sequence[OutcomeCount]) -> SafeString:
    """How the tokens of one row ended: a chip each, with a count where there are several."""
    if not outcomes:
        return _nothing("not applicable")
    if len(outcomes) == 1 and outcomes[0].tokens == 1:
        return chip("outcome", outcomes[0].outcome)
    return format_html_join(
        " ", "{}", ((chip("outcome", one.outcome, times(one.tokens)),) for one in outcomes)
    )


@register.simple_tag
def count(value: int) -> str:
    """A number; zero is there and grey."""
    return number(value) if value else _nothing("0")


@register.simple_tag
def failures(value: int) -> SafeString:
    """How many failed, with the glyph of failure; zero is there and grey."""
    if not value:
        return _nothing("0")
    return format_html('<span class="bad-text">{}{}</span>', glyph("cross"), number(value))


@register.simple_tag
def lasted(milliseconds: float | None) -> str:
    """A duration; one that cannot be told is unknown."""
    return _nothing("unknown") if milliseconds is None else duration(milliseconds)


@cache
def _nothing(words: str) -> SafeString:
    """One of the kinds of nothing, in its words."""
    return format_html('<span class="nothing">{}</span>', words)


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
@cache
def glyph(name: str) -> SafeString:
    """One glyph of the sprite; decoration, since a word always stands beside it."""
    return format_html(
        '<svg class="glyph" viewBox="0 0 12 12" aria-hidden="true"><use href="#g-{}"/></svg>', name
    )


@register.simple_tag
def outcome_bar(outcomes: Sequence[OutcomeCount]) -> SafeString:
    """Outcomes as one bar of rectangles, in the order given; also told in words."""
    counts = [(one.outcome, one.tokens) for one in outcomes]
    total = sum(tokens for _, tokens in counts)
    if not total:
        return _nothing("no tokens")
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
