"""Signed notes and what is written as one: checkpoints, verifier keys, proofs (c2sp.org).

Everything here is text in, text out, and knows neither files nor the database. Ed25519 only:
signatures of other kinds may stand on a note and are passed over, as the specification asks.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_ED25519 = b"\x01"
_DASH = "\u2014"
_PROOF_HEAD = "c2sp.org/tlog-proof@v1"
_KEY_NAME = re.compile(r"[^\s+]+")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_HASH_BYTES = 32
_ID_BYTES = 4
_MAX_SIGNATURES = 64
# A proof has one hash a level; no tree is higher than its size has bits.
_MAX_PROOF = 63


class NoteRefused(Exception):
    """A note, key or proof that cannot be believed; the sentence says why."""


@dataclass(frozen=True)
class VerifierKey:
    """A public key under a name: what `vkey` writes on one line."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not is_key_name(self.name):
            raise ValueError(f"not a name for a key: {self.name!r:.80}")
        if len(self.public) != _HASH_BYTES:
            raise ValueError("an Ed25519 key has 32 bytes")

    @property
    def key_id(self) -> bytes:
        """The first four bytes of a hash over name, algorithm and key."""
        told = self.name.encode() + b"\n" + _ED25519 + self.public
        return hashlib.sha256(told).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{_b64(_ED25519 + self.public)}"


@dataclass(frozen=True)
class Checkpoint:
    """A root that somebody vouches for: origin, size and root of a tree."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{_b64(self.root)}\n"


@dataclass(frozen=True)
class Proof:
    """That a leaf is at `index` of the tree of a checkpoint, which is kept as it was signed."""

    index: int
    hashes: tuple[bytes, ...]
    note: str

    @property
    def text(self) -> str:
        """The proof as a `.tlog-proof` file."""
        hashes = "".join(f"{_b64(each)}\n" for each in self.hashes)
        return f"{_PROOF_HEAD}\nindex {self.index}\n{hashes}\n{self.note}"


def is_key_name(name: str) -> bool:
    """Whether keys may be called so: no space, no plus, and no message of another kind."""
    return bool(_KEY_NAME.fullmatch(name)) and name.isprintable() and not name.startswith("DSSEv1")


def parse_key(line: str) -> VerifierKey:
    """Read a verifier key.

    Raises:
        NoteRefused: it is none, or of another algorithm.
    """
    parts = line.strip().split("+", 2)
    if len(parts) != 3:  # noqa: PLR2004  # name, id, key
        raise NoteRefused("a verifier key has three parts: name, id and key")
    name, told_id, encoded = parts
    material = _decoded(encoded, "the key")
    if material[:1] != _ED25519 or len(material) != 1 + _HASH_BYTES:
        raise NoteRefused("the key is not an Ed25519 key")
    try:
        key = VerifierKey(name, material[1:])
    except ValueError as error:
        raise NoteRefused(str(error)) from error
    if key.key_id.hex() != told_id:
        raise NoteRefused(f"the key's id is {key.key_id.hex()}, not {told_id}")
    return key


def sign(text: str, *, key: VerifierKey, signer: Callable[[bytes], bytes]) -> str:
    """The note over a text, with one signature; `signer` makes 64 bytes out of the text's.

    Raises:
        ValueError: the text cannot be one of a note.
    """
    if not text.endswith("\n") or any(ord(each) < ord(" ") for each in text.replace("\n", "")):
        raise ValueError("a note is lines of text without control characters")
    return f"{text}\n{signature_line(key=key, signature=signer(text.encode()))}"


def signature_line(*, key: VerifierKey, signature: bytes) -> str:
    """One line below a note."""
    return f"{_DASH} {key.name} {_b64(key.key_id + signature)}\n"


def verify(note: str, *, keys: Iterable[VerifierKey]) -> tuple[str, list[VerifierKey]]:
    """The text of a note and which of the keys have signed it, at least one.

    Raises:
        NoteRefused: it is malformed, none of the keys signed it, or a signature is wrong.
    """
    text, signatures = _taken_apart(note)
    known = {(key.name, key.key_id): key for key in keys}
    signed_by = []
    for name, key_id, signature in signatures:
        key = known.get((name, key_id))
        if key is None:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature, text.encode())
        except InvalidSignature as error:
            raise NoteRefused(f"the signature of {name} is wrong") from error
        signed_by.append(key)
    if not signed_by:
        raise NoteRefused("no known key has signed it")
    return text, signed_by


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the three lines of a checkpoint; extension lines are not for us.

    Raises:
        NoteRefused: it has another shape.
    """
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0]:  # noqa: PLR2004  # three lines and an end
        raise NoteRefused("a checkpoint has three lines: origin, size and root")
    origin, size, encoded = lines[:3]
    if not _SIZE.fullmatch(size):
        raise NoteRefused(f"the size is no number: {size!r:.40}")
    root = _decoded(encoded, "the root")
    if len(root) != _HASH_BYTES:
        raise NoteRefused("the root is not a SHA-256 hash")
    return Checkpoint(origin, int(size), root)


def open_checkpoint(note: str, *, keys: Iterable[VerifierKey]) -> Checkpoint:
    """The checkpoint in a note that one of the keys has signed.

    Raises:
        NoteRefused: it is not signed so, or no checkpoint.
    """
    return parse_checkpoint(verify(note, keys=keys)[0])


def parse_proof(text: str) -> Proof:
    """Read a `.tlog-proof` file.

    Raises:
        NoteRefused: it has another shape.
    """
    head, blank, note = text.partition("\n\n")
    lines = head.split("\n")
    if not blank or lines.pop(0) != _PROOF_HEAD:
        raise NoteRefused(f"a proof begins with {_PROOF_HEAD}")
    if lines and lines[0].startswith("extra "):
        lines.pop(0)
    word, _, index = (lines.pop(0) if lines else "").partition(" ")
    if word != "index" or not _SIZE.fullmatch(index):
        raise NoteRefused("a proof names the index of its leaf")
    if len(lines) > _MAX_PROOF:
        raise NoteRefused(f"a proof has at most {_MAX_PROOF} hashes")
    hashes = tuple(_decoded(line, "a hash of the proof") for line in lines)
    if any(len(each) != _HASH_BYTES for each in hashes):
        raise NoteRefused("a hash of the proof is not a SHA-256 hash")
    return Proof(int(index), hashes, note)


def _taken_apart(note: str) -> tuple[str, Sequence[tuple[str, bytes, bytes]]]:
    """The text, and every signature as (name, key id, bytes)."""
    if any(ord(each) < ord(" ") and each != "\n" for each in note):
        raise NoteRefused("a note has no control characters")
    cut = note.rfind("\n\n")
    if cut < 0 or not note.endswith("\n"):
        raise NoteRefused("a note is text, a blank line and signatures")
    lines = note[cut + 2 : -1].split("\n")
    if len(lines) > _MAX_SIGNATURES:
        raise NoteRefused(f"a note has at most {_MAX_SIGNATURES} signatures")
    signatures = []
    for line in lines:
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        material = _decoded(encoded, "a signature")
        if dash != _DASH or not is_key_name(name) or len(material) <= _ID_BYTES:
            raise NoteRefused("a signature line is a dash, a name and a signature")
        signatures.append((name, material[:_ID_BYTES], material[_ID_BYTES:]))
    return note[: cut + 1], signatures


def _b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _decoded(text: str, what: str) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteRefused(f"{what} is not base64") from error
    if _b64(content) != text:
        raise NoteRefused(f"{what} is not base64 as it should be written")
    return content
