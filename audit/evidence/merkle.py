"""The Merkle tree of RFC 9162 over SHA-256, in the tiles of C2SP, with its proofs.

A tile level is eight levels of the tree: level k holds the root of every complete block of 256^k
leaves. `Tree` keeps only the right edge, at most 255 hashes a level; what is complete goes to a
sink. Proofs read the levels back through `Levels`, a few hashes at a time.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    # Tile level (1 and up) and the hash that was completed on it.
    Sink = Callable[[int, bytes], None]
    # Tile level, first entry, number of entries: that many hashes.
    Read = Callable[[int, int, int], Sequence[bytes]]

WIDTH = 256
_BITS = 8
HASH_BYTES = 32

_sha256 = hashlib.sha256


def leaf_hash(line: bytes) -> bytes:
    """The hash of a leaf: of its bytes, without the line end."""
    return _sha256(b"\x00" + line).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return _sha256(b"\x01" + left + right).digest()


def block_root(hashes: Sequence[bytes]) -> bytes:
    """The root over any number of hashes, at least one, of equal height."""
    row = list(hashes)
    while len(row) > 1:
        odd = row.pop() if len(row) % 2 else None
        # No pair crosses: an odd last one rises as it is, which is the shape of RFC 9162.
        row = [_sha256(b"\x01" + row[i] + row[i + 1]).digest() for i in range(0, len(row), 2)]
        if odd is not None:
            row.append(odd)
    return row[0]


class Tree:
    """A tree that grows leaf by leaf, or goes on from where an earlier one stopped."""

    def __init__(self, *, sink: Sink | None = None) -> None:
        self.size = 0
        self._edge: list[list[bytes]] = [[]]
        self._sink = sink

    @classmethod
    def of_blocks(cls, roots: Iterable[bytes]) -> Self:
        """The tree over complete blocks of 65,536 leaves, of which only the roots are known."""
        tree = cls()
        tree._edge = [[], [], []]
        for root in roots:
            tree.size += WIDTH * WIDTH
            tree._add(2, root)
        return tree

    @classmethod
    def from_edge(cls, edge: bytes, *, size: int) -> Self:
        """The tree whose right edge `edge` tells."""
        tree, start, level = cls(), 0, 0
        tree.size, tree._edge = size, []
        while size >> (level * _BITS):
            count = (size >> (level * _BITS)) % WIDTH
            end = start + count * HASH_BYTES
            tree._edge.append([edge[at : at + HASH_BYTES] for at in range(start, end, HASH_BYTES)])
            start, level = end, level + 1
        tree._edge = tree._edge or [[]]
        return tree

    def edge(self) -> bytes:
        """All that has to be kept to go on later: the open tile of each level, lowest first."""
        return b"".join(b"".join(row) for row in self._edge)

    def add(self, leaf: bytes) -> None:
        """Take one more leaf hash."""
        self.size += 1
        self._add(0, leaf)

    def extend(self, leaves: Sequence[bytes], *, root: bytes | None = None) -> None:
        """Take leaf hashes, as many at once as the open tile has room for.

        `root` is that of the tile which they complete, where the caller knows it.
        """
        start = 0
        while start < len(leaves):
            taken = leaves[start : start + WIDTH - len(self._edge[0])]
            self._edge[0].extend(taken)
            self.size += len(taken)
            start += len(taken)
            self._rise(0, root)

    def add_block(self, root: bytes, tiles: Sequence[bytes]) -> None:
        """Take 65,536 leaves at once, by the root over them and the roots of their tiles.

        Raises:
            ValueError: they would not be a block of their own.
        """
        if self.size % (WIDTH * WIDTH):
            raise ValueError(f"no block begins at leaf {self.size}")
        self.size += WIDTH * WIDTH
        self._edge += [[] for _ in range(3 - len(self._edge))]
        if self._sink:
            for tile in tiles:
                self._sink(1, tile)
            self._sink(2, root)
        self._add(2, root)

    def _add(self, level: int, entry: bytes) -> None:
        self._edge[level].append(entry)
        self._rise(level)

    def _rise(self, level: int, known: bytes | None = None) -> None:
        """Hand a full row up as one entry of the next."""
        row = self._edge[level]
        if len(row) < WIDTH:
            return
        root = known or block_root(row)
        row.clear()
        if len(self._edge) == level + 1:
            self._edge.append([])
        if self._sink:
            self._sink(level + 1, root)
        self._add(level + 1, root)

    def root(self) -> bytes:
        """The root over all leaves so far.

        Raises:
            ValueError: there is none; empty trees do not occur.
        """
        if not self.size:
            raise ValueError("an empty tree has no root here")
        found: bytes | None = None
        for row in self._edge:
            # Lower rows lie to the right of what stands above them.
            found = _uneven_root(row, found)
        assert found is not None
        return found


def _uneven_root(row: Sequence[bytes], rest: bytes | None) -> bytes | None:
    """The root over complete entries and what stands to the right of them, which is smaller."""
    parts = []
    start = 0
    for bit in reversed(range(_BITS)):
        if len(row) & (1 << bit):
            parts.append(block_root(row[start : start + (1 << bit)]))
            start += 1 << bit
    found = rest
    for part in reversed(parts):
        found = part if found is None else node_hash(part, found)
    return found


class Span(NamedTuple):
    """Leaves from `start` up to, not including, `end`."""

    start: int
    end: int


def inclusion_path(index: int, size: int) -> list[Span]:
    """Which parts of the tree prove a leaf, bottom up, as RFC 9162 2.1.3 orders them.

    Raises:
        ValueError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    path = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _largest_power_below(end - start)
        if index < middle:
            path.append(Span(middle, end))
            end = middle
        else:
            path.append(Span(start, middle))
            start = middle
    return path[::-1]


