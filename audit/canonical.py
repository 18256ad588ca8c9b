"""Canonical JSON and hashes of it: the same value gives the same bytes, always and everywhere.

Two phases. A *version* says how a Python value becomes plain JSON; RFC 8785 then says how plain
JSON becomes bytes. A run keeps the name of its version, so a hash is only ever recomputed by the
rules it was made with. Deliberately equal: 1 and 1.0, a tuple and a list, a moment and its text,
Decimal("1") and "1".
"""

from __future__ import annotations

import base64
import hashlib
import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import rfc8785

from audit.errors import ValueRefused

if TYPE_CHECKING:
    from collections.abc import Callable

# What our own recorder writes, and what the original called its rules.
NATIVE = "sha256-rfc8785-v2"
ORIGINAL = "sha256-rfc8785-v1"

_MAX_INTEGER = 2**53 - 1
# Deeper than any real record, and shallow enough that no thread's stack ends first.
MAX_DEPTH = 200
# The key that marks a value which JSON has no type for.
_TYPE_KEY = "__elspeth_canonical_type__"


def canonical_bytes(value: object, *, version: str = NATIVE) -> bytes:
    """The canonical form of a value, in UTF-8: what is hashed, and what a payload holds.

    Raises:
        ValueRefused: it has none; the error carries the path to the offending part.
        ValueError: nobody knows this version.
    """
    try:
        convert = _VERSIONS[version]
    except KeyError as error:
        raise ValueError(
            f"unknown version of canonical JSON {version!r}; known: {', '.join(sorted(_VERSIONS))}"
        ) from error
    return rfc8785.dumps(_plain(value, convert, _Path()))


def canonical_json(value: object, *, version: str = NATIVE) -> str:
    """`canonical_bytes` as text.

    Raises:
        ValueRefused: the value has no canonical form.
    """
    return canonical_bytes(value, version=version).decode()


def stable_hash(value: object, *, version: str = NATIVE) -> str:
    """SHA-256 over the canonical form, in lower-case hex.

    Raises:
        ValueRefused: the value has no canonical form.
    """
    return sha256(canonical_bytes(value, version=version))


def repr_hash(value: object) -> str:
    """SHA-256 over Python's own text of a value: for refused rows without a canonical form.

    Not stable between releases of Python; two equal hashes prove more than two different ones.
    """
    return sha256(repr(value).encode("utf-8", "backslashreplace"))


def sha256(content: bytes) -> str:
    """SHA-256 in lower-case hex."""
    return hashlib.sha256(content).hexdigest()


def is_known(version: str) -> bool:
    """Whether hashes of this version can be recomputed; if not, they are not verifiable."""
    return version in _VERSIONS


class _Path:
    """Where in a value we are: pushed and popped, and only put into words for a refusal."""

    def __init__(self) -> None:
        self.parts: list[str | int] = []

    def __str__(self) -> str:
        return "$" + "".join(
            f"[{part}]"
            if isinstance(part, int)
            else (f".{part}" if part.isidentifier() else f"[{part!r}]")
            for part in self.parts
        )

    def refuse(self, reason: str) -> ValueRefused:
        return ValueRefused(str(self), reason)


def _plain(  # noqa: C901, PLR0911  # one branch for each kind of value that JSON knows
    value: object, convert: Callable[[object, _Path], Any], path: _Path
) -> Any:
    """The value in nothing but dict, list, str, int, float, bool and None."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, int):
        if not -_MAX_INTEGER <= value <= _MAX_INTEGER:
            raise path.refuse("the integer is beyond 2^53 - 1, where JSON loses digits: use text")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise path.refuse(f"{value} is not a finite number")
        return float(value)
    if len(path.parts) > MAX_DEPTH:
        raise path.refuse(f"it is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        return _mapping(value, convert, path)
    if isinstance(value, list | tuple):
        items = []
        for index, item in enumerate(value):
            path.parts.append(index)
            items.append(_plain(item, convert, path))
            path.parts.pop()
        return items
    return convert(value, path)


def _mapping(
    value: dict[Any, Any], convert: Callable[[object, _Path], Any], path: _Path
) -> dict[str, Any]:
    plain = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise path.refuse(f"the key {key!r:.80} is not text")
        path.parts.append(_text(key, path))
        plain[key] = _plain(item, convert, path)
        path.parts.pop()
    if _TYPE_KEY in plain and convert is _convert_native:
        # Escaped, so that no dictionary can pass for bytes.
        ordered = sorted(plain.items(), key=lambda entry: entry[0].encode("utf-16be"))
        entries = [{"key": key, "value": item} for key, item in ordered]
        return {_TYPE_KEY: "mapping", "entries": entries}
    return plain


def _text(value: str, path: _Path) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise path.refuse("the text holds half of a surrogate pair") from error
    # A plain str also of an enum's member, whose own str() may say something else.
    return str.__str__(value)


def _convert_shared(value: object, path: _Path) -> Any:
    """What every version does with a type that JSON has no form for; the result is plain."""
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise path.refuse(f"{value} is not a finite number")
        return str(value)
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    # By name: neither numpy nor pandas is ours to require.
    if package == "pandas" and kind.__name__ in {"NaTType", "NAType"}:
        return None
    if package == "numpy" and kind.__name__ != "datetime64" and hasattr(value, "tolist"):
        # Numbers and arrays of numbers: what comes out is plain Python, and may be NaN.
        return _plain(value.tolist(), _convert_shared, path)
    raise path.refuse(f"a {kind.__qualname__} has no canonical form")


def _convert_original(value: object, path: _Path) -> Any:
    """`sha256-rfc8785-v1` as the original first wrote it: a moment without a zone is UTC."""
    if isinstance(value, datetime) and type(value).__name__ != "NaTType":
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat()
    if isinstance(value, bytes):
        return {"__bytes__": base64.b64encode(value).decode()}
    return _convert_shared(value, path)


def _convert_native(value: object, path: _Path) -> Any:
    """`sha256-rfc8785-v2`: nothing is guessed, and bytes cannot be mistaken for a dictionary."""
    if isinstance(value, datetime) and type(value).__name__ != "NaTType":
        if value.utcoffset() is None:
            raise path.refuse("the moment has no time zone")
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date | time) and type(value).__name__ != "NaTType":
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes):
        return {_TYPE_KEY: "bytes", "base64": base64.b64encode(value).decode()}
    if isinstance(value, set | frozenset):
        raise path.refuse("a set has no order: give a sorted list")
    return _convert_shared(value, path)


_VERSIONS: dict[str, Callable[[object, _Path], Any]] = {
    ORIGINAL: _convert_original,
    NATIVE: _convert_native,
}
