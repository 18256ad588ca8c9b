"""The records that were sealed: files of 65,536 lines, packed, under the hash of their text.

Beside each lie the hashes of its lines and of its tiles. Everything goes through Django's storage
`seals`. A file is named by what it holds, so writing it twice is harmless, and reading it proves
what was read. Files are packed as a ZIP entry is, so an export can ship them as they lie.
"""

from __future__ import annotations

import hashlib
import tempfile
import zlib
from dataclasses import asdict, dataclass
from itertools import islice
from typing import IO, TYPE_CHECKING

from django.core.files.base import ContentFile, File
from django.core.files.storage import storages

from audit.evidence.merkle import HASH_BYTES, WIDTH, Tree, block_root, leaf_hash
from audit.payloads import PayloadFiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SEGMENT = WIDTH * WIDTH
_CHUNK = 1 << 18
_RAW_DEFLATE = -15
_LEVEL = 1
_IN_MEMORY = 8 << 20


class SealedTextDamaged(Exception):
    """What was kept of the sealed records is gone, or is no longer what it was."""


class SealFiles(PayloadFiles):
    """Files below LANDSCAPE_VAR/seals."""

    folder = "seals"


@dataclass(frozen=True)
class Segment:
    """One file of records: how many, the hash and size of its text, and how it is packed."""

    records: int
    sha256: str
    size: int
    packed: int
    crc32: int
    # The root over the whole segment, where it is complete: an entry of tile level 2.
    root: str | None

    def as_json(self) -> dict[str, object]:
        """As a seal keeps it."""
        return asdict(self)


class Writer:
    """Takes the lines of an epoch in leaf order and leaves files, hashes and a tree behind.

    Memory holds one block of 256 lines and the hashes of one segment.
    """

    def __init__(self, *, before: Sequence[Segment] = ()) -> None:
        """Go on after the segments of an earlier epoch.

        Its last one, where it is not complete, is written anew with what follows.
        """
        self.segments = [each for each in before if each.records == SEGMENT]
        self._leaves: list[bytes] = []
        self._size = self._crc = 0
        self.tree = Tree.of_blocks([bytes.fromhex(each.root or "") for each in self.segments])
        self._packer = zlib.compressobj()
        self._begin()
        for each in before[len(self.segments) :]:
            self.write(read_lines([each]))

    def write(self, lines: Iterable[bytes]) -> int:
        """Take lines, each with its end; return how many."""
        stream, count = iter(lines), 0
        while block := list(islice(stream, WIDTH - len(self._leaves) % WIDTH)):
            hashes = [leaf_hash(line[:-1]) for line in block]
            self._leaves += hashes
            self.tree.extend(hashes)
            text = b"".join(block)
            self._digest.update(text)
            self._crc = zlib.crc32(text, self._crc)
            self._size += len(text)
            self._file.write(self._packer.compress(text))
            count += len(block)
            if len(self._leaves) == SEGMENT:
                self._end()
                self._begin()
        return count

    def close(self) -> list[Segment]:
        """Keep the last segment and return all."""
        if self._leaves:
            self._end()
        self._file.close()
        return self.segments

    def _begin(self) -> None:
        self._leaves = []
        self._digest = hashlib.sha256()
        self._size = self._crc = 0
        self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW_DEFLATE)
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  # closed in _end

    def _end(self) -> None:
        self._file.write(self._packer.flush())
        packed = self._file.tell()
        self._file.seek(0)
        name = self._digest.hexdigest()
        tiles = tiles_of(self._leaves)
        # The text last: where it is, its hashes are too.
        _save(_place("leaves", name), ContentFile(b"".join(self._leaves)))
        _save(_place("tiles", name), ContentFile(b"".join(tiles)))
        _save(_place("segments", name), File(self._file))
        self._file.close()
        whole = len(self._leaves) == SEGMENT
        self.segments.append(
            Segment(
                records=len(self._leaves),
                sha256=name,
                size=self._size,
                packed=packed,
                crc32=self._crc,
                root=block_root(tiles).hex() if whole else None,
            )
        )


def tiles_of(leaves: Sequence[bytes]) -> list[bytes]:
    """The roots of the complete tiles over these hashes of lines."""
    starts = range(0, len(leaves) - WIDTH + 1, WIDTH)
    return [block_root(leaves[start : start + WIDTH]) for start in starts]


def read_lines(segments: Iterable[Segment], *, start: int = 0) -> Iterator[bytes]:
    """The sealed lines, each with its end, from the given leaf of these segments on.

    Raises:
        SealedTextDamaged: a file is gone, or does not hold what its name says.
    """
    for segment in segments:
        if start >= segment.records:
            start -= segment.records
            continue
        yield from islice(_lines_of(segment), start, None)
        start = 0


def read_hashes(segment: Segment, *, level: int, start: int, count: int) -> list[bytes]:
    """Hashes of a segment: of its lines (level 0) or of its complete tiles (level 1).

    Raises:
        SealedTextDamaged: the file is gone, or too short.
    """
    place = _place("tiles" if level else "leaves", segment.sha256)
    try:
        with storages["seals"].open(place) as file:
            file.seek(start * HASH_BYTES)
            content: bytes = file.read(count * HASH_BYTES)
    except FileNotFoundError as error:
        raise SealedTextDamaged(f"the hashes of segment {segment.sha256} are gone") from error
    if len(content) != count * HASH_BYTES:
        raise SealedTextDamaged(f"the hashes of segment {segment.sha256} are cut off")
    return [content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES)]


def open_packed(segment: Segment) -> File[bytes]:
    """The segment's file as it lies: raw deflate.

    Raises:
        SealedTextDamaged: it is gone.
    """
    try:
        return storages["seals"].open(_place("segments", segment.sha256))
    except FileNotFoundError as error:
        raise SealedTextDamaged(f"segment {segment.sha256} is gone") from error


def read_text(segment: Segment) -> Iterator[bytes]:
    """The text of a segment in pieces, proven by its hash once the last one was read.

    Raises:
        SealedTextDamaged: the file is gone, or does not hold what its name says.
    """
    digest, unpacker = hashlib.sha256(), zlib.decompressobj(_RAW_DEFLATE)
    try:
        with open_packed(segment) as file:
            for chunk in file.chunks(_CHUNK):
                text = unpacker.decompress(chunk)
                digest.update(text)
                yield text
            yield (rest := unpacker.flush())
            digest.update(rest)
    except zlib.error as error:
        raise SealedTextDamaged(f"segment {segment.sha256} cannot be unpacked") from error
    if digest.hexdigest() != segment.sha256:
        raise SealedTextDamaged(f"segment {segment.sha256} holds another text")


def _lines_of(segment: Segment) -> Iterator[bytes]:
    rest = b""
    for text in read_text(segment):
        *whole, rest = (rest + text).split(b"\n")
        for line in whole:
            yield line + b"\n"


def _place(kind: str, name: str) -> str:
    return f"{kind}/{name[:2]}/{name}"


def _save(place: str, content: File[bytes]) -> None:
    kept = storages["seals"].save(place, content)
    if kept != place:
        message = f"the storage “seals” renamed {place} to {kept}: let it overwrite"
        raise ValueError(message)