def consistency_path(old: int, new: int) -> list[Span]:
    """Which parts of the new tree prove that the old one is its beginning (RFC 9162 2.1.4).

    Raises:
        ValueError: the old tree is empty or the larger one.
    """
    if not 0 < old <= new:
        raise ValueError(f"a tree of {old} is no beginning of one of {new}")
    path = []
    start, end = 0, new
    whole = True
    while old != end:
        middle = start + _largest_power_below(end - start)
        if old <= middle:
            path.append(Span(middle, end))
            end = middle
        else:
            path.append(Span(start, middle))
            start = middle
            whole = False
    if not whole:
        path.append(Span(start, end))
    return path[::-1]


def span_hash(span: Span, read: Read) -> bytes:
    """The root over some leaves, out of the levels; `span` is one that a path names."""
    parts = []
    start = span.start
    while start < span.end:
        height = _largest_power_below(span.end - start + 1).bit_length() - 1
        level, bits = divmod(height, _BITS)
        entries = read(level, start >> (level * _BITS), 1 << bits)
        parts.append(block_root(entries))
        start += 1 << height
    found = parts.pop()
    while parts:
        found = node_hash(parts.pop(), found)
    return found


def prove(path: Sequence[Span], read: Read) -> list[bytes]:
    """The hashes of a path, in its order."""
    return [span_hash(span, read) for span in path]


def root_from_inclusion(*, leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that a proof of inclusion leads to (RFC 9162 2.1.3.2).

    Raises:
        ValueError: the proof does not have the shape that index and size ask for.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    node, last, found = index, size - 1, leaf
    for sibling in proof:
        if not last:
            raise ValueError("the proof is too long")
        if node & 1 or node == last:
            found = node_hash(sibling, found)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            found = node_hash(found, sibling)
        node >>= 1
        last >>= 1
    if last:
        raise ValueError("the proof is too short")
    return found


def roots_from_consistency(  # noqa: C901  # the steps of the RFC, in its order
    *, old: int, new: int, old_root: bytes, proof: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """The two roots that a proof of consistency leads to (RFC 9162 2.1.4.2).

    Raises:
        ValueError: the proof does not have the shape that the sizes ask for.
    """
    if not 0 < old <= new:
        raise ValueError(f"a tree of {old} is no beginning of one of {new}")
    if old == new:
        if proof:
            raise ValueError("the proof is too long")
        return old_root, old_root
    hashes = list(proof)
    if not old & (old - 1):
        hashes.insert(0, old_root)
    if not hashes:
        raise ValueError("the proof is too short")
    node, last = old - 1, new - 1
    while node & 1:
        node >>= 1
        last >>= 1
    first = second = hashes[0]
    for sibling in hashes[1:]:
        if not last:
            raise ValueError("the proof is too long")
        if node & 1 or node == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            second = node_hash(second, sibling)
        node >>= 1
        last >>= 1
    if last:
        raise ValueError("the proof is too short")
    return first, second


def _largest_power_below(count: int) -> int:
    """The largest power of two smaller than `count`, which is at least 2."""
    return 1 << ((count - 1).bit_length() - 1)
