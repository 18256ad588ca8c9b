"""The only writer of `findings`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.models import Finding

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime


@dataclass(frozen=True)
class Found:
    """What a sweep saw: one record, or `occurrences` further ones under an empty key."""

    code: str
    level: str
    table: str
    key: str
    detail: str
    occurrences: int = 1


def further(code: str, level: str, table: str, detail: str, count: int) -> Found:
    """The `count` records of a kind that come after those told one by one."""
    return Found(code, level, table, "", f"{count:,} further records: {detail}", occurrences=count)


def replace_for_run(*, run_id: str, found: Iterable[Found], at: datetime) -> dict[str, int]:
    """Make these the findings of the run, in place of earlier ones; return records by code.

    Joins the caller's transaction. Several thousand findings a run at most: sweeps count the
    rest.
    """
    Finding.objects.filter(run_id=run_id).delete()
    return _write(run_id=run_id, found=found, at=at)


def replace_codes(
    *, run_id: str, codes: Collection[str], found: Iterable[Found], at: datetime
) -> dict[str, int]:
    """Make these the run's findings of these codes, and leave others as they are.

    Joins the caller's transaction; returns records by code.
    """
    Finding.objects.filter(run_id=run_id, code__in=codes).delete()
    return _write(run_id=run_id, found=found, at=at)


def _write(*, run_id: str, found: Iterable[Found], at: datetime) -> dict[str, int]:
    rows = [
        Finding(
            run_id=run_id,
            code=each.code,
            level=each.level,
            table_name=each.table,
            record_key=each.key,
            detail=each.detail,
            occurrences=each.occurrences,
            found_at=at,
        )
        for each in found
    ]
    Finding.objects.bulk_create(rows, batch_size=500)
    by_code: dict[str, int] = {}
    for row in rows:
        by_code[row.code] = by_code.get(row.code, 0) + row.occurrences
    return dict(sorted(by_code.items()))
