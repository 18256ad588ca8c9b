"""The tree against fixed vectors, and its proofs against a naive tree of RFC 9162."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.evidence import merkle

ROOTS = {
    1: "d829edd0713a1bb05e3cd0616924a4c5bde21e36e537149a20239edafa8825f1",
    2: "8d797bb58d61f678047fdf92a390117b16d8718b957303a9231a36cf6e0c5f75",
    3: "00a70ab1951b3920e93bb731381741971d0960c1ae41ce64cb6d5fa330bffcc6",
    7: "e9c6d5ed5127b01b79401e3c23dc61236402fbff7ab25aaedf8180865da94acd",
    255: "f87f4c856274911fc8fdeef2e774a5d5332ac80b75b076fb110667115c3b9b05",
    256: "7ef0de1496341fac3fe8bdfa1cb4f4d63c91f142744b35376e9265b6af758610",
    257: "0e8fc2091cbee27032d5518617b3598799129470d5a620b39ac1af4f9c867464",
    65536: "aa1d71dbd31ad4da83db0a038fd1261b5ea1a4abdac4952a9bbff65f6e1fba4b",
    65537: "b18500d853f144f2a2a5a2ab9362bfd33ffccbe1d790f26c2ea3a1ab57047715",
}
SIZES = [*range(1, 131), 255, 256, 257, 511, 512, 513, 4096]


def leaves(count):
    return [merkle.leaf_hash(b'{"i":%d}' % index) for index in range(count)]


def naive_root(hashes):
    """RFC 9162 2.1.1, word for word."""
    if len(hashes) == 1:
        return hashes[0]
    middle = 1
    while middle * 2 < len(hashes):
        middle *= 2
    left, right = naive_root(hashes[:middle]), naive_root(hashes[middle:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def naive_inclusion(index, hashes):
    if len(hashes) == 1:
        return []
    middle = 1
    while middle * 2 < len(hashes):
        middle *= 2
    if index < middle:
        return [*naive_inclusion(index, hashes[:middle]), naive_root(hashes[middle:])]
    return [*naive_inclusion(index - middle, hashes[middle:]), naive_root(hashes[:middle])]


def naive_consistency(old, hashes, *, whole=True):
    if old == len(hashes):
        return [] if whole else [naive_root(hashes)]
    middle = 1
    while middle * 2 < len(hashes):
        middle *= 2
    if old <= middle:
        rest = naive_consistency(old, hashes[:middle], whole=whole)
        return [*rest, naive_root(hashes[middle:])]
    rest = naive_consistency(old - middle, hashes[middle:], whole=False)
    return [*rest, naive_root(hashes[:middle])]


class Levels:
    """All tile levels of a tree, as the level files hold them."""

    def __init__(self, hashes):
        self.rows = {0: hashes}
        tree = merkle.Tree(sink=lambda level, entry: self.rows.setdefault(level, []).append(entry))
        tree.extend(hashes)
        self.root = tree.root()

    def __call__(self, level, start, count):
        entries = self.rows[level][start : start + count]
        assert len(entries) == count
        return entries


class TestTree:
    @pytest.mark.parametrize("size", ROOTS)
    def test_has_the_roots_of_the_format(self, size):
        tree = merkle.Tree()
        tree.extend(leaves(size))

        assert tree.root().hex() == ROOTS[size]

    def test_writes_the_level_files_of_the_format(self):
        levels = Levels(leaves(65_537))

        assert levels.rows[1][0].hex() == ROOTS[256]
        assert len(levels.rows[1]) == 256
        assert [each.hex() for each in levels.rows[2]] == [ROOTS[65536]]

    @pytest.mark.parametrize("size", SIZES)
    def test_grows_leaf_by_leaf_as_well_as_at_once(self, size):
        hashes = leaves(size)
        one_by_one = merkle.Tree()
        for each in hashes:
            one_by_one.add(each)

        assert one_by_one.root() == naive_root(hashes)
        assert Levels(hashes).root == naive_root(hashes)

    @pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 131_073])
    def test_goes_on_from_its_edge(self, size):
        hashes = leaves(size + 3)
        whole, first = merkle.Tree(), merkle.Tree()
        whole.extend(hashes)
        first.extend(hashes[:size])

        later = merkle.Tree.from_edge(first.edge(), size=size)
        later.extend(hashes[size:])

        assert later.root() == whole.root()

    def test_goes_on_after_whole_blocks(self):
        hashes = leaves(131_072 + 5)
        levels = Levels(hashes)

        later = merkle.Tree.of_blocks(levels.rows[2])
        later.extend(hashes[131_072:])

        assert later.size == len(hashes)
        assert later.root() == levels.root

    def test_keeps_its_right_edge_only(self):
        tree = merkle.Tree()
        tree.extend(leaves(131_071))

        assert len(tree.edge()) <= 3 * 255 * 32

    def test_is_never_empty(self):
        with pytest.raises(ValueError, match="empty"):
            merkle.Tree().root()


class TestProofs:
    @pytest.mark.parametrize("size", SIZES)
    def test_of_inclusion_lead_to_the_root(self, size):
        levels = Levels(leaves(size))
        for index in {0, size // 3, size // 2, size - 1}:
            proof = merkle.prove(merkle.inclusion_path(index, size), levels)

            assert proof == naive_inclusion(index, levels.rows[0])
            found = merkle.root_from_inclusion(
                leaf=levels.rows[0][index], index=index, size=size, proof=proof
            )
            assert found == levels.root

    @pytest.mark.parametrize("size", SIZES)
    def test_of_consistency_lead_to_both_roots(self, size):
        hashes = leaves(size)
        levels = Levels(hashes)
        for old in {1, size // 3 or 1, size // 2 or 1, size - 1 or 1, size}:
            proof = merkle.prove(merkle.consistency_path(old, size), levels)

            assert proof == naive_consistency(old, hashes)
            old_root = naive_root(hashes[:old])
            assert merkle.roots_from_consistency(
                old=old, new=size, old_root=old_root, proof=proof
            ) == (old_root, levels.root)

    @pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 131_071, 131_072, 131_073])
    def test_reach_over_segments(self, size):
        levels = Levels(leaves(size))
        for index in (0, size // 2, size - 1):
            proof = merkle.prove(merkle.inclusion_path(index, size), levels)
            leaf = levels.rows[0][index]

            assert levels.root == merkle.root_from_inclusion(
                leaf=leaf, index=index, size=size, proof=proof
            )

    def test_of_the_format_is_the_fifth_of_seven(self):
        proof = merkle.prove(merkle.inclusion_path(4, 7), Levels(leaves(7)))

        assert [(each.hex()[:8], each.hex()[-6:]) for each in proof] == [
            ("cd63f2d1", "e3790b"),
            ("220ecf4b", "f88a18"),
            ("8641f9e3", "4806d5"),
        ]

    @settings(max_examples=200)
    @given(st.integers(1, 700), st.data())
    def test_of_anything_else_do_not_lead_there(self, size, data):
        levels = Levels(leaves(size))
        index = data.draw(st.integers(0, size - 1))
        proof = merkle.prove(merkle.inclusion_path(index, size), levels)
        other = data.draw(st.integers(0, size - 1).filter(lambda each: each != index) | st.none())
        leaf = levels.rows[0][index]
        wrong = [
            {"leaf": merkle.leaf_hash(b"another")},
            {"proof": [*proof, b"\x00" * 32]},
            {"proof": proof[:-1]},
            {"proof": [bytes(32), *proof[1:]]},
        ]
        if other is not None:
            wrong.append({"index": other})
        for change in wrong:
            asked = {"leaf": leaf, "index": index, "size": size, "proof": proof} | change
            if asked == {"leaf": leaf, "index": index, "size": size, "proof": proof}:
                continue
            with contextlib.suppress(ValueError):
                assert merkle.root_from_inclusion(**asked) != levels.root

    @pytest.mark.parametrize(
        ("path", "arguments"),
        [
            (merkle.inclusion_path, (3, 3)),
            (merkle.inclusion_path, (-1, 3)),
            (merkle.consistency_path, (0, 3)),
            (merkle.consistency_path, (4, 3)),
        ],
    )
    def test_of_what_is_not_there_are_refused(self, path, arguments):
        with pytest.raises(ValueError, match=r"there is no leaf|is no beginning"):
            path(*arguments)
