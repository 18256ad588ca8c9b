"""What a record says at length: hashed, and kept as a payload so that it can be erased."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from audit import blobs, canonical
from audit.errors import ValueRefused
from audit.recorder.writing import MAX_JSON

if TYPE_CHECKING:
    from datetime import datetime

# Bytes of one payload in canonical form.
MAX_PAYLOAD = 64_000_000


class Contents(NamedTuple):
    """A value in canonical form, not yet kept anywhere."""

    hash: str
    ref: str
    content: bytes


def of(value: object, *, name: str) -> Contents:
    """Canonical bytes and their hash, which is also their reference.

    Raises:
        ValueRefused: no canonical form, or too long; the path begins with `name`.
    """
    try:
        content = canonical.canonical_bytes(value)
    except ValueRefused as error:
        raise ValueRefused(name + error.path[1:], error.reason) from error
    if len(content) > MAX_PAYLOAD:
        raise ValueRefused(name, f"{len(content):,} bytes are more than {MAX_PAYLOAD:,}")
    ref = canonical.sha256(content)
    return Contents(ref, ref, content)


def of_refused(value: object, *, name: str) -> Contents:
    """The same for a row that was refused: it may be anything, and Python's text must do then.

    The hash is then `repr_hash`, and what is kept says so.
    """
    try:
        return of(value, name=name)
    except ValueRefused as error:
        told = repr(value).encode("utf-8", "backslashreplace").decode()
        wrapped = of(
            {
                "__repr__": told,
                "__type__": type(value).__name__,
                "__canonical_error__": str(error),
            },
            name=name,
        )
        return Contents(canonical.repr_hash(value), wrapped.ref, wrapped.content)


def inline(value: object | None, *, name: str) -> str | None:
    """Canonical text for a column: what describes the pipeline, never what a person wrote.

    Raises:
        ValueRefused: no canonical form, or longer than a column may be.
    """
    if value is None:
        return None
    content = of(value, name=name).content
    if len(content) > MAX_JSON:
        raise ValueRefused(name, f"{len(content):,} bytes are more than {MAX_JSON:,}")
    return content.decode()


def keep(*contents: Contents | None, at: datetime) -> None:
    """Store what there is of them, and note it in `payloads`."""
    wanted: dict[str, Any] = {each.ref: each.content for each in contents if each is not None}
    blobs.keep(contents=wanted, at=at)
