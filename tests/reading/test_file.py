from __future__ import annotations

import math
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from helpers.raw_method import Raw, RawDecoder
from microfield.axes import guess_axes
from microfield.errors import FormatError, InputError, MissingExtraError
from microfield.format.assembler import write
from microfield.format.container import Container
from microfield.format.framing import Sections
from microfield.format.grid import Box, Grid
from microfield.format.header import Header
from microfield.format.source import BytesSource
from microfield.image import Layout
from microfield.methods.base import Cost, PartData
from microfield.reading import parts
from microfield.reading.file import MicrofieldFile, open_file

OPTIONS: dict[str, Any] = {"max_read_bytes": 2**32, "cache_parts": 16, "host": None, "trusted": False}


class Counting(Container):
    """Counts the parts that are fetched."""

    fetched: list[int]

    def part(self, part: int) -> Sections:
        self.fetched.append(part)
        return super().part(part)


def stored(array: np.ndarray[Any, Any], tile: tuple[int, ...] | None = None, **fields: Any) -> bytes:
    """A file that holds the array uncompressed."""
    layout = Layout(array.shape, guess_axes(array.shape, np.float32), array.dtype)
    header = Header(**{"method": Raw.name, "bitstream_version": 1, "layout": layout, "tile": tile, **fields})
    grid = Grid(array.shape, tile or array.shape)
    return write(header, [(array[grid.box(part)].tobytes(),) for part in range(grid.n)])


def container(array: np.ndarray[Any, Any], tile: tuple[int, ...] | None = None, **fields: Any) -> Counting:
    opened = Counting.open(BytesSource(stored(array, tile, **fields)))
    assert isinstance(opened, Counting)
    opened.fetched = []
    return opened


def lazy(given_container: Counting, **options: Any) -> MicrofieldFile:
    return MicrofieldFile(given_container, BytesSource(b"", "raw.mfield"), {**OPTIONS, **options})


def random(shape: tuple[int, ...], dtype: Any = np.uint16, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 120, shape).astype(dtype)


@st.composite
def arrays_and_tiles(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], tuple[int, ...] | None]:
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=5, min_side=1, max_side=6))
    dtype = draw(st.sampled_from([np.uint8, np.uint16, np.int16, np.float32]))
    return random(shape, dtype), draw(st.none() | st.tuples(*(st.integers(1, n + 1) for n in shape)))


@given(arrays_and_tiles(), st.data())
def test_reads_equal_numpy_indexing(case: tuple[Any, Any], data: st.DataObject) -> None:
    array, tile = case
    file = lazy(container(array, tile), cache_parts=data.draw(st.integers(0, 3)))
    key = data.draw(hnp.basic_indices(array.shape, allow_newaxis=False))
    values = file[key]
    assert values.dtype == array.dtype
    assert values.shape == array[key].shape
    np.testing.assert_array_equal(values, array[key])
    np.testing.assert_array_equal(np.asarray(file), array)


@given(arrays_and_tiles(), st.data())
def test_masks_and_points_equal_numpy_indexing(case: tuple[Any, Any], data: st.DataObject) -> None:
    array, tile = case
    file = lazy(container(array, tile))
    mask = data.draw(hnp.arrays(np.bool_, array.shape))
    values = file[mask]
    assert values.dtype == array.dtype
    np.testing.assert_array_equal(values, array[mask])
    np.testing.assert_array_equal(file.at(np.argwhere(mask)), array[mask])
    np.testing.assert_array_equal(file.asarray(mask, fill=7), np.where(mask, array, array.dtype.type(7)))
    rows = np.stack(np.unravel_index(np.arange(array.size)[::-1], array.shape), axis=1)
    np.testing.assert_array_equal(file.at(np.repeat(rows, 2, axis=0)), np.repeat(array.ravel()[::-1], 2))


@given(arrays_and_tiles(), st.integers(1, 4))
def test_previews(case: tuple[Any, Any], n: int) -> None:
    array, tile = case
    file = lazy(container(array, tile))
    steps = [n if axis in "ZYX" else 1 for axis in file.axes]
    np.testing.assert_array_equal(file.preview(n), array[tuple(slice(None, None, s) for s in steps)])
    averaged = file.preview(n, average=True)
    assert averaged.dtype == array.dtype
    np.testing.assert_array_equal(averaged, plain_average(array, steps))


