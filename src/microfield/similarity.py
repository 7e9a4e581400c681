"""Structural similarity (SSIM) of planes, in NumPy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError
from microfield.statistics import as_planes

Floats = npt.NDArray[np.float64]

SIGMA = 1.5
"""Standard deviation of the window in pixels."""
RADIUS = 5
"""The window reaches 3.5 standard deviations: 11 x 11 pixels."""


def ssim(a: npt.NDArray[Any], b: npt.NDArray[Any], axes: str, data_range: npt.ArrayLike) -> Floats:
    """Structural similarity of every channel, averaged over its YX planes: an array of shape ``(channels,)``.

    Parameters
    ----------
    a, b : arrays of one shape
        Original and reconstruction.
    axes : str
        One letter of ``TCZYXS`` per array axis.
    data_range : float or array of shape ``(channels,)``
        Range of the channels in grey levels.

    Notes
    -----
    Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", IEEE Transactions on Image Processing 13 (2004), section III.B, with a Gaussian window of sigma 1.5,
    K1 = 0.01 and K2 = 0.03, over the positions where the window lies inside the plane. In a plane smaller than the
    window, the window shrinks to the largest odd size that fits.
    """
    if a.shape != b.shape:
        raise InputError(f"SSIM compares arrays of one shape, not {a.shape} with {b.shape}.")
    first, second = as_planes(a, axes), as_planes(b, axes)
    ranges = np.broadcast_to(np.asarray(data_range, np.float64), first.shape[:1])
    weights = ssim_window(first.shape[2]), ssim_window(first.shape[3])
    sums = [ssim_sum(x, y, r, weights) for x, y, r in zip(first, second, ranges, strict=True)]
    return np.array([total / count for total, count in sums])


def ssim_window(extent: int) -> Floats:
    """Weights of the Gaussian window along an axis, summing to 1; at most as many as the axis is long."""
    radius = min(RADIUS, (extent - 1) // 2)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / SIGMA) ** 2)
    return np.asarray(weights / weights.sum())


def ssim_sum(
    a: npt.NDArray[Any], b: npt.NDArray[Any], value_range: float, weights: tuple[Floats, Floats]
) -> tuple[float, int]:
    """Sum and number of the SSIM values of planes of shape ``(planes, Y, X)``."""
    c1, c2 = (0.01 * value_range) ** 2, (0.03 * value_range) ** 2
    total, count = 0.0, 0
    for one, other in zip(a, b, strict=True):  # plane by plane: the intermediate arrays stay in cache
        x, y = one.astype(np.float64), other.astype(np.float64)
        mean_x, mean_y, mean_squares, mean_product = (_blur(v, weights) for v in (x, y, x * x + y * y, x * y))
        products, squares = mean_x * mean_y, mean_x**2 + mean_y**2
        upper = (2 * products + c1) * (2 * (mean_product - products) + c2)
        lower = (squares + c1) * (mean_squares - squares + c2)
        total += float((upper / lower).sum())
        count += upper.size
    return total, count


def _blur(plane: Floats, weights: tuple[Floats, Floats]) -> Floats:
    """Weighted mean under the window at every position where it fits."""
    rows = plane.shape[0] - len(weights[0]) + 1
    tall = sum((w * plane[k : k + rows] for k, w in enumerate(weights[0])), np.zeros(()))
    columns = plane.shape[1] - len(weights[1]) + 1
    return np.asarray(sum((w * tall[:, k : k + columns] for k, w in enumerate(weights[1])), np.zeros(())))
