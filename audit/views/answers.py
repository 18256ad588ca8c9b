"""The answer line of each page: one or two sentences from the records, each number a link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.urls import reverse

from audit.lineage import NEEDS_A_PERSON
from audit.vocabulary import NodeStateStatus, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from audit.lineage import (
        Ledger,
        LedgerPage,
        RowStory,
        RunFacts,
        RunLine,
        RunsPage,
        RunStory,
        TokenStory,
    )

_SMALL = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
_SHORT_ID = 12

# What the records of one outcome did: (one of them, several of them).
_DEEDS = {
    Outcome.COMPLETED: ("was completed", "were completed"),
    Outcome.ROUTED: ("was routed", "were routed"),
    Outcome.FORKED: ("was forked", "were forked"),
    Outcome.FAILED: ("failed", "failed"),
    Outcome.QUARANTINED: ("was quarantined", "were quarantined"),
    Outcome.CONSUMED_IN_BATCH: ("was consumed in a batch", "were consumed in batches"),
    Outcome.COALESCED: ("was coalesced", "were coalesced"),
    Outcome.EXPANDED: ("was expanded", "were expanded"),
    Outcome.BUFFERED: ("is buffered", "are buffered"),
    "delivered": ("was seen at a sink", "were seen at a sink"),
    "open": ("was left open", "were left open"),
    "": ("has no outcome recorded", "have no outcome recorded"),
}


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a sentence; with an address, the link to the records that prove it."""

    text: str
    href: str | None = None


def about_runs(page: RunsPage) -> tuple[Piece, ...]:
    """What needs a person among all runs, the newest three by name."""
    if not page.needing:
        runs = f"the {page.total:,} runs" if page.total != 1 else "the one run"
        return (
            _said("No run needs you: none of "),
            _link(runs, reverse("audit:runs")),
            _said(" failed, stopped without an end or has an error finding."),
        )
    noun = "run needs" if page.needing == 1 else "runs need"
    pieces = [_said(f"{_count(page.needing)} {noun} you: ")]
    named = [
        _link(f"{line.run_id[:_SHORT_ID]} {_trouble(line)}", run_url(line.run_id))
        for line in page.named
    ]
    more = page.needing - len(named)
    if more:
        url = f"{reverse('audit:runs')}?{urlencode({'status': NEEDS_A_PERSON})}"
        named.append(_link(f"{more:,} more", url))
    return (*pieces, *_listed(named), _said("."))


def about_run(story: RunStory, ledger: Ledger | None) -> tuple[Piece, ...]:
    """What became of the rows of a run, and how the run itself ended."""
    line, figures = story.line, story.line.figures
    pieces: list[Piece] = []
    if figures is None or ledger is None:
        pieces.append(_said(_uncounted(line)))
    elif not figures.rows:
        pieces.append(_said("No row was recorded in this run."))
    else:
        pieces += _became(ledger, line.run_id)
        pieces += [_said(" "), *_balance(ledger, line.run_id)]
    if story.refusals:
        count = len(story.refusals)
        many = f"More than {count}" if story.refusals_cut else _count(count)
        noun = "record was" if count == 1 else "records were"
        pieces += [_said(" "), _link(f"{many} {noun} refused by validation", "#refused")]
        pieces.append(_said("."))
    trouble = _run_trouble(line)
    return (*pieces, *([_said(trouble)] if trouble else []))


