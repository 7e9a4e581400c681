"""Two images to compare, whatever each of them is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microfield as mf
from helpers.images import image
from microfield import metrics
from microfield.image import Layout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two channels as OME-TIFF and NPY, compressed, and decoded to OME-TIFF."""
    made = tmp_path_factory.mktemp("comparing")
    whole = image("channels")
    values = whole.read()
    mf.save_image(made / "a.ome.tif", Layout(whole.shape, "CYX", whole.dtype), lambda box: values[box])
    np.save(made / "a.npy", values)
    mf.compress(whole, made / "a.mfield", ratio=16, effort=0)
    mf.decompress(made / "a.mfield", made / "b.ome.tif")
    np.save(made / "b.npy", mf.decompress(made / "a.mfield"))
    return made


def of_kind(folder: Path, kind: str, name: str) -> Any:
    path = folder / f"{name}.ome.tif"
    if kind == "xarray":
        xarray = pytest.importorskip("xarray")
        return xarray.DataArray(mf.open_image(path).read(), dims=("C", "Y", "X"))
    if kind == "dask":
        return pytest.importorskip("dask.array").from_array(mf.open_image(path).read())
    if kind == "file":
        return mf.open(folder / "a.mfield")
    makers = {"path": path, "text": str(path), "npy": folder / f"{name}.npy", "mfield": folder / "a.mfield",
              "array": np.load(folder / f"{name}.npy"), "image": mf.open_image(path), "bytes": (folder / "a.mfield").read_bytes()}
    return makers[kind]


@pytest.mark.parametrize("first", ["path", "text", "npy", "array", "image", "xarray", "dask"])
@pytest.mark.parametrize("second", ["path", "npy", "mfield", "file", "bytes", "array", "image", "xarray", "dask"])
def test_any_mix(folder: Path, first: str, second: str) -> None:
    expected = metrics.compare(image("channels"), np.load(folder / "b.npy"), ssim=False)
    axes = "CYX" if {first, second} <= {"npy", "array", "dask"} else None
    found = mf.compare(of_kind(folder, first, "a"), of_kind(folder, second, "b"), ssim=False, axes=axes)
    assert (found.psnr, len(found.channels)) == (expected.psnr, 2)
    packed = second in ("mfield", "file", "bytes")
    assert found.file_bytes == ((folder / "a.mfield").stat().st_size if packed else None)


def test_two_files_and_the_size_that_is_given(folder: Path) -> None:
    same = mf.compare(folder / "a.mfield", folder / "a.mfield", ssim=False)
    assert same.psnr == float("inf")
    assert mf.compare(image("channels"), np.load(folder / "b.npy"), ssim=False, file_bytes=100).file_bytes == 100


def test_nan_is_replaced_where_the_file_replaced_it(tmp_path: Path) -> None:
    values = image("float32").read().copy()
    values[:4] = np.nan
    mf.compress(values, tmp_path / "a.mfield", ratio=4, effort=0, nan_fill=0)
    assert mf.compare(values, tmp_path / "a.mfield", nan_fill=0, ssim=False).psnr > 20
    with pytest.raises(mf.InputError, match="holds 112 NaN"):
        mf.compare(values, tmp_path / "a.mfield", ssim=False)


def test_what_does_not_belong_together(folder: Path) -> None:
    other = replace(image("channels"), axes="ZYX")
    with pytest.raises(mf.InputError, match="axes ZYX and the reconstruction CYX; give axes="):
        mf.compare(other, folder / "a.mfield")
    assert mf.compare(other, folder / "a.mfield", axes="CYX", ssim=False).psnr > 20
    with pytest.raises(mf.InputError, match=r"shape \(48, 40\) and the reconstruction \(2, 32, 28\)"):
        mf.compare(image("uint8"), folder / "b.npy", axes="YX")
    with pytest.raises(mf.InputError, match=r"shape \(2, 32, 28\) and the reconstruction \(48, 40\)"):
        mf.compare(image("channels"), image("uint8").read())
    with pytest.raises(mf.InputError, match="there is no file nothing"):
        mf.compare("nothing.tif", folder / "a.mfield")


def test_the_verdict_of_any_mix(folder: Path) -> None:
    pytest.importorskip("skimage")
    found = mf.verdict(folder / "a.ome.tif", folder / "a.mfield")
    assert str(found) == str(mf.verdict(image("channels"), np.load(folder / "b.npy")))
    assert str(found).splitlines()[0].startswith("look ")
