"""Where a run could go on from, and what happened to it as a whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Q

from audit.errors import NotRecorded
from audit.lineage.excerpts import ERROR_LIMIT, Excerpt, excerpt, reading
from audit.lineage.nodes import NodeFacts, read_nodes
from audit.lineage.runs import RunFacts, describe_run
from audit.models import Checkpoint, RunEvent, Token
from audit.vocabulary import RunEventKind

if TYPE_CHECKING:
    from datetime import datetime

CHECKPOINTS_A_PAGE = 100
EVENTS_SHOWN = 100


@dataclass(frozen=True, kw_only=True)
class CheckpointLine:
    """A mark, the token that was written last by then, and how long after the start it was.

    `resumed_at` is when the run went on from it, as far as its first hundred events tell.
    """

    checkpoint: Checkpoint
    token: Token
    node: NodeFacts
    since_start_ms: float
    released: bool
    resumed_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class EventLine:
    """Something that happened to a run as a whole, and what was said of it."""

    kind: str
    recorded_at: datetime
    detail: Excerpt | None


@dataclass(frozen=True, kw_only=True)
class RecoveryPage:
    """A hundred checkpoints in order, and the first hundred events; the counts are of all.

    `newest` is when the last mark was made; None without any.
    """

    run: RunFacts
    lines: tuple[CheckpointLine, ...]
    newest: datetime | None
    total: int
    released: int
    next_after: str | None
    events: tuple[EventLine, ...]
    events_total: int
    resumed: int


def explain_recovery(*, run_id: str, after: str | None = None) -> RecoveryPage:
    """A hundred checkpoints, after the one with the id `after`, in a fixed number of queries.

    Raises:
        NotRecorded: there is no such run, or no checkpoint `after` in it.
    """
    run = describe_run(run_id=run_id)
    everything = Checkpoint.objects.filter(run_id=run_id)
    page = everything
    if after is not None:
        anchor = everything.filter(checkpoint_id=after).first()
        if anchor is None:
            raise NotRecorded("checkpoint", after)
        page = page.filter(
            Q(sequence_number__gt=anchor.sequence_number)
            | Q(sequence_number=anchor.sequence_number, checkpoint_id__gt=after)
        )
    found = list(
        page.defer("aggregation_state_json").order_by("sequence_number", "checkpoint_id")[
            : CHECKPOINTS_A_PAGE + 1
        ]
    )
    more, found = len(found) > CHECKPOINTS_A_PAGE, found[:CHECKPOINTS_A_PAGE]
    events = RunEvent.objects.filter(run_id=run_id)
    released_to = _released_to(run_id)
    shown = list(
        events.defer("detail_json")
        .annotate(**reading("detail_json", limit=ERROR_LIMIT))
        .order_by("recorded_at", "event_id")[:EVENTS_SHOWN]
    )
    return RecoveryPage(
        run=run,
        lines=_lines(run, found, released_to, _resumed(shown)),
        newest=everything.order_by("sequence_number").values_list("created_at", flat=True).last(),
        total=everything.count(),
        released=everything.filter(sequence_number__lte=released_to).count(),
        next_after=found[-1].checkpoint_id if more else None,
        events=tuple(
            EventLine(
                kind=event.kind,
                recorded_at=event.recorded_at,
                detail=excerpt(event, "detail_json"),
            )
            for event in shown
        ),
        events_total=events.count(),
        resumed=events.filter(kind=RunEventKind.RESUMED).count(),
    )


def _lines(
    run: RunFacts,
    found: list[Checkpoint],
    released_to: int,
    resumed: dict[str, datetime],
) -> tuple[CheckpointLine, ...]:
    tokens = {
        token.token_id: token
        for token in Token.objects.filter(
            run_id=run.run_id, token_id__in=[each.token_id for each in found]
        ).select_related("row")
    }
    nodes = read_nodes(run.run_id, (each.node_id for each in found))
    return tuple(
        CheckpointLine(
            checkpoint=each,
            token=tokens[each.token_id],
            node=nodes[each.node_id],
            since_start_ms=(each.created_at - run.started_at) / timedelta(milliseconds=1),
            released=each.sequence_number <= released_to,
            resumed_at=resumed.get(each.checkpoint_id),
        )
        for each in found
    )


def _released_to(run_id: str) -> int:
    """The highest number that was released; -1 where none was. Releases only ever go up."""
    told = (
        RunEvent.objects.filter(run_id=run_id, kind=RunEventKind.CHECKPOINTS_RELEASED)
        .order_by("event_id")
        .values_list("detail_json", flat=True)
        .last()
    )
    number = _detail(told).get("to_sequence_number")
    return number if isinstance(number, int) else -1


def _resumed(events: list[RunEvent]) -> dict[str, datetime]:
    """When the run last went on, by the checkpoint that it went on from."""
    found = {}
    for event in events:
        head = getattr(event, "detail_json_head")  # noqa: B009  # annotated
        from_id = _detail(head).get("checkpoint_id")
        if event.kind == RunEventKind.RESUMED and isinstance(from_id, str):
            found[from_id] = event.recorded_at
    return found


def _detail(told: str | None) -> dict[str, Any]:
    """What an event says; nothing where it is no JSON object."""
    try:
        detail = json.loads(told or "{}")
    except (ValueError, RecursionError):
        return {}
    return detail if isinstance(detail, dict) else {}
