"""Payload bytes: contents kept under the name of their hash, whole or not at all.

Bytes go through Django's storage API: the storage `payloads`, on the file system below
LANDSCAPE_VAR unless settings name another one. The name of a payload is its SHA-256 and nothing
else, so storing twice is harmless, and reading proves what was read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from django.conf import settings
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, storages

from audit.errors import PayloadNotKept

if TYPE_CHECKING:
    from collections.abc import Iterable

_REF = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20
# How the names of files begin that are being written, and when nobody writes them any more.
_UNFINISHED, _FORGOTTEN_SECONDS = ".", 86_400


class PayloadMissing(Exception):
    """There are no bytes under a reference."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"there are no bytes under {ref}")
        self.ref = ref


class PayloadCorrupted(Exception):
    """The bytes found under a reference are not the ones that were stored."""

    def __init__(self, ref: str, actual: str) -> None:
        super().__init__(f"the bytes under {ref} have the hash {actual}")
        self.ref = ref
        self.actual = actual


class PayloadFiles(FileSystemStorage):
    """Files below a folder of LANDSCAPE_VAR: temporary name, fsync, rename, for their user only.

    Django's own storage writes under the final name, and a crash leaves half a file there.
    """

    folder = "payloads"

    def __init__(self, location: str | None = None) -> None:
        super().__init__()
        self._given = location

    @property
    def base_location(self) -> str:
        return str(self._given or Path(settings.LANDSCAPE_VAR) / self.folder)

    @property
    def location(self) -> str:
        return str(Path(self.base_location).absolute())

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """The name itself: equal names are equal contents."""
        del max_length
        return name

    def _save(self, name: str, content: File[Any]) -> str:
        target = Path(self.path(name))
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=_UNFINISHED)
        try:
            with os.fdopen(handle, "wb") as writer:
                for chunk in content.chunks(_CHUNK):
                    writer.write(chunk)
                writer.flush()
                os.fsync(writer.fileno())
            Path(temporary).rename(target)
        except BaseException as error:
            Path(temporary).unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno and not error.filename:
                error.filename = temporary  # a full disk does not say where
            raise
        sync_folder(target.parent)
        return name

    def delete_each(self, names: Iterable[str]) -> None:
        """Delete files by names that this module made; what is not there needs nothing."""
        base = self.location
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{base}/{name}")  # noqa: PTH108  # a path object costs more than this

    def tidy(self) -> int:
        """Remove what writers that were killed left a day ago or longer; return how many files."""
        before, removed = time.time() - _FORGOTTEN_SECONDS, 0
        for left in Path(self.location).rglob(f"{_UNFINISHED}*"):
            with contextlib.suppress(FileNotFoundError):
                if left.is_file() and left.stat().st_mtime < before:
                    left.unlink()
                    removed += 1
        return removed

    def sync(self) -> None:
        """Make what was deleted below outlast a crash of the machine."""
        base = Path(self.location)
        for folder in base.iterdir() if base.exists() else ():
            if folder.is_dir():
                sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make names in a folder outlast a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_ref(text: str) -> bool:
    """Whether this may name a payload: 64 digits of lower-case hex. Ask before any path."""
    return _REF.fullmatch(text) is not None


def place(ref: str) -> str:
    """Where a payload lies in a store, in the layout of the original.

    Raises:
        ValueError: this is not a reference.
    """
    if not is_ref(ref):
        message = f"not a payload reference: {ref!r:.80}"
        raise ValueError(message)
    return f"{ref[:2]}/{ref}"


def store(content: bytes) -> str:
    """Keep bytes and return their reference.

    What is there already is read and compared; if it is damaged, it is healed.

    Raises:
        PayloadNotKept: the storage has no room, or is not there.
    """
    ref = hashlib.sha256(content).hexdigest()
    if _found(ref) != ref:
        _save(ref, ContentFile(content))
    return ref


def read(ref: str) -> bytes:
    """The bytes under a reference, proven by their hash.

    Raises:
        PayloadMissing: there are none.
        PayloadCorrupted: they are not the ones that were stored.
        ValueError: this is not a reference.
    """
    try:
        with storages["payloads"].open(place(ref)) as file:
            content: bytes = file.read()
    except FileNotFoundError as error:
        raise PayloadMissing(ref) from error
    actual = hashlib.sha256(content).hexdigest()
    if actual != ref:
        raise PayloadCorrupted(ref, actual)
    return content


def delete(refs: Iterable[str]) -> None:
    """Delete the bytes under each reference; where there are none, nothing is to do.

    A crash of the machine may bring them back until `sync` was called: ask `existing` again.

    Raises:
        OSError: the storage does not delete.
        ValueError: one of them is not a reference.
    """
    store = storages["payloads"]
    names = [place(ref) for ref in refs]
    if isinstance(store, PayloadFiles):
        store.delete_each(names)
        return
    for name in names:
        store.delete(name)


def existing(refs: Iterable[str]) -> list[str]:
    """Under which of these references there are bytes, whatever they are."""
    store = storages["payloads"]
    if isinstance(store, PayloadFiles):
        base = store.location
        return [ref for ref in refs if os.path.lexists(f"{base}/{place(ref)}")]
    return [ref for ref in refs if store.exists(place(ref))]


def sync() -> None:
    """Make what was deleted outlast a crash of the machine: once for all deletions before it."""
    store = storages["payloads"]
    if isinstance(store, PayloadFiles):
        store.sync()


def adopt(ref: str, *, source: Path) -> int:
    """Copy a payload from a folder of the original's layout and return its size in bytes.

    Hashed before it is kept; memory does not grow with it. Adopting it twice is harmless.

    Raises:
        FileNotFoundError: the folder has no such file (or it is no ordinary file).
        PayloadCorrupted: its bytes do not have the hash that names it.
        ValueError: this is not a reference.
    """
    if _found(ref) == ref:
        return int(storages["payloads"].size(place(ref)))
    # O_NOFOLLOW: a link in a foreign store may point anywhere on this machine.
    descriptor = os.open(source / place(ref), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as reader, tempfile.TemporaryFile() as copy:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileNotFoundError(ref)
        # Copied first: the foreign file may change between hashing and keeping it.
        size, actual = _copy(reader, copy)
        if actual != ref:
            raise PayloadCorrupted(ref, actual)
        copy.seek(0)
        _save(ref, File(copy))
    return size


def _save(ref: str, content: File[Any]) -> None:
    try:
        kept = storages["payloads"].save(place(ref), content)
    except OSError as error:
        raise PayloadNotKept(ref, str(error)) from error
    if kept != place(ref):
        message = f"the storage “payloads” renamed {place(ref)} to {kept}: let it overwrite"
        raise ValueError(message)


def _found(ref: str) -> str | None:
    """The hash of what lies under a reference; None where nothing does."""
    with contextlib.suppress(FileNotFoundError), storages["payloads"].open(place(ref)) as file:
        digest = hashlib.sha256()
        for chunk in file.chunks(_CHUNK):
            digest.update(chunk)
        return digest.hexdigest()
    return None


def _copy(reader: IO[bytes], writer: IO[bytes]) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    while chunk := reader.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
        writer.write(chunk)
    return size, digest.hexdigest()