def plain_average(array: np.ndarray[Any, Any], steps: list[int]) -> np.ndarray[Any, Any]:
    out = np.empty([-(-n // s) for n, s in zip(array.shape, steps, strict=True)], array.dtype)
    for index in np.ndindex(*out.shape):
        block = array[tuple(slice(i * s, (i + 1) * s) for i, s in zip(index, steps, strict=True))]
        mean = math.fsum(block.ravel().tolist()) / block.size
        out[index] = round(mean) if array.dtype.kind in "iu" else mean
    return out


def test_chunks_and_slabs_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "POINTS", 7)
    monkeypatch.setattr(parts, "MASK_VOXELS", 16)
    monkeypatch.setattr("microfield.reading.averages.SLAB_VOXELS", 20)
    array = random((3, 9, 11))
    mask = array > 60
    for tile in (None, (2, 4, 5)):
        file = lazy(container(array, tile))
        np.testing.assert_array_equal(file[mask], array[mask])
        np.testing.assert_array_equal(file.at(np.argwhere(mask)), array[mask])
        np.testing.assert_array_equal(file.asarray(mask), np.where(mask, array, 0))
        np.testing.assert_array_equal(file.preview(2, average=True), plain_average(array, [2, 2, 2]))


def test_only_the_parts_that_are_touched_are_fetched_and_recent_ones_are_kept() -> None:
    source = container(random((8, 8)), (4, 4))
    file = lazy(source, cache_parts=2)
    file[5, 1:6]
    assert source.fetched == [2, 3]
    file.at([[7, 7], [4, 0], [7, 7]])
    file[np.eye(8, dtype=bool) & (np.arange(8) > 4)]
    assert source.fetched == [2, 3]
    file[0, 0]
    file[7, 7]
    file[7, 0]
    assert source.fetched == [2, 3, 0, 2]
    file.close()
    file[7, 0]
    assert source.fetched == [2, 3, 0, 2, 2]


def test_what_is_returned_is_the_callers_own() -> None:
    array = random((4, 4))
    file = lazy(container(array))
    file[...][:] = 0
    np.testing.assert_array_equal(file[...], array)


def test_max_read_bytes_is_checked_before_anything_is_decoded() -> None:
    source = container(random((10, 10)))
    file = lazy(source, max_read_bytes=100)
    everything, nothing = np.ones((10, 10), bool), np.zeros((10, 10), bool)
    for read in (lambda: file[...], lambda: file[:6, :9], lambda: file[everything], lambda: np.asarray(file),
                 lambda: file.at(np.zeros((51, 2), int)), lambda: file.asarray(nothing),
                 lambda: file.preview(3, average=True)):
        with pytest.raises(InputError, match=r"needs [\d,]+ bytes, more than max_read_bytes=100;"):
            read()
    assert source.fetched == []
    assert file[:5].shape == (5, 10)
    assert file[np.arange(100).reshape(10, 10) < 10].shape == (10,)
    assert file.preview(5, average=True).shape == (2, 2)


def test_attributes_and_protocols() -> None:
    array = random((2, 3, 4, 5))
    file = lazy(container(array, voxel_size={"Y": 0.5}, units={"Y": "micrometer"}, channel_names=("a", "b"),
                                metadata="<OME/>"))
    assert (file.shape, file.axes, file.ndim, file.size) == ((2, 3, 4, 5), "CZYX", 4, 120)
    assert file.dtype == np.dtype(np.uint16)
    assert file.sizes == {"C": 2, "Z": 3, "Y": 4, "X": 5}
    assert (file.voxel_size, file.units, file.channel_names) == ({"Y": 0.5}, {"Y": "micrometer"}, ("a", "b"))
    assert (file.nbytes, file.metadata) == (240, "<OME/>")
    assert file.ratio == 240 / file.file_bytes < 1
    assert (file.method, file.layout, len(file)) == (Raw.name, file.header.layout, 2)
    assert repr(file) == ("<MicrofieldFile raw.mfield: CZYX (2, 3, 4, 5) uint16, method raw-for-tests, "
                          f"{file.file_bytes} bytes, {file.ratio:.1f}x>")
    np.testing.assert_array_equal(np.asarray(file, dtype=np.float32), array.astype(np.float32))
    np.testing.assert_array_equal(np.array(file) - file, np.zeros_like(array))
    np.testing.assert_array_equal(list(file), list(array))
    with pytest.raises(ValueError, match="copy=False"):
        np.asarray(file, copy=False)
    with file as same:
        assert same is file


def test_cost() -> None:
    file = lazy(container(random((8, 8)), (4, 4)))
    assert file.cost((slice(3, 5), slice(None, None, 3))) == Cost(6, 12)
    mask = np.zeros((8, 8), bool)
    assert file.cost(mask) == Cost(0, 0)
    mask[0, 0] = mask[1, 1] = mask[7, 7] = True
    assert file.cost(mask) == Cost(5, 10)


def test_wrong_calls() -> None:
    file = lazy(container(random((4, 4), np.uint8)))
    for fill in (256, -1, 0.5, math.nan):
        with pytest.raises(InputError, match="integer from 0 to 255"):
            file.asarray(np.ones((4, 4), bool), fill=fill)
    with pytest.raises(InputError, match="at least 1"):
        file.preview(0)
    with pytest.raises(TypeError, match=r"at\(points\)"):
        file[[0, 1]]
    with pytest.raises(TypeError, match="boolean"):
        file.asarray(np.ones((4, 4)))
    with pytest.raises(IndexError):
        file[4]
    with pytest.raises(IndexError):
        file.at([[0, 4]])


class Lying(RawDecoder):
    def read(self, box: Box) -> Any:
        return super().read(box)[..., :1]

    def at(self, points: Any) -> Any:
        return super().at(points).astype(np.float64)


def test_decoders_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    array = random((4, 4))
    file = lazy(container(array))
    monkeypatch.setattr(Raw, "decoder", classmethod(lambda cls, layout, version, data: Lying(array, layout)))
    with pytest.raises(FormatError, match=r"part 0 of raw.mfield decodes to uint16 values of shape \(4, 1\)"):
        file[...]
    with pytest.raises(FormatError, match="float64"):
        file.at([[0, 0]])


def test_hostile_parts_give_format_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    source = container(random((4, 4)))
    monkeypatch.setattr(source, "part", lambda part: (b"odd",))
    file = lazy(source)
    for _ in range(2):  # A failure is not cached as a decoder.
        with pytest.raises(FormatError, match=r"part 0 of raw\.mfield cannot be decoded"):
            file[0, 0]
    with pytest.raises(FormatError, match="builds on another part"):
        lazy(container(random((4, 4)), (2, 4), references=(None, 0)))[2]
    with pytest.raises(FormatError, match="'unheard'"):
        lazy(container(random((4, 4)), method="unheard"))


def test_many_threads_read_the_same_file() -> None:
    array = random((6, 40, 40))
    source = container(array, (2, 8, 8))
    for cache_parts in (0, 3, 1000):
        file = lazy(source, cache_parts=cache_parts)

        def read(seed: int, file: MicrofieldFile = file) -> bool:
            start = np.random.default_rng(seed).integers(0, 30, 2)
            key = (slice(None), slice(int(start[0]), None, 2), slice(int(start[1]), None, -1))
            return bool(np.array_equal(file[key], array[key]))

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(60)))


