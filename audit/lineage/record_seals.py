"""What the page of one record says of its proof: how its run is sealed, whether it still holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import connection

from audit.evidence.records import BY_NAME
from audit.vocabulary import FindingLevel

if TYPE_CHECKING:
    from datetime import datetime

# As `audit.integrity.trail` writes them.
_CODES_BEGIN = "SEAL_"

_NEWEST = """
SELECT s.epoch, s.sealed_at, s.size, s.root, c.checked_at, c.epoch, c.differences,
       (SELECT f.detail FROM findings f
        WHERE f.run_id = %(run)s AND f.level = %(error)s AND starts_with(f.code, %(codes)s)
          AND f.table_name = %(table)s AND f.record_key = %(key)s
        ORDER BY f.finding_id LIMIT 1)
FROM (SELECT * FROM seals WHERE run_id = %(run)s ORDER BY epoch DESC LIMIT 1) s
LEFT JOIN LATERAL (
    SELECT * FROM seal_checks k WHERE k.run_id = %(run)s
    ORDER BY k.checked_at DESC, k.check_id DESC LIMIT 1) c ON true
"""


@dataclass(frozen=True, kw_only=True)
class RecordSeal:
    """The newest seal of a run, as one of its records is concerned.

    `state` is `unsealed`, `sealed`, `differs` (this record), or `others_differ` (from the last
    comparison). `sealed` does not say that this record is among those that were sealed: what a
    resumed run adds comes with its next epoch, and the proof itself tells.
    """

    run_id: str
    record_type: str
    key: str
    state: str
    epoch: int = 0
    sealed_at: datetime | None = None
    leaves: int = 0
    root: str = ""
    checked_at: datetime | None = None
    # The last comparison looked at this very seal.
    checked_this: bool = False
    differences: int = 0
    # How this record differs.
    detail: str | None = None


def read_record_seal(*, run_id: str, record_type: str, key: str) -> RecordSeal:
    """How a record's run is sealed. One query, and no file is read.

    `key` names the record as the format does: the parts of its key with a slash between them.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _NEWEST,
            {
                "run": run_id,
                "table": BY_NAME[record_type].table,
                "key": key,
                "error": FindingLevel.ERROR,
                "codes": _CODES_BEGIN,
            },
        )
        found = cursor.fetchone()
    if found is None:
        return RecordSeal(run_id=run_id, record_type=record_type, key=key, state="unsealed")
    epoch, sealed_at, leaves, root, checked_at, checked_epoch, differences, detail = found
    return RecordSeal(
        run_id=run_id,
        record_type=record_type,
        key=key,
        state="differs" if detail else "others_differ" if differences else "sealed",
        epoch=epoch,
        sealed_at=sealed_at,
        leaves=leaves,
        root=root,
        checked_at=checked_at,
        checked_this=checked_epoch == epoch,
        differences=differences or 0,
        detail=detail,
    )
