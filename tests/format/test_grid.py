from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from microfield.format.grid import Grid, as_slice
from microfield.reading.selection import Selection

SHAPES = hnp.array_shapes(min_dims=2, max_dims=5, min_side=1, max_side=9)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    shape = draw(SHAPES)
    return Grid(shape, tuple(draw(st.integers(1, n + 2)) for n in shape))


@given(grids())
def test_boxes_cover_the_array_once_in_c_order(grid: Grid) -> None:
    owner = np.full(grid.shape, -1)
    for part in range(grid.n):
        assert (owner[grid.box(part)] == -1).all()
        owner[grid.box(part)] = part
        assert owner[grid.box(part)].shape == grid.part_shape(part)
    assert (owner >= 0).all()
    corners = owner[tuple(slice(None, None, t) for t in grid.tile)]
    np.testing.assert_array_equal(corners.ravel(), np.arange(grid.n))


@given(grids(), st.data())
def test_touching_assembles_what_indexing_gives(grid: Grid, data: st.DataObject) -> None:
    array = np.arange(np.prod(grid.shape)).reshape(grid.shape)
    key = data.draw(st.tuples(*(st.slices(n) for n in grid.shape)))
    box = Selection.from_index(key, grid.shape).box
    out = np.full([len(r) for r in box], -1)
    touched = []
    for part, local, where in grid.touching(box):
        assert (out[where] == -1).all()
        assert all(0 <= i < n for r, n in zip(local, grid.part_shape(part), strict=True) for i in (r[0], r[-1]))
        out[where] = array[grid.box(part)][tuple(as_slice(r) for r in local)]
        touched.append(part)
    np.testing.assert_array_equal(out, array[key])
    assert len(set(touched)) == len(touched)


@given(grids(), st.data())
def test_locate_finds_every_point(grid: Grid, data: st.DataObject) -> None:
    array = np.arange(np.prod(grid.shape)).reshape(grid.shape)
    flat = data.draw(hnp.arrays(np.int64, st.integers(0, 6), elements=st.integers(0, array.size - 1)))
    part, local = grid.locate(np.stack(np.unravel_index(flat, grid.shape), axis=1).astype(np.int64))
    assert part.shape == flat.shape
    found = [array[grid.box(int(p))][tuple(q)] for p, q in zip(part, local, strict=True)]
    np.testing.assert_array_equal(found, flat)


def test_huge_grids_cost_nothing_until_touched() -> None:
    grid = Grid((2**40, 2**40), (2**10, 2**10))
    assert grid.n == 2**60
    (part, local, where), = grid.touching((range(2**40 - 1, 2**40), range(5, 8)))
    assert (part, local, where) == (2**60 - 2**30, (range(1023, 1024), range(5, 8)), (slice(0, 1), slice(0, 3)))
    assert len(list(grid.touching((range(0, 2**40, 2**38), range(1))))) == 4


def test_wrong_grids_and_parts_are_refused() -> None:
    for tile in ((4,), (0, 4)):
        with pytest.raises(ValueError, match="does not fit"):
            Grid((8, 8), tile)
    with pytest.raises(IndexError, match="4 parts"):
        Grid((8, 8), (4, 4)).box(4)
