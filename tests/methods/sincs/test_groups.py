"""Groups, their ancestors and the code of their differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from helpers.files import random_groups, random_groups_file
from microfield.errors import FormatError
from microfield.format.assembler import write
from microfield.format.header import Header
from microfield.image import Layout
from microfield.methods.sincs import ancestry
from microfield.methods.sincs.grouping import Groups, grouped
from microfield.methods.sincs.residual import Codes, decode, encode
from microfield.reading.file import open_file

U2 = np.dtype("uint16")


@st.composite
def divided(draw: st.DrawFn) -> Groups:
    """Groups of an array, none of them empty."""
    shape = tuple(draw(st.integers(1, 9)) for _ in range(draw(st.integers(1, 3))))
    counts = tuple(draw(st.integers(1, n)) for n in shape)
    groups = Groups(shape, counts, tuple(draw(st.booleans()) for _ in shape))
    return groups if groups.whole else Groups(shape, counts, (True,) * len(shape))


@given(divided(), st.data())
def test_every_voxel_of_a_selection_comes_from_its_group_once(groups: Groups, data: st.DataObject) -> None:
    owner = np.full(groups.shape, -1)
    for group in range(groups.n):
        assert (owner[groups.box(group)] == -1).all()
        owner[groups.box(group)] = group
    assert (owner >= 0).all()
    box = tuple(range(n)[data.draw(st.slices(n))] for n in groups.shape)
    values = np.random.default_rng(0).random(groups.shape)
    seen, out = np.zeros([len(r) for r in box], int), np.empty([len(r) for r in box])
    for group, local, where in groups.touching(box) if all(map(len, box)) else ():
        out[np.ix_(*where)] = values[groups.box(group)][np.ix_(*map(list, local))]
        seen[np.ix_(*where)] += 1
    assert (seen == 1).all()
    np.testing.assert_array_equal(out, values[np.ix_(*map(list, box))])
    points = np.argwhere(owner >= 0)
    found, local_points = groups.locate(points)
    np.testing.assert_array_equal(found, owner.ravel())
    for group, point, place in zip(found, local_points, points, strict=True):
        assert values[groups.box(int(group))][tuple(point)] == values[tuple(place)]


@pytest.mark.parametrize(("kind", "layout", "counts", "in_turn"), [
    ("time", Layout((12, 3, 64, 64), "TZYX", U2), (4, 1, 1, 1), False),
    ("slices", Layout((12, 3, 64, 64), "TZYX", U2), (1, 3, 1, 1), True),
    ("slices", Layout((12, 64, 64), "TYX", U2), (4, 1, 1), True),
    ("channel", Layout((2, 12, 64, 64), "CZYX", U2), (2, 1, 1, 1), False),
    ("channel", Layout((12, 64, 64), "ZYX", U2), (1, 1, 1), False),
    ("time", Layout((1, 64, 64), "TYX", U2), (1, 1, 1), False),
    ("auto", Layout((12, 3, 64, 64), "TZYX", U2), (4, 1, 1, 1), False),
    ("auto", Layout((3, 12, 64, 64), "TZYX", U2), (1, 4, 1, 1), False),  # Too few time points, enough planes.
    ("auto", Layout((64, 64), "YX", U2), (2, 2), False),
    ("time", Layout((5, 64, 64), "TYX", U2), (3, 1, 1), False),  # Five points in four runs leave none for the last.
])
def test_kinds_of_groups(kind: str, layout: Layout, counts: tuple[int, ...], in_turn: bool) -> None:
    groups = grouped(layout, kind, 4)
    assert groups.counts == counts
    assert any(groups.in_turn) is in_turn
    assert groups.whole


@given(st.integers(2, 70), st.data())
def test_ancestors_survive_their_bytes(n: int, data: st.DataObject) -> None:
    # Ancestors by any order of the groups: the choice of earlier ones in a permutation is a forest.
    places = data.draw(st.permutations(range(n)))
    ancestors: list[int | None] = [None] * n
    for k, group in enumerate(places[1:], 1):
        above = data.draw(st.none() | st.integers(max(0, k - 3), k - 1))
        ancestors[group] = None if above is None else places[above]
    packed = ancestry.pack(tuple(ancestors))
    assert ancestry.unpack(packed + b"x", 0, n) == (tuple(ancestors), len(packed))
    done: set[int] = set()
    for group in ancestry.order(tuple(ancestors)):
        assert ancestors[group] is None or ancestors[group] in done
        done.add(group)


def test_circles_and_long_chains_of_groups_are_refused() -> None:
    for wrong in ((1, 0), (1, 2, 0, None), (None, *range(65))):
        with pytest.raises(FormatError, match="build on one another"):
            ancestry.depths(wrong)
    assert max(ancestry.depths((None, *range(64)))) == 64
    assert max(ancestry.depths(ancestry.chain(200, 64))) == 63


def test_a_tree_joins_what_is_alike_and_keeps_to_its_depth() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.random((3, 50))
    shown = [kinds[g % 3] + 0.01 * rng.random(50) for g in range(18)]
    tree = ancestry.chosen(shown, 64, "auto")
    assert sum(above is not None and (g - above) % 3 != 0 for g, above in enumerate(tree)) == 2
    assert ancestry.chosen(shown, 64, "time") == ancestry.chain(18, 64)
    assert max(ancestry.depths(ancestry.tree(ancestry.distances(shown), 3))) == 2
    smooth = [np.full(4, float(g)) for g in range(9)]
    assert ancestry.chosen(smooth, 64, "auto") == ancestry.chain(9, 64)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4), st.integers(0, 2**32 - 1),
       st.floats(0.01, 300))
@hypothesis_settings(deadline=None, max_examples=60)
def test_differences_survive_their_bytes_along_a_chain(sizes: list[tuple[int, int]], seed: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    before: Codes | None = None
    after: Codes | None = None
    for _ in range(4):
        differences = [np.rint(rng.laplace(0, spread, size)).astype(np.int64) for size in sizes]
        data, before = encode(differences, before)
        found, after = decode(data, [r * c for r, c in sizes], after)
        for one, other in zip(differences, found, strict=True):
            np.testing.assert_array_equal(one.ravel(), other)
        assert before == after


LAYOUT = Layout((7, 14, 10), "ZYX", U2)


@pytest.mark.parametrize("groups", [
    {}, {"counts": (3, 1, 2)}, {"counts": (7, 1, 1), "ancestors": (3, 0, 1, None, 3, 4, 4)},
    {"counts": (3, 2, 1), "in_turn": True}, {"counts": (2, 1, 1), "rectified": True},
])
def test_selections_of_groups_equal_those_of_the_whole(groups: dict[str, object]) -> None:
    f = open_file(random_groups_file(LAYOUT, 1, **groups))
    whole = f.asarray()
    assert len(np.unique(whole)) > 9
    for key in (np.s_[2], np.s_[::-2, 3:9, ::3], np.s_[6:2:-1, 13, 9], np.s_[1:1]):
        np.testing.assert_array_equal(f[key], whole[key])
    points = np.random.default_rng(0).integers(0, LAYOUT.shape, (50, 3))
    np.testing.assert_array_equal(f.at(points), whole[tuple(points.T)])


def test_a_read_decodes_only_the_groups_it_needs() -> None:
    f = open_file(random_groups_file(LAYOUT, 3, counts=(7, 1, 1), ancestors=(3, 0, 1, None, 3, 4, 4)))
    assert f.cost(np.s_[2]).groups == (0, 1, 2, 3)
    assert f.cost(np.s_[5, 2, 3]).groups == (3, 4, 5)
    assert f.cost(np.s_[3]).groups == (3,)
    assert f.cost(np.s_[2]).voxels == 140
    data = random_groups(LAYOUT, 3, counts=(7, 1, 1))
    hurt = data[:-3]  # The last group of a chain: nothing else needs it.
    f = open_file(write(Header("sincs", 1, LAYOUT, checksum=bytes(8), experimental=True), [(hurt,)]))
    assert f[:6].shape == (6, 14, 10)
    with pytest.raises(FormatError):
        f[6]


def test_groups_of_unequal_size_keep_the_spacing_of_voxels() -> None:
    """A group at the border sees the coordinates that the same voxels have in a larger one."""
    small, large = Layout((5, 6, 6), "ZYX", U2), Layout((6, 6, 6), "ZYX", U2)
    one, other = (open_file(random_groups_file(layout, 1, counts=(2, 1, 1))).asarray() for layout in (small, large))
    np.testing.assert_array_equal(one, other[:5])


def test_parts_build_on_parts_and_a_wrong_ancestor_is_refused() -> None:
    layout = Layout((4, 12, 10), "ZYX", U2)
    half = Layout((2, 12, 10), "ZYX", U2)
    first, other = random_groups(half, 1), bytearray(random_groups(half, 2))
    other[0] += 32  # The second part builds on another one.
    wider = random_groups(half, 1, output_axes="Z")

    def file(parts: list[bytes], references: tuple[int | None, ...] | None) -> bytes:
        header = Header("sincs", 1, layout, checksum=bytes(8), experimental=True, tile=half.shape, references=references)
        return write(header, [(p,) for p in parts])

    f = open_file(file([first, bytes(other)], (None, 0)))
    alone = open_file(file([first, bytes([other[0] - 32]) + bytes(other[1:])], None))
    np.testing.assert_array_equal(f[:2], alone[:2])
    assert (f[2:] != alone[2:]).any()
    assert f.cost(np.s_[2:]).nbytes == len(first) + len(other)
    for parts, references in (([first, bytes(other)], None), ([wider, bytes(other)], (None, 0)), ([first, first], (None, 0))):
        with pytest.raises(FormatError, match="builds on"):
            open_file(file(parts, references))[2:]
