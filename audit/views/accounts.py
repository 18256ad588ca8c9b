"""Both accounts of a ledger as they are printed: two sides, line beside line."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.urls import reverse

from audit.lineage import NO_OUTCOME
from audit.vocabulary import Outcome

if TYPE_CHECKING:
    from audit.lineage import Ledger

_OUTCOMES = set(Outcome.values)


@dataclass(frozen=True, kw_only=True)
class Side:
    """One line of one side: a name or a word, how many, and where they are listed."""

    word: str
    count: int
    href: str | None


@dataclass(frozen=True, kw_only=True)
class Accounts:
    """The lines of the rows' and of the tokens' account; a side that ended earlier is None."""

    rows: tuple[tuple[Side | None, Side | None], ...]
    tokens: tuple[tuple[Side | None, Side | None], ...]


def accounts_of(ledger: Ledger, run_id: str) -> Accounts:
    """Lay a ledger out: rows lead to their journeys, tokens to the rows that have them."""
    here = {"run_id": run_id}
    rows, journeys = reverse("audit:rows", kwargs=here), reverse("audit:journeys", kwargs=here)
    sources = [Side(word=node.name, count=count, href=rows) for node, count in ledger.sources]
    became = [
        Side(
            word=entry.word,
            count=entry.count,
            href=f"{journeys}?{urlencode({'ended': entry.word})}",
        )
        for entry in ledger.rows
    ]
    made = [Side(word=entry.word, count=entry.count, href=None) for entry in ledger.made]
    ended = [
        Side(
            word=entry.word,
            count=entry.count,
            href=f"{rows}?{urlencode({'outcome': _filter(entry.word)})}",
        )
        for entry in ledger.tokens
    ]
    # Both of the same length: their totals stand on one line, so that equality is seen.
    lines = list(zip_longest(sources, became, made, ended))
    return Accounts(
        rows=tuple((came, went) for came, went, _, _ in lines),
        tokens=tuple((came, went) for _, _, came, went in lines),
    )


def _filter(word: str) -> str:
    return word if word in _OUTCOMES else NO_OUTCOME
