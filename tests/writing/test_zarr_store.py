"""An image as an OME-Zarr store of microfield chunks: its size, its quality, its metadata, what others make of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import helpers.seam_methods  # noqa: F401 (registers its methods)
import microfield as mf
from helpers.images import blobs, image, scaled
from microfield.cli import main
from microfield.display import ChannelDisplay, Display
from microfield.errors import BudgetError, InputError, UsageError
from microfield.image import Image, Layout
from microfield.writing.zarr_layout import CHUNK_VOXELS, SHARD_VOXELS, arranged, chunk_shape, even, resolution, shard_shape

pytest.importorskip("zarr")

STACK = Image(scaled(np.stack([blobs((96, 112), 3, 40) for _ in range(8)]), 100, 3000, np.uint16), "ZYX",
              {"Z": 0.5, "Y": 0.1, "X": 0.1}, dict.fromkeys("ZYX", "micrometer"), ("DAPI",),
              display=Display((ChannelDisplay((0, 0, 255), (90.0, 2000.0)),)), name="stack")


def stored(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def psnr(original: Any, copy: Any) -> float:
    error = np.mean((np.asarray(original, float) - np.asarray(copy, float)) ** 2)
    return float(20 * np.log10(np.ptp(original) / np.sqrt(error)))


def test_a_ratio_counts_every_file_and_the_store_validates(tmp_path: Path) -> None:
    yaozarrs = pytest.importorskip("yaozarrs")
    path = tmp_path / "stack.ome.zarr"
    report = mf.compress(STACK, path, ratio=20, effort=0)
    assert report.file_bytes == stored(path)
    assert report.ratio == STACK.nbytes / stored(path) >= 20
    assert report.used is not None
    assert report.used >= 0.9
    yaozarrs.validate_zarr_store(str(path))
    found = mf.open_image(path)
    assert psnr(STACK.read(), found.read()) == pytest.approx(report.psnr, abs=0.01)
    assert (found.axes, found.voxel_size, found.units) == ("ZYX", STACK.voxel_size, STACK.units)
    assert (found.channel_names, found.display) == (STACK.channel_names, STACK.display)
    assert "lossy copy (method field)" in found.notes[0]


def test_all_resolutions_are_in_the_ratio_and_small_chunks_in_shards(tmp_path: Path) -> None:
    import zarr

    wide = Image(scaled(blobs((40, 1100), 3, 40), 100, 3000, np.uint16), "YX")
    report = mf.compress(wide, tmp_path / "wide.zarr", ratio=10, effort=0, tile={"x": 400})
    group = zarr.open(str(tmp_path / "wide.zarr"), mode="r")
    assert [group[level].shape for level in "01"] == [(40, 1100), (20, 550)]
    assert group["0"].chunks == (40, 400)
    assert group["0"].shards == (40, 1200)
    assert report.ratio >= 10
    assert report.parts == 3
    half = group["1"][...]
    means = wide.read().reshape(20, 2, 550, 2).mean((1, 3))
    assert psnr(means, half) > 30


def test_a_quality_is_that_of_the_whole(tmp_path: Path) -> None:
    report = mf.compress(STACK, tmp_path / "a.zarr", psnr=38, effort=0, tile={"z": 4})
    assert 38 <= report.psnr < 38.5
    assert psnr(STACK.read(), mf.open_image(tmp_path / "a.zarr").read()) == pytest.approx(report.psnr, abs=0.01)


@pytest.mark.parametrize("kind", ["series", "rgb", "channels", "float32"])
def test_axes_move_into_the_order_of_ome_zarr(kind: str, tmp_path: Path) -> None:
    source = image(kind)
    report = mf.compress(source, tmp_path / "a.ome.zarr", lossless=True, not_labels=True)
    assert report.exact
    assert report.axes == source.axes
    found = mf.open_image(tmp_path / "a.ome.zarr")
    np.testing.assert_array_equal(found.read(), arranged(source).read())
    if kind == "rgb":
        assert (found.axes, found.channel_names) == ("CYX", ("red", "green", "blue"))
        np.testing.assert_array_equal(found.read(), np.moveaxis(source.read(), -1, 0))


@pytest.mark.parametrize("method", ["nested-for-tests", "shared-for-tests"])
def test_methods_of_all_kinds_fill_a_budget(method: str, tmp_path: Path) -> None:
    """One whose quality is a number of bytes, and one whose parts share sections: here each chunk has its own."""
    report = mf.compress(STACK, tmp_path / "a.zarr", ratio=6, method=method, effort=0, tile={"z": 4})
    assert stored(tmp_path / "a.zarr") == report.file_bytes
    assert 6 <= report.ratio < 6.8
    assert report.parts == 2
    assert psnr(STACK.read(), mf.open_image(tmp_path / "a.zarr").read()) == pytest.approx(report.psnr, abs=0.01)


def test_the_command_line_writes_and_judges_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = STACK.read()[:2, :64, :64]
    mf.save_image(tmp_path / "a.ome.tif", Layout(small.shape, "ZYX", small.dtype), lambda box: small[box])
    call = ["compress", str(tmp_path / "a.ome.tif"), str(tmp_path / "b.ome.zarr"), "--ratio", "8", "--effort", "0"]
    assert main(call) == 0
    printed = capsys.readouterr().out
    assert "b.ome.zarr: " in printed
    assert "look" in printed
    assert main(call) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*call, "--overwrite", "--no-verdict"]) == 0


@pytest.mark.parametrize(("asked", "error", "words"), [
    ({"ratio": 100_000}, BudgetError, "too few.*takes at least .* as a Zarr store"),
    ({"psnr": 120}, BudgetError, "more than a quarter"),
    ({"ratio": 8, "method": "auto"}, UsageError, "one method"),
    ({"ratio": 8, "saliency": STACK.read() > 500}, UsageError, "saliency"),
    ({"ratio": 8, "tile": {"w": 3}}, UsageError, "tile"),
])
def test_what_cannot_be_leaves_nothing(asked: dict[str, Any], error: type[Exception], words: str, tmp_path: Path) -> None:
    small = Image(STACK.read()[:2, :48, :56], "ZYX")
    if "saliency" in asked:
        asked = asked | {"saliency": asked["saliency"][:2, :48, :56]}
    with pytest.raises(error, match=words):
        mf.compress(small, tmp_path / "a.zarr", effort=0, **asked)
    assert not list(tmp_path.iterdir())


def test_names_that_are_taken(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "precious.txt").write_text("notes")
    with pytest.raises(InputError, match="precious"):
        mf.compress(STACK, tmp_path / "a.zarr", ratio=8, overwrite=True)


def test_channels_are_not_cut_apart() -> None:
    with pytest.raises(UsageError, match="channels apart"):
        chunk_shape(image("channels"), {"c": 1})


EXTENTS = st.tuples(st.integers(1, 40), st.integers(1, 6), st.integers(1, 300), st.integers(1, 6000), st.integers(1, 6000))


@given(EXTENTS, st.floats(0, 1e6))
def test_chunks_and_shards_are_of_bounded_size_and_cover_the_image(extents: tuple[int, ...], chunk_bytes: float) -> None:
    source = Image(np.broadcast_to(np.uint8(0), extents), "TCZYX")
    chunk = chunk_shape(source)
    assert all(c <= n for c, n in zip(chunk, extents, strict=True))
    assert chunk[1] == extents[1]
    assert np.prod(chunk) <= CHUNK_VOXELS
    shard = shard_shape(extents, chunk, chunk_bytes)
    if shard is not None:
        assert all(s % c == 0 and s - c < n for s, c, n in zip(shard, chunk, extents, strict=True))
        assert np.prod(shard) <= SHARD_VOXELS


@given(st.integers(1, 5000), st.integers(1, 2000))
def test_pieces_are_few_and_about_equal(extent: int, side: int) -> None:
    piece = even(extent, side)
    assert 1 <= piece <= min(side, extent)
    count, fewest = -(-extent // piece), -(-extent // side)
    assert count <= fewest + fewest // 2 + 1
    assert count * piece - extent < count


@given(st.integers(9, 40), st.integers(9, 40), st.integers(0, 3), st.data())
def test_boxes_of_a_resolution_are_pieces_of_it(height: int, width: int, level: int, data: st.DataObject) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (2, height, width)).astype(np.uint16)
    source = Image(values, "ZYX")
    extents = (2, -(-height // 2**level), -(-width // 2**level))
    whole = resolution(source, level, tuple(slice(0, n) for n in extents))
    assert whole.shape == extents
    starts = [data.draw(st.integers(0, n - 1)) for n in extents]
    box = tuple(slice(s, data.draw(st.integers(s + 1, n))) for s, n in zip(starts, extents, strict=True))
    np.testing.assert_array_equal(resolution(source, level, box), whole[box])


@given(st.permutations("TCZYXS"), st.data())
def test_selections_of_an_arranged_image(letters: list[str], data: st.DataObject) -> None:
    axes = "".join(a for a in letters if a in "YX" or data.draw(st.booleans()))[:5]
    if not {"Y", "X"} <= set(axes):
        return
    extents = [data.draw(st.integers(1, 4)) for _ in axes]
    source = Image(np.arange(np.prod(extents), dtype=np.int32).reshape(extents), axes)
    found = arranged(source)
    order = [axes.index(a) for a in "TCSZYX" if a in axes]
    moved = source.read().transpose(order).reshape(found.shape)
    key = tuple(data.draw(st.one_of(st.integers(0, n - 1), st.slices(n))) for n in found.shape)
    np.testing.assert_array_equal(found.data[key], moved[key])
    np.testing.assert_array_equal(found.read(), moved)


def test_metadata_of_the_source_are_kept_where_they_are_asked_for(tmp_path: Path) -> None:
    source = replace(STACK, metadata="<OME>" + "what the microscope says " * 200 + "</OME>")
    report = mf.compress(source, tmp_path / "a.zarr", lossless=True)
    assert any("keep_metadata" in note for note in report.notes)
    mf.compress(source, tmp_path / "b.zarr", lossless=True, keep_metadata=True)
    assert mf.open_image(tmp_path / "a.zarr").metadata is None
    assert mf.open_image(tmp_path / "b.zarr").metadata == source.metadata
