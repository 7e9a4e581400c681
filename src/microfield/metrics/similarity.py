"""Structural similarity (SSIM) of planes, in NumPy alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError
from microfield.statistics import as_planes

Floats = npt.NDArray[np.float64]
Moments = tuple[Floats, Floats, Floats, Floats]
"""Weighted means under the window at every position: of x, of y, of x^2 + y^2 and of x y."""

SIGMA = 1.5
"""Standard deviation of the window in pixels."""
RADIUS = 5
"""Pixels that the window reaches to either side, 3.3 standard deviations: it is 11 x 11 pixels."""
_STRIP = 1 << 16
"""Pixels whose moments are computed at once: they stay in cache, and memory does not grow with the plane."""
_MIN_ROWS = 48
"""Least rows of such a strip: thinner ones would repeat most of their work, since windows overlap."""


def ssim(a: npt.NDArray[Any], b: npt.NDArray[Any], axes: str, data_range: npt.ArrayLike) -> Floats:
    """Structural similarity of every channel, averaged over its YX planes: an array of shape ``(channels,)``.

    Parameters
    ----------
    a, b : arrays of one shape
        Original and reconstruction, finite.
    axes : str
        One letter of ``TCZYXS`` per array axis.
    data_range : float or array of shape ``(channels,)``
        Range of the channels in grey levels, positive.

    Raises
    ------
    InputError
        If the shapes differ.

    Notes
    -----
    Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", IEEE Transactions on Image Processing 13 (2004), section III.B, with a Gaussian window of sigma 1.5,
    K1 = 0.01 and K2 = 0.03, over the positions where the window lies inside the plane. In a plane smaller than the
    window, the window shrinks to the largest odd size that fits.

    The smallest value of the original channel is subtracted from both first. The luminance term compares means relative
    to their size, and would be 1 for any error in an image on a large offset, such as a camera's or +32768.
    """
    values = []
    for x, y, value_range in channel_stacks(a, b, axes, data_range):
        measure = PlaneSimilarity(x.shape[1:], value_range)
        for one, other in zip(x, y, strict=True):
            measure.add(one, other)
        values.append(measure.value)
    return np.array(values)


def channel_stacks(
    a: npt.NDArray[Any], b: npt.NDArray[Any], axes: str, data_range: npt.ArrayLike
) -> Iterator[tuple[Floats, Floats, float]]:
    """For every channel the planes of both images and its range; raises InputError where the shapes differ.

    Planes are float64 arrays of shape ``(planes, Y, X)`` that count from the minimum of the original.
    """
    if a.shape != b.shape:
        raise InputError(f"SSIM compares arrays of one shape, not {a.shape} with {b.shape}.")
    first, second = as_planes(a, axes), as_planes(b, axes)
    for x, y, value_range in zip(first, second, np.broadcast_to(np.asarray(data_range, float), first.shape[:1]), strict=True):
        low = float(x.min())
        yield x.astype(np.float64) - low, y.astype(np.float64) - low, float(value_range)


class PlaneSimilarity:
    """Running mean of the SSIM of planes of one shape ``(Y, X)``, whose range is ``value_range``."""

    def __init__(self, shape: tuple[int, ...], value_range: float) -> None:
        self.weights, self.value_range = window(shape[-2:]), value_range
        self.total, self.count = 0.0, 0

    def add(self, x: Floats, y: Floats) -> None:
        """Count a plane, or a band of its rows that starts where the windows of the last one ended."""
        for _, moments in moments_in_strips(x, y, self.weights):
            values = similarity(moments, self.value_range)
            self.total += float(values.sum())
            self.count += values.size

    @property
    def value(self) -> float:
        """The mean over all positions of the window."""
        return self.total / self.count


def axis_window(extent: int) -> Floats:
    """Weights of the Gaussian window along an axis, an odd number that fits the axis; their sum is 1."""
    radius = min(RADIUS, (extent - 1) // 2)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / SIGMA) ** 2)
    return np.asarray(weights / weights.sum())


def window(shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Weights of the window along Y and X in planes of shape ``(Y, X)``."""
    return axis_window(shape[0]), axis_window(shape[1])


def moments_in_strips(x: Floats, y: Floats, weights: tuple[Floats, Floats]) -> Iterator[tuple[int, Moments]]:
    """Moments at every position where the window fits into the plane, strip after strip: number of its first row, and maps."""
    extra = len(weights[0]) - 1
    step = max(_MIN_ROWS, _STRIP // x.shape[1])
    rows = x.shape[0] - extra
    for start in range(0, rows, step):
        strip = slice(start, min(start + step, rows) + extra)
        p, q = x[strip], y[strip]
        yield start, (_blur(p, weights), _blur(q, weights), _blur(p * p + q * q, weights), _blur(p * q, weights))


def similarity(moments: Moments, value_range: float) -> Floats:
    """SSIM at every position: luminance times contrast and structure."""
    mean_x, mean_y, mean_squares, mean_product = moments
    c1, c2 = (0.01 * value_range) ** 2, (0.03 * value_range) ** 2
    products, squares = mean_x * mean_y, mean_x**2 + mean_y**2
    upper = (2 * products + c1) * (2 * (mean_product - products) + c2)
    lower = (squares + c1) * (mean_squares - squares + c2)
    return np.asarray(upper / lower)


def structure(moments: Moments, value_range: float) -> Floats:
    """The contrast and structure factor of SSIM at every position."""
    mean_x, mean_y, mean_squares, mean_product = moments
    c2 = (0.03 * value_range) ** 2
    covariance, variances = mean_product - mean_x * mean_y, mean_squares - mean_x**2 - mean_y**2
    return np.asarray((2 * covariance + c2) / (variances + c2))


def _blur(plane: Floats, weights: tuple[Floats, Floats]) -> Floats:
    """Weighted mean under the window at every position where it fits."""
    return _blur_rows(_blur_rows(plane, weights[0]).T, weights[1]).T


def _blur_rows(plane: Floats, weights: Floats) -> Floats:
    """Weighted mean of neighbouring rows; the weights are symmetric, so rows are added before they are weighed."""
    rows, radius = plane.shape[0] - len(weights) + 1, len(weights) // 2
    total = plane[radius : radius + rows] * weights[radius]
    pair = np.empty_like(total)
    for k in range(radius):
        np.add(plane[k : k + rows], plane[2 * radius - k : 2 * radius - k + rows], out=pair)
        pair *= weights[k]
        total += pair
    return np.asarray(total)