def about_paths(run: RunFacts) -> tuple[Piece, ...]:
    """How many different ways the rows of a run went, and how many went alone."""
    figures = run.figures
    if figures is None or not figures.rows:
        words = "No row was recorded in this run, so no path was taken."
        return (_said(words if figures else _uncounted(run)),)
    here = {"run_id": run.run_id}
    journeys = reverse("audit:journeys", kwargs=here)
    rows = _link(_plural(figures.rows, "row"), reverse("audit:rows", kwargs=here))
    paths = _link("one path" if figures.journeys == 1 else f"{figures.journeys:,} paths", journeys)
    if figures.journeys == 1:
        start = "The one row" if figures.rows == 1 else "All rows"
        return (_link(start, rows.href or ""), _said(" took "), paths, _said("."))
    if figures.journeys == figures.rows:
        end = [_said("; no two rows took the same.")]
    elif not figures.rows_alone:
        end = [_said("; each was taken by more than one row.")]
    else:
        alone = _link(_plural(figures.rows_alone, "row"), f"{journeys}?order=rarest")
        end = [_said("; "), alone, _said(" took a path that no other row took.")]
    return (rows, _said(" took "), paths, *end)


def about_ledger(page: LedgerPage) -> tuple[Piece, ...]:
    """What came in and what came of it, and whether it adds up."""
    if page.ledger is None:
        return (_said(_uncounted(page.run)),)
    if not page.ledger.rows_in:
        return (_said("No row was recorded in this run: there is nothing to account for."),)
    became = _became(page.ledger, page.run.run_id)
    return (*became, _said(" "), *_balance(page.ledger, page.run.run_id))


def about_row(story: RowStory) -> tuple[Piece, ...]:
    """How a row travelled, and whether validation refused the same content."""
    start = f"Row {story.row.row_index:,}"
    if not story.tokens_total:
        pieces = [_said(f"{start} was recorded, and no token travelled for it.")]
    elif story.tokens_total == 1 and story.tokens:
        token = story.tokens[0]
        deed = _with_sink(deed_of(token.outcome, 1), token.outcome, token.sink_name)
        url = token_url(story.run.run_id, token.token_id)
        pieces = [
            _said(f"{start} travelled as "),
            _link("one token", url),
            _said(", which "),
            _link(deed, f"{url}#verdicts"),
            _said("."),
        ]
    else:
        deeds = [
            _link(f"{one.tokens:,} {deed_of(one.outcome, one.tokens)}", "#tokens")
            for one in story.outcomes
        ]
        tokens = _link(_plural(story.tokens_total, "token"), "#tokens")
        pieces = [_said(f"{start} travelled as "), tokens, _said(": "), *_listed(deeds), _said(".")]
    if story.same_content:
        pieces += [
            _said(" Validation refused "),
            _link("a record with the same content", "#same-content"),
            _said("."),
        ]
    return tuple(pieces)


def about_token(story: TokenStory) -> tuple[Piece, ...]:
    """How a token was made, what it went through, and how it ended."""
    visits = [_link(f"made {_plural(story.visits_total, 'visit')}", "#visits")]
    failed = [
        visit
        for visit in story.visits
        if visit.status in {NodeStateStatus.FAILED, NodeStateStatus.REJECTED}
    ]
    if failed:
        visits += [
            _said(", of which "),
            _link(f"{len(failed):,} failed", f"#visit-{story.visits.index(failed[0]) + 1}"),
            _said(","),
        ]
    verdict = story.verdict
    outcome = verdict.outcome if verdict else ""
    end = _with_sink(deed_of(outcome, 1), outcome, verdict.sink_name if verdict else None)
    if outcome in {Outcome.FORKED, Outcome.EXPANDED} and story.children.total:
        end += f" into {story.children.total:,}"
    ended = _link(end, "#verdicts")
    return (*_origin(story), _said(", this token "), *visits, _said(" and "), ended, _said("."))


def run_url(run_id: str) -> str:
    """The address of a run's page."""
    return reverse("audit:run", kwargs={"run_id": run_id})


def token_url(run_id: str, token_id: str) -> str:
    """The address of a token's page."""
    return reverse("audit:token", kwargs={"run_id": run_id, "token_id": token_id})


def deed_of(outcome: str, count: int = 1) -> str:
    """What became of records with this outcome: `was routed`, `were routed`."""
    one, several = _DEEDS[outcome]
    return one if count == 1 else several


