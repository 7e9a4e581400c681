"""Grey values of two images compared: the distance of their histograms, and their correlation pixel by pixel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError

MAX_LEVELS = 1 << 16
"""Most steps that the range is divided into."""
_FLUSH = 1 << 18
"""Values that wait before they are counted together, which is faster than plane by plane."""


def histogram_distance(original: npt.ArrayLike, reconstruction: npt.ArrayLike) -> float:
    """Distance between the grey-value distributions of two arrays, as a fraction of the original's range.

    The Wasserstein-1 distance: the mean distance by which grey values have to be moved to turn one histogram into the
    other, 0 where the histograms are equal. The arrays may have any shapes, also different ones. See `GreyValues`.

    Raises
    ------
    InputError
        If an array is empty, or holds NaN or infinity.
    """
    a, b = np.asarray(original), np.asarray(reconstruction)
    if 0 in (a.size, b.size) or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("the histogram distance takes arrays with at least one value each, all of them finite.")
    low, span = float(a.min()), float(a.max()) - float(a.min()) or 1.0
    values = GreyValues(span, whole=a.dtype.kind in "iu")
    values.add(a.astype(np.float64) - low, b.astype(np.float64) - low)
    return values.value


class GreyValues:
    """Running histograms of two images.

    Parameters
    ----------
    value_range : float
        Range of the original.
    whole : bool
        Whether its values are whole numbers: then each has a step of its own, if there are at most 65,536, and the
        distance between images of whole numbers is exact. Otherwise the range is divided into 65,536 equal steps.

    Notes
    -----
    The histograms reach one range beyond the original's on either side; what lies farther off is counted at their ends.
    For distributions on a line the distance is the area between the cumulative histograms (S. S. Vallender, "Calculation
    of the Wasserstein distance between probability distributions on the line", Theory of Probability and its
    Applications 18, 1974).
    """

    def __init__(self, value_range: float, *, whole: bool) -> None:
        self.levels = int(value_range) if whole and 1 <= value_range <= MAX_LEVELS else MAX_LEVELS
        self.scale = self.levels / value_range
        self.counts = np.zeros((2, 3 * self.levels + 1), np.int64)
        self.waiting: tuple[list[npt.NDArray[np.int32]], list[npt.NDArray[np.int32]]] = ([], [])

    def add(self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> None:
        """Count values of the original and of the reconstruction, both above the original's minimum."""
        for waiting, values in zip(self.waiting, (x, y), strict=True):
            steps = np.clip(np.rint(values * self.scale), -self.levels, 2 * self.levels)
            waiting.append((steps.ravel() + self.levels).astype(np.int32))
        if sum(steps.size for steps in self.waiting[0]) >= _FLUSH:
            self._flush()

    def _flush(self) -> None:
        for counts, waiting in zip(self.counts, self.waiting, strict=True):
            for steps in [np.concatenate(waiting)] if waiting else []:
                counts += np.bincount(steps, minlength=counts.size)
            waiting.clear()

    @property
    def value(self) -> float:
        """Wasserstein-1 distance / range of the original, 0 to 2."""
        self._flush()
        first, second = (np.cumsum(counts) / counts.sum() for counts in self.counts)
        return float(np.abs(first - second).sum() / self.levels)


def pearson(a: npt.ArrayLike, b: npt.ArrayLike) -> float | None:
    """Pearson's correlation coefficient of two arrays of one shape, -1 to 1; None where either is constant.

    Raises
    ------
    InputError
        If the shapes differ, or a value is NaN or infinite.
    """
    x, y = np.asarray(a), np.asarray(b)
    if x.shape != y.shape or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError(f"a correlation takes two arrays of one shape with finite values, not {x.shape} and {y.shape}.")
    sums = Correlation()
    sums.add(x.astype(np.float64), y.astype(np.float64))
    return sums.value


class Correlation:
    """Running sums for the correlation of two images.

    Sums are of differences to the first values, so that the variance of a constant image is exactly 0.
    """

    def __init__(self) -> None:
        self.first: tuple[float, float] | None = None
        self.count = 0
        self.sums = np.zeros(5)  # x, y, x^2, y^2, x y

    def add(self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> None:
        """Count pairs of values; both arrays have one shape."""
        if x.size == 0:
            return
        if self.first is None:
            self.first = float(x.flat[0]), float(y.flat[0])
        p, q = (x - self.first[0]).ravel(), (y - self.first[1]).ravel()
        pairs = [np.einsum("i,i->", one, other) for one, other in ((p, p), (q, q), (p, q))]  # np.vdot would start threads
        self.sums += (p.sum(), q.sum(), *pairs)
        self.count += x.size

    @property
    def value(self) -> float | None:
        """The coefficient; None where either image is constant."""
        if self.count == 0:
            return None
        x, y, xx, yy, xy = (float(s) / self.count for s in self.sums)
        variances = max(xx - x * x, 0.0), max(yy - y * y, 0.0)
        product = variances[0] ** 0.5 * variances[1] ** 0.5
        return None if product == 0 else float(np.clip((xy - x * y) / product, -1.0, 1.0))
