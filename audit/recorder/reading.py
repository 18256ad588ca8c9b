"""How records are asked for: one of a run, a page, or all of them without growing memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from django.db import models

from audit.errors import NotRecorded, ValueRefused
from audit.models import Run
from audit.recorder.writing import check, key_of, refuse_unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

M = TypeVar("M", bound=models.Model)

MAX_PAGE = 1_000


def one(model: type[M], *, run_id: str, key: str, lock: bool = False) -> M:
    """One record of a run; with `lock`, held against others until the transaction ends.

    Raises:
        NotRecorded, RunMismatch: it is not there, or is another run's.
        ValueRefused: this cannot be an id.
    """
    column = key_of(model)[-1]
    check(model, {"run_id": run_id, column: key})
    records = model._default_manager.filter(**{"run_id": run_id, column: key})
    if lock:
        records = records.select_for_update(no_key=True)
    found = records.first() if not lock else next(iter(records), None)
    if found is None:
        refuse_unknown(model, run_id=run_id, key=key)
        raise AssertionError  # refuse_unknown always raises
    return found


def require_run(run_id: str) -> None:
    """Refuse a run that nobody recorded: an empty answer would look like an empty run."""
    if not Run.objects.filter(run_id=run_id).exists():
        raise NotRecorded("run", run_id)


def page(records: models.QuerySet[M], *, order: str, after: object, limit: int) -> list[M]:
    """At most `limit` records behind the one whose `order` is `after`; by index, at any depth.

    Raises:
        ValueRefused: the limit is not between 1 and 1,000.
    """
    limit = checked_limit(limit)
    if after is not None:
        records = records.filter(**{f"{order}__gt": after})
    return list(records.order_by("run_id", order)[:limit])


def checked_limit(limit: int) -> int:
    """The limit of a page, if it is one.

    Raises:
        ValueRefused: it is not between 1 and 1,000.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise ValueRefused("limit", f"{limit} is not between 1 and {MAX_PAGE}")
    return limit


def stream(records: models.QuerySet[M], *, order: str) -> Iterator[M]:
    """Every record in order, page by page: memory stays the same, no transaction is held."""
    after: object = None
    while batch := page(records, order=order, after=after, limit=MAX_PAGE):
        yield from batch
        after = getattr(batch[-1], order)
