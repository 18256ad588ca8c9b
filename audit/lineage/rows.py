"""Rows of a run: the list, and the story of one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Exists, Max, Min, OuterRef, Q, Subquery

from audit.errors import NotRecorded
from audit.lineage.absent import refuse
from audit.lineage.figures import OutcomeCount, in_order
from audit.lineage.findings import FindingLine, findings_about
from audit.lineage.nodes import NodeFacts, read_nodes
from audit.lineage.payload_words import payload_state, payload_word, payload_words
from audit.lineage.refusals import Refusal, refusals_about
from audit.lineage.runs import RunFacts, describe_run, run_beside, run_of
from audit.models import (
    NodeState,
    Row,
    Token,
    TokenOutcome,
    TokenParent,
)
from audit.vocabulary import NodeStateStatus, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from audit.models.tokens import RowQuerySet

ROWS_A_PAGE = 100
TOKENS_SHOWN = 100

# A filter beside the outcomes: tokens on which no verdict was recorded.
NO_OUTCOME = "none"

# Rows with an outcome rarer than this are found by way of the outcome, others by looking along.
RARE_IS_ONE_IN = 20

_FAILED = Q(status__in=[NodeStateStatus.FAILED, NodeStateStatus.REJECTED])


@dataclass(frozen=True, kw_only=True)
class RowLine:
    """One row as a line of the list. Times are those of its visits, None without any."""

    row_index: int
    row_id: str
    source_data_hash: str
    payload: str
    tokens: int
    outcomes: tuple[OutcomeCount, ...]
    failed_visits: int
    first_started_at: datetime | None
    last_completed_at: datetime | None

    @property
    def duration_ms(self) -> float | None:
        """From its first visit's start to its last visit's end, in milliseconds."""
        if self.first_started_at is None or self.last_completed_at is None:
            return None
        return (self.last_completed_at - self.first_started_at) / timedelta(milliseconds=1)


@dataclass(frozen=True, kw_only=True)
class RowsPage:
    """One page of a run's rows in the order of the source."""

    run: RunFacts
    lines: tuple[RowLine, ...]
    next_after: int | None


@dataclass(frozen=True, kw_only=True)
class Making:
    """How a token came to be: `initial`, `fork`, `expansion`, `merge`, or `unknown`."""

    how: str
    branch: str | None
    step: int | None


@dataclass(frozen=True, kw_only=True)
class TokenLine:
    """One token of a row; `first_parent` is one of `parents`, None without any."""

    token_id: str
    made: Making
    parents: int
    first_parent: str | None
    outcome: str
    sink_name: str | None
    visits: int
    failed_visits: int
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class RowStory:
    """Everything the page of one row tells."""

    run: RunFacts
    row: Row
    source: NodeFacts
    payload: str
    tokens: tuple[TokenLine, ...]
    tokens_total: int
    next_after: str | None
    outcomes: tuple[OutcomeCount, ...]
    # Of this very row, and of other records with the same content.
    refused: tuple[Refusal, ...]
    same_content: tuple[Refusal, ...]
    findings: tuple[FindingLine, ...]
    previous_row_id: str | None
    next_row_id: str | None


def making(token: Token) -> Making:
    """Tell how a loaded token came to be, by the group it carries. Costs no query."""
    if token.join_group_id is not None:
        how = "merge"
    elif token.fork_group_id is not None:
        how = "fork"
    elif token.expand_group_id is not None:
        how = "expansion"
    else:
        how = "initial"
    return Making(how=how, branch=token.branch_name, step=token.step_in_pipeline)


def list_rows(
    *,
    run_id: str,
    after: int | None = None,
    outcome: str | None = None,
    limit: int = ROWS_A_PAGE,
) -> RowsPage:
    """One page of rows after the row index `after`, at most six queries whatever size and position.

    `outcome` keeps the rows that have a token with this last verdict, or with none.

    Raises:
        NotRecorded: there is no such run.
    """
    run = describe_run(run_id=run_id)
    chosen = Row.objects.filter(run_id=run_id)
    if after is not None:
        chosen = chosen.filter(row_index__gt=after)
    if outcome is not None:
        chosen = _ended_as(chosen, run, outcome)
    rows = list(chosen.in_order()[: limit + 1])
    more, rows = len(rows) > limit, rows[:limit]
    return RowsPage(
        run=run,
        lines=_row_lines(run_id, rows),
        next_after=rows[-1].row_index if more else None,
    )


