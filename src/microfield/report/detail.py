"""Which detail survived, and which could have: Fourier ring correlation against the best that the noise allows.

A reconstruction without noise can never agree fully with a noisy original. Where the signal has power S and the noise
N at some frequency, the best possible correlation between ``signal + noise`` and the signal alone is
``sqrt(S / (S + N))``. Beyond the frequency where this falls below the threshold the original itself holds mostly noise,
so losing that costs nothing. A reconstruction that keeps some of the noise correlates better than that.

None of this measures sharpness: weakening all frequencies of a ring alike, as a plain blur does, leaves its correlation as it
is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.metrics.spectral import ring_correlation
from microfield.report.pair import Pair, View

Doubles = npt.NDArray[np.float64]

THRESHOLD = 0.5
"""Two images agree at a frequency where their correlation is at least this."""
PLANES, SIDE = 6, 1024
"""How many planes are transformed, and the largest side of the part taken from the middle of each."""
RINGS = 100
"""Most points of a curve."""
SMALLEST = 16
"""Planes narrower than this have too few frequencies for a curve."""


@dataclass(frozen=True)
class Detail:
    """Correlation curves of a view, averaged over planes and channels; arrays have shape ``(rings,)``.

    Attributes
    ----------
    frequency : cycles per pixel, rising, up to 0.5
    correlation : Fourier ring correlation of original and reconstruction, -1 to 1
    possible : correlation of the original with a copy that lost all the noise and nothing else, 0 to 1
    kept : frequency up to which ``correlation`` stays at `THRESHOLD` or above, in cycles per pixel
    available : the same of ``possible``; above 0
    """

    frequency: Doubles
    correlation: Doubles
    possible: Doubles
    kept: float
    available: float

    @property
    def share(self) -> float:
        """``kept / available``, at most 1: 1 where all the detail that stands above the noise survived."""
        return min(1.0, self.kept / self.available)


def measure_detail(pair: Pair, view: View) -> Detail | None:
    """Measure one view; None for planes too small, and for channels without variation."""
    t, z, y, x = pair.extents
    channels = [c for c in view.channels if not pair.is_constant(c)]
    if min(y, x) < SMALLEST or not channels:
        return None
    rows, columns = (slice((n - min(n, SIDE)) // 2, (n + min(n, SIDE)) // 2) for n in (y, x))
    count = min(t * z, PLANES)
    curves, possibles = [], []
    frequency: Doubles | None = None
    for channel in channels:
        for k in range(count):
            at = (2 * k + 1) * t * z // (2 * count)
            region = (slice(at // z, at // z + 1), slice(at % z, at % z + 1), rows, columns)
            a, b = (pair.read(which, channel, region)[0, 0].astype(np.float64) for which in ("original", "reconstruction"))
            if a.min() == a.max():
                continue
            found = ring_correlation(a, b)
            frequency = np.asarray(found.frequency, np.float64)
            curves.append(np.asarray(found.correlation, np.float64))
            possibles.append(best_possible(a, pair.noise(channel), frequency))
    if frequency is None:
        return None
    frequency, correlation, possible = (_fewer(v) for v in (frequency, np.mean(curves, axis=0), np.mean(possibles, axis=0)))
    available = max(reach(frequency, possible), float(frequency[0]))
    return Detail(frequency, correlation, possible, reach(frequency, correlation), available)


def _fewer(curve: Doubles) -> Doubles:
    """Means over neighbouring rings, so that at most `RINGS` remain: single rings of large planes make a ragged curve."""
    starts = np.arange(0, len(curve), -(-len(curve) // RINGS))
    return np.asarray(np.add.reduceat(curve, starts) / np.diff([*starts, len(curve)]))


def best_possible(plane: npt.NDArray[Any], noise: float, frequency: Doubles) -> Doubles:
    """Correlation of a plane with its own signal at the given frequencies (cycles/pixel), for white noise of that sigma."""
    window = np.outer(np.hanning(plane.shape[0]), np.hanning(plane.shape[1]))
    spectrum = np.abs(np.fft.rfft2((plane - plane.mean()) * window)) ** 2
    floor = noise**2 * float(np.sum(window**2))
    radius = np.hypot(np.fft.fftfreq(plane.shape[0])[:, None], np.fft.rfftfreq(plane.shape[1])[None, :])
    edges = np.concatenate([[0.0], (frequency[1:] + frequency[:-1]) / 2, [np.inf]])
    ring = np.digitize(radius.ravel(), edges) - 1
    power = np.bincount(ring, spectrum.ravel(), len(frequency)) / np.maximum(np.bincount(ring, minlength=len(frequency)), 1)
    share = 1 - floor / np.maximum(power, np.finfo(float).tiny)
    return np.sqrt(np.clip(share, 0, 1))


def reach(frequency: Doubles, correlation: Doubles) -> float:
    """First frequency at which a curve, smoothed over three rings, falls below `THRESHOLD`; the last where it never does."""
    if len(correlation) >= 3:
        padded = np.pad(correlation, 1, mode="edge")
        correlation = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
    below = np.flatnonzero(correlation < THRESHOLD)
    return float(frequency[below[0]] if len(below) else frequency[-1])
