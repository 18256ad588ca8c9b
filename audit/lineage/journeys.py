"""The distinct paths that the rows of a run took, the most frequent or the rarest first."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Q, Sum

from audit.errors import NotRecorded
from audit.lineage.nodes import NodeFacts, node_facts, node_name
from audit.lineage.runs import RunFacts, describe_run
from audit.models import Node, RunJourney

if TYPE_CHECKING:
    from django.db.models import QuerySet

JOURNEYS_A_PAGE = 50
FREQUENT, RAREST = "frequent", "rarest"
ORDERS = (FREQUENT, RAREST)
NODES_OFFERED = 200


@dataclass(frozen=True, kw_only=True)
class Step:
    """One place on a path: how the last attempt there ended, and what was chosen."""

    node_id: str
    name: str
    status: str
    retried: bool
    choices: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Path:
    """What one token did, or several alike, with how they were made and ended.

    `standing` is the verdict, or what can be told without one; `further` steps are not shown.
    """

    made: str
    branch: str | None
    several: bool
    standing: str
    outcome: str
    sink_name: str | None
    steps: tuple[Step, ...]
    further: int


@dataclass(frozen=True, kw_only=True)
class Journey:
    """One journey: the paths of a row's tokens, and how many rows took it.

    `examples` are the first rows that did, as (index, id); `further` paths are not shown.
    Durations are those of a row, from its first start to its last end, in milliseconds.
    """

    journey_id: str
    standing: str
    rows: int
    retried: bool
    p50_ms: float | None
    p95_ms: float | None
    paths: tuple[Path, ...]
    further: int
    examples: tuple[tuple[int, str], ...]


@dataclass(frozen=True, kw_only=True)
class JourneyFilter:
    """Which journeys are asked for; None means any."""

    order: str = FREQUENT
    node: str | None = None
    outcome: str | None = None
    standing: str | None = None
    retried: bool | None = None

    @property
    def is_on(self) -> bool:
        """Whether anything is filtered at all."""
        return any((self.node, self.outcome, self.standing, self.retried is not None))


@dataclass(frozen=True, kw_only=True)
class JourneysPage:
    """One page of journeys. Of very many only the most frequent and the rarest are `kept`."""

    run: RunFacts
    lines: tuple[Journey, ...]
    kept: int
    matching: int
    matching_rows: int
    next_after: str | None
    nodes: tuple[NodeFacts, ...]


def list_journeys(
    *,
    run_id: str,
    asked: JourneyFilter,
    after: str | None = None,
    limit: int = JOURNEYS_A_PAGE,
) -> JourneysPage:
    """One page of journeys after the journey with the id `after`, in a fixed number of queries.

    A run that is still to be counted has none, and its `run.figures` say so.

    Raises:
        NotRecorded: there is no such run, or no journey `after` in it.
    """
    run = describe_run(run_id=run_id)
    everything = RunJourney.objects.filter(run_id=run_id)
    if run.figures is None:
        everything = everything.none()
    chosen = _matching(everything, asked)
    kept = everything.count()
    tally = chosen.aggregate(matching=Count("journey_id"), rows=Sum("rows"))
    page = chosen
    if after is not None:
        anchor = everything.filter(journey_id=after).first()
        if anchor is None:
            raise NotRecorded("journey", after)
        beyond = "gt" if asked.order == RAREST else "lt"
        page = page.filter(
            Q(**{f"rows__{beyond}": anchor.rows})
            | Q(rows=anchor.rows, first_index__gt=anchor.first_index)
        )
    sign = "" if asked.order == RAREST else "-"
    # No two journeys begin with the same row, so the order has no ties.
    found = list(page.order_by(f"{sign}rows", "first_index")[: limit + 1])
    more, found = len(found) > limit, found[:limit]
    nodes = Node.objects.filter(run_id=run_id).exclude(node_type="source").defer("config_json")
    return JourneysPage(
        run=run,
        lines=tuple(_journey(line) for line in found),
        kept=kept,
        matching=tally["matching"],
        matching_rows=tally["rows"] or 0,
        next_after=found[-1].journey_id if more else None,
        nodes=tuple(node_facts(node) for node in nodes.order_by("node_id")[:NODES_OFFERED]),
    )


def _matching(journeys: QuerySet[RunJourney], asked: JourneyFilter) -> QuerySet[RunJourney]:
    if asked.node is not None:
        journeys = journeys.filter(nodes__contains=[asked.node])
    if asked.outcome is not None:
        journeys = journeys.filter(outcomes__contains=[asked.outcome])
    if asked.standing is not None:
        journeys = journeys.filter(standing=asked.standing)
    if asked.retried is not None:
        journeys = journeys.filter(retried=asked.retried)
    return journeys


def _journey(line: RunJourney) -> Journey:
    paths = tuple(_path(path) for path in json.loads(line.paths_json))
    return Journey(
        journey_id=line.journey_id,
        standing=line.standing,
        rows=line.rows,
        retried=line.retried,
        p50_ms=line.p50_ms,
        p95_ms=line.p95_ms,
        paths=paths,
        further=line.paths_total - len(paths),
        examples=tuple((index, row_id) for index, row_id in json.loads(line.examples_json)),
    )


def _path(told: dict[str, Any]) -> Path:
    steps = tuple(
        Step(
            node_id=node_id,
            name=node_name(node_id),
            status=status,
            retried=retried,
            choices=tuple(choices),
        )
        for node_id, status, retried, choices in told["steps"]
    )
    return Path(
        made=told["made"],
        branch=told["branch"],
        several=told["several"],
        standing=told["standing"],
        outcome=told["outcome"],
        sink_name=told["sink"],
        steps=steps,
        further=told["steps_total"] - len(steps),
    )
