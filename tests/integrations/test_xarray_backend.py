"""The engine of xarray, through xarray itself."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microfield as mf
from microfield.errors import FormatError, InputError
from microfield.image import Image
from microfield.reading.file import MicrofieldFile

xr = pytest.importorskip("xarray")


def test_xarray_opens_a_file_lazily(series: Image, series_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    read = MicrofieldFile.__getitem__

    def noted(f: MicrofieldFile, key: Any) -> Any:
        asked.append(key)
        return read(f, key)

    monkeypatch.setattr(MicrofieldFile, "__getitem__", noted)
    with xr.open_dataset(series_file) as dataset:  # Without engine=: the suffix says it.
        assert dataset.image.dims == tuple("TCZYX")
        part = dataset.image[2, 1, 1, 3:15:4, ::-1]
        assert not asked
        np.testing.assert_array_equal(part, series.read()[2, 1, 1, 3:15:4, ::-1])
        assert len(asked) == 1
        assert read(mf.open(series_file), asked[0]).size == part.size


def test_coordinates_are_those_of_to_xarray(series_file: Path) -> None:
    with xr.open_dataset(series_file, engine="microfield") as dataset, mf.open(series_file) as f:
        other = f.to_xarray()
        xr.testing.assert_identical(dataset.image.load(), other.rename("image").load())
        assert dataset.image.sel(C="GFP", T=60.0).shape == (3, 20, 24)
        assert dataset.Z.attrs["units"] == "micrometer"


def test_a_dataset_is_compressed_again_with_its_meaning(series: Image, series_file: Path, tmp_path: Path) -> None:
    with xr.open_dataset(series_file, engine="microfield") as dataset:
        mf.compress(dataset.image, tmp_path / "again.mfield", lossless=True)
    with mf.open(tmp_path / "again.mfield") as f:
        assert (f.voxel_size, f.units, f.channel_names) == (series.voxel_size, series.units, series.channel_names)
        np.testing.assert_array_equal(f[...], series.read())


def test_dask_chunks_are_planes_or_whole_parts(series_file: Path, wide_file: Path) -> None:
    with xr.open_dataset(series_file, engine="microfield", chunks={}) as dataset:
        assert dataset.image.data.chunksize == (1, 1, 1, 20, 24)
        assert pickle.loads(pickle.dumps(dataset)).identical(dataset)
    with xr.open_dataset(wide_file, engine="microfield", chunks={}) as dataset:
        assert dataset.image.data.chunksize == mf.open(wide_file).to_dask().chunksize == (2, 600, 130)
        assert int(dataset.image.max()) == mf.open(wide_file)[...].max()


def test_what_is_dropped_and_other_sources(series: Image, series_file: Path) -> None:
    with xr.open_dataset(series_file, engine="microfield", drop_variables=["channel_colour"]) as dataset:
        assert "channel_colour" not in dataset.coords
        assert "C" in dataset.coords
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://xarray/series.mfield", "wb") as file:
        file.write(series_file.read_bytes())
    with xr.open_dataset("memory://xarray/series.mfield", engine="microfield") as dataset:
        np.testing.assert_array_equal(dataset.image[0, 0], series.read()[0, 0])
    with xr.open_dataset(series_file.read_bytes(), engine="microfield") as dataset:
        np.testing.assert_array_equal(dataset.image[0, 0], series.read()[0, 0])


def test_damaged_files_and_wrong_paths(truncated: Path, cut_short: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="truncated"):
        xr.open_dataset(cut_short, engine="microfield")
    with pytest.raises(FormatError, match=r"damaged|truncated"):
        xr.open_dataset(truncated, engine="microfield").load()
    with pytest.raises(FileNotFoundError, match=r"nowhere\.mfield does not exist"):
        xr.open_dataset(tmp_path / "nowhere.mfield", engine="microfield")
    with pytest.raises(InputError, match="does not exist"):
        xr.open_dataset("memory://xarray/nowhere.mfield", engine="microfield")
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(FormatError, match="not a microfield file"):
        xr.open_dataset(tmp_path / "a.txt", engine="microfield")
