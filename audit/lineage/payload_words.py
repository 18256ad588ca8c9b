"""What became of the bytes behind a reference, in one word for every case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import OuterRef, Subquery

from audit import blobs
from audit.models import Payload

if TYPE_CHECKING:
    from collections.abc import Iterable

# No reference was recorded: the writer kept the hash and nothing else.
HASH_ONLY = "hash_only"
# A reference was recorded, and nobody has looked for its bytes.
NOT_LOOKED_FOR = "not_looked_for"


def payload_words(references: Iterable[str | None]) -> dict[str | None, str]:
    """The state of each reference: a PayloadState, `hash_only` or `not_looked_for`. One query."""
    wanted = set(references)
    known = blobs.known(refs=[ref for ref in wanted if ref])
    return {ref: payload_word(ref, known[ref].state if ref in known else None) for ref in wanted}


def payload_word(reference: str | None, state: str | None) -> str:
    """The same for one reference of which the state is loaded; None where there is none."""
    return (state or NOT_LOOKED_FOR) if reference else HASH_ONLY


def payload_state(way: str) -> Subquery:
    """An annotation that brings the state of the reference that `way` leads to."""
    return Subquery(Payload.objects.filter(content_hash=OuterRef(way)).values("state"))
