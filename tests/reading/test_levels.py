from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.files import random_file
from helpers.images import blobs, scaled
from microfield.errors import InputError
from microfield.image import Image, Layout
from microfield.reading import levels
from microfield.reading.file import MicrofieldFile, open_file
from microfield.reading.levels import LARGEST_CHUNK, SMALLEST_CHUNK, Level, steps_of_levels, usual_chunks
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes
from microfield.writing.settings import Settings

MICRO = {"Z": 0.5, "Y": 0.1, "X": 0.1}


def packed(values: np.ndarray[Any, Any], axes: str, **changed: Any) -> MicrofieldFile:
    image = Image(values, axes, MICRO, name="blobs")
    return open_file(compress_to_bytes(image, Budget.of(ratio=12), Settings(effort=0, **changed))[0])


@pytest.fixture
def small_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "SMALLEST", 16)


def test_planes_are_halved_until_they_are_small_and_z_towards_cubes() -> None:
    sizes = {"C": 2, "Z": 40, "Y": 3000, "X": 1000}
    def halved(voxels: dict[str, float]) -> list[tuple[int, ...]]:
        return [tuple(step.values()) for step in steps_of_levels(sizes, voxels)]

    assert halved({}) == halved({"Y": 0.1, "X": 0.1}) == [(1, 1, 1, 1), (1, 1, 2, 2), (1, 1, 4, 4), (1, 1, 8, 8)]
    assert halved({"Z": 0.1, "Y": 0.1, "X": 0.1}) == [(1, 1, 1, 1), (1, 2, 2, 2), (1, 4, 4, 4), (1, 8, 8, 8)]
    assert halved(MICRO) == [(1, 1, 1, 1), (1, 1, 2, 2), (1, 1, 4, 4), (1, 2, 8, 8)]
    assert steps_of_levels({"Y": 512, "X": 3}, {}) == [{"Y": 1, "X": 1}]
    assert steps_of_levels({"Z": 1, "Y": 9, "X": 513}, dict.fromkeys("ZYX", 1.0))[1] == {"Z": 1, "Y": 2, "X": 2}


@pytest.mark.usefixtures("small_levels")
@pytest.mark.parametrize(("axes", "tile"), [("YX", None), ("ZYX", {"y": 24}), ("CYX", {"x": 16, "y": 16}), ("YXS", None)])
def test_a_level_is_what_an_averaging_preview_makes(axes: str, tile: Any) -> None:
    shape = tuple({"Z": 3, "C": 2, "S": 3, "Y": 45, "X": 62}[axis] for axis in axes)
    f = packed(scaled(blobs(shape), 100, 4000, np.uint16), axes, tile=tile)
    full, *coarse = f.levels()
    np.testing.assert_array_equal(full[...], f[...], strict=True)
    assert len(coarse) == 2
    for level in coarse:
        if "Z" not in axes:
            np.testing.assert_array_equal(level[...], f.preview(level.steps["X"], average=True), strict=True)
        assert level.voxel_size["X"] == pytest.approx(0.1 * level.steps["X"])
        assert (level.dtype, level.ndim, level.size) == (f.dtype, f.ndim, level[...].size)
        np.testing.assert_array_equal(np.asarray(pickle.loads(pickle.dumps(level))), level[...])


@settings(max_examples=30)
@given(st.data())
def test_a_selection_of_a_level_is_that_of_all_of_it(data: st.DataObject) -> None:
    layout = Layout((5, 33, 21), "ZYX", np.dtype(np.uint8))
    f = open_file(random_file(layout, tile=(5, 16, 21)))
    level = Level(f, f._parts, f._limits, {"Z": 2, "Y": 4, "X": 4})
    whole = level[...]
    ends = st.none() | st.integers(-9, 9)
    one = st.integers(-3, 2) | st.builds(slice, ends, ends, st.sampled_from([None, 1, 2, 3, -1, -2]))
    key = tuple(data.draw(st.lists(one, max_size=3)))
    np.testing.assert_array_equal(level[key], whole[key])
    assert level[key].dtype == np.uint8


@pytest.mark.usefixtures("small_levels")
def test_coarse_levels_of_parts_are_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    f = packed(scaled(blobs((64, 64)), 0, 200, np.uint8), "YX", tile={"x": 32})
    level = f.levels()[-1]
    asked: list[int] = []
    averaged = f._parts.averaged

    def counted(part: int, steps: tuple[int, ...]) -> Any:
        asked.append(part)
        return averaged(part, steps)

    monkeypatch.setattr(f._parts, "averaged", counted)
    for row in range(16):
        level[row]
    assert asked == [0, 1]


@pytest.mark.usefixtures("small_levels")
def test_dask_reads_a_plane_per_chunk() -> None:
    pytest.importorskip("dask.array")
    f = packed(scaled(blobs((3, 45, 62)), 100, 4000, np.uint16), "ZYX")
    lazy = f.levels()[1].to_dask()
    assert lazy.chunks == ((1, 1, 1), (23,), (31,))
    np.testing.assert_array_equal(lazy[1].compute(), f.levels()[1][1])


def test_what_a_level_refuses(tmp_path: Path) -> None:
    layout = Layout((64, 64), "YX", np.dtype(np.uint8))
    f = open_file(random_file(layout), max_read_bytes=40_000).limited(4000)
    level = Level(f, f._parts, f._limits, {"Y": 2, "X": 2})
    with pytest.raises(InputError, match=r"needs 17,408 bytes, more than max_read_bytes=4,000;"):
        level[...]
    with pytest.raises(TypeError, match="masks are for the file itself"):
        level[np.ones((32, 32), bool)]
    with pytest.raises(ValueError, match="decoded when read"):
        np.array(level, copy=False)
    with pytest.raises(IndexError, match="out of bounds"):
        level[32]
    assert level[3:3].shape == (0, 32)


SIZES = st.tuples(*(st.integers(1, n) for n in (50, 200, 9000, 9000))).map(lambda extents: dict(zip("TZYX", extents, strict=True)))


@given(SIZES, st.sampled_from([1, 2, 4]), st.data())
def test_no_part_is_in_two_chunks_unless_it_is_very_large(sizes: dict[str, int], itemsize: int, data: st.DataObject) -> None:
    tile = [data.draw(st.integers(1, n)) for n in sizes.values()]
    chunk = usual_chunks(sizes, itemsize, tile)
    assert all(1 <= c <= n for c, n in zip(chunk, sizes.values(), strict=True))
    size = math.prod(chunk) * itemsize
    if math.prod(tile) * itemsize <= LARGEST_CHUNK:
        assert all(c % t == 0 or c == n for c, t, n in zip(chunk, tile, sizes.values(), strict=True))
        assert size <= max(2 * SMALLEST_CHUNK, math.prod(tile) * itemsize)
        assert size >= SMALLEST_CHUNK or chunk == tuple(sizes.values())
    else:
        assert chunk[:2] == (1, 1)
    assert usual_chunks(sizes, itemsize) == (1, 1, sizes["Y"], sizes["X"])
