"""Identifiers in addresses: whatever a writer chose, it stands for itself in one segment."""

from __future__ import annotations

from urllib.parse import quote


class KeyConverter:
    """A record's id as one segment of a path.

    Ids are any text of at most 64 characters. A slash would split the segment, a browser would
    fold `.` and `..` away, and an empty one matches nothing: these are written with `~`.
    """

    regex = "[^/]+"
    _escapes = (("~", "~7E"), ("/", "~2F"), ("\\", "~5C"))

    def to_url(self, key: str) -> str:
        """Write a key into an address."""
        for character, escape in self._escapes:
            key = key.replace(character, escape)
        if not key.strip("."):
            return key.replace(".", "~2E") or "~"
        return key

    def to_python(self, segment: str) -> str:
        """Read a key back out of an address.

        Raises:
            ValueError: it holds a NUL, which no record can hold; the address leads nowhere.
        """
        if "\0" in segment:
            raise ValueError("a NUL in a key")
        if segment == "~":
            return ""
        key = segment.replace("~2E", ".")
        for character, escape in reversed(self._escapes):
            key = key.replace(escape, character)
        return key


def below(address: str, key: str) -> str:
    """The address of a record one segment below another.

    For pages of a hundred links: `reverse` would take longer than everything else on them.
    """
    return f"{address}{quote(KeyConverter().to_url(key), safe='~')}/"
