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
    mean, low : mean and lowest decile of those that are known, None without any
    """

    correlation: Floats

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


def compare_traces(a: Floats, b: Floats) -> Traces:
    """Correlate two sets of traces of shape ``(time, regions)``, NaN where a region is absent."""
    if a.shape != b.shape or a.ndim != 2:
        raise InputError(f"traces need arrays of one shape (time, regions), not {a.shape} and {b.shape}.")
    return Traces(correlations(a.T, b.T))


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
