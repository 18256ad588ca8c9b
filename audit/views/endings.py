"""The sentence about one token, and so about a row that travelled as one: each clause a link."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from django.urls import reverse

from audit.lineage.contents import WITHHELD
from audit.lineage.reasons import CONFIGURED, RECONSTRUCTED
from audit.views.answers import Piece, deed_of, link, listed, plural, said, token_url
from audit.vocabulary import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from audit.lineage import Ending, RowStory
    from audit.lineage.endings import Stop
    from audit.lineage.figures import OutcomeCount

NAME_TOLD = 40
TEXT_TOLD = 120

_BAD_ENDS = {Outcome.FAILED.value, Outcome.QUARANTINED.value}
_DELIVERED = {Outcome.COMPLETED.value, Outcome.ROUTED.value}
_FIRST, _RETRY = "first attempt", "attempt {} of {}"


def about_token(ending: Ending) -> tuple[Piece, ...]:
    """How a token was made, how it ended, and why."""
    start = [*_origin(ending), said(", this token ")]
    return (*start, *_end(ending), said("."), *_others(ending))


def about_row(story: RowStory, ending: Ending | None) -> tuple[Piece, ...]:
    """What became of a row: all of it for one token, the counts for several."""
    start = f"Row {story.row.row_index:,}"
    if not story.tokens_total:
        pieces = [said(f"{start} was recorded, and no token travelled for it.")]
        if story.refused:
            refused = link("refused by validation", "#refused")
            pieces = [said(f"{start} was "), refused, *_why_refused(story), said(".")]
    elif ending is not None:
        pieces = [link(start, token_url(ending.run_id, ending.token_id)), said(" ")]
        pieces += [*_end(ending), said(".")]
    else:
        deeds = [
            link(f"{one.tokens:,} {deed_of(one.outcome, one.tokens)}", "#tokens")
            for one in story.outcomes
        ]
        tokens = link(plural(story.tokens_total, "token"), "#tokens")
        pieces = [said(f"{start} travelled as "), tokens, said(": "), *listed(deeds), said(".")]
    if story.same_content:
        pieces += [
            said(" Validation refused "),
            link("a record with the same content", "#same-content"),
            said("."),
        ]
    return tuple(pieces)


def _why_refused(story: RowStory) -> list[Piece]:
    error = story.refused[0].error
    return [] if error is None else [said(": "), link(quoted(error.headline), "#refused")]


def _origin(ending: Ending) -> list[Piece]:
    row = link(
        f"row {ending.row_index:,}",
        reverse("audit:row", kwargs={"run_id": ending.run_id, "row_id": ending.row_id}),
    )
    url = token_url(ending.run_id, ending.token_id)
    if not ending.parents:
        return [said("Made from "), row]
    parents = link(plural(ending.parents, "token"), f"{url}#parents")
    if ending.made == "merge":
        return [said("Merged from "), parents, said(" of "), row]
    if ending.made == "initial":
        return [said("Made of "), parents, said(" for "), row]
    act = "a fork" if ending.made == "fork" else "an expansion"
    branch = f" for branch {name(ending.branch)}" if ending.branch is not None else ""
    return [said("Made by "), link(act, f"{url}#parents"), said(" of "), row, said(branch)]


def _end(ending: Ending) -> list[Piece]:
    if ending.outcome in _DELIVERED:
        return _delivered(ending)
    if ending.outcome in _BAD_ENDS:
        return _failed(ending)
    if ending.outcome in {Outcome.FORKED.value, Outcome.EXPANDED.value}:
        return _divided(ending)
    if ending.outcome in {Outcome.CONSUMED_IN_BATCH.value, Outcome.BUFFERED.value}:
        return _gathered(ending)
    pieces = [_verdict(ending, deed_of(ending.outcome))]
    if ending.outcome == Outcome.COALESCED and ending.seen is not None:
        pieces += [said(" at "), _at(ending, ending.seen)]
    elif ending.failed is not None and ending.seen is None:
        pieces += [said("; it "), *_why_failed(ending, ending.failed)]
    elif ending.seen is not None:
        pieces += [said("; it was last seen at "), _at(ending, ending.seen)]
    else:
        pieces.append(said("; no visit of it is recorded"))
    return pieces


def _delivered(ending: Ending) -> list[Piece]:
    url = token_url(ending.run_id, ending.token_id)
    deed = deed_of(ending.outcome)
    if ending.sink_name:
        way = "to" if ending.outcome == Outcome.ROUTED else "into"
        deed = f"{deed} {way} {name(ending.sink_name)}"
    pieces = [_verdict(ending, deed)]
    if ending.failed is not None and ending.labels and ending.decided == ending.failed:
        # Sent on because it failed: the failure is the reason.
        pieces += [said(" because it "), *_why_failed(ending, ending.failed)]
    elif ending.reason is not None and ending.decided is not None:
        pieces += [said(" because "), *_because(ending, ending.decided)]
    elif ending.decided is not None:
        pieces += [said(" as "), _at(ending, ending.decided), said(" chose")]
    pieces += [said(", "), *_attempts(ending), said(",")]
    if not ending.confirmed:
        return [*pieces, said(" but "), link("no sink visit confirms it", f"{url}#visits")]
    if ending.written is not None:
        written = link(f"written to {file_name(ending.written)}", f"{url}#outputs")
        return [*pieces, said(" and "), written]
    return [*pieces, said(" and "), link("seen by the sink", f"{url}#visits")]


def _failed(ending: Ending) -> list[Piece]:
    pieces = [_verdict(ending, deed_of(ending.outcome))]
    if ending.failed is None:
        return [*pieces, said("; no visit of it failed")]
    if ending.outcome == Outcome.FAILED:
        return [*pieces, *_where_failed(ending, ending.failed)]
    return [*pieces, said(" because it "), *_why_failed(ending, ending.failed)]


def _divided(ending: Ending) -> list[Piece]:
    url = token_url(ending.run_id, ending.token_id)
    pieces = [_verdict(ending, deed_of(ending.outcome))]
    where = ending.decided or ending.seen
    if where is not None:
        pieces += [said(" at "), _at(ending, where)]
    total = sum(one.tokens for one in ending.children)
    children = link(plural(total, "token"), f"{url}#children")
    if not total:
        return [*pieces, said(", and no token is recorded that came of it")]
    pieces += [said(" into "), children]
    if ending.reason is not None and ending.decided is not None:
        pieces += [said(" because "), *_because(ending, ending.decided, where=False)]
    return [*pieces, said(": "), *_counts(ending.children, f"{url}#children")]


def _gathered(ending: Ending) -> list[Piece]:
    url = token_url(ending.run_id, ending.token_id)
    waits = ending.outcome == Outcome.BUFFERED
    deed = "waits in a batch" if waits else "was consumed in a batch"
    pieces = [_verdict(ending, deed)]
    if ending.place is not None:
        pieces += [
            said(" as "),
            link(f"member {ending.place:,} of {ending.places:,}", f"{url}#batches"),
        ]
    elif ending.batch_id is None:
        pieces.append(said(" that is not named"))
    return pieces


def _because(ending: Ending, stop: Stop, *, where: bool = True) -> list[Piece]:
    assert ending.reason is not None
    pieces = [link(quoted(ending.reason.words, marks=False), _visit(ending, stop))]
    if where:
        pieces += [said(" at "), _at(ending, stop)]
    if ending.reason.how == RECONSTRUCTED:
        pieces.append(said(" (made again from the configuration, and its hash agrees)"))
    elif ending.reason.how == CONFIGURED:
        pieces.append(said(" (as configured; no reason is recorded)"))
    return pieces


def _why_failed(ending: Ending, stop: Stop) -> list[Piece]:
    return [link("failed", _visit(ending, stop)), *_where_failed(ending, stop)]


def _where_failed(ending: Ending, stop: Stop) -> list[Piece]:
    pieces = [said(" at "), _at(ending, stop)]
    if stop.attempts > 1:
        pieces.append(said(f" after {stop.attempts:,} attempts"))
    if ending.error:
        return [*pieces, said(": "), link(quoted(ending.error), _visit(ending, stop))]
    return [*pieces, said("; no error is recorded")]


def _others(ending: Ending) -> list[Piece]:
    """Those that were expanded together with it."""
    total = sum(one.tokens for one in ending.siblings)
    if not total:
        return []
    url = f"{token_url(ending.run_id, ending.token_id)}#parents"
    other = "the other one" if total == 1 else f"the other {total:,}"
    return [said(f" Of {other}, "), *_counts(ending.siblings, url), said(".")]


def _counts(counts: Iterable[OutcomeCount], url: str) -> list[Piece]:
    return listed(
        [link(f"{one.tokens:,} {deed_of(one.outcome, one.tokens)}", url) for one in counts]
    )


def _verdict(ending: Ending, deed: str) -> Piece:
    return link(deed, f"{token_url(ending.run_id, ending.token_id)}#verdicts")


def _at(ending: Ending, stop: Stop) -> Piece:
    return link(name(stop.node.name), _visit(ending, stop))


def _visit(ending: Ending, stop: Stop) -> str:
    return reverse("audit:visit", kwargs={"run_id": ending.run_id, "state_id": stop.state_id})


def _attempts(ending: Ending) -> list[Piece]:
    """Whether it was tried again; where, unless the sentence has just said so."""
    stop = ending.retried
    if stop is None:
        return [said(_FIRST)]
    told = link(_RETRY.format(stop.attempt, stop.attempts), _visit(ending, stop))
    if ending.decided is not None and stop.state_id == ending.decided.state_id:
        return [told]
    return [told, said(f" at {name(stop.node.name)}")]


def name(recorded: str) -> str:
    """A recorded name in a sentence: on one line, and no longer than a name."""
    return _cut(recorded, NAME_TOLD)


def quoted(recorded: str, *, marks: bool = True) -> str:
    """Recorded text in a sentence: on one line, shortened, and marked as not ours."""
    words = _cut(recorded, TEXT_TOLD)
    if recorded == WITHHELD:
        return words
    return f"“{words}”" if marks else words


def file_name(address: str) -> str:
    """The last part of where an output was written."""
    path = unquote(urlsplit_path(address)).rstrip("/")
    return name(path.rsplit("/", 1)[-1] or address)


def urlsplit_path(address: str) -> str:
    """The path of an address; the whole of what is none."""
    try:
        return urlsplit(address).path or address
    except ValueError:
        return address


def _cut(recorded: str, limit: int) -> str:
    words = " ".join(recorded[: 2 * limit].split())
    return words if len(words) <= limit and len(recorded) <= 2 * limit else f"{words[:limit]}…"
