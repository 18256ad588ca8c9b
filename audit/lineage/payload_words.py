"""What became of the bytes behind a reference, in one word for every case."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    known = Payload.objects.filter(content_hash__in=[ref for ref in wanted if ref])
    states = {payload.content_hash: payload.state for payload in known}
    return {ref: states.get(ref, NOT_LOOKED_FOR) if ref else HASH_ONLY for ref in wanted}
