"""Axes that a file does not name: what is assumed, what is asked for, and what an image that the file belongs to says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from microfield.errors import InputError
from microfield.io import open_image


def npy(folder: Path, shape: tuple[int, ...], dtype: str = "uint16") -> Path:
    path = folder / "a.npy"
    np.save(path, np.zeros(shape, dtype))
    return path


@pytest.mark.parametrize(("shape", "dtype", "axes"), [
    ((64, 60), "uint16", "YX"),
    ((5, 64, 60), "uint16", "ZYX"),
    ((3, 64, 60), "uint16", "CYX"),
    ((3, 8, 9), "uint16", "ZYX"),
    ((64, 60, 3), "uint8", "YXS"),
    ((7, 64, 60, 3), "uint8", "ZYXS"),
    ((3, 7, 64, 60), "uint16", "CZYX"),
    ((5, 3, 7, 64, 60), "uint16", "TCZYX"),
    ((64, 60, 1), "uint16", "YXS"),
    ((3, 64, 60, 1), "float32", "ZYXS"),
    ((3, 64, 60, 3), "uint8", "ZYXS"),
    ((1, 3, 64, 60), "uint16", "TCYX"),
    ((1, 9, 64, 60), "uint16", "CZYX"),
    ((3, 1, 64, 60), "uint16", "CZYX"),
    ((133, 1, 64, 60), "uint16", "ZCYX"),
    ((300, 70, 12), "uint16", "ZYX"),
])
def test_what_is_assumed(tmp_path: Path, shape: tuple[int, ...], dtype: str, axes: str) -> None:
    image = open_image(npy(tmp_path, shape, dtype))
    assert (image.axes, image.axes_guessed) == (axes, len(shape) > 2)
    told = open_image(npy(tmp_path, shape, dtype), axes=axes)
    assert (told.axes, told.axes_guessed) == (axes, False)


@pytest.mark.parametrize(("shape", "dtype", "likely"), [
    ((64, 60, 3), "uint16", "YXS, YXC or YXZ"),
    ((64, 60, 2), "float32", "YXC or YXZ"),
    ((300, 256, 31), "uint16", "YXC or YXZ"),
    ((133, 20, 64, 60), "uint16", "TZYX or ZTYX"),
    ((133, 2, 64, 60), "uint16", "TZYX, TCYX or ZCYX"),
    ((2, 3, 64, 60), "uint16", "CZYX, ZCYX or TCYX"),
    ((3, 133, 5, 64, 60), "uint16", "TZCYX, CTZYX or CZTYX"),
    ((7, 64, 60, 2), "uint16", "ZYXC"),
])
def test_what_is_unlikely_is_asked_for(tmp_path: Path, shape: tuple[int, ...], dtype: str, likely: str) -> None:
    path = npy(tmp_path, shape, dtype)
    with pytest.raises(InputError) as caught:
        open_image(path)
    assert str(caught.value).startswith(f"a.npy has shape {' x '.join(map(str, shape))} and does not say what its axes are; ")
    assert str(caught.value).endswith(f"such as {likely}.")
    assert open_image(path, axes=likely.split(" ")[-1].strip(".")).shape == shape


def test_pages_of_a_tiff_without_axes_are_an_array(tmp_path: Path) -> None:
    for shape, axes in (((3, 64, 60), "CYX"), ((9, 64, 60), "ZYX"), ((3, 7, 64, 60), "CZYX")):
        tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, "uint16"), photometric="minisblack")
        image = open_image(tmp_path / "a.tif")
        assert (image.axes, image.axes_guessed) == (axes, True)
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((133, 20, 64, 60), "uint8"), photometric="minisblack")
    with pytest.raises(InputError, match=r"b\.tif has shape 133 x 20 x 64 x 60 .* such as TZYX or ZTYX"):
        open_image(tmp_path / "b.tif")


@pytest.mark.parametrize("options", [
    {"metadata": {"axes": "TYX"}}, {"metadata": {"axes": "TYX"}, "imagej": True}, {"metadata": {"axes": "TYX"}, "ome": True},
])
def test_axes_that_a_file_names_are_no_guess(tmp_path: Path, options: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 64, 60), "uint16"), photometric="minisblack", **options)
    image = open_image(tmp_path / "a.tif")
    assert (image.axes, image.axes_guessed) == ("TYX", False)


def test_many_nameless_channels_of_imagej_are_doubted(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((133, 64, 60), "uint16"), imagej=True)  # Without axes, tifffile calls the planes channels.
    with pytest.raises(InputError, match=r"a\.tif says that its 133 planes are channels.* such as ZYX, TYX or CYX"):
        open_image(path)
    assert open_image(path, axes="TYX").axes == "TYX"
    assert open_image(path, axes="CYX").axes_guessed is False
    assert open_image(path, beside={"T": 133, "Y": 64, "X": 60}).axes == "TYX"
    markers = [f"marker {i}" for i in range(40)]
    tifffile.imwrite(path, np.zeros((40, 64, 60), "uint16"), imagej=True, metadata={"axes": "CYX", "Labels": markers})
    assert open_image(path).channel_names == tuple(markers)


@pytest.mark.parametrize(("shape", "sizes", "axes"), [
    ((3, 64, 60), {"T": 3, "Y": 64, "X": 60}, "TYX"),
    ((3, 64, 60), {"T": 9, "Z": 3, "Y": 64, "X": 60}, "ZYX"),
    ((64, 60, 3), {"Y": 64, "X": 60, "C": 3}, "YXC"),
    ((2, 3, 64, 60), {"T": 2, "Z": 3, "C": 4, "Y": 64, "X": 60}, "TZYX"),
    ((3, 64, 60), {"Z": 5, "Y": 64, "X": 60}, "ZYX"),
    ((3, 64, 60), {"T": 3, "Z": 3, "Y": 64, "X": 60}, "CYX"),
])
def test_a_file_beside_an_image_has_its_axes(tmp_path: Path, shape: tuple[int, ...], sizes: dict[str, int], axes: str) -> None:
    assert open_image(npy(tmp_path, shape), beside=sizes).axes == axes
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((3, 64, 60), "uint16"), metadata={"axes": "TYX"})
    assert open_image(tmp_path / "a.ome.tif", beside=sizes).axes == "TYX"
