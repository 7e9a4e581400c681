"""How an image is laid out in an OME-Zarr store of microfield chunks: order of axes, chunks, shards, lower resolutions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.display import Display
from microfield.errors import UsageError
from microfield.image import Image
from microfield.io.lazy import expand_key
from microfield.io.zarr_writer import halved
from microfield.wording import argument
from microfield.writing.partition import tile_of

ORDER = "TCZYX"
"""Axes of OME-Zarr, in its order."""

CHUNK_VOXELS = 1 << 22
"""Array elements of a chunk, at most about: enough for a method to find what voxels have in common."""

SIDES = {"T": 8, "Z": 64, "Y": 512, "X": 512}
"""Longest sides of a chunk. All channels are in every chunk, which says what they have in common."""

FLAT_SIDE = 1024
"""The same along Y and X for images without depth and time."""

SMALLEST = 1024
"""Resolutions are added until the longer side of a plane is at most this many voxels: each takes bytes that the full one lacks, and
no viewer has trouble with planes of this size."""

SMALL_CHUNK = 256 << 10
"""Chunks that take fewer bytes than this are put into shards, of which each is one file."""

SHARD_VOXELS = 1 << 26
"""Array elements of a shard, at most: a shard is in memory while it is written."""

UNKNOWN_RATIO = 64
"""How much smaller chunks are taken to become where no size is asked for."""


@dataclass(frozen=True)
class Arranged:
    """The values of an image in the order of axes that OME-Zarr has, colour samples as channels."""

    image: Image

    @property
    def axes(self) -> str:
        """Letters of the axes, in the order of `ORDER`."""
        known = set(self.image.axes) | ({"C"} if "S" in self.image.axes else set())
        return "".join(a for a in ORDER if a in known)

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of every axis."""
        sizes = self.image.sizes | {"C": self.image.layout.channels}
        return tuple(sizes[a] for a in self.axes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.image.dtype

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Values of integers and slices; of what is read of the image all channels are taken."""
        wanted = dict(zip(self.axes, expand_key(key, len(self.shape)), strict=True))
        own = {a: slice(k, k + 1) if isinstance(k, int) else k for a, k in wanted.items() if a != "C"}
        block = self.image.read(tuple(own.get(a, slice(None)) for a in self.image.axes))
        order = [a for a in "TCSZYX" if a in self.image.axes]
        block = block.transpose([self.image.axes.index(a) for a in order])
        extents = dict(zip(order, block.shape, strict=True)) | {"C": self.image.layout.channels}
        block = block.reshape([extents[a] for a in self.axes])
        return block[tuple(k if a == "C" else 0 if isinstance(k, int) else slice(None) for a, k in wanted.items())]


def arranged(image: Image) -> Image:
    """The image in the order of axes that OME-Zarr has, colour samples as channels; itself where it has it already."""
    values = Arranged(image)
    if values.axes == image.axes:
        return image
    display = Display() if "S" in image.axes else image.display
    names = () if "S" in image.axes else image.channel_names
    return replace(image, data=values, axes=values.axes, display=replace(display, plane_labels=()), channel_names=names)


def chunk_shape(image: Image, tile: Mapping[str, int] | None = None) -> tuple[int, ...]:
    """Extents of a chunk of an arranged image: what the user says by axis letter, or large ones of about equal extents.

    Raises
    ------
    UsageError
        The tile names an axis that the image has not, or cuts the channels apart.
    """
    if tile is not None:
        extents = tile_of(image, tile)
        if "C" in image.axes and extents[image.axes.index("C")] < image.sizes["C"]:
            raise UsageError(f"{argument('tile', dict(tile))} cuts the channels apart, which every chunk of a Zarr store holds all "
                             "of; leave c out.")
        return extents
    flat = all(image.sizes.get(a, 1) == 1 for a in "TZ")
    sides = {a: SIDES.get(a, n) for a, n in image.sizes.items()} | (dict.fromkeys("YX", FLAT_SIDE) if flat else {})
    for axis in ("T", "Z", "Y", "X") * 10:
        extents = tuple(even(n, sides[a]) for a, n in image.sizes.items())
        if math.prod(extents) <= CHUNK_VOXELS:
            break
        sides[axis] = max(1, sides.get(axis, 1) // 2)
    return extents


def shard_shape(shape: tuple[int, ...], chunk: tuple[int, ...], chunk_bytes: float) -> tuple[int, ...] | None:
    """Extents of a shard, which are multiples of those of a chunk; None where chunks are large enough, or there is one alone.

    Parameters
    ----------
    chunk_bytes : float
        Bytes that a chunk is expected to take.
    """
    counts = [-(-n // c) for n, c in zip(shape, chunk, strict=True)]
    if chunk_bytes >= SMALL_CHUNK or math.prod(counts) == 1:
        return None
    factors = [1] * len(shape)
    # Axes grow in turn, the last ones first, as long as a shard has room.
    for axis in list(range(len(shape) - 1, -1, -1)) * max(counts):
        grown = [f + (i == axis) for i, f in enumerate(factors)]
        if factors[axis] < counts[axis] and math.prod(g * c for g, c in zip(grown, chunk, strict=True)) <= SHARD_VOXELS:
            factors = grown
    return None if max(factors) == 1 else tuple(f * c for f, c in zip(factors, chunk, strict=True))


def resolution(image: Image, level: int, box: tuple[slice, ...]) -> npt.NDArray[Any]:
    """Values of a box of a lower resolution of an arranged image, each halved in Y and X from the one before."""
    step = 2**level
    full = tuple(slice(s.start * step, min(s.stop * step, n)) if a in "YX" else s
                 for s, a, n in zip(box, image.axes, image.shape, strict=True))
    block = image.read(full)
    for _ in range(level):
        block = halved(block)
    return block


def even(extent: int, side: int) -> int:
    """The extent of few pieces of at most ``side``, equal ones where at most half as many more than needed will do.

    Zarr fills up the last piece, and what it fills up with costs bytes.
    """
    fewest = -(-extent // max(1, side))
    pieces = next((n for n in range(fewest, fewest + fewest // 2 + 2) if extent % n == 0), fewest)
    return -(-extent // pieces)
