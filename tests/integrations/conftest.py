"""A file with everything in it that other tools may ask for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import microfield as mf
from helpers.images import blobs, scaled
from microfield.display import ChannelDisplay, Display
from microfield.image import Image


@pytest.fixture(scope="session")
def series() -> Image:
    """TCZYX with voxel sizes, names and colours."""
    values = scaled(np.stack([blobs((2, 3, 20, 24), 3 + t, 12) for t in range(3)]), 100, 3000, np.uint16)
    display = Display((ChannelDisplay((0, 0, 255), (90.0, 2000.0)), ChannelDisplay((0, 255, 0))))
    units = {"T": "second", **dict.fromkeys("ZYX", "micrometer")}
    return Image(values, "TCZYX", {"T": 30.0, "Z": 0.5, "Y": 0.1, "X": 0.2}, units, ("DAPI", "GFP"), display=display, name="series")


@pytest.fixture(scope="session")
def series_file(series: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, exactly, as a file."""
    path = tmp_path_factory.mktemp("series") / "series.mfield"
    mf.compress(series, path, lossless=True, keep_metadata=True)
    return path


@pytest.fixture(scope="session")
def wide_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of planes large enough for lower resolutions, without channels and time."""
    path = tmp_path_factory.mktemp("wide") / "wide.mfield"
    values = scaled(np.broadcast_to(blobs((600, 130), 3, 40), (2, 600, 130)), 20, 220, np.uint8)
    mf.compress(Image(values, "ZYX", {"Y": 0.1, "X": 0.2}), path, lossless=True, tile={"y": 256})
    return path


@pytest.fixture(scope="session")
def truncated(series_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that ends too early."""
    path = tmp_path_factory.mktemp("truncated") / "truncated.mfield"
    path.write_bytes(series_file.read_bytes()[:-40])
    return path


@pytest.fixture(scope="session")
def cut_short(series_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that ends within its header."""
    path = tmp_path_factory.mktemp("cut") / "cut.mfield"
    path.write_bytes(series_file.read_bytes()[:30])
    return path
