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

from microfield.kernel import loading, wavelet
from microfield.kernel.wavelet import MOST_AXES

Floats = npt.NDArray[np.float32]
Axes = tuple[int, ...]

LIFTING_STEPS = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
"""Factors of the lifting steps, in their order: predict, update, predict, update."""
BAND_GAIN = 1.149604398860241
"""Approximations are multiplied and details divided by this, so that the transform is close to orthonormal."""


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
        """Shapes of the approximations: before level 0 (the whole array), before level 1, ..., after the last level."""
        shapes = [self.shape]
        for axes in self.levels:
            shapes.append(tuple(-(-n // 2) if i in axes else n for i, n in enumerate(shapes[-1])))
        return tuple(shapes)

    def split(self, level: int) -> Axes:
        """Axes that are split at a level: those scheduled for it whose extent there is above 1."""
        return tuple(i for i in self.levels[level] if self.extents[level][i] > 1)

    def bands(self, level: int) -> Iterator[tuple[Axes, tuple[slice, ...]]]:
        """Detail bands of a level: the axes along which each holds details, and where it lies in the transformed array."""
        axes = self.split(level)
        for mask in range(1, 1 << len(axes)):
            details = tuple(a for k, a in enumerate(axes) if mask >> k & 1)
            yield details, self.box(level, details)

    def box(self, level: int, details: Axes) -> tuple[slice, ...]:
        """Where the band with details along these axes lies in the transformed array; without axes, the approximation."""
        outer, inner = self.extents[level], self.extents[level + 1]
        return tuple(slice(inner[i], outer[i]) if i in details else slice(0, inner[i]) for i in range(len(outer)))


def forward(values: npt.NDArray[np.generic], schedule: Schedule) -> Floats:
    """Coefficients of an array, float32 of the same shape: approximation first along every axis, then details.

    Parameters
    ----------
    values : array of shape ``schedule.shape``
    """
    out = np.array(values, np.float32, order="C")
    for level in range(len(schedule.levels)):
        for axis in schedule.split(level):
            _level(out, schedule.extents[level], axis, True)
    return out


def inverse(coefficients: Floats, schedule: Schedule, levels: int = 0) -> Floats:
    """Inverse of `forward`, float32.

    Parameters
    ----------
    coefficients : float32 array of shape ``schedule.shape``
    schedule : Schedule
    levels : int
        So many of the finest levels are left out: the result is the approximation before level ``levels``, of shape
        ``schedule.extents[levels]``, larger than the voxels by `gain`.
    """
    shape = schedule.extents[levels]
    out = np.array(coefficients[tuple(slice(0, n) for n in shape)], np.float32, order="C")
    for level in reversed(range(levels, len(schedule.levels))):
        for axis in reversed(schedule.split(level)):
            _level(out, schedule.extents[level], axis, False)
    return out


def gain(schedule: Schedule, level: int) -> float:
    """The factor by which the approximation before a level exceeds the mean of the voxels that it stands for."""
    return float(np.sqrt(2.0)) ** sum(len(schedule.split(k)) for k in range(level))


def _level(values: Floats, extents: tuple[int, ...], axis: int, forwards: bool) -> None:
    """One level along one axis of the corner of an array, forward or inverse, in place."""
    library = loading.library()
    if library is not None and values.ndim <= MOST_AXES and min(extents) > 0:
        wavelet.lift(library, values, extents, axis, np.array(LIFTING_STEPS, np.float32), BAND_GAIN, forwards)
        return
    corner = tuple(slice(0, n) for n in extents)
    values[corner] = (_analyse if forwards else _synthesise)(values[corner], axis)


def _analyse(values: Floats, axis: int) -> Floats:
    """One level along one axis: the approximation first, then the details."""
    even, odd = _halves(values, axis)
    even, odd = even.copy(), odd.copy()
    for k, factor in enumerate(LIFTING_STEPS):
        _lift(even, odd, np.float32(factor), predict=k % 2 == 0)
    even *= np.float32(BAND_GAIN)
    odd *= np.float32(1 / BAND_GAIN)
    return np.moveaxis(np.concatenate([even, odd]), 0, axis)


def _synthesise(values: Floats, axis: int) -> Floats:
    """Inverse of `_analyse`."""
    front = np.moveaxis(values, axis, 0)
    n = front.shape[0]
    even, odd = front[: -(-n // 2)] * np.float32(1 / BAND_GAIN), front[-(-n // 2) :] * np.float32(BAND_GAIN)
    for k, factor in reversed(list(enumerate(LIFTING_STEPS))):
        _lift(even, odd, np.float32(-factor), predict=k % 2 == 0)
    out = np.empty_like(front)
    out[0::2], out[1::2] = even, odd
    return np.moveaxis(out, 0, axis)


def _halves(values: Floats, axis: int) -> tuple[Floats, Floats]:
    """Even and odd samples along an axis, which becomes the first one."""
    front = np.moveaxis(values, axis, 0)
    return front[0::2], front[1::2]


def _lift(even: Floats, odd: Floats, factor: np.float32, predict: bool) -> None:
    """One lifting step along the first axis, in place: odd samples change by their even neighbours (predict) or the reverse.

    Past the ends the signal is its own mirror image about the first or last sample.
    """
    m = len(odd)
    if predict:
        odd[: len(even) - 1] += factor * (even[: len(even) - 1] + even[1:])
        if m == len(even):
            odd[-1] += 2 * factor * even[-1]
        return
    even[0] += 2 * factor * odd[0]
    inner = slice(1, m)
    even[inner] += factor * (odd[: m - 1] + odd[1:m])
    if len(even) > m:
        even[-1] += 2 * factor * odd[-1]


def parse(text: str, axes: Sequence[str]) -> tuple[Axes, ...]:
    """Levels from text such as ``"yx zyx zyx"``: a word of axis names a level, finest first.

    Parameters
    ----------
    text : str
    axes : names of the axes of the array, one letter each; letters of the text that are not among them are left out
    """
    index = {name.lower(): i for i, name in enumerate(axes)}
    return tuple(tuple(index[c] for c in word if c in index) for word in text.split())
