"""The counted figures of a run, read from its summary: pages never count a big table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audit.models import Row, RunSummary, Token, TokenOutcome
from audit.vocabulary import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from django.db.models import QuerySet

# Left to right in every bar and table: what arrived, what went elsewhere, what turned into
# other tokens, what waits, what failed, what has no verdict.
OUTCOME_ORDER = (
    Outcome.COMPLETED.value,
    Outcome.ROUTED.value,
    Outcome.COALESCED.value,
    Outcome.CONSUMED_IN_BATCH.value,
    Outcome.FORKED.value,
    Outcome.EXPANDED.value,
    Outcome.BUFFERED.value,
    Outcome.QUARANTINED.value,
    Outcome.FAILED.value,
    "",
)


# How far a page counts by itself.
COUNTED_TO = 10_000


@dataclass(frozen=True, kw_only=True)
class OutcomeCount:
    """How many tokens have this as their last verdict; an empty word means none at all."""

    outcome: str
    tokens: int


@dataclass(frozen=True, kw_only=True)
class SoFar:
    """What is cheap to count in a run without figures; `COUNTED_TO` means that many or more."""

    rows: int
    tokens: int
    ended: int


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of one run, and when they were counted.

    `pipeline` is its name, else its `chain` of nodes. `rows_alone` took a path that no other row
    took; `unaccounted` rows are neither delivered nor ended nor anywhere; `unconfirmed` tokens
    are said to be at a sink that has not seen them.
    """

    pipeline: str
    chain: str
    rows: int
    tokens: int
    states: int
    calls: int
    errors: int
    journeys: int
    rows_alone: int
    unaccounted: int
    unconfirmed: int
    outcomes: tuple[OutcomeCount, ...]
    counted_at: datetime


def in_order(counts: Mapping[str, int]) -> tuple[OutcomeCount, ...]:
    """Outcomes that occur, in the order that every page uses."""
    return tuple(
        OutcomeCount(outcome=outcome, tokens=counts[outcome])
        for outcome in OUTCOME_ORDER
        if counts.get(outcome)
    )


def read_figures(run_ids: Iterable[str]) -> dict[str, Figures]:
    """The figures of these runs; a run that is still to be counted is absent. One query."""
    summaries = (
        RunSummary.objects.current()
        .filter(run_id__in=list(run_ids))
        .defer("nodes_json", "ledger_json", "graph_json", "errors_json")
    )
    return {summary.run_id: _figures(summary) for summary in summaries}


def count_so_far(run_id: str) -> SoFar:
    """How much is on record of a run that is not counted yet, up to ten thousand each."""

    def counted(records: QuerySet[Any]) -> int:
        return records.filter(run_id=run_id).order_by()[:COUNTED_TO].count()

    return SoFar(
        rows=counted(Row.objects.all()),
        tokens=counted(Token.objects.all()),
        ended=counted(TokenOutcome.objects.filter(is_terminal=True)),
    )


def _figures(summary: RunSummary) -> Figures:
    name, _, chain = summary.pipeline.rpartition("\n")
    return Figures(
        pipeline=name or chain,
        chain=chain,
        rows=summary.rows,
        tokens=summary.tokens,
        states=summary.states,
        calls=summary.calls,
        errors=summary.errors,
        journeys=summary.journeys,
        rows_alone=summary.rows_alone,
        unaccounted=summary.unaccounted,
        unconfirmed=summary.unconfirmed,
        outcomes=in_order(json.loads(summary.outcomes_json)),
        counted_at=summary.computed_at,
    )
