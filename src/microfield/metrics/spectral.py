"""Fourier ring and shell correlation: up to which spatial frequency two images agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError

Floats = npt.NDArray[np.float64]

NYQUIST = 0.5
"""The highest frequency a pixel grid can hold, in cycles/pixel."""
SIDE = 1024
"""Planes with a longer side are cut into windows of at most so many pixels a side."""
MIN_RINGS = 4
"""Images with fewer rings are refused as too small."""
_TAPER = 0.125
"""Share of the extent over which an image is faded out at either border."""
_NOTHING = 1e-20
"""A ring with a smaller share of the power than this holds rounding errors only."""


@dataclass(frozen=True)
class RingCorrelation:
    """Correlation of two images as a function of spatial frequency.

    Attributes
    ----------
    frequency : array of shape ``(rings,)``
        Middle of every ring (shell) in cycles/pixel, rising, above 0 and at most 0.5.
    correlation : array of shape ``(rings,)``
        -1 to 1; 1 where both images have no power at that frequency, 0 where only one of them has.
    """

    frequency: Floats
    correlation: Floats

    def cutoff(self, threshold: float = 0.5) -> float:
        """Frequency in cycles/pixel at which the correlation first falls below a threshold, between 0 and 0.5.

        0.5 where it never does, 0 where it does in the first ring; in between, interpolated linearly between rings.
        Usual thresholds: 0.5, and 1/7 (Nieuwenhuizen et al. 2013).
        """
        below = np.flatnonzero(self.correlation < threshold)
        if below.size == 0:
            return NYQUIST
        k = int(below[0])
        if k == 0:
            return 0.0
        (f0, f1), (c0, c1) = self.frequency[k - 1 : k + 1], self.correlation[k - 1 : k + 1]
        return float(f0 + (c0 - threshold) / (c0 - c1) * (f1 - f0))


def ring_correlation(a: npt.ArrayLike, b: npt.ArrayLike) -> RingCorrelation:
    """Fourier ring correlation of two planes or Fourier shell correlation of two volumes.

    Parameters
    ----------
    a, b : arrays of shape ``(Y, X)`` or ``(Z, Y, X)``
        Of one shape, finite. Frequencies are per voxel, whatever its size.

    Raises
    ------
    InputError
        If the shapes differ, are not 2-D or 3-D, or only one axis is longer than 7; if a value is NaN or infinite.

    Notes
    -----
    M. van Heel, W. Keegstra, W. Schutter, E. F. J. van Bruggen, "Arthropod hemocyanin structures studied by image
    analysis" (1982) and G. Harauz, M. van Heel, "Exact filters for general geometry three dimensional reconstruction",
    Optik 73 (1986), in the form of R. P. J. Nieuwenhuizen et al., "Measuring image resolution in optical nanoscopy",
    Nature Methods 10 (2013), equation 1: the sum over a ring of ``A conj(B)``, divided by the root of the product of the
    sums of ``|A|^2`` and ``|B|^2``. Each image has its mean subtracted and is faded out over an eighth of its extent at
    either border (a Tukey window, as in that paper) against the cross in the spectrum that its edges would make.
    Rings are 1/n wide, n being the longest side but one.

    Between an original and its reconstruction the two noises are one and the same, so the curve shows which frequencies
    a compression kept, noise among them, and not the resolution of the microscope. It is blind to a mere blur, which
    weakens frequencies but keeps their phases.
    """
    x, y = np.asarray(a), np.asarray(b)
    if x.shape != y.shape or x.ndim not in (2, 3):
        raise InputError(f"Fourier correlation takes two planes or two volumes of one shape, not {x.shape} and {y.shape}.")
    sums = RingSums(x.shape)
    if sums.rings < MIN_RINGS:
        raise InputError(f"an image of shape {x.shape} is too small for a Fourier correlation: at least 8 by 8 pixels are needed.")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError("Fourier correlation needs finite values; replace NaN and infinity first.")
    sums.add_window(x, y)
    return sums.result()


class RingSums:
    """Running sums over the rings of any number of images: one correlation for all of them.

    Sums are divided at the end, so that bright planes weigh more than empty ones. The images may have different shapes.

    Parameters
    ----------
    shape : tuple
        Of a whole plane ``(Y, X)`` or volume ``(Z, Y, X)``; decides the width of the rings.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.size = min(SIDE, sorted(shape)[-2])
        self.rings = self.size // 2
        self.cross, self.first, self.second = np.zeros((3, self.rings + 1))

    def add(self, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> None:
        """Count a plane, in windows of equal size of at most 1024 pixels a side."""
        for rows in _cuts(a.shape[0]):
            for columns in _cuts(a.shape[1]):
                self.add_window(a[rows, columns], b[rows, columns])

    def add_window(self, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> None:
        """Count one plane or volume of each image as a whole, without cutting it."""
        numbers, weights = _rings(a.shape, self.size)
        p, q = _spectrum(a), _spectrum(b)
        for total, values in (
            (self.cross, p.real * q.real + p.imag * q.imag),
            (self.first, p.real**2 + p.imag**2),
            (self.second, q.real**2 + q.imag**2),
        ):
            total += np.bincount(numbers, (values * weights).ravel(), self.rings + 2)[: self.rings + 1]

    def result(self) -> RingCorrelation:
        """The correlation of everything counted so far."""
        first, second = self.first[1:], self.second[1:]
        empty = first <= _NOTHING * first.sum(), second <= _NOTHING * second.sum()
        power = np.sqrt(np.where(empty[0] | empty[1], 1.0, first)) * np.sqrt(np.where(empty[0] | empty[1], 1.0, second))
        correlation = np.where(empty[0] | empty[1], (empty[0] & empty[1]).astype(float), self.cross[1:] / power)
        return RingCorrelation(np.arange(1, self.rings + 1) / self.size, np.clip(correlation, -1.0, 1.0))


def _cuts(extent: int) -> list[slice]:
    """An axis in the fewest nearly equal pieces of at most `SIDE` pixels."""
    count = -(-extent // SIDE)
    edges = [extent * k // count for k in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


def _spectrum(values: npt.NDArray[Any]) -> npt.NDArray[np.complex128]:
    """Half of the Fourier transform (as rfftn gives it) of an image without its mean, faded out at its borders."""
    faded = values.astype(np.float64)
    faded -= faded.mean()
    for axis, extent in enumerate(values.shape):
        faded *= _fade(extent).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    return np.asarray(np.fft.rfftn(faded))


def _fade(extent: int) -> Floats:
    """A Tukey window: 1 in the middle, a cosine to 0 over an eighth at either end."""
    centre = (np.arange(extent) + 0.5) / extent
    inside = np.minimum(np.minimum(centre, 1 - centre) / _TAPER, 1.0)
    return np.asarray(0.5 - 0.5 * np.cos(math.pi * inside))


@lru_cache(maxsize=8)
def _rings(shape: tuple[int, ...], size: int) -> tuple[npt.NDArray[np.intp], Floats]:
    """Number of the ring of every coefficient of the half spectrum, flat, and how often each column of it counts.

    Coefficients beyond the last ring have a number of their own, one above it.
    """
    axes = [np.fft.fftfreq(n) for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1])]
    squares = sum(np.square(f).reshape([-1 if i == k else 1 for i in range(len(axes))]) for k, f in enumerate(axes))
    numbers = np.minimum(np.rint(np.sqrt(squares) * size), size // 2 + 1).astype(np.intp)
    weights = np.full(len(axes[-1]), 2.0)  # the other half of the spectrum is the conjugate
    weights[0] = 1.0
    if shape[-1] % 2 == 0:
        weights[-1] = 1.0
    return numbers.ravel(), weights
