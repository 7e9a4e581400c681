"""Small images that look like microscopy, one for every kind that behaves differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import microfield as mf
from microfield.image import Image

Array = npt.NDArray[Any]
POLLEN = Path(__file__).parents[2] / "examples" / "pollen.ome.tif"


def blobs(shape: tuple[int, ...], seed: int = 0, count: int = 8) -> npt.NDArray[np.float64]:
    """Soft round objects on a dark ground with a little noise; about 0..1."""
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    image = np.zeros(shape)
    for _ in range(count):
        size = rng.uniform(2, 5)
        square = sum((g - rng.uniform(0, n)) ** 2 for g, n in zip(grid, shape, strict=True))
        image += rng.uniform(0.2, 0.7) * np.exp(-square / (2 * size**2))
    return np.asarray(image + rng.normal(0, 0.015, shape))


def scaled(values: npt.NDArray[np.float64], low: float, high: float, dtype: Any) -> Array:
    """Values 0..1 to grey levels, clipped to the dtype."""
    grey = low + values * (high - low)
    if np.dtype(dtype).kind == "f":
        return grey.astype(dtype)
    info = np.iinfo(dtype)
    return np.clip(np.rint(grey), info.min, info.max).astype(dtype)


def _channels(*bright: float) -> Array:
    """CYX, every channel with its own brightness over an offset of 100."""
    return np.stack([scaled(blobs((32, 28), seed), 100, 100 + b, np.uint16) for seed, b in enumerate(bright)])


@cache
def image(kind: str) -> Image:
    """One of the small images, by name (see `KINDS`)."""
    made, axes = _MAKERS[kind]
    return Image(made(), axes, name=kind)


_MAKERS: Mapping[str, tuple[Callable[[], Array], str]] = {
    "uint8": (lambda: scaled(blobs((48, 40)), 20, 200, np.uint8), "YX"),
    "stack": (lambda: scaled(blobs((8, 24, 20)), 32768, 40000, np.uint16), "ZYX"),
    "channels": (lambda: _channels(30000, 300), "CYX"),
    "series": (lambda: scaled(blobs((2, 2, 3, 16, 14)), 100, 4000, np.uint16), "TCZYX"),
    "rgb": (lambda: scaled(np.stack([blobs((32, 28), s) for s in (1, 2, 3)], -1), 10, 220, np.uint8), "YXS"),
    "float32": (lambda: scaled(blobs((32, 28), 4), -3.0, 2.0, np.float32), "YX"),
    "int16": (lambda: scaled(blobs((32, 28), 5), -900, 12000, np.int16), "YX"),
}
KINDS = tuple(_MAKERS)

BYTES = {"uint8": 300, "stack": 330, "channels": 330, "series": 400, "rgb": 330, "float32": 320, "int16": 300}
"""A budget for each image that is small, so that the fit is short, but enough for a network."""

ROOM = {"lossless": 26.0, "avif": 3.5, "jpegxr": 2.0, "jpegxl": 1.6, "sz3": 3.0, "zfp": 3.0, "lerc": 4.0, "jpeg2000": 1.3,
        "differences-for-tests": 4.0, "nested-for-tests": 6.0, "shared-for-tests": 4.0}
"""How many times these bytes a codec gets whose headers alone take most of them."""


def room(method: str, kind: str) -> int:
    """The budget of a method for an image."""
    return int(BYTES[kind] * ROOM.get(method, 1))


@cache
def pollen() -> Image:
    """Some planes of a confocal stack."""
    values = np.asarray(mf.open_image(POLLEN).read()[12:18, 64:192, 64:192])
    return Image(values, "ZYX")


@cache
def smooth() -> Image:
    """The same without noise, as a sharp optic would blur it."""
    return Image(np.rint(blurred(blurred(pollen().read()))).astype(np.uint16), "ZYX")


def blurred(planes: Array) -> Array:
    """Means of 3 x 3 pixels in every plane."""
    wide = np.pad(planes.astype(float), ((0, 0), (1, 1), (1, 1)), mode="edge")
    y, x = planes.shape[1:]
    return np.asarray(sum(wide[:, dy : dy + y, dx : dx + x] for dy in range(3) for dx in range(3)) / 9)
