"""One visit picked out of a lineage, with its other attempts and its neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from audit.errors import NotRecorded
from audit.lineage.visits import read_visits
from audit.models import NodeState, Token

if TYPE_CHECKING:
    from audit.lineage.visits import Visit


@dataclass(frozen=True, kw_only=True)
class PickedVisit:
    """A visit in full. `since_ms` counts from the first visit of its token, in milliseconds."""

    token: Token
    visit: Visit
    attempts: tuple[Visit, ...]
    before: Visit | None
    after: Visit | None
    since_ms: float


def pick_visit(*, run_id: str, state_id: str) -> PickedVisit:
    """Read a visit and those around it in a fixed number of queries.

    Raises:
        NotRecorded: there is no such visit, or it is not among the first of its token.
    """
    token_id = (
        NodeState.objects.filter(run_id=run_id, state_id=state_id)
        .values_list("token_id", flat=True)
        .first()
    )
    if token_id is None:
        raise NotRecorded("visit", state_id)
    token = Token.objects.select_related("row").get(run_id=run_id, token_id=token_id)
    shown = read_visits(token=token).shown
    visit = next((one for one in shown if one.state_id == state_id), None)
    if visit is None:
        raise NotRecorded("visit among the first of its token", state_id)
    place = (visit.step, visit.node.node_id)
    attempts = tuple(one for one in shown if (one.step, one.node.node_id) == place)
    first, last = shown.index(attempts[0]), shown.index(attempts[-1])
    return PickedVisit(
        token=token,
        visit=visit,
        attempts=attempts,
        before=shown[first - 1] if first else None,
        after=shown[last + 1] if last + 1 < len(shown) else None,
        since_ms=(visit.started_at - shown[0].started_at) / timedelta(milliseconds=1),
    )
