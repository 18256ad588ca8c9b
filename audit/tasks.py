"""Work in the background. The database knows what is due; a message only rings the bell.

`run_x` does the work of one call of a room or writer; `enqueue_x` rings for it. A bell that
nobody hears is rung again by the sweeper, so losing the broker costs seconds and never work.
"""

from __future__ import annotations

import logging
from typing import Any

from celery import shared_task
from django.utils import timezone
from kombu.exceptions import OperationalError

from audit import summaries

logger = logging.getLogger(__name__)

_AT_A_TIME = 100


@shared_task  # type: ignore[untyped-decorator]  # Celery has no types
def run_summary(run_id: str) -> None:
    """Compute the figures of one run that has ended, unless another bell was heard before."""
    summaries.refresh_if_due(run_id=run_id, at=timezone.now())


def enqueue_summary(run_id: str) -> None:
    """Ring for the figures of a run."""
    _ring(run_summary, run_id)


def sweep() -> int:
    """Ring for everything that is due; return how many bells that were."""
    due = summaries.due(limit=_AT_A_TIME)
    for run_id in due:
        enqueue_summary(run_id)
    return len(due)


def _ring(task: Any, *arguments: str) -> None:
    try:
        task.apply_async(arguments, retry=False)
    except OperationalError as error:
        logger.warning("%s was not rung for: %s The sweeper rings again.", task.name, error)
