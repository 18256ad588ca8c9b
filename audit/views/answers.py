"""The answer line of each page: one or two sentences from the records, each number a link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.urls import reverse

from audit.lineage import NEEDS_A_PERSON
from audit.vocabulary import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from audit.lineage import (
        Ledger,
        LedgerPage,
        RunFacts,
        RunLine,
        RunsPage,
        RunStory,
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
    "refused": ("was refused by validation", "were refused by validation"),
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
            said("No run needs you: none of "),
            link(runs, reverse("audit:runs")),
            said(" failed, stopped without an end, misses a row or has an error finding."),
        )
    noun = "run needs" if page.needing == 1 else "runs need"
    pieces = [said(f"{_count(page.needing)} {noun} you: ")]
    named = [
        link(f"{line.run_id[:_SHORT_ID]} {_trouble(line)}", run_url(line.run_id))
        for line in page.named
    ]
    more = page.needing - len(named)
    if more:
        url = f"{reverse('audit:runs')}?{urlencode({'status': NEEDS_A_PERSON})}"
        named.append(link(f"{more:,} more", url))
    return (*pieces, *listed(named), said("."))


def about_run(story: RunStory, ledger: Ledger | None) -> tuple[Piece, ...]:
    """What became of the rows of a run, and how the run itself ended."""
    line, figures = story.line, story.line.figures
    pieces: list[Piece] = []
    if figures is None or ledger is None:
        pieces.append(said(_uncounted(line)))
    elif not figures.rows:
        pieces.append(said("No row was recorded in this run."))
    else:
        pieces += _became(ledger, line.run_id)
        pieces += [said(" "), *_balance(ledger, line.run_id)]
    pieces += _refused(story, counted=ledger is not None)
    trouble = _run_trouble(line)
    return (*pieces, *([said(trouble)] if trouble else []))


def about_paths(run: RunFacts) -> tuple[Piece, ...]:
    """How many different ways the rows of a run went, and how many went alone."""
    figures = run.figures
    if figures is None or not figures.rows:
        words = "No row was recorded in this run, so no path was taken."
        return (said(words if figures else _uncounted(run)),)
    here = {"run_id": run.run_id}
    journeys = reverse("audit:journeys", kwargs=here)
    rows = link(plural(figures.rows, "row"), reverse("audit:rows", kwargs=here))
    paths = link("one path" if figures.journeys == 1 else f"{figures.journeys:,} paths", journeys)
    if figures.journeys == 1:
        start = "The one row" if figures.rows == 1 else "All rows"
        return (link(start, rows.href or ""), said(" took "), paths, said("."))
    if figures.journeys == figures.rows:
        end = [said("; no two rows took the same.")]
    elif not figures.rows_alone:
        end = [said("; each was taken by more than one row.")]
    else:
        alone = link(plural(figures.rows_alone, "row"), f"{journeys}?order=rarest")
        end = [said("; "), alone, said(" took a path that no other row took.")]
    return (rows, said(" took "), paths, *end)


def about_ledger(page: LedgerPage) -> tuple[Piece, ...]:
    """What came in and what came of it, and whether it adds up."""
    if page.ledger is None:
        return (said(_uncounted(page.run)),)
    if not page.ledger.rows_in:
        return (said("No row was recorded in this run: there is nothing to account for."),)
    became = _became(page.ledger, page.run.run_id)
    return (*became, said(" "), *_balance(page.ledger, page.run.run_id))


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
        link(
            f"{entry.count:,} {deed_of(entry.word, entry.count)}",
            f"{journeys}?{urlencode({'ended': entry.word})}",
        )
        for entry in ledger.rows
    ]
    rows = link(plural(ledger.rows_in, "row"), reverse("audit:rows", kwargs=here))
    if not deeds:
        return [said("Nothing is known to have become of "), rows, said(".")]
    return [said("Of "), rows, said(", "), *listed(deeds), said(".")]


def _balance(ledger: Ledger, run_id: str) -> list[Piece]:
    url = reverse("audit:ledger", kwargs={"run_id": run_id})
    if lost := ledger.rows_unaccounted:
        verb = "is" if lost == 1 else "are"
        pieces = [link(plural(lost, "row"), f"{url}#lost"), said(f" {verb} unaccounted for.")]
    else:
        pieces = [said("Every row is "), link("accounted for", url), said(".")]
    if told := ledger.unconfirmed:
        verb = "is" if told == 1 else "are"
        pieces += [
            said(" "),
            link(f"{plural(told, 'token')} {verb} said to be delivered", f"{url}#unconfirmed"),
            said(" and no sink visit confirms it."),
        ]
    return pieces


def _refused(story: RunStory, *, counted: bool) -> list[Piece]:
    """The refusals that the account of the rows does not hold: no such row, or it went on."""
    count = sum(not (counted and refusal.at_the_door) for refusal in story.refusals)
    if not count:
        return []
    if story.refusals_cut:
        words = f"Validation refused more than {len(story.refusals)} records"
    else:
        noun = "record was" if count == 1 else "records were"
        words = f"{_count(count)} {noun} refused by validation"
    return [said(" "), link(words, "#refused"), said(".")]


def _uncounted(run: RunFacts) -> str:
    if run.status == "running" and not run.imported:
        return "Counting: figures are made when the run ends."
    return "The figures of this run are still to be counted."


def _trouble(line: RunLine) -> str:
    if line.seal == "differs":
        at = f" at {' '.join(line.differs_at.split())[:60]}" if line.differs_at else ""
        return f"differs from its seal{at}"
    day = f"on {line.started_at.day} {line.started_at:%B}"
    if line.has_no_end:
        return f"of {line.started_at.day} {line.started_at:%B} has no end recorded"
    if line.status in {"failed", "interrupted"}:
        return f"{'failed' if line.status == 'failed' else 'was interrupted'} {day}"
    if line.figures and line.figures.unaccounted:
        return f"has {plural(line.figures.unaccounted, 'row')} unaccounted for"
    return f"has {plural(line.error_findings, 'error finding')}"


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


def plural(number: int, noun: str) -> str:
    """A number and its noun."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def said(text: str) -> Piece:
    """Words that need no proof."""
    return Piece(text=text)


def link(text: str, href: str) -> Piece:
    """Words, and the records that prove them."""
    return Piece(text=text, href=href)


def listed(pieces: Iterable[Piece]) -> list[Piece]:
    """The pieces with commas between them, and “and” before the last."""
    listed: list[Piece] = []
    pieces = list(pieces)
    for place, piece in enumerate(pieces):
        if place:
            listed.append(said(" and " if place == len(pieces) - 1 else ", "))
        listed.append(piece)
    return listed
