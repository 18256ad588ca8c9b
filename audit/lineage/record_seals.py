"""What the page of one record says of its proof: how its run is sealed, whether it still holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.evidence.records import BY_NAME
from audit.models import Finding, Seal, SealCheck
from audit.vocabulary import FindingLevel

if TYPE_CHECKING:
    from datetime import datetime

# As `audit.integrity.trail` writes them.
_CODES_BEGIN = "SEAL_"


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
    """How a record's run is sealed. Three queries, and no file is read.

    `key` names the record as the format does: the parts of its key with a slash between them.
    """
    seal = (
        Seal.objects.filter(run_id=run_id)
        .order_by("-epoch")
        .values("epoch", "sealed_at", "size", "root")
        .first()
    )
    if seal is None:
        return RecordSeal(run_id=run_id, record_type=record_type, key=key, state="unsealed")
    check = SealCheck.objects.filter(run_id=run_id).order_by("-checked_at", "-check_id").first()
    named = Finding.objects.filter(
        run_id=run_id,
        level=FindingLevel.ERROR,
        code__startswith=_CODES_BEGIN,
        table_name=BY_NAME[record_type].table,
        record_key=key,
    )
    detail = named.values_list("detail", flat=True).first()
    differences = check.differences if check else 0
    return RecordSeal(
        run_id=run_id,
        record_type=record_type,
        key=key,
        state="differs" if detail else "others_differ" if differences else "sealed",
        epoch=seal["epoch"],
        sealed_at=seal["sealed_at"],
        leaves=seal["size"],
        root=seal["root"],
        checked_at=check.checked_at if check else None,
        checked_this=bool(check and check.epoch == seal["epoch"]),
        differences=differences,
        detail=detail,
    )
