"""Why visits failed, in a line each, for the lanes that are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models.functions import Left

from audit.lineage.bodies import read_errors
from audit.lineage.contents import are_revealed
from audit.lineage.excerpts import headline
from audit.lineage.signatures import FAILED_STATUSES, QUARANTINED
from audit.models import NodeState

if TYPE_CHECKING:
    from audit.lineage.lanes import Lanes

_READ = 4_000


def read_headlines(*, run_id: str, lanes: Lanes) -> dict[str, str]:
    """What the failed visits of these lanes said, by state; nothing while contents are withheld.

    Two queries.
    """
    if not are_revealed():
        return {}
    failed = [
        cell.state_id
        for lane in lanes.lanes
        if lane.severity <= QUARANTINED
        for cell in (*lane.cells, lane.ending.cell)
        if cell is not None and cell.state_id and cell.status in FAILED_STATUSES
    ]
    found = NodeState.objects.filter(run_id=run_id, state_id__in=failed)
    texts: dict[str, str | None] = {}
    refs: dict[str, str | None] = {}
    for state in found.annotate(head=Left("error_json", _READ)).only("error_ref").order_by("pk"):
        texts[state.state_id], refs[state.state_id] = state.head, state.error_ref
    kept = read_errors(refs=[refs[key] for key, text in texts.items() if text is None])
    said = {}
    for key, text in texts.items():
        error = kept.get(refs[key])
        if text is not None:
            said[key] = headline(text)
        elif error is not None:
            said[key] = error.headline
    return said
