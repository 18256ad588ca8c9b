"""The grade of a run that has ended: it may only fall, after a purge."""

from __future__ import annotations

from audit.models import Run
from audit.recorder import reading
from audit.vocabulary import ReproducibilityGrade


def lower_grade(*, run_id: str) -> tuple[str, str] | None:
    """Say that a run can no longer be replayed; what it was and is, or None where nothing changes.

    Only a run that could be replayed from recordings falls: one that can be recomputed needs none,
    and one that was never graded promised nothing. Joins the caller's transaction, which has to
    delete what is needed for a replay.

    Raises:
        NotRecorded: there is no such run.
    """
    run = reading.one(Run, run_id=run_id, key=run_id, lock=True)
    before, after = run.reproducibility_grade, ReproducibilityGrade.ATTRIBUTABLE_ONLY
    if before != ReproducibilityGrade.REPLAY_REPRODUCIBLE:
        return None
    run.reproducibility_grade = after
    run.save(update_fields=["reproducibility_grade"])
    return str(before), str(after)
