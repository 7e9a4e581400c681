"""Colours, ranges and labels as coordinates of xarray: there, back, and through indexing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import microfield as mf
from helpers.meaningful import LABELS, RANGES, imagej
from microfield.display import Display
from microfield.image import as_image

xarray = pytest.importorskip("xarray")
pytest.importorskip("dask")


@pytest.fixture(scope="module")
def array(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("coordinates")
    mf.compress(imagej(folder), folder / "a.mfield", ratio=4, method="downsample", keep_metadata=True)
    return mf.open(folder / "a.mfield").to_xarray()


def test_there_and_back(array: Any, tmp_path: Path) -> None:
    assert list(array.channel_colour.values) == ["#FF0000", "#00FF00", "#FFFFFF"]
    assert [tuple(r) for r in zip(array.display_low.values, array.display_high.values, strict=True)] == list(RANGES)
    assert array.plane_label.dims == ("T", "Z", "C")
    assert array.plane_label.sel(T=2.5, Z=0.5).values[2] == "t1 z1 c2"
    original = mf.open_image(imagej(tmp_path))
    back = as_image(array)
    plain = tuple(replace(c, table=None) for c in original.display.channels)
    assert back.display == replace(original.display, channels=plain, mode=None)
    assert back.display.plane_labels == LABELS
    mf.compress(array, tmp_path / "b.mfield", ratio=4, method="downsample", keep_metadata=True)
    with mf.open(tmp_path / "b.mfield") as f:
        assert f.display == back.display


def test_they_follow_when_the_array_is_indexed(array: Any) -> None:
    one = as_image(array[1, :, 2, ::2])
    assert [c.range for c in one.display.channels] == [RANGES[2]]
    assert one.display.plane_labels == ("t1 z0 c2", "t1 z1 c2")
    two = as_image(array.isel(C=[2, 0], T=0).transpose("C", "Z", "Y", "X"))
    assert [c.colour for c in two.display.channels] == [(255, 255, 255), (255, 0, 0)]
    assert two.display.calibration is not None


@pytest.mark.parametrize("coords", [
    {"channel_colour": ("C", ["red", "#12", "#00FF00"])}, {"display_low": ("C", [1.0, 2.0, 3.0])},
    {"display_low": ("C", [1.0, 2.0, 3.0]), "display_high": ("C", [0.0, float("nan"), 9.0])}, {"plane_label": ("Y", ["a"] * 4)},
])
def test_what_cannot_be_understood_is_left_out(coords: dict[str, Any]) -> None:
    import numpy as np

    image = as_image(xarray.DataArray(np.zeros((3, 4, 5), np.uint16), coords, ("C", "Y", "X"), attrs={"value_calibration": "x"}))
    assert len([c for c in image.display.channels if c.colour or c.range]) <= 1
    assert image.display == Display(image.display.channels)
