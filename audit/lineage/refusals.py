"""Source records that validation refused; most of them never became a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Exists, OuterRef

from audit.lineage.bodies import read_errors
from audit.lineage.excerpts import ERROR_LIMIT, Excerpt, excerpt, reading
from audit.lineage.nodes import node_name
from audit.models import Token, ValidationError

if TYPE_CHECKING:
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
    return _told(ValidationError.objects.filter(run_id=run_id))


def refusals_about(*, row: Row) -> tuple[tuple[Refusal, ...], tuple[Refusal, ...]]:
    """The first twenty refusals of this very row, and those of other records of its content.

    Equal content is not the same record. Four queries. Older releases kept no row beside a
    refusal: what they recorded is among the others, even where it was this row.
    """
    of_run = ValidationError.objects.filter(run_id=row.run_id)
    own, _ = _told(of_run.filter(row_id=row.row_id))
    same = of_run.filter(row_hash=row.source_data_hash).exclude(row_id=row.row_id)
    return own, _told(same)[0]


def _told(refused: QuerySet[ValidationError]) -> tuple[tuple[Refusal, ...], bool]:
    tokens = Token.objects.filter(run_id=OuterRef("run_id"), row_id=OuterRef("row_id"))
    found = list(
        refused.defer("row_data_json", "error")
        .annotate(**reading("error", limit=ERROR_LIMIT), travelled=Exists(tokens))
        .order_by("run_id", "error_id")[: REFUSALS_SHOWN + 1]
    )
    shown = found[:REFUSALS_SHOWN]
    kept = read_errors(refs=(record.error_ref for record in shown))
    return tuple(_facts(record, kept) for record in shown), len(found) > REFUSALS_SHOWN


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