def test_threads_that_want_one_part_open_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    source = container(random((4, 4)))
    gate = threading.Barrier(4, timeout=10)
    opened = source.part

    def slow(part: int) -> Sections:
        threading.Event().wait(0.05)
        return opened(part)

    monkeypatch.setattr(source, "part", slow)
    file = lazy(source)

    def read(_: int) -> Any:
        gate.wait()
        return file[0, 0]

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(read, range(4)))) == 1
    assert source.fetched == [0]


def test_pickles_as_its_source_and_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = random((50, 60))
    path = tmp_path / "cells.mfield"
    path.write_bytes(stored(array))
    monkeypatch.chdir(tmp_path)
    for source in (path, str(path), "cells.mfield"):
        file = open_file(source, max_read_bytes=300, cache_parts=2)
        data = pickle.dumps(file)
        assert len(data) < 500
        monkeypatch.chdir("/")
        copy = pickle.loads(data)
        monkeypatch.chdir(tmp_path)
        assert copy.name == file.name == "cells.mfield"
        np.testing.assert_array_equal(copy[2:4], array[2:4])
        with pytest.raises(InputError, match="max_read_bytes=300"):
            copy[...]
    with path.open("rb") as handle:
        for given_bytes in (path.read_bytes(), handle):
            np.testing.assert_array_equal(pickle.loads(pickle.dumps(open_file(given_bytes)))[...], array)


