"""Source records that validation refused; most of them never became a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.lineage.bodies import read_errors
from audit.lineage.excerpts import ERROR_LIMIT, Excerpt, excerpt, reading
from audit.lineage.nodes import node_name
from audit.models import ValidationError

if TYPE_CHECKING:
    from datetime import datetime

REFUSALS_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """One record that failed validation, and where it was sent."""

    error_id: str
    node_id: str | None
    node_name: str | None
    row_hash: str
    # None where it is kept as a payload that is not there.
    error: Excerpt | None
    schema_mode: str
    destination: str
    created_at: datetime


def refusals_of(*, run_id: str, row_hash: str | None = None) -> tuple[tuple[Refusal, ...], bool]:
    """The first twenty refusals of a run, or of one content in it; and whether there are more.

    Two queries. Records are linked to rows by content only: equal content, not the same record.
    """
    refused = ValidationError.objects.filter(run_id=run_id)
    if row_hash is not None:
        refused = refused.filter(row_hash=row_hash)
    found = list(
        refused.defer("row_data_json", "error")
        .annotate(**reading("error", limit=ERROR_LIMIT))
        .order_by("run_id", "error_id")[: REFUSALS_SHOWN + 1]
    )
    shown = found[:REFUSALS_SHOWN]
    kept = read_errors(refs=(record.error_ref for record in shown))
    return tuple(_facts(record, kept) for record in shown), len(found) > REFUSALS_SHOWN


def _facts(record: ValidationError, kept: dict[str | None, Excerpt | None]) -> Refusal:
    return Refusal(
        error_id=record.error_id,
        node_id=record.node_id,
        node_name=node_name(record.node_id) if record.node_id is not None else None,
        row_hash=record.row_hash,
        error=excerpt(record, "error") or kept.get(record.error_ref),
        schema_mode=record.schema_mode,
        destination=record.destination,
        created_at=record.created_at,
    )
