"""Source records that validation refused; most of them never became a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Exists, OuterRef

from audit.lineage.bodies import read_words_and_errors
from audit.lineage.excerpts import ERROR_LIMIT, Excerpt, excerpt, reading
from audit.lineage.nodes import node_name
from audit.models import Token, ValidationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from django.db.models import QuerySet

    from audit.models import Row

REFUSALS_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """One record that failed validation, and where it was sent.

    `row_id` is None where no row is on record for it; `at_the_door` where one is, without token.
    """

    error_id: str
    row_id: str | None
    at_the_door: bool
    node_id: str | None
    node_name: str | None
    row_hash: str
    # None where it is kept as a payload that is not there.
    error: Excerpt | None
    schema_mode: str
    destination: str
    created_at: datetime


def refusals_of(*, run_id: str) -> tuple[tuple[Refusal, ...], bool]:
    """The first twenty refusals of a run; and whether there are more. Two queries."""
    found = list(_read(ValidationError.objects.filter(run_id=run_id)))
    (shown,) = _told(found[:REFUSALS_SHOWN])
    return shown, len(found) > REFUSALS_SHOWN


def refusals_about(*, row: Row) -> tuple[tuple[Refusal, ...], tuple[Refusal, ...]]:
    """The first twenty refusals of this very row, and those of other records of its content.

    Equal content is not the same record. Two queries. Older releases kept no row beside a
    refusal: what they recorded is among the others, even where it was this row.
    """
    of_run = ValidationError.objects.filter(run_id=row.run_id)
    its_own = of_run.filter(row_id=row.row_id)
    same = of_run.filter(row_hash=row.source_data_hash).exclude(row_id=row.row_id)
    found = sorted(_read(its_own).union(_read(same), all=True), key=lambda one: one.error_id)
    kinds = [
        [one for one in found if (one.row_id == row.row_id) is its][:REFUSALS_SHOWN]
        for its in (True, False)
    ]
    own, others = _told(*kinds)
    return own, others


def _read(refused: QuerySet[ValidationError]) -> QuerySet[ValidationError]:
    tokens = Token.objects.filter(run_id=OuterRef("run_id"), row_id=OuterRef("row_id"))
    return (
        refused.defer("row_data_json", "error")
        .annotate(**reading("error", limit=ERROR_LIMIT), travelled=Exists(tokens))
        .order_by("run_id", "error_id")[: REFUSALS_SHOWN + 1]
    )


def _told(*kinds: Sequence[ValidationError]) -> tuple[tuple[Refusal, ...], ...]:
    """Records of several kinds with the errors kept as payloads, twenty of each. One query."""
    _words, kept = read_words_and_errors(
        words=(), errors=[[record.error_ref for record in kind] for kind in kinds]
    )
    return tuple(tuple(_facts(record, kept) for record in kind) for kind in kinds)


def _facts(record: Any, kept: dict[str | None, Excerpt | None]) -> Refusal:
    return Refusal(
        error_id=record.error_id,
        row_id=record.row_id,
        at_the_door=record.row_id is not None and not record.travelled,
        node_id=record.node_id,
        node_name=node_name(record.node_id) if record.node_id is not None else None,
        row_hash=record.row_hash,
        error=excerpt(record, "error") or kept.get(record.error_ref),
        schema_mode=record.schema_mode,
        destination=record.destination,
        created_at=record.created_at,
    )
