"""Tokens: what travels for a row, where it splits, multiplies and merges."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from django.db import transaction

from audit.errors import ConflictingRecord, ContractViolated
from audit.models import Row, Token, TokenOutcome, TokenParent
from audit.recorder import reading
from audit.recorder.outcomes import end_token
from audit.recorder.writing import add, check, new_id
from audit.vocabulary import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

MAX_CHILDREN = 10_000


def create_token(
    *,
    run_id: str,
    row_id: str,
    at: datetime,
    token_id: str | None = None,
    branch_name: str | None = None,
    step_in_pipeline: int | None = None,
) -> Token:
    """Let a token start for a row: its first one, or a new one when the row is driven again.

    Raises:
        NotRecorded, RunMismatch: the row is not there, or is another run's.
        RunEnded: the run has ended.
        ConflictingRecord: the id is on record with other content.
    """
    token, _new = add(
        Token,
        {
            "run_id": run_id,
            "token_id": token_id or new_id(at),
            "row_id": row_id,
            "branch_name": branch_name,
            "step_in_pipeline": step_in_pipeline,
            "created_at": at,
        },
        kind="token",
    )
    return token


def child_id(*, run_id: str, made_by: str, ordinal: int, at: datetime) -> str:
    """The id of a token that an event makes: the same whenever the same event is told.

    A UUID of version 7 in hex whose chance is a hash of `made_by` and whose first bits after the
    moment are the ordinal, so that siblings stand in their order.
    """
    digest = hashlib.sha256(f"{run_id}/{made_by}/{ordinal}".encode()).hexdigest()
    moment = int(at.timestamp() * 1000)
    return f"{moment:012x}7{ordinal >> 2:03x}{8 | ordinal & 3:x}{digest[:15]}"


@transaction.atomic
def fork_token(
    *,
    run_id: str,
    token_id: str,
    branches: Sequence[str],
    at: datetime,
    step_in_pipeline: int | None = None,
    fork_group_id: str | None = None,
) -> list[Token]:
    """Split a token into one child per branch and end it as forked.

    With a group id of the caller's, telling the same fork twice gives the same children.

    Raises:
        ContractViolated: no branch, or one twice.
        NotRecorded, RunMismatch: the token is not there, or is another run's.
        TokenEnded: the token has a final outcome.
        RunEnded: the run has ended.
        ConflictingRecord: the group is on record with other branches.
    """
    if not branches or len(set(branches)) != len(branches):
        raise ContractViolated(f"a fork needs branches, each once: {list(branches)!r:.200}")
    return _divide(
        run_id=run_id,
        token_id=token_id,
        outcome=Outcome.FORKED,
        group_column="fork_group_id",
        group_id=fork_group_id or new_id(at),
        children=[{"branch_name": branch} for branch in branches],
        step_in_pipeline=step_in_pipeline,
        at=at,
    )


@transaction.atomic
def expand_token(
    *,
    run_id: str,
    token_id: str,
    count: int,
    at: datetime,
    step_in_pipeline: int | None = None,
    expand_group_id: str | None = None,
) -> list[Token]:
    """Replace a token by `count` children and end it as expanded.

    With a group id of the caller's, telling the same expansion twice gives the same children.

    Raises:
        ContractViolated: fewer than one child, or more than 10,000.
        NotRecorded, RunMismatch: the token is not there, or is another run's.
        TokenEnded: the token has a final outcome.
        RunEnded: the run has ended.
        ConflictingRecord: the group is on record with another number of children.
    """
    if not 1 <= count <= MAX_CHILDREN:
        raise ContractViolated(f"an expansion into {count} children; 1 to {MAX_CHILDREN} are fine")
    return _divide(
        run_id=run_id,
        token_id=token_id,
        outcome=Outcome.EXPANDED,
        group_column="expand_group_id",
        group_id=expand_group_id or new_id(at),
        children=[{} for _ in range(count)],
        step_in_pipeline=step_in_pipeline,
        at=at,
    )


@transaction.atomic
def coalesce_tokens(
    *,
    run_id: str,
    token_ids: Sequence[str],
    at: datetime,
    step_in_pipeline: int | None = None,
    join_group_id: str | None = None,
) -> Token:
    """Merge tokens of one row into a new one and end each of them as coalesced.

    The order of `token_ids` is the order of the parents. The merged token goes on; it ends by an
    outcome of its own. With a group id of the caller's, telling the same merge twice gives the
    same token.

    Raises:
        ContractViolated: no token, one twice, or tokens of several rows.
        NotRecorded, RunMismatch: a token is not there, or is another run's.
        TokenEnded: a token has a final outcome.
        RunEnded: the run has ended.
        ConflictingRecord: the group is on record with other parents.
    """
    if not token_ids or len(set(token_ids)) != len(token_ids):
        raise ContractViolated(f"a merge needs tokens, each once: {list(token_ids)!r:.200}")
    parents = [reading.one(Token, run_id=run_id, key=token_id) for token_id in token_ids]
    rows = {parent.row_id for parent in parents}
    if len(rows) > 1:
        raise ContractViolated(f"tokens of {len(rows)} rows cannot merge: {sorted(rows)!r:.200}")
    group_id = join_group_id or new_id(at)
    if (held := _merged(run_id, group_id, token_ids)) is not None:
        return held
    # In one order always, so that two merges of the same tokens do not wait for each other.
    for token_id in sorted(token_ids):
        _end(run_id, token_id, Outcome.COALESCED, "join_group_id", group_id, at)
    merged, _new = add(
        Token,
        {
            "run_id": run_id,
            "token_id": child_id(
                run_id=run_id, made_by=f"{token_ids[0]}/{group_id}", ordinal=0, at=at
            ),
            "row_id": rows.pop(),
            "join_group_id": group_id,
            "step_in_pipeline": step_in_pipeline,
            "created_at": at,
        },
        kind="token",
    )
    TokenParent.objects.bulk_create(
        TokenParent(
            run_id=run_id, token_id=merged.token_id, parent_token_id=parent, ordinal=ordinal
        )
        for ordinal, parent in enumerate(token_ids)
    )
    return merged


def get_token(*, run_id: str, token_id: str) -> Token:
    """One token.

    Raises:
        NotRecorded, RunMismatch: it is not there, or is another run's.
    """
    return reading.one(Token, run_id=run_id, key=token_id)


def get_tokens(*, run_id: str, row_id: str) -> list[Token]:
    """Every token that travelled for a row, in order of time.

    Raises:
        NotRecorded, RunMismatch: the row is not there, or is another run's.
    """
    reading.one(Row, run_id=run_id, key=row_id)
    tokens = Token.objects.filter(run_id=run_id, row_id=row_id)
    return list(tokens.order_by("created_at", "token_id"))


def get_tokens_for_run(
    *, run_id: str, after_id: str | None = None, limit: int = 100
) -> list[Token]:
    """A page of tokens by id, behind `after_id`; as fast at the end as at the beginning.

    Raises:
        NotRecorded: there is no such run.
        ValueRefused: the limit is not between 1 and 1,000.
    """
    reading.require_run(run_id)
    tokens = Token.objects.filter(run_id=run_id)
    return reading.page(tokens, order="token_id", after=after_id, limit=limit)


def iter_tokens(*, run_id: str) -> Iterator[Token]:
    """Every token by id, with memory for one page.

    Raises:
        NotRecorded: there is no such run.
    """
    reading.require_run(run_id)
    return reading.stream(Token.objects.filter(run_id=run_id), order="token_id")


def get_token_parents(*, run_id: str, token_id: str) -> list[Token]:
    """The tokens that this one came from, in their order.

    Raises:
        NotRecorded, RunMismatch: the token is not there, or is another run's.
    """
    reading.one(Token, run_id=run_id, key=token_id)
    links = TokenParent.objects.filter(run_id=run_id, token_id=token_id)
    return [link.parent for link in links.select_related("parent").order_by("ordinal")]


def get_child_tokens(*, run_id: str, token_id: str) -> list[Token]:
    """The tokens that came from this one, in their order.

    Raises:
        NotRecorded, RunMismatch: the token is not there, or is another run's.
    """
    reading.one(Token, run_id=run_id, key=token_id)
    links = TokenParent.objects.filter(run_id=run_id, parent_token_id=token_id)
    return [link.token for link in links.select_related("token").order_by("ordinal", "token_id")]


def _divide(
    *,
    run_id: str,
    token_id: str,
    outcome: Outcome,
    group_column: str,
    group_id: str,
    children: list[dict[str, Any]],
    step_in_pipeline: int | None,
    at: datetime,
) -> list[Token]:
    parent = reading.one(Token, run_id=run_id, key=token_id)
    if _is_ended_so(run_id, token_id, outcome, group_column, group_id):
        return _children(run_id, token_id, children)
    # The outcome first: of two that divide one token, the second waits here and is refused.
    _end(run_id, token_id, outcome, group_column, group_id, at)
    made = [
        Token(
            run_id=run_id,
            token_id=child_id(
                run_id=run_id, made_by=f"{token_id}/{group_id}", ordinal=ordinal, at=at
            ),
            row_id=parent.row_id,
            step_in_pipeline=step_in_pipeline,
            created_at=at,
            **{group_column: group_id},
            **child,
        )
        for ordinal, child in enumerate(children)
    ]
    for child in made:
        check(Token, {"branch_name": child.branch_name})
    Token.objects.bulk_create(made)
    TokenParent.objects.bulk_create(
        TokenParent(
            run_id=run_id, token_id=child.token_id, parent_token_id=token_id, ordinal=ordinal
        )
        for ordinal, child in enumerate(made)
    )
    return made


def _end(  # noqa: PLR0917  # an outcome with its group
    run_id: str, token_id: str, outcome: Outcome, group_column: str, group_id: str, at: datetime
) -> None:
    end_token(
        {
            "run_id": run_id,
            "outcome_id": f"out_{new_id(at)}",
            "token_id": token_id,
            "outcome": outcome,
            "is_terminal": True,
            "recorded_at": at,
            group_column: group_id,
        }
    )


def _is_ended_so(
    run_id: str, token_id: str, outcome: Outcome, group_column: str, group_id: str
) -> bool:
    return TokenOutcome.objects.filter(
        run_id=run_id, token_id=token_id, outcome=outcome, **{group_column: group_id}
    ).exists()


def _children(run_id: str, token_id: str, told: list[dict[str, Any]]) -> list[Token]:
    """The children of a division that is told again, if it was this one."""
    held = get_child_tokens(run_id=run_id, token_id=token_id)
    branches = [each.get("branch_name") for each in told]
    if [child.branch_name for child in held] != branches:
        raise ConflictingRecord("division of token", token_id, ["children"])
    return held


def _merged(run_id: str, group_id: str, token_ids: Sequence[str]) -> Token | None:
    """The result of a merge that is told again, if it was this one."""
    ended = TokenOutcome.objects.filter(
        run_id=run_id, token_id__in=token_ids, join_group_id=group_id
    )
    if not ended.exists():
        return None
    child = get_child_tokens(run_id=run_id, token_id=token_ids[0])
    merged = next((each for each in child if each.join_group_id == group_id), None)
    parents = merged and get_token_parents(run_id=run_id, token_id=merged.token_id)
    if not merged or [parent.token_id for parent in parents or ()] != list(token_ids):
        raise ConflictingRecord("merge", group_id, ["parents"])
    return merged
