"""What went wrong in a run, by class: kind, node, and what the error says but for its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connection

from audit import error_classes
from audit.lineage.bodies import read_errors
from audit.lineage.excerpts import ERROR_LIMIT, Excerpt, excerpt, reading
from audit.lineage.nodes import NodeFacts, read_nodes
from audit.lineage.runs import RunFacts, describe_run
from audit.models import (
    Call,
    NodeState,
    Operation,
    RunSummary,
    TransformError,
    ValidationError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from django.db import models

# Records of a table that are looked through; what lies behind them is said not to be.
RECORDS_READ = 300_000

_LOOKED_THROUGH = """
SELECT EXISTS (SELECT FROM validation_errors WHERE run_id = %(run)s OFFSET %(records)s),
       EXISTS (SELECT FROM transform_errors WHERE run_id = %(run)s OFFSET %(records)s),
       EXISTS (SELECT FROM node_states WHERE run_id = %(run)s OFFSET %(records)s),
       EXISTS (SELECT FROM calls WHERE run_id = %(run)s OFFSET %(records)s),
       EXISTS (SELECT FROM operations WHERE run_id = %(run)s OFFSET %(records)s)
"""


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Where the errors of one kind are recorded."""

    kind: str
    model: type[models.Model]
    key: str
    text: str
    ref: str


_SOURCES = (
    _Source(
        kind="validation",
        model=ValidationError,
        key="error_id",
        text="error",
        ref="error_ref",
    ),
    _Source(
        kind="transform",
        model=TransformError,
        key="error_id",
        text="error_details_json",
        ref="error_details_ref",
    ),
    _Source(
        kind="visit",
        model=NodeState,
        key="state_id",
        text="error_json",
        ref="error_ref",
    ),
    _Source(kind="call", model=Call, key="call_id", text="error_json", ref="error_ref"),
    _Source(
        kind="operation",
        model=Operation,
        key="operation_id",
        text="error_message",
        ref="error_ref",
    ),
)


@dataclass(frozen=True, kw_only=True)
class ClassOfErrors:
    """Errors alike, and one of them; `text` is None where its contents are not there.

    `rows` they befell; 0 where no row is recorded beside them.
    """

    node: NodeFacts | None
    records: int
    rows: int
    first_at: datetime
    last_at: datetime
    example: Any
    text: Excerpt | None


@dataclass(frozen=True, kw_only=True)
class KindOfErrors:
    """The most frequent classes of one kind, and how many classes and records there are.

    `cut`: the table has more records than were looked through.
    """

    kind: str
    classes: tuple[ClassOfErrors, ...]
    classes_total: int
    records: int
    cut: bool


@dataclass(frozen=True, kw_only=True)
class ErrorsPage:
    """Everything that went wrong in a run, kind by kind; kinds without errors are among them.

    `counted_at` is None where it was counted just now.
    """

    run: RunFacts
    kinds: tuple[KindOfErrors, ...]
    counted_at: datetime | None

    @property
    def records(self) -> int:
        """How many errors were found."""
        return sum(kind.records for kind in self.kinds)


def list_errors(*, run_id: str) -> ErrorsPage:
    """The errors of a run by class, in a fixed number of queries.

    As the summary keeps them, where the run has one; else they are counted now, and of each table
    300,000 records are looked through, of a longer one those that lie first.

    Raises:
        NotRecorded: there is no such run.
    """
    run = describe_run(run_id=run_id)
    kept = (
        RunSummary.objects.current()
        .filter(run_id=run_id)
        .values_list("errors_json", "computed_at")
        .first()
    )
    cut = dict.fromkeys(error_classes.KINDS, False)
    if kept is not None:
        found = error_classes.read(kept[0])
    else:
        found = error_classes.count(run_id=run_id, records=RECORDS_READ)
        with connection.cursor() as cursor:
            cursor.execute(_LOOKED_THROUGH, {"run": run_id, "records": RECORDS_READ})
            cut = dict(zip(error_classes.KINDS, cursor.fetchone(), strict=True))
    named = {
        told.node_id for one in found.values() for told in one.told if told.node_id is not None
    }
    nodes = read_nodes(run_id, named)
    return ErrorsPage(
        run=run,
        counted_at=kept[1] if kept is not None else None,
        kinds=tuple(
            KindOfErrors(
                kind=source.kind,
                classes=_classes(source, run_id, found[source.kind].told, nodes),
                classes_total=found[source.kind].classes,
                records=found[source.kind].records,
                cut=cut[source.kind],
            )
            for source in _SOURCES
        ),
    )


def _classes(
    source: _Source,
    run_id: str,
    told: Sequence[error_classes.ErrorClass],
    nodes: Mapping[str, NodeFacts],
) -> tuple[ClassOfErrors, ...]:
    examples = {
        getattr(record, source.key): record
        for record in source.model._default_manager.filter(
            run_id=run_id, **{f"{source.key}__in": [one.example for one in told]}
        )
        .only("run_id", source.key, source.ref, *_LINKS[source.kind])
        .annotate(**reading(source.text, limit=ERROR_LIMIT))
    }
    kept = read_errors(refs=(getattr(record, source.ref) for record in examples.values()))
    return tuple(
        ClassOfErrors(
            node=nodes.get(one.node_id or ""),
            records=one.records,
            rows=one.rows,
            first_at=one.first_at,
            last_at=one.last_at,
            example=examples[one.example],
            text=excerpt(examples[one.example], source.text)
            or kept.get(getattr(examples[one.example], source.ref)),
        )
        for one in told
    )


# What the page of an example is found by.
_LINKS: dict[str, tuple[str, ...]] = {
    "validation": ("row_id", "destination"),
    "transform": ("token_id", "state_id", "destination"),
    "visit": ("token_id",),
    "call": ("state_id",),
    "operation": ("operation_type",),
}
