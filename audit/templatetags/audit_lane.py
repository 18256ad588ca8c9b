"""The way of one token as a lane: what made it, each step once, how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from django import template

from audit.templatetags.audit_status import LOOKS, Look
from audit.vocabulary import NodeStateStatus

if TYPE_CHECKING:
    from audit.lineage import TokenStory
    from audit.lineage.visits import Visit

register = template.Library()

STEPS_SHOWN = 40


@dataclass(frozen=True, kw_only=True)
class LaneStep:
    """The last attempt at one step; `place` is its line in the table of visits."""

    visit: Visit
    place: int
    look: Look


@dataclass(frozen=True, kw_only=True)
class Lane:
    """The steps of a token, how many more there are, and the look of its end."""

    steps: tuple[LaneStep, ...]
    folded: int
    end: Look


@register.simple_tag
def lane_of(story: TokenStory) -> Lane:
    """Fold the attempts of each step into one cell. Costs no query."""
    places = enumerate(story.visits, start=1)
    steps = [list(group)[-1] for _, group in groupby(places, key=_step)]
    ended = story.run.completed_at is not None
    verdict = story.verdict
    return Lane(
        steps=tuple(
            LaneStep(visit=visit, place=place, look=_look(visit, run_has_ended=ended))
            for place, visit in steps[:STEPS_SHOWN]
        ),
        folded=max(0, len(steps) - STEPS_SHOWN),
        end=LOOKS["outcome"][verdict.outcome if verdict else ""],
    )


def _step(numbered: tuple[int, Visit]) -> tuple[Any, ...]:
    visit = numbered[1]
    return visit.step, visit.node.node_id


def _look(visit: Visit, *, run_has_ended: bool) -> Look:
    looks = LOOKS["state"]
    if visit.status == NodeStateStatus.COMPLETED and visit.routes:
        return (
            Look(family="other", glyph="away", word="routed")
            if _went_away(visit)
            else looks[visit.status]
        )
    if visit.status == NodeStateStatus.COMPLETED and visit.attempt > 1:
        return looks["retried"]
    if visit.status == NodeStateStatus.OPEN and run_has_ended:
        return looks["never_ended"]
    return looks[visit.status]


def _went_away(visit: Visit) -> bool:
    return any(route.node.kind == "sink" for route in visit.routes)
