"""What tells the way of one token from another's: its path, how bad it was, a name for both."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from audit.lineage.closure_facts import PathStep
from audit.vocabulary import NodeStateStatus, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from audit.lineage.closure_facts import TokenFacts, VisitFacts

# How bad a way was, worst first: siblings stand in this order.
FAILED, QUARANTINED, AWAY, RETRIED, NORMAL = range(5)

FAILED_STATUSES = (NodeStateStatus.FAILED, NodeStateStatus.REJECTED)


def attempts_by_place(
    visits: Iterable[VisitFacts],
) -> list[tuple[VisitFacts, ...]]:
    """The attempts at each node and step, in the order in which they were made."""
    places: dict[tuple[int, str], list[VisitFacts]] = {}
    for visit in visits:
        places.setdefault((visit.step_index, visit.node_id), []).append(visit)
    return [tuple(attempts) for attempts in places.values()]


def path_of(visits: Iterable[VisitFacts]) -> tuple[PathStep, ...]:
    """Each place once, as its last attempt left it."""
    return tuple(
        PathStep(
            node_id=last.node_id,
            step_index=last.step_index,
            status=last.status,
            retried=last.attempt > 0,
            label=", ".join(route.label for route in last.routes) or None,
        )
        for *_, last in attempts_by_place(visits)
    )


def severity_of(token: TokenFacts, path: Sequence[PathStep]) -> int:
    """How bad the way of a token was, from its verdict, else from its last visit."""
    if token.outcome == Outcome.FAILED:
        return FAILED
    if token.outcome == Outcome.QUARANTINED:
        return QUARANTINED
    if not token.is_terminal and path and path[-1].status in FAILED_STATUSES:
        return FAILED
    if token.outcome == Outcome.ROUTED:
        return AWAY
    return RETRIED if any(step.retried for step in path) else NORMAL


def named(parts: object) -> str:
    """Twelve digits that name something made of these parts, the same in every request."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def span_ms(visits: Sequence[VisitFacts]) -> float | None:
    """From the first start to the last end of these visits, in milliseconds."""
    ends: list[datetime] = [visit.completed_at for visit in visits if visit.completed_at]
    if not ends:
        return None
    start = min(visit.started_at for visit in visits)
    return (max(ends) - start).total_seconds() * 1000
