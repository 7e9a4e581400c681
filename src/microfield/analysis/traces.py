"""Time: object counts per time point, and the mean intensity of regions as it changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError

Floats = npt.NDArray[np.float64]

SHORTEST = 3
"""Fewer time points correlate perfectly whatever they hold."""
LEAST_POINTS = 10
"""Fewer time points say little: unrelated series of five correlate by 0.8 or more (or -0.8) one time in ten, of ten
one time in two hundred."""
CLEAR = 10.0
"""A region changes clearly when its mean varies over time by so many times what its noise explains. A copy that lost all of
that noise and nothing else still correlates by ``sqrt(1 - 1 / CLEAR)``, 0.95; below, lost noise looks like lost signal."""


@dataclass(frozen=True)
class CountsOverTime:
    """Object counts of original (a) and reconstruction (b) along time.

    Attributes
    ----------
    correlation : Pearson correlation of the two series, None below 3 time points or where one is constant
    largest_difference : largest |b - a| / max(a, 1)
    """

    counts_a: tuple[int, ...]
    counts_b: tuple[int, ...]
    correlation: float | None
    largest_difference: float


def counts_over_time(counts_a: Sequence[int], counts_b: Sequence[int]) -> CountsOverTime:
    """Compare two series of counts; equal constant series correlate fully."""
    a, b = np.asarray(counts_a, np.float64), np.asarray(counts_b, np.float64)
    if a.shape != b.shape or a.ndim != 1 or not a.size:
        raise InputError(f"counts over time need two series of one length, not of {a.size} and {b.size}.")
    largest = float(np.max(np.abs(b - a) / np.maximum(a, 1)))
    r = correlations(a[None], b[None])[0] if a.size >= SHORTEST else np.nan
    if a.size >= SHORTEST and np.isnan(r) and (a == b).all():
        r = 1.0
    whole = tuple(int(n) for n in a), tuple(int(n) for n in b)
    return CountsOverTime(*whole, None if np.isnan(r) else float(r), largest)


@dataclass(frozen=True)
class Traces:
    """Mean intensities of regions over time, compared.

    Attributes
    ----------
    correlation : array of shape ``(regions,)``; Pearson correlation per region, NaN where the original does not change
    clear : array of shape ``(regions,)``; which regions change clearly in the original (`change_clearly`)
    mean, low : mean and lowest decile of those that are known, None without any
    mean_clear : mean over the regions that change clearly, None without any
    """

    correlation: Floats
    clear: npt.NDArray[np.bool_]

    @property
    def mean(self) -> float | None:
        """Mean correlation over regions."""
        known = self.correlation[~np.isnan(self.correlation)]
        return float(known.mean()) if known.size else None

    @property
    def low(self) -> float | None:
        """Correlation that nine of ten regions exceed."""
        known = self.correlation[~np.isnan(self.correlation)]
        return float(np.quantile(known, 0.1)) if known.size else None

    @property
    def mean_clear(self) -> float | None:
        """Mean correlation over the regions that change clearly."""
        known = self.correlation[self.clear & ~np.isnan(self.correlation)]
        return float(known.mean()) if known.size else None


def compare_traces(a: Floats, b: Floats, clear: npt.NDArray[np.bool_] | None = None) -> Traces:
    """Correlate two sets of traces of shape ``(time, regions)``, NaN where a region is absent.

    ``clear`` says which regions change clearly; all of them by default.
    """
    if a.shape != b.shape or a.ndim != 2:
        raise InputError(f"traces need arrays of one shape (time, regions), not {a.shape} and {b.shape}.")
    return Traces(correlations(a.T, b.T), np.ones(a.shape[1], np.bool_) if clear is None else clear)


def change_clearly(means: Floats, halves: tuple[Floats, Floats]) -> npt.NDArray[np.bool_]:
    """Which regions change over time by more than their noise explains; shape ``(regions,)``.

    Parameters
    ----------
    means : array of shape ``(time, regions)``
        Traces; NaN where a region is absent.
    halves : two arrays of that shape
        Traces of the two colours of a chequerboard laid over every region (`chequered`).

    Notes
    -----
    What both halves do together is signal. Their difference is noise (and structure that stays, which does not vary over
    time), of four times the variance that the noise gives to the mean of the whole. So neither a model of the noise nor an
    estimate of its size is needed, and shot noise, which grows with brightness, is no exception. Noise that neighbours
    share is missed.
    """
    known = ~(np.isnan(means) | np.isnan(halves[0]) | np.isnan(halves[1]))
    total = _variance(means, known)
    noise = _variance(halves[0] - halves[1], known) / 4
    # Rounding leaves a constant trace with a little variance; (1e-12 of the values) squared is none.
    scale = np.abs(np.where(known, means, 0)).max(axis=0, initial=0)
    return np.asarray((known.sum(axis=0) >= LEAST_POINTS) & (total > (1e-12 * scale) ** 2) & (total >= CLEAR * noise))


def chequered(labels: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Labels on the two colours of a chequerboard, 0 elsewhere."""
    odd = np.zeros(labels.shape, np.bool_)
    for axis, extent in enumerate(labels.shape):
        odd ^= (np.arange(extent) % 2 == 1).reshape([-1 if k == axis else 1 for k in range(labels.ndim)])
    return np.where(odd, 0, labels), np.where(odd, labels, 0)


def _variance(values: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    """Variance of every column over the rows that are known, 0 where fewer than two are."""
    count = known.sum(axis=0)
    centred = np.where(known, values, 0)
    centred = np.where(known, centred - centred.sum(axis=0) / np.maximum(count, 1), 0)
    return np.asarray((centred**2).sum(axis=0) / np.maximum(count - 1, 1))


def region_means(frame: npt.NDArray[Any], labels: npt.NDArray[Any], regions: int) -> Floats:
    """Mean intensity of regions 1 to ``regions`` in one frame, shape ``(regions,)``; NaN where a region is absent.

    ``frame`` and ``labels`` have one shape.
    """
    inside = labels > 0
    numbers = labels[inside]
    area = np.bincount(numbers, minlength=regions + 1)[1 : regions + 1]
    total = np.bincount(numbers, frame[inside].astype(np.float64), regions + 1)[1 : regions + 1]
    means: Floats = np.divide(total, area, out=np.full(regions, np.nan), where=area > 0)
    return means


def correlations(a: Floats, b: Floats) -> Floats:
    """Pearson correlation of each row of ``a`` with that of ``b`` over the columns known in both; shape ``(rows,)``.

    NaN where fewer than 3 columns are known or ``a`` is constant; 0 where only ``b`` is: it lost all there was.
    """
    known = ~(np.isnan(a) | np.isnan(b))
    n = np.maximum(known.sum(axis=1), 1)[:, None]
    x, y = np.where(known, a, 0), np.where(known, b, 0)
    x = np.where(known, x - x.sum(axis=1, keepdims=True) / n, 0)
    y = np.where(known, y - y.sum(axis=1, keepdims=True) / n, 0)
    # Rounding leaves a constant row with a little variance; 1e-12 of the values is none.
    x_scale, y_scale = (np.abs(np.where(known, v, 0)).max(axis=1) for v in (a, b))
    x_size, y_size = np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)
    changes = (x_size > 1e-12 * x_scale) & (known.sum(axis=1) >= SHORTEST)
    both = changes & (y_size > 1e-12 * y_scale)
    r = np.where(changes, 0.0, np.nan)
    r[both] = np.clip((x[both] * y[both]).sum(axis=1) / (x_size[both] * y_size[both]), -1, 1)
    return r
