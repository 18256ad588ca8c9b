"""The only writer of `payloads`: what is known of the bytes behind each reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.models import Payload
from audit.vocabulary import PayloadState

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


def record(*, states: Iterable[tuple[str, str, int | None]], at: datetime) -> None:
    """Keep what was found, as (reference, state, size in bytes); joins the caller's transaction.

    What is available stays so: a later import without the bytes does not take them away.
    Writes in batches of 500, so `states` may be a long stream.
    """
    batch: list[Payload] = []
    for ref, state, size in states:
        batch.append(Payload(content_hash=ref, state=state, size_bytes=size, recorded_at=at))
        if len(batch) == _BATCH:
            _write(batch)
            batch = []
    _write(batch)


_BATCH = 500


def _write(batch: list[Payload]) -> None:
    available = [each for each in batch if each.state == PayloadState.AVAILABLE]
    Payload.objects.bulk_create(
        available,
        update_conflicts=True,
        unique_fields=["content_hash"],
        update_fields=["state", "size_bytes"],
    )
    others = [each for each in batch if each.state != PayloadState.AVAILABLE]
    Payload.objects.bulk_create(others, ignore_conflicts=True)
