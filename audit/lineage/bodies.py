"""Recorded contents for a page: what became of them, and as much text as a page can bear."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit import blobs
from audit.lineage.contents import WITHHELD_STATE, are_revealed
from audit.lineage.excerpts import ERROR_LIMIT, Excerpt, excerpt_of
from audit.lineage.payload_words import NOT_LOOKED_FOR, payload_word
from audit.vocabulary import PayloadState

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

# What stands on a page in one piece; of more, this much of both ends.
INLINE_BYTES = 200_000
INLINE_LINES = 2_000
PART_CHARACTERS = 20_000
PART_LINES = 200
# Errors of one page that are read from the store; a record's own page reads its own.
ERRORS_READ = 20
_JSON_PARTS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^"{}\[\],:]+|"', re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Body:
    """Contents of which the trail holds the hash: their state, and the text where it is there.

    `head` is all of it unless something is `cut`; then `tail` is its end. The text is `None` where
    the bytes are no UTF-8, which can still be stored, hashed and exported, and where they are there
    and `withheld`.
    """

    state: str
    content_hash: str | None
    ref: str | None
    size_bytes: int | None = None
    recorded_at: datetime | None = None
    # The hash of what was found instead, where the bytes are corrupted.
    actual_hash: str | None = None
    # Of the last purge: also where the same contents were recorded again after it.
    purged_at: datetime | None = None
    purge_plan_id: int | None = None
    head: str | None = None
    tail: str | None = None
    cut_lines: int = 0
    cut_characters: int = 0

    @property
    def is_available(self) -> bool:
        return self.state == PayloadState.AVAILABLE

    @property
    def hash_is_of_the_bytes(self) -> bool:
        """Whether the recorded hash is the bytes' own; the original's is of a canonical form."""
        return self.content_hash == self.ref

    @property
    def excerpt(self) -> Excerpt | None:
        """The beginning, as errors are shown in tables."""
        if self.state == WITHHELD_STATE:
            return Excerpt(text="", length=self.size_bytes or 0, withheld=True)
        if self.head is None:
            return None
        length = len(self.head) + len(self.tail or "") + self.cut_characters
        return excerpt_of(self.head[:ERROR_LIMIT], length=length)


def read_bodies(*, parts: Iterable[tuple[str | None, str | None]]) -> dict[str | None, Body]:
    """Contents by their reference, from pairs of reference and recorded hash. One query.

    What has no reference is not among them: `unkept` tells of that.
    """
    hashes = {ref: content_hash for ref, content_hash in parts if ref is not None}
    return {ref: _body(kept, hashes[ref]) for ref, kept in blobs.find_each(refs=hashes)}


def read_errors(*, refs: Iterable[str | None]) -> dict[str | None, Excerpt | None]:
    """The beginning of errors that are kept as payloads: of the first twenty. One query."""
    bodies = read_bodies(parts=[(ref, ref) for ref in _first(refs)])
    return {ref: body.excerpt for ref, body in bodies.items()}


def read_words_and_errors(
    *, words: Iterable[str | None], errors: Iterable[Iterable[str | None]]
) -> tuple[dict[str | None, str], dict[str | None, Excerpt | None]]:
    """The state of some references in a word, and errors: of each kind the first twenty.

    One query for both.
    """
    first = dict.fromkeys(ref for kind in errors for ref in _first(kind))
    told, bodies = read_words_and_bodies(words=words, parts=[(ref, ref) for ref in first])
    return told, {ref: body.excerpt for ref, body in bodies.items()}


def read_words_and_bodies(
    *, words: Iterable[str | None], parts: Iterable[tuple[str | None, str | None]]
) -> tuple[dict[str | None, str], dict[str | None, Body]]:
    """The state of some references in a word, and contents as `read_bodies` tells them.

    One query for both.
    """
    wanted = set(words)
    hashes = {ref: content_hash for ref, content_hash in parts if ref is not None}
    known = blobs.known(refs=[*(ref for ref in wanted if ref), *hashes])
    told = {ref: payload_word(ref, known[ref].state if ref in known else None) for ref in wanted}
    found = blobs.look_each(refs=hashes, known=known)
    return told, {ref: _body(kept, hashes[ref]) for ref, kept in found}


def _first(refs: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(ref for ref in refs if ref is not None))[:ERRORS_READ]


def unkept(content_hash: str | None) -> Body:
    """Contents without a reference: their hash was kept and nothing else, or not even that."""
    state = "hash_only" if content_hash else "none_recorded"
    return Body(state=state, content_hash=content_hash, ref=None)


def _body(kept: blobs.Kept, content_hash: str | None) -> Body:
    state = kept.state
    if state == PayloadState.MISSING and kept.recorded_at is None:
        # A reference that came with an import, without its bytes.
        state = NOT_LOOKED_FOR
    head = tail = None
    cut_lines = cut_characters = 0
    if kept.content is not None and not are_revealed():
        # That they are there and have their hash is no secret.
        state = WITHHELD_STATE
    elif kept.content is not None:
        head, tail, cut_lines, cut_characters = _shown(kept.content)
    return Body(
        state=state,
        content_hash=content_hash,
        ref=kept.ref,
        size_bytes=kept.size_bytes,
        recorded_at=kept.recorded_at,
        actual_hash=kept.actual_hash,
        purged_at=kept.purged_at,
        purge_plan_id=kept.purge_plan_id,
        head=head,
        tail=tail,
        cut_lines=cut_lines,
        cut_characters=cut_characters,
    )


def _shown(content: bytes) -> tuple[str | None, str | None, int, int]:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None, None, 0, 0
    if len(content) <= INLINE_BYTES:
        # Laid out first: one line of JSON may become a hundred thousand.
        text = laid_out(text)
    lines = text.count("\n") + 1
    if len(content) <= INLINE_BYTES and lines <= INLINE_LINES:
        return text, None, 0, 0
    head, tail = text[:PART_CHARACTERS], text[-PART_CHARACTERS:]
    head = "\n".join(head.split("\n")[:PART_LINES])
    tail = "\n".join(tail.split("\n")[-PART_LINES:])
    shown = head.count("\n") + tail.count("\n") + 2
    return head, tail, max(0, lines - shown), len(text) - len(head) - len(tail)


def laid_out(text: str) -> str:
    """JSON with line breaks and indents between its parts; the parts stay as recorded.

    Text that is not JSON, or only the beginning of it, comes back as it is.
    """
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    out: list[str] = []
    depth, opened = 0, False
    for part in _JSON_PARTS.findall(text):
        if not part.strip():
            continue
        closing = part in "}]"
        depth -= closing
        if opened is not closing and (opened or closing):
            out.append("\n" + "  " * depth)
        out.append(f"{part} " if part == ":" else part.strip())
        if part == ",":
            out.append("\n" + "  " * depth)
        opened = part in "{["
        depth += opened
    return "".join(out)
