"""The page of one node of a pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from audit import lineage
from audit.traffic import DURATION_BINS
from audit.views.doors import choice, page, text
from audit.views.keys import below
from audit.vocabulary import NodeStateStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import HttpRequest, HttpResponse

    from audit.lineage import NodeStory
    from audit.lineage.node_story import NodeVisit

_TALLEST = 60
_BAR = 48


@page("status", "attempt", "after", reveals=True)
def node(request: HttpRequest, run_id: str, node_id: str) -> HttpResponse:
    """One node: its configuration, what came and went, how long it took, its visits."""
    status = choice(request, "status", tuple(NodeStateStatus.values))
    attempt = choice(request, "attempt", lineage.ATTEMPTS)
    after = text(request, "after")
    story = lineage.explain_node(
        run_id=run_id, node_id=node_id, status=status, attempt=attempt, after=after
    )
    kept = {"status": status, "attempt": attempt}
    here = reverse("audit:run", kwargs={"run_id": run_id}) + "states/"

    def linked(visits: Sequence[NodeVisit]) -> list[tuple[str, NodeVisit]]:
        return [(below(here, visit.state_id), visit) for visit in visits]

    bars = _bars(story)
    context = {
        "story": story,
        "run": story.run,
        "node": story.node,
        "bars": bars,
        "bars_width": _BAR * len(bars) + 40,
        "visits": linked(story.visits),
        "slowest": linked(story.slowest),
        "failures": [(below(here, one.example.state_id), one) for one in story.failures],
        "status": status,
        "attempt": attempt,
        "filtered": bool(status or attempt or after),
        "statuses": NodeStateStatus.choices,
        "attempts": lineage.ATTEMPTS,
        "next": _next(story.next_after, kept),
        "seal": lineage.read_record_seal(run_id=run_id, record_type="node", key=node_id),
        "now": timezone.now(),
    }
    return render(request, "audit/node.html", context)


def _bars(story: NodeStory) -> list[dict[str, float]]:
    """The histogram from its first to its last bin that is not empty."""
    counts = story.traffic.durations if story.traffic else ()
    full = [at for at, visits in enumerate(counts) if visits]
    if not full:
        return []
    most = max(counts)
    bounds = (0, *DURATION_BINS)
    return [
        {
            "from": bounds[at],
            "visits": counts[at],
            "height": round(_TALLEST * counts[at] / most, 1),
            "x": _BAR * place,
            "middle": _BAR * place + 22,
            "y": round(_TALLEST - _TALLEST * counts[at] / most, 1),
        }
        for place, at in enumerate(range(full[0], full[-1] + 1))
    ]


def _next(after: str | None, kept: dict[str, str | None]) -> str | None:
    if after is None:
        return None
    chosen = {name: word for name, word in kept.items() if word}
    return "?" + urlencode(chosen | {"after": after})
