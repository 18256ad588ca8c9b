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

from audit.evidence.merkle import HASH_BYTES, WIDTH, Tree, block_root
from audit.payloads import PayloadFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

SEGMENT = WIDTH * WIDTH
_CHUNK = 1 << 18
_RAW_DEFLATE = -15
_LEVEL = 1
_IN_MEMORY = 8 << 20

_sha256 = hashlib.sha256


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


class Packing:
    """One segment on its way: takes its lines in leaf order, and leaves files behind.

    Memory holds the hashes of the segment, and of its text what the packer holds.
    """

    def __init__(self) -> None:
        self._leaves: list[bytes] = []
        self._tiles: list[bytes] = []
        self._digest = hashlib.sha256()
        self._size = self._crc = 0
        self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW_DEFLATE)
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  # closed in end

    @property
    def records(self) -> int:
        """How many lines it has so far."""
        return len(self._leaves)

    def fill(self, lines: Iterator[bytes]) -> Iterator[tuple[list[bytes], bytes | None]]:
        """Take lines, each with its end, until the segment is full or there are no more.

        Gives, block by block, the hashes of the lines and the root of the tile that they complete.
        """
        while len(self._leaves) < SEGMENT:
            block = list(islice(lines, WIDTH - len(self._leaves) % WIDTH))
            if not block:
                return
            hashes = leaf_hashes([line[:-1] for line in block])
            self._leaves += hashes
            text = b"".join(block)
            self._digest.update(text)
            self._crc = zlib.crc32(text, self._crc)
            self._size += len(text)
            self._file.write(self._packer.compress(text))
            root = None
            if len(self._leaves) % WIDTH == 0:
                root = block_root(self._leaves[-WIDTH:])
                self._tiles.append(root)
            yield hashes, root

    def end(self) -> Segment:
        """Keep what came: the hashes first, so that they are wherever the text is."""
        name = self._digest.hexdigest()
        with self._file:
            self._file.write(self._packer.flush())
            packed = self._file.tell()
            self._file.seek(0)
            _save(_place("leaves", name), ContentFile(b"".join(self._leaves)))
            _save(_place("tiles", name), ContentFile(b"".join(self._tiles)))
            _save(_place("segments", name), File(self._file))
        whole = len(self._leaves) == SEGMENT
        return Segment(
            records=len(self._leaves),
            sha256=name,
            size=self._size,
            packed=packed,
            crc32=self._crc,
            root=block_root(self._tiles).hex() if whole else None,
        )

    def drop(self) -> None:
        """Keep nothing."""
        self._file.close()


class Writer:
    """Takes the lines of an epoch in leaf order and leaves files, hashes and a tree behind.

    Memory holds the hashes of one segment.
    """

    def __init__(self, *, before: Sequence[Segment] = ()) -> None:
        """Go on after the segments of an earlier epoch.

        Its last one, where it is not complete, is written anew with what follows.
        """
        self.segments = [each for each in before if each.records == SEGMENT]
        self.tree = Tree.of_blocks([bytes.fromhex(each.root or "") for each in self.segments])
        self._packing = Packing()
        for each in before[len(self.segments) :]:
            self.write(read_lines([each]))

    def write(
        self, lines: Iterable[bytes], *, progress: Callable[[int], None] = lambda _written: None
    ) -> int:
        """Take lines, each with its end; return how many. `progress` hears of every block."""
        stream, count = iter(lines), 0
        while True:
            for hashes, root in self._packing.fill(stream):
                self.tree.extend(hashes, root=root)
                count += len(hashes)
                progress(count)
            if self._packing.records < SEGMENT:
                return count
            self.segments.append(self._packing.end())
            self._packing = Packing()

    def close(self) -> list[Segment]:
        """Keep the last segment and return all."""
        if self._packing.records:
            self.segments.append(self._packing.end())
        self._packing.drop()
        return self.segments


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
    for _chunk, text in read_packed(segment):
        yield text


def read_packed(segment: Segment) -> Iterator[tuple[bytes, bytes]]:
    """A segment's file in pieces, each beside the text in it; proven once the last was read.

    Raises:
        SealedTextDamaged: the file is gone, or does not hold what its name says.
    """
    digest, unpacker = hashlib.sha256(), zlib.decompressobj(_RAW_DEFLATE)
    with open_packed(segment) as file:
        for chunk in file.chunks(_CHUNK):
            try:
                text = unpacker.decompress(chunk)
            except zlib.error as error:
                message = f"segment {segment.sha256} cannot be unpacked"
                raise SealedTextDamaged(message) from error
            digest.update(text)
            yield chunk, text
    if not unpacker.eof or unpacker.unused_data or digest.hexdigest() != segment.sha256:
        raise SealedTextDamaged(f"segment {segment.sha256} holds another text")


def tree_of(segments: Sequence[Segment]) -> Tree:
    """The tree over segments of which only the last may not be complete.

    Raises:
        SealedTextDamaged: the hashes of the last one are gone.
    """
    whole = [each for each in segments if each.root]
    tree = Tree.of_blocks([bytes.fromhex(each.root or "") for each in whole])
    for each in segments[len(whole) :]:
        tree.extend(read_hashes(each, level=0, start=0, count=each.records))
    return tree


def leaf_hashes(lines: Iterable[bytes]) -> list[bytes]:
    """The hashes of lines without their ends."""
    # Not by `leaf_hash`: half the time of a big export would be spent on calling it.
    return [_sha256(b"\x00" + line).digest() for line in lines]


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
