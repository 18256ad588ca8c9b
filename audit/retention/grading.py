"""What a purge does to the reproducibility of a run: told in the transaction that deletes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.models import RunGrade
from audit.recorder.grades import lower_grade

if TYPE_CHECKING:
    from datetime import datetime


def lower(*, run_id: str, plan_id: int, at: datetime) -> RunGrade | None:
    """Record that a run lost what a replay needs; None where its grade does not change by that.

    Joins the caller's transaction.

    Raises:
        NotRecorded: there is no such run.
    """
    changed = lower_grade(run_id=run_id)
    if changed is None:
        return None
    before, after = changed
    return RunGrade.objects.create(
        run_id=run_id,
        change_id=f"{plan_id:012}",
        changed_at=at,
        grade_before=before,
        grade_after=after,
        reason="recorded answers of calls were purged",
        plan_id=plan_id,
    )
