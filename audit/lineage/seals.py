"""What the page of a run says of its proof: the seal, who signed it, whether it still holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.evidence import notes, seals, signing
from audit.models import Finding, Seal, SealCheck, SealLogEntry
from audit.vocabulary import FindingLevel, RunStatus

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

# As `audit.integrity.trail` writes them.
_CODES_BEGIN = "SEAL_"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The last time somebody held the database against the seals of a run."""

    checked_at: datetime
    epoch: int
    records: int
    differences: int
    # The first record that was named, where something differs.
    table: str | None
    key: str | None
    detail: str | None


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The newest seal of a run; `state` says in one word what is to be thought of it.

    `sealed`, `differs` (from the last comparison), `forged` (the signature is not over this
    root), `key_unknown`, `key_compromised`.
    """

    state: str
    epoch: int
    reason: str
    sealed_at: datetime
    root: str
    records: int
    key_id: str
    leaf_index: int | None
    compared: Comparison | None
    # Resumed since: what is added comes into a further epoch.
    goes_on: bool

    @property
    def compared_before(self) -> bool:
        """Whether the last comparison is older than the seal."""
        return self.compared is not None and self.compared.epoch < self.epoch


def read_proof(*, run_id: str, status: str) -> Proof | None:
    """The proof of a run that stands so; None where nothing was ever sealed of it.

    Six queries at most. The signature is verified here, the records are not: that is what
    `check_trail` does, and its last result is told.
    """
    newest = Seal.objects.filter(run_id=run_id).order_by("-epoch")
    seal = newest.defer("segments_json", "schema_json", "counts_json").first()
    if seal is None:
        return None
    compared = _compared(run_id)
    leaf = SealLogEntry.objects.filter(run_id=run_id, epoch=seal.epoch)
    return Proof(
        state=_signed(seal) or ("differs" if compared and compared.differences else "sealed"),
        epoch=seal.epoch,
        reason=str(seal.reason),
        sealed_at=seal.sealed_at,
        root=str(seal.root),
        records=seal.size,
        key_id=str(seal.key_id),
        leaf_index=leaf.values_list("leaf_index", flat=True).first(),
        compared=compared,
        goes_on=status == RunStatus.RUNNING,
    )


def seal_words(run_ids: Collection[str]) -> dict[str, str]:
    """`sealed` or `differs` for each of the runs that has a seal. Two queries."""
    sealed = Seal.objects.filter(run_id__in=run_ids, epoch=1).values_list("run_id", flat=True)
    newest = SealCheck.objects.filter(run_id__in=run_ids).order_by("run_id", "-checked_at")
    last = newest.distinct("run_id").values_list("run_id", "differences")
    differ = {run_id for run_id, differences in last if differences}
    return {run_id: "differs" if run_id in differ else "sealed" for run_id in sealed}


def first_differences(run_ids: Collection[str]) -> dict[str, str]:
    """Of runs that differ from their seals, the table and key of the first record. One query."""
    named = Finding.objects.filter(
        run_id__in=run_ids, level=FindingLevel.ERROR, code__startswith=_CODES_BEGIN
    )
    first = named.order_by("run_id", "finding_id").distinct("run_id")
    found = first.values_list("run_id", "table_name", "record_key")
    return {run_id: f"{table} {key}".strip() for run_id, table, key in found}


def _signed(seal: Seal) -> str | None:
    """What is wrong with the signature, in one word."""
    signers = [each for each in signing.known_keys() if each.key.key_id.hex() == seal.key_id]
    if not signers:
        return "key_unknown"
    try:
        seals.verified(seal)
    except (notes.NoteRefused, ValueError):
        return "forged"
    since = signers[0].compromised_since
    return "key_compromised" if since and since <= seal.sealed_at else None


def _compared(run_id: str) -> Comparison | None:
    check = SealCheck.objects.filter(run_id=run_id).order_by("-checked_at", "-check_id").first()
    if check is None:
        return None
    named = Finding.objects.filter(
        run_id=run_id, level=FindingLevel.ERROR, code__startswith=_CODES_BEGIN
    )
    first = named.order_by("finding_id").first()
    return Comparison(
        checked_at=check.checked_at,
        epoch=check.epoch,
        records=check.records,
        differences=check.differences,
        table=first.table_name if first else None,
        key=first.record_key if first else None,
        detail=first.detail if first else None,
    )
