"""Payloads on disk: contents kept under the name of their hash, whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path

_REF = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20


class PayloadCorrupted(Exception):
    """The bytes found under a reference are not the ones that were stored."""

    def __init__(self, ref: str, actual: str) -> None:
        super().__init__(f"the bytes under {ref} have the hash {actual}")
        self.ref = ref
        self.actual = actual


def is_ref(text: str) -> bool:
    """Whether this may name a payload: 64 digits of lower-case hex. Ask before any path."""
    return _REF.fullmatch(text) is not None


def place(root: Path, ref: str) -> Path:
    """Where a payload lies below `root`, in the layout of the original.

    Raises:
        ValueError: this is not a reference.
    """
    if not is_ref(ref):
        message = f"not a payload reference: {ref!r:.80}"
        raise ValueError(message)
    return root / ref[:2] / ref


def adopt(root: Path, ref: str, *, source: Path) -> int:
    """Copy a payload from another store into ours and return its size in bytes.

    Hashed on the way in; written under a temporary name, synced and renamed, so a payload is
    there whole or not at all. Adopting it twice is harmless.

    Raises:
        FileNotFoundError: the other store has no such file (or it is no ordinary file).
        PayloadCorrupted: its bytes do not have the hash that names it.
    """
    target = place(root, ref)
    with contextlib.suppress(FileNotFoundError):
        if target.stat().st_size and _hash_of(target) == ref:
            return target.stat().st_size
    # O_NOFOLLOW: a link in a foreign store may point anywhere on this machine.
    descriptor = os.open(place(source, ref), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as reader:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileNotFoundError(ref)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".")
        digest, size = hashlib.sha256(), 0
        try:
            with os.fdopen(handle, "wb") as writer:
                while chunk := reader.read(_CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
                    writer.write(chunk)
                writer.flush()
                os.fsync(writer.fileno())
            if digest.hexdigest() != ref:
                raise PayloadCorrupted(ref, digest.hexdigest())
            Path(name).rename(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    _sync_folder(target.parent)
    return size


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