def explain_row(*, run_id: str, row_id: str, after: str | None = None) -> RowStory:
    """Gather what the page of one row shows, in eleven queries at most.

    A row may have thousands of tokens; the page shows them in parts, after the token `after`.

    Raises:
        NotRecorded: there is no such run, no such row, or no token `after` of the row.
        RunMismatch: the row belongs to another run.
    """
    row = _row(run_id, row_id)
    outcomes = _verdict_counts(run_id, [row_id]).get(row_id, {})
    refused, same_content = refusals_about(row=row)
    tokens, next_after = _token_page(run_id, row_id, after)
    return RowStory(
        run=run_of(row),
        row=row,
        source=read_nodes(run_id, [row.source_node_id])[row.source_node_id],
        payload=payload_word(row.source_data_ref, row.payload_state),
        tokens=_token_lines(run_id, tokens),
        tokens_total=sum(outcomes.values()),
        next_after=next_after,
        outcomes=in_order(outcomes),
        refused=refused,
        same_content=same_content,
        findings=findings_about(run_id=run_id, keys=[row_id]),
        previous_row_id=row.previous_row_id,
        next_row_id=row.next_row_id,
    )


def _row(run_id: str, row_id: str) -> Any:
    """The row with its run, the state of its contents, and the keys beside it."""
    beside = Row.objects.filter(run_id=run_id).values("row_id")
    before = beside.filter(row_index__lt=OuterRef("row_index")).order_by("-row_index")
    behind = beside.filter(row_index__gt=OuterRef("row_index")).order_by("row_index")
    row = (
        Row.objects.filter(run_id=run_id, row_id=row_id)
        .annotate(
            run_told=run_beside(Row),
            payload_state=payload_state("source_data_ref"),
            previous_row_id=Subquery(before[:1]),
            next_row_id=Subquery(behind[:1]),
        )
        .first()
    )
    if row is None:
        describe_run(run_id=run_id)
        refuse("row", row_id, run_id=run_id)
        raise NotRecorded("row", row_id)
    return row


def _ended_as(rows: RowQuerySet, run: RunFacts, outcome: str) -> RowQuerySet:
    here = {"run_id": run.run_id}
    verdicts = TokenOutcome.objects.filter(**here, token_id=OuterRef("token_id"))
    tokens = Token.objects.filter(**here, row_id=OuterRef("row_id"))
    if outcome == NO_OUTCOME:
        tokens = tokens.filter(~Exists(verdicts))
    elif outcome == Outcome.BUFFERED:
        # Buffered is a last verdict only while no final one has followed.
        tokens = tokens.filter(
            Exists(verdicts.filter(outcome=outcome)), ~Exists(verdicts.filter(is_terminal=True))
        )
    else:
        tokens = tokens.filter(Exists(verdicts.filter(outcome=outcome)))
    if _is_common(run, outcome):
        # A scalar subquery, because PostgreSQL never turns it into a join of the whole run:
        # it is asked row by row, and a page is full after a few hundred.
        one = Subquery(tokens.values("token_id")[:1])
        return rows.alias(one=one).filter(one__isnull=False)
    return rows.filter(Exists(tokens))


def _is_common(run: RunFacts, outcome: str) -> bool:
    if run.figures is None:
        return False
    counts = {one.outcome: one.tokens for one in run.figures.outcomes}
    with_it = counts.get("" if outcome == NO_OUTCOME else outcome, 0)
    return with_it * RARE_IS_ONE_IN > run.figures.rows


