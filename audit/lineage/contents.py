"""Whether recorded contents may be told: withheld, unless the door says that they were revealed.

Structure, hashes and counts are for everybody who sees records; what a record *holds* is told only
inside `revealed()`. Whoever reads contents asks here, so a page that forgets shows nothing. Which
column is which stands in docs/security.md.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# What stands where contents would.
WITHHELD = "contents withheld"
WITHHELD_STATE = "withheld"

_revealed: ContextVar[bool] = ContextVar("contents_revealed", default=False)


def are_revealed() -> bool:
    """Whether contents may be told here and now."""
    return _revealed.get()


def told(text: str | None) -> str | None:
    """A recorded text, or that it is withheld; None stays None."""
    return text if text is None or _revealed.get() else WITHHELD


@contextmanager
def revealed() -> Iterator[None]:
    """While the block runs, contents are told. Only a door that has kept who asks opens it."""
    token = _revealed.set(True)
    try:
        yield
    finally:
        _revealed.reset(token)
