"""Recorded texts of any length, read no further than a page can show, secrets in them masked."""

from __future__ import annotations

import json
from dataclasses import dataclass

from django.db.models.functions import Left, Length

from audit.lineage.contents import WITHHELD, are_revealed
from audit.masking import masked

ERROR_LIMIT = 20_000
SETTINGS_LIMIT = 200_000
HEADLINE_LIMIT = 300
_HEADLINE_KEYS = ("reason", "failure_reason", "error", "message", "exception", "type")


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """The beginning of a recorded text as it is shown, and how long the whole then is.

    Where it is `withheld`, the text is empty.
    """

    text: str
    length: int
    withheld: bool = False

    @property
    def cut(self) -> int:
        """How many characters are not shown."""
        return 0 if self.withheld else self.length - len(self.text)

    @property
    def headline(self) -> str:
        """One line for a table: what the error says of itself, else how the text begins."""
        return WITHHELD if self.withheld else headline(self.text)


def reading(column: str, *, limit: int) -> dict[str, Left | Length]:
    """Annotations that read at most `limit` characters of a column, and its length."""
    return {f"{column}_head": Left(column, limit), f"{column}_length": Length(column)}


def excerpt(record: object, column: str) -> Excerpt | None:
    """The excerpt that `reading` loaded; None where the column is null."""
    text = getattr(record, f"{column}_head")
    if text is None:
        return None
    length = getattr(record, f"{column}_length")
    if not are_revealed():
        return Excerpt(text="", length=length, withheld=True)
    return excerpt_of(text, length=length)


def excerpt_of(text: str, *, length: int) -> Excerpt:
    """The excerpt of a text of which this much was read: what is stored stays as it is."""
    told = masked(text)
    return Excerpt(text=told, length=length - len(text) + len(told))


def headline(text: str) -> str:
    """One line that says what went wrong; never raises, whatever was recorded."""
    return " ".join(_gist(masked(text)).split())[:HEADLINE_LIMIT]


def _gist(text: str) -> str:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(parsed, dict):
        return text
    said = [parsed[key] for key in _HEADLINE_KEYS if isinstance(parsed.get(key), str)]
    if not said:
        return text
    # The class of an exception is worth saying when its text does not begin with it.
    kind = parsed.get("type")
    if isinstance(kind, str) and kind and kind not in said[0]:
        return f"{kind}: {said[0]}"
    return str(said[0])
