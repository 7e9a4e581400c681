"""All of a file, a selection or a mask of it, as an array and as a normal image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microfield as mf
from helpers.files import Packed, compressed
from helpers.images import image
from microfield.cli import main
from microfield.writing.budget import Budget


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two times, two channels, three planes."""
    meaning = replace(image("series"), voxel_size={"T": 2.0, "Z": 0.5, "Y": 0.1, "X": 0.1}, channel_names=("DAPI", "GFP"),
                      units={"T": "second", "Z": "micrometer", "Y": "micrometer", "X": "micrometer"})
    data, _ = compressed(meaning, "field", Budget("ratio", 8))
    path = tmp_path_factory.mktemp("saving") / "series.mfield"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", ["ome.tif", "tif", "ome.zarr", "npy"])
def test_all_of_a_file(series: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    with mf.open(series) as f:
        f.save(path)
        whole = f.asarray()
    back = mf.open_image(path)
    np.testing.assert_array_equal(back.read(), whole)
    if suffix != "npy":
        assert (back.axes, back.channel_names) == ("TCZYX", ("DAPI", "GFP"))
        assert back.voxel_size == {"T": 2.0, "Z": 0.5, "Y": 0.1, "X": 0.1}


@pytest.mark.parametrize(("select", "key", "axes"), [
    ("t=0,c=1,z=1:3,x=::2", (0, 1, slice(1, 3), slice(None), slice(None, None, 2)), "ZYX"),
    ((0, 1, slice(1, 3), ..., slice(None, None, 2)), (0, 1, slice(1, 3), slice(None), slice(None, None, 2)), "ZYX"),
    ((..., slice(None, None, -1)), (..., slice(None, None, -1)), "TCZYX"),
    (-1, 1, "CZYX"),
    ("y=3", (slice(None), slice(None), slice(None), slice(3, 4)), "TCZYX"),
])
def test_a_selection_is_text_or_what_an_array_takes(series: Path, tmp_path: Path, select: Any, key: Any, axes: str) -> None:
    with mf.open(series) as f:
        f.save(tmp_path / "a.ome.tif", select=select)
        back = mf.open_image(tmp_path / "a.ome.tif", axes=axes)
        np.testing.assert_array_equal(back.read(), f[key].reshape(back.shape))
    decoded = mf.decompress(series, select=select)
    assert decoded is not None
    np.testing.assert_array_equal(decoded.reshape(back.shape), back.read())


def test_sizes_and_names_follow_the_selection(series: Path, tmp_path: Path) -> None:
    mf.decompress(series, tmp_path / "a.ome.tif", select="c=::-1,y=::4")
    back = mf.open_image(tmp_path / "a.ome.tif")
    assert back.channel_names == ("GFP", "DAPI")
    assert back.voxel_size == {"T": 2.0, "Z": 0.5, "Y": 0.4, "X": 0.1}


def test_a_mask(series: Path, tmp_path: Path) -> None:
    with mf.open(series) as f:
        mask = np.zeros(f.shape, bool)
        mask[:, 1, :, 4:8] = True
        f.save(tmp_path / "a.npy", mask=mask)
        expected = np.where(mask, f.asarray(), 0)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), expected)
    np.testing.assert_array_equal(mf.decompress(series, mask=mask), expected)
    np.save(tmp_path / "mask.npy", mask.astype(np.uint8))
    np.testing.assert_array_equal(mf.decompress(series, mask=tmp_path / "mask.npy"), expected)
    mf.decompress(series, tmp_path / "b.npy", mask=str(tmp_path / "mask.npy"))
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), expected)


def test_decompress_takes_what_open_takes(series: Path) -> None:
    whole = mf.decompress(series)
    assert whole is not None
    assert whole.shape == image("series").shape
    assert whole.dtype == np.uint16
    with mf.open(series.read_bytes()) as f:
        np.testing.assert_array_equal(mf.decompress(f), whole)
    np.testing.assert_array_equal(mf.decompress(series.read_bytes()), whole)
    with pytest.raises(mf.InputError, match="max_read_bytes=100"):
        mf.decompress(series, max_read_bytes=100)


@pytest.mark.parametrize(("arguments", "words"), [
    ({"select": "q=1"}, "names no axis"),
    ({"select": (slice(0, 0),)}, "holds no voxel"),
    ({"select": np.ones((2, 2, 3, 16, 14), bool)}, "give a mask with mask="),
    ({"select": "t=0", "mask": np.ones((2, 2, 3, 16, 14), bool)}, "give select= or mask=, not both"),
])
def test_what_cannot_be_selected(series: Path, tmp_path: Path, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(mf.UsageError, match=words):
        mf.decompress(series, tmp_path / "a.npy", **arguments)
    with pytest.raises(mf.UsageError, match=words):
        mf.decompress(series, **arguments)
    assert not list(tmp_path.iterdir())


def test_progress(packed: Callable[[str, str], Packed], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told: list[float] = []
    mf.decompress(packed("field", "stack")[0], tmp_path / "a.tif", progress=lambda done, what: told.append(done))
    assert told == sorted(told)
    assert told[-1] == 1
    assert capsys.readouterr().err == ""


def test_an_open_file_is_held_to_the_limit_of_a_call(series: Path, tmp_path: Path) -> None:
    with mf.open(series) as f:
        for destination in (None, tmp_path / "a.npy"):
            with pytest.raises(mf.InputError, match="more than max_read_bytes=100"):
                mf.decompress(f, destination, max_read_bytes=100)
        assert mf.decompress(f, max_read_bytes=10**6).shape == f.shape == f[...].shape


def test_a_selection_that_goes_beyond_the_image_says_so(series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for n, (asked, words) in enumerate((("z=1:90", ["z=1:90 goes beyond the image, which ends at 3 along Z."]), ("z=0:3,y=::2", []),
                                        ("z=-9:2", ["z=-9:2 goes beyond the image, which ends at 3 along Z."]))):
        assert main(["decompress", str(series), str(tmp_path / f"{n}.ome.tif"), "--select", asked]) == 0
        told = capsys.readouterr().out
        assert [line.removeprefix("  note: ") for line in told.splitlines() if "beyond" in line] == words
