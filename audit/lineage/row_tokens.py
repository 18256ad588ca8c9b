"""The one token of a row that an answer about the row can rest on, if there is one."""

from __future__ import annotations

from django.db.models import OuterRef, Subquery

from audit.errors import NotRecorded, TokenAmbiguous
from audit.lineage.absent import refuse
from audit.models import Token, TokenOutcome
from audit.vocabulary import Outcome

CANDIDATES_TOLD = 50
# They live on in the tokens that they became.
_WENT_ON = (Outcome.FORKED, Outcome.EXPANDED, Outcome.COALESCED)


def token_for_row(*, run_id: str, row_id: str, sink: str | None = None) -> str:
    """The token in which a row ended, or ended at this sink. At most three queries.

    A token that became others is no end; one without a verdict is.

    Raises:
        TokenAmbiguous: it ended in several; the first fifty are named, and all are counted.
        NotRecorded: there is no such row, or none of its tokens ended there.
        RunMismatch: the row belongs to another run.
    """
    counts = TokenOutcome.objects.filter(run_id=run_id, token_id=OuterRef("token_id")).order_by(
        "-is_terminal", "-recorded_at", "-outcome_id"
    )
    ends = (
        Token.objects.filter(run_id=run_id, row_id=row_id)
        .annotate(
            outcome=Subquery(counts.values("outcome")[:1]),
            sink=Subquery(counts.values("sink_name")[:1]),
        )
        .exclude(outcome__in=_WENT_ON)
    )
    if sink is not None:
        ends = ends.filter(sink=sink)
    found = list(
        ends.order_by("created_at", "token_id").values_list(
            "token_id", "branch_name", "outcome", "sink"
        )[: CANDIDATES_TOLD + 1]
    )
    if len(found) == 1:
        return str(found[0][0])
    if found:
        told = [
            {"token_id": key, "branch": branch, "outcome": outcome, "sink": where}
            for key, branch, outcome, where in found[:CANDIDATES_TOLD]
        ]
        total = len(found) if len(found) <= CANDIDATES_TOLD else ends.count()
        raise TokenAmbiguous(row_id, told, total=total)
    refuse("row", row_id, run_id=run_id)
    where = f"row {row_id}" if sink is None else f"row {row_id} at sink {sink}"
    raise NotRecorded("token of", where)
