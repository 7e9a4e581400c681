"""Hyperstacks for ImageJ and Fiji, read back by tifffile and by our own reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import microfield as mf
from helpers.meaningful import FIRE, RANGES, RED, imagej, ome_tiff, values
from microfield.display import Calibration, ChannelDisplay, Display
from microfield.errors import InputError
from microfield.image import Image, Layout
from microfield.io import open_image, save_image


def save(path: Path, data: np.ndarray[Any, Any], axes: str, **meaning: Any) -> tuple[str, ...]:
    return save_image(path, Layout(data.shape, axes, data.dtype), lambda box: data[box], **meaning)


def again(path: Path, image: Image, **changed: Any) -> tuple[str, ...]:
    meaning = {"voxel_size": image.voxel_size, "units": image.units, "channel_names": image.channel_names,
               "metadata": image.metadata, "display": image.display}
    return save(path, image.read(), image.axes, **(meaning | changed))


def test_a_hyperstack_comes_back_as_it_was(tmp_path: Path) -> None:
    source = open_image(imagej(tmp_path))
    assert again(tmp_path / "a.imagej.tif", source) == ()
    back = open_image(tmp_path / "a.imagej.tif")
    np.testing.assert_array_equal(back.read(), values())
    assert (back.axes, back.display, back.metadata, back.units) == (source.axes, source.display, source.metadata, source.units)
    assert back.voxel_size == pytest.approx(source.voxel_size)
    with tifffile.TiffFile(tmp_path / "a.imagej.tif") as tif:
        stated = tif.imagej_metadata or {}
    assert (stated["channels"], stated["slices"], stated["frames"], stated["mode"]) == (3, 2, 2, "composite")
    assert stated["Ranges"] == tuple(np.ravel(RANGES))
    assert np.array_equal(stated["LUTs"][0], RED)
    assert np.array_equal(stated["LUTs"][2], FIRE)


def test_another_order_of_axes_moves_labels_with_their_planes(tmp_path: Path) -> None:
    source = open_image(imagej(tmp_path))
    data = source.read().transpose(2, 0, 1, 4, 3)
    labels = tuple(f"t{t} z{z} c{c}" for c in range(3) for t in range(2) for z in range(2))
    save(tmp_path / "a.imagej.tif", data, "CTZXY", display=Display(plane_labels=labels))
    back = open_image(tmp_path / "a.imagej.tif")
    np.testing.assert_array_equal(back.read(), source.read())
    assert back.display.plane_labels == source.display.plane_labels


def test_names_of_channels_become_labels(tmp_path: Path) -> None:
    source = open_image(ome_tiff(tmp_path))
    assert again(tmp_path / "a.imagej.tif", source) == ()
    assert open_image(tmp_path / "a.imagej.tif").display.plane_labels == ("DAPI", "GFP", "mCherry") * 4
    data = source.read()[0, 0]
    save(tmp_path / "b.imagej.tif", data, "CYX", channel_names=source.channel_names, display=source.display)
    back = open_image(tmp_path / "b.imagej.tif")
    assert (back.channel_names, back.display) == (source.channel_names, replace(source.display, mode="composite"))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_a_plane_with_a_table_and_a_range(tmp_path: Path, dtype: str) -> None:
    plane = (values()[0, 0, 0] // 16).astype(dtype)
    shown = ChannelDisplay.of_table(FIRE, (3.0, 200.0))
    calibration = None if dtype == "float32" else Calibration((-1024.0, 1.0, 0.5), "Hounsfield")
    assert save(tmp_path / "a.imagej.tif", plane, "YX", display=Display((shown,), ("only",), calibration)) == ()
    back = open_image(tmp_path / "a.imagej.tif")
    np.testing.assert_array_equal(back.read(), plane)
    assert back.display == Display((shown,), ("only",), calibration)


def test_colour(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 255, (2, 24, 20, 3)).astype(np.uint8)
    save(tmp_path / "a.imagej.tif", data, "ZYXS", voxel_size={"X": 200.0, "Y": 200.0}, units={"X": "nanometer", "Y": "nanometer"})
    back = open_image(tmp_path / "a.imagej.tif")
    np.testing.assert_array_equal(back.read(), data)
    assert back.axes == "ZYXS"
    assert back.voxel_size == pytest.approx({"X": 0.2, "Y": 0.2})


def test_what_imagej_cannot_hold_is_named(tmp_path: Path) -> None:
    display = Display((ChannelDisplay(range=(1.0, 2.0), hidden=True), ChannelDisplay()), ("a", "b"), Calibration((0.0,) * 7))
    lost = save(tmp_path / "a.imagej.tif", np.zeros((2, 8, 9), np.uint16), "CYX", display=display, channel_names=("c", "d"),
                voxel_size={"X": 2.0}, units={"X": "micrometer"})
    assert lost == ("the pixel size, which is known along one axis only", "display ranges, which are not known for every channel",
                    "hidden channels", "value calibration", "channel names")


@pytest.mark.parametrize(("shape", "axes", "dtype"), [
    ((8, 9), "YX", "float64"), ((8, 9), "YX", "int32"), ((8, 9, 3), "YXS", "uint16"), ((8, 9, 4), "YXS", "uint8"),
    ((2, 8, 9, 3), "CYXS", "uint8"), ((2**16, 2**17), "YX", "uint8"),
])
def test_what_imagej_does_not_open_is_refused(tmp_path: Path, shape: tuple[int, ...], axes: str, dtype: str) -> None:
    with pytest.raises(InputError, match=r"write a\.ome\.tif"):
        save_image(tmp_path / "a.imagej.tif", Layout(shape, axes, np.dtype(dtype)), lambda box: np.zeros((1, 1)))
    assert list(tmp_path.iterdir()) == []


def test_from_a_file(tmp_path: Path) -> None:
    mf.compress(imagej(tmp_path), tmp_path / "a.mfield", ratio=4, method="downsample", keep_metadata=True)
    with mf.open(tmp_path / "a.mfield") as f:
        f.save(tmp_path / "a.imagej.tif", select="c=2,t=1")
    back = open_image(tmp_path / "a.imagej.tif")
    assert (back.axes, back.display.plane_labels) == ("ZYX", ("t1 z0 c2", "t1 z1 c2"))
    assert np.array_equal(back.display.channels[0].entries, FIRE)
    assert back.display.channels[0].range == RANGES[2]
