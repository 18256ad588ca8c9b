"""What was found: about a run by code, about single records, and which token a record is of."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Min, Sum

from audit.evidence.records import BY_NAME
from audit.models import Finding, NodeState, RoutingEvent, TokenOutcome, TransformError
from audit.vocabulary import FindingLevel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from django.db import models

KEYS_SHOWN = 5
READ_FOR_A_RUN = 2000
ABOUT_RECORDS_SHOWN = 50
_TYPES = {kind.table: name for name, kind in BY_NAME.items()}

# Tables whose records have no page of their own, and the way to the token that has one.
_OF_A_TOKEN: dict[str, tuple[models.Manager[Any], str, str]] = {
    "node_states": (NodeState.objects, "state_id", "token_id"),
    "token_outcomes": (TokenOutcome.objects, "outcome_id", "token_id"),
    "routing_events": (RoutingEvent.objects, "event_id", "state__token_id"),
    "transform_errors": (TransformError.objects, "error_id", "token_id"),
}


@dataclass(frozen=True, kw_only=True)
class FindingLine:
    """One finding; `token_id` is the token whose page shows the record, if there is one.

    `record_type` is given where the key is that of a sealed record, which has a page of its proof.
    """

    code: str
    level: str
    table_name: str
    record_key: str
    detail: str
    token_id: str | None = None
    record_type: str | None = None


@dataclass(frozen=True, kw_only=True)
class FindingGroup:
    """All findings of one code about one table: how many records, and the first of them."""

    code: str
    level: str
    table_name: str
    occurrences: int
    first: tuple[FindingLine, ...]

    @property
    def further(self) -> int:
        """How many records are not among the first."""
        return self.occurrences - len(self.first)


def group_findings(*, run_id: str) -> tuple[FindingGroup, ...]:
    """The findings of a run by code, errors first, in at most six queries."""
    about = Finding.objects.filter(run_id=run_id)
    groups = (
        about.values("code", "level", "table_name")
        .annotate(records=Sum("occurrences"), first_id=Min("finding_id"))
        .order_by()
    )
    first: dict[tuple[str, str, str], list[Finding]] = defaultdict(list)
    # Errors first, so that the cap can only hide habits of an era.
    for finding in about.exclude(record_key="").order_by("level", "code", "finding_id")[
        :READ_FOR_A_RUN
    ]:
        kind = first[finding.code, finding.level, finding.table_name]
        if len(kind) < KEYS_SHOWN:
            kind.append(finding)
    tokens = _tokens_of(run_id, (finding for kind in first.values() for finding in kind))
    return tuple(
        FindingGroup(
            code=group["code"],
            level=group["level"],
            table_name=group["table_name"],
            occurrences=group["records"],
            first=tuple(
                _line(finding, tokens)
                for finding in first[group["code"], group["level"], group["table_name"]]
            ),
        )
        for group in sorted(
            groups, key=lambda group: (group["level"] != FindingLevel.ERROR, group["code"])
        )
    )


def findings_about(*, run_id: str, keys: Sequence[str]) -> tuple[FindingLine, ...]:
    """What was found about these records, errors first, the first fifty. One query."""
    about = Finding.objects.filter(run_id=run_id, record_key__in=keys)
    ordered = about.order_by("level", "code", "finding_id")
    return tuple(_line(finding, {}) for finding in ordered[:ABOUT_RECORDS_SHOWN])


def _line(finding: Finding, tokens: dict[tuple[str, str], str]) -> FindingLine:
    return FindingLine(
        code=finding.code,
        level=finding.level,
        table_name=finding.table_name,
        record_key=finding.record_key,
        detail=finding.detail,
        token_id=tokens.get((finding.table_name, finding.record_key)),
        record_type=_TYPES.get(finding.table_name) if finding.code.startswith("SEAL_") else None,
    )


def _tokens_of(run_id: str, findings: Iterable[Finding]) -> dict[tuple[str, str], str]:
    keys: dict[str, set[str]] = defaultdict(set)
    for finding in findings:
        keys[finding.table_name].add(finding.record_key)
    tokens = {("tokens", key): key for key in keys.get("tokens", ())}
    for table, (records_of, id_column, way) in _OF_A_TOKEN.items():
        if table in keys:
            records = records_of.filter(**{"run_id": run_id, f"{id_column}__in": keys[table]})
            tokens |= {(table, key): token for key, token in records.values_list(id_column, way)}
    return tokens
