"""The CDF 9/7 wavelet along chosen axes per level, by lifting, near-orthonormal so that one quantiser step serves all bands.

I. Daubechies, W. Sweldens, "Factoring wavelet transforms into lifting steps", Journal of Fourier Analysis and
Applications 4 (1998), section 7.3; symmetric extension, any length. A band is named by the axes along which it holds details.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Axes = tuple[int, ...]

STEPS = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
"""Predict, update, predict, update."""
GAIN = 1.149604398860241
"""Scales approximations up and details down so that the transform is close to orthonormal."""


@dataclass(frozen=True)
class Schedule:
    """Which axes are split at each level, from the finest to the coarsest.

    Attributes
    ----------
    levels : tuple of tuples of int
        Axes of every level; an axis of extent 1 there is left as it is.
    shape : tuple of int
        Extents of the array that is transformed.
    """

    levels: tuple[Axes, ...]
    shape: tuple[int, ...]

    @cached_property
    def extents(self) -> tuple[tuple[int, ...], ...]:
        """Shape of the approximation before level 0, 1, ... and after the last one."""
        shapes = [self.shape]
        for axes in self.levels:
            shapes.append(tuple(-(-n // 2) if i in axes else n for i, n in enumerate(shapes[-1])))
        return tuple(shapes)

    def split(self, level: int) -> Axes:
        """Axes that are really split at a level: those longer than 1."""
        return tuple(i for i in self.levels[level] if self.extents[level][i] > 1)

    def bands(self, level: int) -> Iterator[tuple[Axes, tuple[slice, ...]]]:
        """Detail bands of a level, as (axes of details, where they lie in the transformed array)."""
        axes = self.split(level)
        for mask in range(1, 1 << len(axes)):
            details = tuple(a for k, a in enumerate(axes) if mask >> k & 1)
            yield details, self.box(level, details)

    def box(self, level: int, details: Axes) -> tuple[slice, ...]:
        """Where the band of these detail axes lies; no axes give the approximation."""
        outer, inner = self.extents[level], self.extents[level + 1]
        return tuple(slice(inner[i], outer[i]) if i in details else slice(0, inner[i]) for i in range(len(outer)))


def forward(values: npt.NDArray[np.generic], schedule: Schedule) -> Floats:
    """Coefficients of an array, float32 of the same shape: approximation first along every axis, then details.

    Parameters
    ----------
    values : array of shape ``schedule.shape``
    """
    out = np.array(values, np.float32)
    for level in range(len(schedule.levels)):
        corner = tuple(slice(0, n) for n in schedule.extents[level])
        for axis in schedule.split(level):
            out[corner] = _analyse(out[corner], axis)
    return out


def inverse(coefficients: Floats, schedule: Schedule, levels: int = 0) -> Floats:
    """The array of these coefficients; with ``levels`` the approximation before that level, in its own (gained) scale."""
    shape = schedule.extents[levels]
    out = np.array(coefficients[tuple(slice(0, n) for n in shape)], np.float32)
    for level in reversed(range(levels, len(schedule.levels))):
        corner = tuple(slice(0, n) for n in schedule.extents[level])
        for axis in reversed(schedule.split(level)):
            out[corner] = _synthesise(out[corner], axis)
    return out


def gain(schedule: Schedule, level: int) -> float:
    """By how much the approximation before a level is larger than the mean of the voxels it stands for."""
    return float(np.sqrt(2.0)) ** sum(len(schedule.split(k)) for k in range(level))


def _analyse(values: Floats, axis: int) -> Floats:
    even, odd = _halves(values, axis)
    even, odd = even.copy(), odd.copy()
    for k, step in enumerate(STEPS):
        _lift(even, odd, np.float32(step), predict=k % 2 == 0)
    even *= np.float32(GAIN)
    odd *= np.float32(1 / GAIN)
    return np.moveaxis(np.concatenate([even, odd]), 0, axis)


def _synthesise(values: Floats, axis: int) -> Floats:
    front = np.moveaxis(values, axis, 0)
    n = front.shape[0]
    even, odd = front[: -(-n // 2)] * np.float32(1 / GAIN), front[-(-n // 2) :] * np.float32(GAIN)
    for k, step in reversed(list(enumerate(STEPS))):
        _lift(even, odd, np.float32(-step), predict=k % 2 == 0)
    out = np.empty_like(front)
    out[0::2], out[1::2] = even, odd
    return np.moveaxis(out, 0, axis)


def _halves(values: Floats, axis: int) -> tuple[Floats, Floats]:
    front = np.moveaxis(values, axis, 0)
    return front[0::2], front[1::2]


def _lift(even: Floats, odd: Floats, step: np.float32, predict: bool) -> None:
    """One lifting step in place; past the ends the signal is its own mirror image about the last sample."""
    m = len(odd)
    if predict:
        odd[: len(even) - 1] += step * (even[: len(even) - 1] + even[1:])
        if m == len(even):
            odd[-1] += 2 * step * even[-1]
        return
    even[0] += 2 * step * odd[0]
    inner = slice(1, m)
    even[inner] += step * (odd[: m - 1] + odd[1:m])
    if len(even) > m:
        even[-1] += 2 * step * odd[-1]


def parse(text: str, axes: Sequence[str]) -> tuple[Axes, ...]:
    """Levels from text such as ``"yx zyx zyx"``: names of axes, finest level first; names that are absent are left out."""
    index = {name.lower(): i for i, name in enumerate(axes)}
    return tuple(tuple(index[c] for c in word if c in index) for word in text.split())
