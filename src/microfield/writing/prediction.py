"""How many bytes a block is likely to need: reverse water-filling over its Haar bands.

A cheap stand-in for any method's rate-distortion curve. Coding a Gaussian source of independent components with
variances v at mean squared error theta each takes sum max(0, log2(v / theta)) / 2 bits (Cover & Thomas, section 10.3.3);
one theta for all parts is equal slope. Used to share a byte budget over parts before they are encoded, and for the table
of predictions; the sizes and errors that are reported are always measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.image import Layout
from microfield.methods.base import RateCurve

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Spectrum:
    """Variances of a block's bands, in squared units (ranges or noise sigmas), and how many coefficients each band has."""

    variances: Float64
    counts: Float64

    def bits(self, theta: float) -> float:
        """Bits at a mean squared error of ``theta`` per coefficient."""
        gain = np.log2(np.maximum(self.variances / theta, 1))
        return float(self.counts @ gain / 2)

    def error(self, theta: float) -> float:
        """Summed squared error at that level."""
        return float(self.counts @ np.minimum(self.variances, theta))


_CELLS = 16
"""Bands are split into this many groups of positions along each axis at most: empty regions cost nothing."""


def spectrum(block: npt.NDArray[Any], layout: Layout, unit: Float64) -> Spectrum:
    """Spectrum of a block: Haar bands over Z, Y, X (and T), each in local cells of similar activity.

    ``unit``, of shape (channels,), is what grey levels are counted in: ranges or noise sigmas (`Context.unit`).
    """
    axes = layout.channel_axes
    channels = np.moveaxis(block, axes, range(len(axes))).reshape(layout.channels, *(
        n for i, n in enumerate(block.shape) if i not in axes
    ))
    variances: list[Float64] = []
    for values, span in zip(channels, unit, strict=True):
        low = values.astype(np.float32) / np.float32(span)
        low -= low.mean()
        for _ in range(6):
            if max(low.shape) < 8:
                break
            low, high = _haar(low)
            variances += [_local(band) for band in high]
        variances.append((low.astype(np.float64) ** 2).ravel())
    flat = np.concatenate(variances)
    flat = flat[flat > 1e-14]
    return _histogram(flat)


def _haar(low: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], list[npt.NDArray[np.float32]]]:
    """One orthonormal Haar step over every axis long enough; odd ends are dropped (an estimate only)."""
    high = []
    for axis in range(low.ndim):
        n = low.shape[axis] // 2
        if n < 4:
            continue
        even, odd = (np.take(low, np.arange(k, 2 * n, 2), axis) for k in (0, 1))
        high.append((even - odd) * np.float32(0.5**0.5))
        low = (even + odd) * np.float32(0.5**0.5)
    return low, high


def _local(band: npt.NDArray[np.float32]) -> Float64:
    """Variance seen by every coefficient of a band: local means of squares, repeated over their cells."""
    square = band.astype(np.float64) ** 2
    for axis, n in enumerate(band.shape):
        size = max(1, min(_CELLS, n // 4))
        edges = np.linspace(0, n, size + 1).astype(int)[:-1]
        lengths = np.diff(np.append(edges, n))
        square = np.add.reduceat(square, edges, axis=axis)
        shape = [-1 if k == axis else 1 for k in range(band.ndim)]
        square = np.repeat(square / lengths.reshape(shape), lengths, axis=axis)
    return square.ravel()


_EDGES = np.logspace(-14, 6, 401)
"""Logarithmic bins that variances are gathered in."""


def _histogram(values: Float64) -> Spectrum:
    """Variances gathered into logarithmic bins, so that sharing costs the same for any image."""
    if not values.size:
        return Spectrum(np.full(1, 1e-14), np.zeros(1))
    counts, _ = np.histogram(values, _EDGES)
    sums, _ = np.histogram(values, _EDGES, weights=values)
    used = counts > 0
    return Spectrum(sums[used] / counts[used], counts[used].astype(np.float64))


def water_level(spectra: Sequence[RateCurve], total_bits: float) -> float:
    """The common theta at which all curves together take ``total_bits``."""
    low, high = -60.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        enough = sum(s.bits(2.0**middle) for s in spectra) > total_bits
        low, high = (middle, high) if enough else (low, middle)
    return float(2.0**high)


def predicted_psnr(spectra: Sequence[RateCurve], voxels: int, total_bytes: float) -> float:
    """PSNR in dB that a good transform codec would reach with that many bytes."""
    theta = water_level(spectra, 8 * total_bytes)
    error = sum(s.error(theta) for s in spectra) / voxels
    return float("inf") if error <= 0 else float(-10 * np.log10(error))


def predicted_bytes(spectra: Sequence[RateCurve], error: float, voxels: int) -> float:
    """Bytes that a good transform codec would need for a mean squared error: where a search for a quality starts."""
    low, high = -60.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        small = sum(s.error(2.0**middle) for s in spectra) / voxels < error
        low, high = (middle, high) if small else (low, middle)
    return sum(s.bits(2.0**low) for s in spectra) / 8


def merged(spectra: Iterable[Spectrum]) -> Spectrum:
    """One spectrum for many parts: the same bits at every theta, but for the width of the bins, in memory that does not grow."""
    sums, counts = np.zeros(len(_EDGES) - 1), np.zeros(len(_EDGES) - 1)
    for one in spectra:
        which = np.clip(np.searchsorted(_EDGES, one.variances, side="right") - 1, 0, len(counts) - 1)
        np.add.at(sums, which, one.variances * one.counts)
        np.add.at(counts, which, one.counts)
    used = counts > 0
    return Spectrum(sums[used] / counts[used], counts[used]) if used.any() else Spectrum(np.full(1, 1e-14), np.zeros(1))
