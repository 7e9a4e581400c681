"""Agreement over time: of the object counts per time point, and of the mean intensities of regions (their traces).

Traces are arrays of shape ``(time, regions)``. A region that is absent at a time point has no mean there: its entry is NaN,
and so is the correlation of traces that have none. Numbers that leave this module are None instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError

Floats = npt.NDArray[np.float64]

SHORTEST = 3
"""Time points that a correlation needs: two always correlate by 1 or -1, whatever they hold."""
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
    counts_a, counts_b : one count per time point
    correlation : Pearson correlation of the two series, -1 to 1; 1 where both are constant and equal, None below 3 time
        points or where the original's is constant and the other differs
    largest_difference : largest |b - a| / max(a, 1)
    """

    counts_a: tuple[int, ...]
    counts_b: tuple[int, ...]
    correlation: float | None
    largest_difference: float


def counts_over_time(counts_a: Sequence[int], counts_b: Sequence[int]) -> CountsOverTime:
    """Compare two series of counts.

    Raises
    ------
    InputError
        If the series are empty or of different lengths.
    """
    a, b = np.asarray(counts_a, np.float64), np.asarray(counts_b, np.float64)
    if a.shape != b.shape or a.ndim != 1 or not a.size:
        raise InputError(f"counts over time need two series of one length, not of {a.size} and {b.size}.")
    largest = float(np.max(np.abs(b - a) / np.maximum(a, 1)))
    whole = tuple(int(n) for n in a), tuple(int(n) for n in b)
    return CountsOverTime(*whole, _count_correlation(a, b), largest)


def _count_correlation(a: Floats, b: Floats) -> float | None:
    if a.size < SHORTEST:
        return None
    if (a == b).all():
        return 1.0  # also of constant series, whose correlation is not defined
    return None if (a == a[0]).all() else float(correlations(a[None], b[None])[0])


@dataclass(frozen=True)
class Traces:
    """Agreement of the traces of original and reconstruction.

    Attributes
    ----------
    correlation : array of shape ``(regions,)``
        Pearson correlation per region, -1 to 1; NaN where it is not defined (`correlations`).
    clear : array of bool of shape ``(regions,)``
        Which regions change clearly in the original (`change_clearly`).
    """

    correlation: Floats
    clear: npt.NDArray[np.bool_]

    @property
    def mean(self) -> float | None:
        """Mean correlation over the regions that have one; None without any."""
        known = self._known()
        return float(known.mean()) if known.size else None

    @property
    def low(self) -> float | None:
        """Lowest decile of the correlations, which nine of ten regions exceed; None without any."""
        known = self._known()
        return float(np.quantile(known, 0.1)) if known.size else None

    @property
    def mean_clear(self) -> float | None:
        """Mean correlation over the regions that change clearly; None without any."""
        known = self._known(self.clear)
        return float(known.mean()) if known.size else None

    def _known(self, which: npt.NDArray[np.bool_] | bool = True) -> Floats:
        """The correlations that are defined, of some regions or of all."""
        return self.correlation[~np.isnan(self.correlation) & which]


def compare_traces(a: Floats, b: Floats, clear: npt.NDArray[np.bool_] | None = None) -> Traces:
    """Correlate the traces of an original with those of its reconstruction, region by region.

    Parameters
    ----------
    a, b : arrays of shape ``(time, regions)``
        NaN where a region is absent.
    clear : array of bool of shape ``(regions,)``, optional
        Which regions change clearly; all of them by default.

    Raises
    ------
    InputError
        If the shapes differ or are not 2-D.
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
    """A label array laid over a chequerboard: the labels on its white fields and those on its black ones, each 0 elsewhere."""
    odd = np.zeros(labels.shape, np.bool_)
    for axis, extent in enumerate(labels.shape):
        odd ^= (np.arange(extent) % 2 == 1).reshape([-1 if k == axis else 1 for k in range(labels.ndim)])
    return np.where(odd, 0, labels), np.where(odd, labels, 0)


def _variance(values: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    """Variance of every column over its known rows, 0 where fewer than two are known."""
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

    A correlation is not defined, and NaN, where fewer than 3 columns are known or ``a`` is constant. Where only ``b`` is
    constant it is 0: a reconstruction that lost all change agrees in nothing.
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