def test_the_embedded_profile_takes_its_layout_from_the_host() -> None:
    array = random((5, 6))
    layout = Layout(array.shape, "YX", array.dtype)
    data = write(Header(Raw.name, 1, layout), [(array.tobytes(),)], embedded=True)
    file = open_file(data, host=layout)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(file))[::2], array[::2])
    with pytest.raises(FormatError, match="embedded"):
        open_file(data)


def test_shared_sections_come_with_those_of_the_part(monkeypatch: pytest.MonkeyPatch) -> None:
    array = random((4, 4))
    seen: list[PartData] = []

    def decoder(layout: Layout, version: int, data: PartData) -> RawDecoder:
        del version
        seen.append(data)
        return RawDecoder(array, layout)

    monkeypatch.setattr(Raw, "decoder", decoder)
    header = Header(Raw.name, 1, Layout(array.shape, "YX", array.dtype))
    open_file(write(header, [(b"own",)], shared=(b"a", b"b")))[0, 0]
    assert [(data.own, data.shared, data.parent) for data in seen] == [((b"own",), (b"a", b"b"), None)]


def test_missing_extras_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    file = lazy(container(random((4, 4))))
    for module, call in (("dask.array", file.to_dask), ("xarray", file.to_xarray)):
        monkeypatch.setitem(sys.modules, module.partition(".")[0], None)
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(MissingExtraError, match=r"microfield\[xarray\]"):
            call()


def test_to_dask_and_xarray() -> None:
    pytest.importorskip("dask.array")
    pytest.importorskip("xarray")
    array = random((2, 3, 8, 9))
    file = lazy(container(array, (1, 2, 4, 4), voxel_size={"Z": 2.0, "Y": 0.5}, units={"Y": "micrometer"},
                                channel_names=("dapi", "gfp")))
    lazily = file.to_dask()
    assert lazily.chunksize == (2, 3, 8, 9)
    assert file.to_dask((1, 1, 8, 9)).chunksize == (1, 1, 8, 9)
    assert lazily.dtype == array.dtype
    np.testing.assert_array_equal(lazily[:, ::-1, 2:, ::3].compute(), array[:, ::-1, 2:, ::3])
    assert file.to_dask((2, 3, 4, 4)).chunksize == (2, 3, 4, 4)
    named = file.to_xarray()
    assert named.dims == ("C", "Z", "Y", "X")
    np.testing.assert_array_equal(named.sel(C="gfp", Z=4.0).values, array[1, 2])
    np.testing.assert_array_equal(named["Y"].values, np.arange(8) * 0.5)
    assert named["Y"].attrs == {"units": "micrometer"}
    assert "X" not in named.coords


def test_a_pickle_notices_that_another_file_has_its_place(tmp_path: Path) -> None:
    path, array = tmp_path / "a.mfield", random((6, 8), np.uint8)
    path.write_bytes(stored(array))
    data = pickle.dumps(open_file(path))
    np.testing.assert_array_equal(pickle.loads(data)[...], array)
    path.write_bytes(stored(array[::-1].copy()))
    with pytest.raises(InputError, match="is not the file any more that was pickled: another one has taken its place"):
        pickle.loads(data)
