"""Soft deletion of runs: lists do not show them, and nothing is deleted. It is not erasure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import transaction

from audit.errors import NotRecorded, RetentionRefused
from audit.models import Run, RunHiding

if TYPE_CHECKING:
    from datetime import datetime

RESTORABLE = timedelta(days=30)


@transaction.atomic
def hide_run(*, run_id: str, reason: str, by: int, at: datetime) -> RunHiding:
    """Take a run off the lists; for thirty days that can be undone.

    Its records, payloads, proofs and holds stay as they are, and its page can still be opened.

    Raises:
        NotRecorded: there is no such run.
        RetentionRefused: it is hidden already, or no reason is given.
    """
    if not reason.strip():
        raise RetentionRefused("hiding a run has a reason")
    if not Run.objects.filter(run_id=run_id).exists():
        raise NotRecorded("run", run_id)
    if RunHiding.objects.in_effect().filter(run_id=run_id).exists():
        raise RetentionRefused(f"run {run_id} is hidden already")
    return RunHiding.objects.create(
        run_id=run_id,
        reason=reason.strip(),
        hidden_by=by,
        hidden_at=at,
        restorable_until=at + RESTORABLE,
    )


def restore_run(*, run_id: str, by: int, at: datetime) -> RunHiding:
    """Show a run again.

    Raises:
        NotRecorded: no such run is hidden.
        RetentionRefused: the time for that is over.
    """
    hiding = RunHiding.objects.in_effect().filter(run_id=run_id).first()
    if hiding is None:
        raise NotRecorded("hidden run", run_id)
    if at > hiding.restorable_until:
        raise RetentionRefused(
            f"run {run_id} could be restored until {hiding.restorable_until:%Y-%m-%d}"
        )
    hiding.restored_by, hiding.restored_at = by, at
    hiding.save(update_fields=["restored_by", "restored_at"])
    return hiding
