"""Where the files of a bag go: a folder, or a ZIP file whose bytes depend on its contents only.

Both hash what they take, and both are there whole or not at all: they are written beside their
place and moved when everything is in them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import IO

_LEVEL = 1
_RAW_DEFLATE = -15
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_PLAIN_FILE = 0o100644 << 16


class Kept(NamedTuple):
    """A file of the bag: the hash and the size of its content."""

    sha256: str
    size: int


class Folder:
    """A bag as a folder; a context that moves it to `target` when it ends well."""

    def __init__(self, target: Path) -> None:
        self.files: dict[str, Kept] = {}
        self._target = target
        self._folder = Path()

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(dir=self._target.parent, prefix=".export-"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._folder.chmod(0o755)
                self._folder.rename(self._target)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, name: str, chunks: Iterable[bytes]) -> Kept:
        """Write a file."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with path.open("xb") as file:
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        kept = self.files[name] = Kept(digest.hexdigest(), size)
        return kept


class Archive:
    """A bag as a ZIP file with one folder in it; a context like the other."""

    def __init__(self, target: Path, *, folder: str) -> None:
        self.files: dict[str, Kept] = {}
        self._target, self._top = target, folder
        self._temporary = ""
        self._entries: list[zipfile.ZipInfo] = []

    def __enter__(self) -> Self:
        handle, self._temporary = tempfile.mkstemp(dir=self._target.parent, prefix=".export-")
        self._file: IO[bytes] = os.fdopen(handle, "w+b")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._write_directory()
                self._file.flush()
                os.fsync(self._file.fileno())
                Path(self._temporary).chmod(0o644)
                # A link never replaces what is there.
                os.link(self._temporary, self._target)
        finally:
            self._file.close()
            Path(self._temporary).unlink()

    def add(self, name: str, chunks: Iterable[bytes]) -> Kept:
        """Pack a file."""
        digest, size, crc = hashlib.sha256(), 0, 0
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW_DEFLATE)
        info, start = self._begin(name)
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            crc = zlib.crc32(chunk, crc)
            self._file.write(packer.compress(chunk))
        self._file.write(packer.flush())
        return self._end(info, start, crc, Kept(digest.hexdigest(), size))

    def add_packed(self, name: str, packed: Iterable[bytes], *, crc32: int, kept: Kept) -> None:
        """Take a file as it lies, in raw deflate; the caller vouches for what it holds."""
        info, start = self._begin(name)
        for chunk in packed:
            self._file.write(chunk)
        self._end(info, start, crc32, kept)

    def _begin(self, name: str) -> tuple[zipfile.ZipInfo, int]:
        """Leave room for the local header: sizes are known at the end only."""
        info = zipfile.ZipInfo(f"{self._top}/{name}", _EPOCH)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.create_system, info.external_attr = _UNIX, _PLAIN_FILE
        info.header_offset, info.CRC = self._file.tell(), 0
        self._file.write(info.FileHeader(zip64=True))
        return info, self._file.tell()

    def _end(self, info: zipfile.ZipInfo, start: int, crc: int, kept: Kept) -> Kept:
        name = info.filename.partition("/")[2]
        end = self._file.tell()
        info.CRC, info.file_size, info.compress_size = crc, kept.size, end - start
        self._file.seek(info.header_offset)
        self._file.write(info.FileHeader(zip64=True))
        self._file.seek(end)
        self._entries.append(info)
        self.files[name] = kept
        return kept

    def _write_directory(self) -> None:
        # zipfile has no call for content that is packed already, but its directory is right.
        with zipfile.ZipFile(self._file, "w") as file:
            file.filelist.extend(self._entries)
