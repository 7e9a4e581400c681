"""What the tests share: small images that look like microscopy, files compressed once per session, files of random weights.

jax's compiled code is kept in a folder of the session, which all workers share and which the user's cache never sees.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from microfield.budget import Budget
from microfield.container import Header, write
from microfield.image import Image, Layout
from microfield.report import Report, Settings
from microfield.tiles import Grid

Array = npt.NDArray[Any]

_CACHE = "MICROFIELD_TESTS_CACHE"
"""Names the session's folder; only the process that made it removes it."""


def pytest_configure(config: pytest.Config) -> None:
    if _CACHE not in os.environ:
        folder = tempfile.mkdtemp(prefix="microfield-tests-")
        os.environ[_CACHE] = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ["XDG_CACHE_HOME"] = os.environ["LOCALAPPDATA"] = os.environ[_CACHE]


# -- images -----------------------------------------------------------------------------------------------------------


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

ROOM = {"avif": 3.5, "jpegxr": 2.0, "jpegxl": 1.6, "sz3": 3.0, "zfp": 3.0, "lerc": 4.0, "jpeg2000": 1.3}
"""How many times these bytes a codec gets whose headers alone take most of them."""


def room(method: str, kind: str) -> int:
    """The budget of a method for an image."""
    return int(BYTES[kind] * ROOM.get(method, 1))


QUICK: Mapping[str, dict[str, Any]] = {
    name: {"frequency": 0.16, "optimiser": "adam"} for name in ("siren", "inif")
}
"""Options that leave out the trials and compile fast; a method without an entry runs with its defaults."""


def settings(method: str, **changed: Any) -> Settings:
    """The cheapest settings of a method."""
    return Settings(**{"method": method, "effort": 0, "options": QUICK.get(method), **changed})


Packed = tuple[bytes, Report]


def compressed(source: Image, method: str, budget: Budget, **changed: Any) -> Packed:
    """File and report, from the cheapest settings."""
    from microfield.writer import compress_to_bytes

    return compress_to_bytes(source, budget, settings(method, **changed))


@pytest.fixture(scope="session")
def packed() -> Callable[[str, str], Packed]:
    """Method and kind of image to file and report, compressed when first asked for."""
    return cache(lambda method, kind: compressed(image(kind), method, Budget("max_bytes", room(method, kind))))


@pytest.fixture(scope="session")
def packed_tiles() -> Callable[[str], Packed]:
    """Method to file and report of the 2-D image cut into 2 by 2 parts."""
    return cache(lambda method: compressed(image("uint8"), method, Budget("max_bytes", int(800 * ROOM.get(method, 1))),
                                           tile={"y": 24, "x": 20}))


# -- files of random weights ------------------------------------------------------------------------------------------


def random_part(layout: Layout, rng: np.random.Generator, output_axes: str = "", width: int = 6, depth: int = 2) -> bytes:
    """A part of siren or inif with random weights, as a fit could have made it."""
    from microfield.coding.weights import step_code
    from microfield.methods.coordinate.bitstream import Quantised, Shape, pack_quantised
    from microfield.methods.coordinate.mapping import Mapping
    from microfield.nn.coordinates import CoordinateMap

    coordinates = CoordinateMap(layout, output_axes)
    shape = Shape(len(coordinates.inputs), width if depth else 0, depth, coordinates.n_outputs)
    groups = tuple(np.rint(rng.normal(0, 20, n)).astype(np.int64) for n in shape.group_sizes)
    n = layout.channels
    low, high = rng.integers(0, 50, n).astype(float), rng.integers(60, 120, n).astype(float)
    mapping = Mapping(low, high, rng.integers(0, 256, n), rng.integers(8, 24, n))
    steps = (step_code(0.05),) * len(groups)
    return pack_quantised(Quantised(shape, groups, steps), output_axes, mapping, layout)


def random_file(layout: Layout, method: str = "inif", seed: int = 0, tile: tuple[int, ...] | None = None, **network: Any,
                ) -> bytes:
    """A file of siren or inif whose parts have random weights: decoding can be tested without a fit."""
    rng = np.random.default_rng(seed)
    header = Header(method=method, bitstream_version=1, layout=layout, checksum=bytes(8), tile=tile)
    grid = Grid(layout.shape, tile or layout.shape)
    parts = [(random_part(header.part_layout(i), rng, **network),) for i in range(grid.n)]
    return write(header, parts)
