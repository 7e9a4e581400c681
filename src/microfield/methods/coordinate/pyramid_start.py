"""Where the fit of a pyramid begins: means of blocks, level by level, cut to the bits that there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.coding.latents import LARGEST_LATENT, estimate_bits
from microfield.nn.pyramid import Pyramid
from microfield.nn.sampling import Target

Ints = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]

GAINS = (0.6, 0.3, 0.15, 0.075, 0.037, 0.018)
"""What a quantiser step of a latent may be worth at first, in standard deviations of the targets."""

AT_ONCE = 1 << 18
"""Points whose targets are gathered at once."""

HALVINGS = 7
"""Of the interval in which the smallest dead zone that fits is searched."""


def first_latents(target: Target, pyramid: Pyramid, bits: float) -> tuple[tuple[Float32, ...], float]:
    """Latents that take about ``bits``, and the gain with which the sum of a voxel's features is nearest to the target.

    Every output has its own feature of each level. A level holds the means over its blocks of what the coarser ones leave.
    """
    n = target.coordinates.n_points
    values = np.concatenate([target.batch(np.arange(k, min(n, k + AT_ONCE))).y for k in range(0, n, AT_ONCE)])
    wanted = np.ascontiguousarray(values.T).reshape(-1, *pyramid.extents)
    means = _block_means(wanted, pyramid)
    best: tuple[float, tuple[Float32, ...], float] | None = None
    for gain in GAINS:
        latents = cut_to([m / gain for m in means], bits, estimate_bits, HALVINGS)
        error = float(np.mean((wanted - gain * _sum(latents, pyramid)) ** 2))
        if best is not None and error > best[0]:
            break
        best = error, tuple(z.astype(np.float32) for z in latents), gain
    assert best is not None
    return best[1], best[2]


def _block_means(wanted: Float32, pyramid: Pyramid) -> list[Float32]:
    """For every level the means over its blocks of what coarser levels leave of ``wanted``, (outputs, ...)."""
    rest, found = wanted, []
    for level in reversed(range(pyramid.levels)):
        means: npt.NDArray[Any] = rest
        for axis, n in enumerate(pyramid.extents):
            starts = np.arange(0, n, 1 << pyramid.exponent(level, axis))
            counts = np.diff(np.append(starts, n)).astype(np.float32)
            means = np.add.reduceat(means, starts, axis=1 + axis) / counts.reshape(-1, *[1] * (len(pyramid.extents) - axis - 1))
        found.append(means)
        rest = rest - _upsampled(means, pyramid, level)
    return found[::-1]


def _upsampled(grids: npt.NDArray[Any], pyramid: Pyramid, level: int) -> Float32:
    """A level, (features, ...), interpolated at all voxels."""
    values: npt.NDArray[Any] = grids.astype(np.float32)
    for axis in range(len(pyramid.extents)):
        values = np.tensordot(values, pyramid.matrix(level, axis), axes=(1, 1))
    return values


def _sum(latents: Sequence[Ints], pyramid: Pyramid) -> Float32:
    """Sums of the features of all levels at all voxels."""
    out = np.zeros((pyramid.features, *pyramid.extents), np.float32)
    for level, grids in enumerate(latents):
        out += _upsampled(grids, pyramid, level)
    return out


def cut_to(latents: Sequence[npt.NDArray[Any]], bits: float, measure: Callable[[list[Ints]], float], halvings: int) -> list[Ints]:
    """Latents rounded; where they take more than ``bits``, those below a limit are 0, about the smallest one that is enough.

    ``measure`` gives the bits of rounded latents; the limit is found in so many halvings.
    """
    rounded = [np.clip(np.rint(z), -LARGEST_LATENT, LARGEST_LATENT).astype(np.int64) for z in latents]
    if measure(rounded) <= bits:
        return rounded

    def cut(limit: float) -> list[Ints]:
        return [np.where(np.abs(z) < limit, 0, r) for z, r in zip(latents, rounded, strict=True)]

    low, high = 0.5, 1.0 + max(float(np.abs(z).max()) for z in latents)
    for _ in range(halvings):
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if measure(cut(middle)) <= bits else (middle, high)
    return cut(high)