def _became(ledger: Ledger, run_id: str) -> list[Piece]:
    here = {"run_id": run_id}
    journeys = reverse("audit:journeys", kwargs=here)
    deeds = [
        _link(
            f"{entry.count:,} {deed_of(entry.word, entry.count)}",
            f"{journeys}?{urlencode({'ended': entry.word})}",
        )
        for entry in ledger.rows
    ]
    rows = _link(_plural(ledger.rows_in, "row"), reverse("audit:rows", kwargs=here))
    if not deeds:
        return [_said("Nothing is known to have become of "), rows, _said(".")]
    return [_said("Of "), rows, _said(", "), *_listed(deeds), _said(".")]


def _balance(ledger: Ledger, run_id: str) -> list[Piece]:
    url = reverse("audit:ledger", kwargs={"run_id": run_id})
    if lost := ledger.rows_unaccounted:
        verb = "is" if lost == 1 else "are"
        pieces = [_link(_plural(lost, "row"), f"{url}#lost"), _said(f" {verb} unaccounted for.")]
    else:
        pieces = [_said("Every row is "), _link("accounted for", url), _said(".")]
    if told := ledger.unconfirmed:
        verb = "is" if told == 1 else "are"
        pieces += [
            _said(" "),
            _link(f"{_plural(told, 'token')} {verb} said to be delivered", f"{url}#unconfirmed"),
            _said(" and no sink visit confirms it."),
        ]
    return pieces


def _uncounted(run: RunFacts) -> str:
    if run.status == "running" and not run.imported:
        return "Counting: figures are made when the run ends."
    return "The figures of this run are still to be counted."


def _origin(story: TokenStory) -> tuple[Piece, ...]:
    row = _link(
        f"row {story.row.row_index:,}",
        reverse("audit:row", kwargs={"run_id": story.run.run_id, "row_id": story.row.row_id}),
    )
    if story.made.how == "initial" or not story.parents.total:
        return (_said("Made from "), row)
    if story.made.how == "merge":
        parents = _link(_plural(story.parents.total, "token"), "#parents")
        return (_said("Merged from "), parents, _said(" of "), row)
    act = "a fork" if story.made.how == "fork" else "an expansion"
    branch = f" for branch {story.made.branch}" if story.made.branch else ""
    return (_said("Made by "), _link(act, "#parents"), _said(" of "), row, _said(branch))


def _with_sink(deed: str, outcome: str, sink: str | None) -> str:
    if not sink:
        return deed
    return f"{deed} {'to' if outcome == Outcome.ROUTED else 'into'} {sink}"


def _trouble(line: RunLine) -> str:
    day = f"on {line.started_at.day} {line.started_at:%B}"
    if line.has_no_end:
        return f"of {line.started_at.day} {line.started_at:%B} has no end recorded"
    if line.status in {"failed", "interrupted"}:
        return f"{'failed' if line.status == 'failed' else 'was interrupted'} {day}"
    return f"has {_plural(line.error_findings, 'error finding')}"


def _run_trouble(line: RunFacts) -> str:
    if line.has_no_end:
        return " The run has no end on record."
    if line.status == "failed":
        return " The run itself failed."
    if line.status == "interrupted":
        return " The run itself was interrupted."
    if line.status == "running":
        return " The run is still going."
    return ""


def _count(number: int) -> str:
    return _SMALL[number] if number < len(_SMALL) else f"{number:,}"


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _said(text: str) -> Piece:
    return Piece(text=text)


def _link(text: str, href: str) -> Piece:
    return Piece(text=text, href=href)


def _listed(pieces: Iterable[Piece]) -> list[Piece]:
    """The pieces with commas between them, and “and” before the last."""
    listed: list[Piece] = []
    pieces = list(pieces)
    for place, piece in enumerate(pieces):
        if place:
            listed.append(_said(" and " if place == len(pieces) - 1 else ", "))
        listed.append(piece)
    return listed