def _row_lines(run_id: str, rows: Sequence[Row]) -> tuple[RowLine, ...]:
    row_ids = [row.row_id for row in rows]
    payloads = payload_words(row.source_data_ref for row in rows)
    verdicts = _verdict_counts(run_id, row_ids)
    visits: dict[str, Any] = {
        seen["token__row_id"]: seen
        for seen in NodeState.objects.filter(run_id=run_id, token__row_id__in=row_ids)
        .values("token__row_id")
        .annotate(
            failed=Count("state_id", filter=_FAILED),
            first=Min("started_at"),
            last=Max("completed_at"),
        )
        .order_by()
    }
    nothing: dict[str, Any] = {"failed": 0, "first": None, "last": None}
    return tuple(
        RowLine(
            row_index=row.row_index,
            row_id=row.row_id,
            source_data_hash=row.source_data_hash,
            payload=payloads[row.source_data_ref],
            tokens=sum(verdicts.get(row.row_id, {}).values()),
            outcomes=in_order(verdicts.get(row.row_id, {})),
            failed_visits=visits.get(row.row_id, nothing)["failed"],
            first_started_at=visits.get(row.row_id, nothing)["first"],
            last_completed_at=visits.get(row.row_id, nothing)["last"],
        )
        for row in rows
    )


def _verdict_counts(run_id: str, row_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Per row, how many of its tokens have which last verdict; an empty word means none."""
    last = (
        TokenOutcome.objects.filter(run_id=run_id, token_id=OuterRef("token_id"))
        .order_by("-is_terminal", "-recorded_at", "-outcome_id")
        .values("outcome")[:1]
    )
    counted: dict[str, dict[str, int]] = defaultdict(dict)
    for row_id, verdict, tokens in (
        Token.objects.filter(run_id=run_id, row_id__in=row_ids)
        .annotate(verdict=Subquery(last))
        .values_list("row_id", "verdict")
        .annotate(tokens=Count("token_id"))
        .order_by()
    ):
        counted[row_id][verdict or ""] = tokens
    return counted


def _token_page(run_id: str, row_id: str, after: str | None) -> tuple[list[Token], str | None]:
    tokens = Token.objects.filter(run_id=run_id, row_id=row_id)
    if after is not None:
        anchor = tokens.filter(token_id=after).first()
        if anchor is None:
            raise NotRecorded("token", after)
        tokens = tokens.filter(
            Q(created_at__gt=anchor.created_at)
            | Q(created_at=anchor.created_at, token_id__gt=anchor.token_id)
        )
    page = list(tokens.order_by("created_at", "token_id")[: TOKENS_SHOWN + 1])
    more, page = len(page) > TOKENS_SHOWN, page[:TOKENS_SHOWN]
    return page, page[-1].token_id if more else None


def _token_lines(run_id: str, tokens: Sequence[Token]) -> tuple[TokenLine, ...]:
    token_ids = [token.token_id for token in tokens]
    of_these = {"run_id": run_id, "token_id__in": token_ids}
    parents = {
        token_id: (count, first)
        for token_id, count, first in TokenParent.objects.filter(**of_these)
        .values_list("token_id")
        .annotate(count=Count("parent_token_id"), first=Min("parent_token_id"))
        .order_by()
    }
    # Ordered so that the verdict which counts comes last and stays.
    verdicts = {
        verdict.token_id: verdict
        for verdict in TokenOutcome.objects.filter(**of_these)
        .defer("context_json")
        .order_by("is_terminal", "recorded_at", "outcome_id")
    }
    visits = {
        token_id: (count, failed)
        for token_id, count, failed in NodeState.objects.filter(**of_these)
        .values_list("token_id")
        .annotate(count=Count("state_id"), failed=Count("state_id", filter=_FAILED))
        .order_by()
    }
    lines = []
    for token in tokens:
        count, first = parents.get(token.token_id, (0, None))
        verdict = verdicts.get(token.token_id)
        seen, failed = visits.get(token.token_id, (0, 0))
        lines.append(
            TokenLine(
                token_id=token.token_id,
                made=making(token),
                parents=count,
                first_parent=first,
                outcome=verdict.outcome if verdict else "",
                sink_name=verdict.sink_name if verdict else None,
                visits=seen,
                failed_visits=failed,
                created_at=token.created_at,
            )
        )
    return tuple(lines)
