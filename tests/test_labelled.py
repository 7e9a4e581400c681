"""What a labelled array tells of an image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microfield as mf
from helpers.images import image
from microfield.image import as_image

xarray = pytest.importorskip("xarray")
dask_array = pytest.importorskip("dask.array")


def labelled(dims: tuple[str, ...], **coords: Any) -> Any:
    shape = tuple(range(4, 4 + len(dims)))
    return xarray.DataArray(np.arange(np.prod(shape), dtype=np.uint16).reshape(shape), coords, dims, name="cells")


def test_a_file_as_xarray_compresses_with_its_meaning(tmp_path: Path) -> None:
    steps, units = {"T": 2.0, "Z": 0.5, "Y": 0.1, "X": 0.1}, dict(zip("TZYX", ("second", *["micrometer"] * 3), strict=True))
    whole = replace(image("series"), voxel_size=steps, units=units, channel_names=("DAPI", "GFP"))
    mf.compress(whole, tmp_path / "a.mfield", ratio=8, effort=0)
    with mf.open(tmp_path / "a.mfield") as f:
        mf.compress(f.to_xarray(), tmp_path / "b.mfield", ratio=8, effort=0)
        mf.compress(f.to_xarray()[0, 1, :, ::2], tmp_path / "c.mfield", ratio=4, effort=0)
        mf.compress(f, tmp_path / "d.mfield", ratio=8, effort=0)
    for name in "bd":
        with mf.open(tmp_path / f"{name}.mfield") as f:
            assert (f.axes, f.voxel_size, f.units, f.channel_names) == ("TCZYX", steps, units, ("DAPI", "GFP"))
    with mf.open(tmp_path / "c.mfield") as f:
        assert (f.axes, f.voxel_size, f.channel_names) == ("ZYX", {"Z": 0.5, "Y": 0.2, "X": 0.1}, ("GFP",))


def test_one_plane_keeps_its_thickness(tmp_path: Path) -> None:
    thin = replace(image("stack"), data=image("stack").read()[:1], voxel_size={"Z": 2.0}, units={"Z": "micrometer"})
    mf.compress(thin, tmp_path / "a.mfield", ratio=2, effort=0)
    with mf.open(tmp_path / "a.mfield") as f:
        assert as_image(f.to_xarray()).voxel_size == {"Z": 2.0}


def test_coordinates_from_elsewhere() -> None:
    times = np.array(["2024-01-01T00:00:00", "2024-01-01T00:05:00", "2024-01-01T00:10:00", "2024-01-01T00:15:00"], "datetime64[ns]")
    found = as_image(labelled(("time", "channel", "rows", "cols"), time=times, channel=list("abcde"),
                              rows=("rows", np.arange(6) * 250.0, {"units": "nm"}), cols=np.arange(7) * 0.3))
    assert (found.axes, found.channel_names, found.name) == ("TCYX", tuple("abcde"), "cells")
    assert found.voxel_size == pytest.approx({"T": 300.0, "Y": 0.25, "X": 0.3})
    assert found.units == {"T": "second", "Y": "micrometer"}
    assert not found.axes_guessed


def test_what_coordinates_do_not_say() -> None:
    plain = as_image(labelled(("z", "y", "x"), y=np.arange(5), x=("x", np.arange(6), {"units": "pixel"})))
    assert (plain.axes, plain.voxel_size) == ("ZYX", {})
    uneven = as_image(labelled(("y", "x"), y=[0.0, 1.0, 3.0, 4.0]))
    assert uneven.voxel_size == {}
    assert "positions along y are not evenly spaced" in uneven.notes[0]
    unnamed = as_image(xarray.DataArray(np.zeros((4, 5), np.uint8)))
    assert unnamed.axes == "YX"
    with pytest.raises(mf.InputError, match="has a dimension 'angle', which is no axis"):
        as_image(labelled(("angle", "y", "x")))
    assert as_image(labelled(("angle", "y", "x")), "TYX").axes == "TYX"


def test_lazy_arrays_stay_lazy(tmp_path: Path) -> None:
    read = []

    def block(values: Any) -> Any:
        read.append(values.shape)
        return values

    lazy = dask_array.from_array(image("stack").read(), chunks=(1, 24, 20)).map_blocks(block, dtype=np.uint16)
    opened = as_image(xarray.DataArray(lazy, dims=("Z", "Y", "X")))
    assert len(read) <= 1  # Dask tries its function on an empty array.
    np.testing.assert_array_equal(opened.read(), image("stack").read())
    report = mf.compress(lazy, tmp_path / "a.mfield", axes="ZYX", ratio=8, effort=0)
    same = mf.compress(image("stack"), tmp_path / "b.mfield", ratio=8, effort=0)
    assert (report.psnr, report.file_bytes) == (same.psnr, same.file_bytes)
