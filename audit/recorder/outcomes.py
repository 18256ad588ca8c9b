"""Verdicts on tokens: what each of them must say, and that only one is final."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Count

from audit.errors import ContractViolated, DuplicateOutcome, TokenEnded
from audit.models import Row, Token, TokenOutcome
from audit.recorder import contents, reading
from audit.recorder.writing import add, new_id, one_event, word
from audit.vocabulary import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

_PARTS = (
    "sink_name",
    "batch_id",
    "fork_group_id",
    "join_group_id",
    "expand_group_id",
    "error_hash",
)
# What an outcome needs, and what it may have besides; anything else contradicts it.
_CONTRACT: dict[Outcome, tuple[set[str], set[str]]] = {
    Outcome.COMPLETED: ({"sink_name"}, set()),
    Outcome.ROUTED: ({"sink_name"}, {"error_hash"}),
    Outcome.FORKED: ({"fork_group_id"}, set()),
    Outcome.FAILED: ({"error_hash"}, set()),
    Outcome.QUARANTINED: ({"error_hash"}, {"sink_name"}),
    Outcome.CONSUMED_IN_BATCH: ({"batch_id"}, set()),
    Outcome.COALESCED: ({"join_group_id"}, {"sink_name"}),
    Outcome.EXPANDED: ({"expand_group_id"}, set()),
    Outcome.BUFFERED: ({"batch_id"}, set()),
}


def record_token_outcome(
    *,
    run_id: str,
    token_id: str,
    outcome: Outcome | str,
    at: datetime,
    outcome_id: str | None = None,
    sink_name: str | None = None,
    batch_id: str | None = None,
    fork_group_id: str | None = None,
    join_group_id: str | None = None,
    expand_group_id: str | None = None,
    error: object | None = None,
    context: Mapping[str, Any] | None = None,
) -> TokenOutcome:
    """Say how a token ended, or with `buffered` that it waits in a batch.

    `error` is kept as a payload; its hash stands in the outcome.

    Raises:
        ContractViolated: parts that this outcome needs are missing, or others are there.
        NotRecorded, RunMismatch: the token or batch is not there, or is another run's.
        DuplicateOutcome: the token has a final outcome.
        RunEnded: the run has ended.
        ConflictingRecord: the id is on record with other content.
    """
    kind = word(Outcome, outcome, "outcome")
    told = contents.of(error, name="error") if error is not None else None
    values = {
        "run_id": run_id,
        "outcome_id": outcome_id or f"out_{new_id(at)}",
        "token_id": token_id,
        "outcome": kind,
        "is_terminal": kind != Outcome.BUFFERED,
        "recorded_at": at,
        "sink_name": sink_name,
        "batch_id": batch_id,
        "fork_group_id": fork_group_id,
        "join_group_id": join_group_id,
        "expand_group_id": expand_group_id,
        "error_hash": told.hash if told else None,
        "context_json": contents.inline(context, name="context"),
    }
    require_contract(kind, values)
    with one_event():
        contents.keep(told, at=at)
        return end_token(values)


def require_contract(outcome: Outcome, values: Mapping[str, Any]) -> None:
    """Refuse an outcome whose parts do not go together.

    Raises:
        ContractViolated: what is missing, or what is too much.
    """
    needed, allowed = _CONTRACT[outcome]
    given = {part for part in _PARTS if values.get(part) is not None}
    if missing := sorted(needed - given):
        raise ContractViolated(f"outcome {outcome} needs {', '.join(missing)}")
    if excess := sorted(given - needed - allowed):
        raise ContractViolated(f"outcome {outcome} cannot have {', '.join(excess)}")


def end_token(values: dict[str, Any]) -> TokenOutcome:
    """Add an outcome; of two final ones for a token, the second is refused."""
    try:
        outcome, _new = add(
            TokenOutcome, values, kind="outcome", live_token=str(values["token_id"])
        )
    except TokenEnded as error:
        raise DuplicateOutcome(error.token_id, error.outcome) from error
    return outcome


def get_token_outcome(*, run_id: str, token_id: str) -> TokenOutcome | None:
    """The final outcome of a token, else the newest one; None while there is none.

    Raises:
        NotRecorded, RunMismatch: the token is not there, or is another run's.
    """
    reading.one(Token, run_id=run_id, key=token_id)
    outcomes = TokenOutcome.objects.filter(run_id=run_id, token_id=token_id)
    return outcomes.order_by("-is_terminal", "-recorded_at", "-outcome_id").first()


def get_token_outcomes_for_row(*, run_id: str, row_id: str) -> list[TokenOutcome]:
    """Every verdict on the tokens of a row, in order of time. One query.

    Raises:
        NotRecorded, RunMismatch: the row is not there, or is another run's.
    """
    reading.one(Row, run_id=run_id, key=row_id)
    outcomes = TokenOutcome.objects.filter(run_id=run_id, token__row_id=row_id)
    return list(outcomes.order_by("recorded_at", "outcome_id"))


def iter_token_outcomes(*, run_id: str) -> Iterator[TokenOutcome]:
    """Every verdict of a run by id, with memory for one page.

    Raises:
        NotRecorded: there is no such run.
    """
    reading.require_run(run_id)
    return reading.stream(TokenOutcome.objects.filter(run_id=run_id), order="outcome_id")


def count_outcomes(*, run_id: str) -> dict[str, int]:
    """How many verdicts of each kind a run has.

    Raises:
        NotRecorded: there is no such run.
    """
    reading.require_run(run_id)
    counted = TokenOutcome.objects.filter(run_id=run_id).values("outcome")
    return {each["outcome"]: each["n"] for each in counted.annotate(n=Count("pk")).order_by()}
