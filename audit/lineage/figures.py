"""The counted figures of a run, read from its summary: pages never count a big table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from audit.models import SUMMARY_VERSION, Row, RunSummary, Token, TokenOutcome
from audit.vocabulary import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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

_COUNTS = (
    "rows",
    "tokens",
    "states",
    "calls",
    "errors",
    "journeys",
    "rows_alone",
    "unaccounted",
    "unconfirmed",
)
_READ = ("pipeline", *_COUNTS, "outcomes_json", "computed_at")

# The figures of run `r`, where they are current, as JSON; `figures_of` reads them.
FIGURES_TOLD = f"""(
    SELECT json_build_object({", ".join(f"'{name}', s.{name}" for name in _READ)})
    FROM run_summaries s
    WHERE s.run_id = r.run_id AND s.version = {SUMMARY_VERSION} AND s.run_status = r.status
        AND s.run_completed_at IS NOT DISTINCT FROM r.completed_at)"""  # noqa: S608  # constants

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
    summaries = RunSummary.objects.current().filter(run_id__in=list(run_ids))
    return {told["run_id"]: _figures(told) for told in summaries.values("run_id", *_READ)}


def figures_of(told: Mapping[str, Any] | None) -> Figures | None:
    """What `FIGURES_TOLD` brought; None while the run is still to be counted."""
    if told is None:
        return None
    return _figures({**told, "computed_at": datetime.fromisoformat(told["computed_at"])})


def count_so_far(run_id: str) -> SoFar:
    """How much is on record of a run that is not counted yet, up to ten thousand each."""

    def counted(records: QuerySet[Any]) -> int:
        return records.filter(run_id=run_id).order_by()[:COUNTED_TO].count()

    return SoFar(
        rows=counted(Row.objects.all()),
        tokens=counted(Token.objects.all()),
        ended=counted(TokenOutcome.objects.filter(is_terminal=True)),
    )


def _figures(told: Mapping[str, Any]) -> Figures:
    name, _, chain = told["pipeline"].rpartition("\n")
    return Figures(
        pipeline=name or chain,
        chain=chain,
        **{name: told[name] for name in _COUNTS},
        outcomes=in_order(json.loads(told["outcomes_json"])),
        counted_at=told["computed_at"],
    )
