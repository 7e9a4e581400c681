"""Structural similarity of stacks with a window over Z, Y and X, from planes that arrive one after another."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError
from microfield.image import CHANNELS
from microfield.metrics.similarity import Floats, axis_window, channel_stacks, moments_in_strips, similarity, window

MIN_PLANES = 5
"""Least planes of a stack: over fewer, a window along Z holds hardly more than a plane."""
POSITIONS = 1 << 18
"""Most window positions per plane whose moments are kept, over all stacks that are open at once: about 90 MB."""

Key = tuple[int, ...]
"""Position of a volume along the axes other than Z, Y, X, and first row of a band."""


def ssim_3d(a: npt.NDArray[Any], b: npt.NDArray[Any], axes: str, data_range: npt.ArrayLike) -> Floats:
    """Structural similarity of the ZYX stacks of every channel: an array of shape ``(channels,)``.

    `ssim` with a Gaussian window over Z, Y and X of 11 voxels a side (fewer along an axis that is shorter), counted in
    voxels whatever their size. Time points are never mixed: the value is the mean over their stacks. In planes of more
    than 2^18 pixels only every second (third, ...) position along Y and X is looked at, under whole windows.

    Raises
    ------
    InputError
        If the shapes differ, there is no axis Z, or it has fewer than 5 planes.
    """
    if not has_stacks(dict(zip(axes, a.shape, strict=True))):
        raise InputError(f"3-D SSIM takes stacks of at least {MIN_PLANES} planes along Z, not shape {a.shape} with axes {axes!r}.")
    others = [axis for axis in axes if axis not in CHANNELS + "YX"]
    extents = [a.shape[axes.index(axis)] for axis in others]
    values = []
    for x, y, value_range in channel_stacks(a, b, axes, data_range):
        measure = StackSimilarity(extents[others.index("Z")], x.shape[1:], value_range)
        for index, one, other in zip(np.ndindex(*extents), x, y, strict=True):
            volume = tuple(i for i, axis in zip(index, others, strict=True) if axis != "Z")
            measure.add(one, other, volume, index[others.index("Z")])
        values.append(measure.value)
    return np.array(values)


def has_stacks(sizes: dict[str, int]) -> bool:
    """Whether an image with these extents has stacks deep enough for a window over Z."""
    return sizes.get("Z", 0) >= MIN_PLANES


class StackSimilarity:
    """Running mean of the 3-D SSIM of stacks of one shape.

    Parameters
    ----------
    depth : int
        Planes per stack.
    shape : tuple
        ``(Y, X)`` of a whole plane.
    value_range : float
        In the unit of the planes.
    open_stacks : int
        How many stacks arrive interleaved; they share the memory.
    """

    def __init__(self, depth: int, shape: tuple[int, ...], value_range: float, open_stacks: int = 1) -> None:
        self.depth, self.value_range = depth, value_range
        self.along_z, self.weights = axis_window(depth), window(shape)
        self.step = math.ceil(math.sqrt(max(1.0, math.prod(shape) * open_stacks / POSITIONS)))
        self.recent: dict[Key, Floats] = {}
        self.total, self.count = 0.0, 0

    def add(self, x: Floats, y: Floats, volume: Key, z: int) -> None:
        """Count plane ``z`` of a stack, or a band of its rows; the planes of a stack must arrive in order."""
        for start, moments in moments_in_strips(x, y, self.weights):
            kept = np.stack([values[:: self.step, :: self.step] for values in moments])
            self._push((*volume, start), z, kept)

    def _push(self, key: Key, z: int, moments: Floats) -> None:
        """Keep the moments of a plane in the place of the oldest one; add the similarity once the window along Z is full.

        ``moments`` has shape ``(4, rows, columns)``; those of the last planes are kept as ``(planes, 4, rows, columns)``.
        """
        n = len(self.along_z)
        if z == 0:
            self.recent[key] = np.empty((n, *moments.shape))
        recent = self.recent[key]
        recent[z % n] = moments
        if z >= n - 1:
            p, q, squares, products = np.einsum("z,zmij->mij", np.roll(self.along_z, (z + 1) % n), recent)
            values = similarity((p, q, squares, products), self.value_range)
            self.total += float(values.sum())
            self.count += values.size
        if z == self.depth - 1:
            del self.recent[key]

    @property
    def value(self) -> float:
        """The mean over all positions of the window."""
        return self.total / self.count
