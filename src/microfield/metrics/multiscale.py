"""Multi-scale structural similarity (MS-SSIM) of planes, in NumPy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.metrics.similarity import RADIUS, Floats, channel_stacks, moments_in_strips, similarity, structure, window

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales, the finest first."""


def ms_ssim(a: npt.NDArray[Any], b: npt.NDArray[Any], axes: str, data_range: npt.ArrayLike) -> Floats:
    """Multi-scale structural similarity of every channel, averaged over its YX planes: an array of shape ``(channels,)``.

    Parameters
    ----------
    a, b : arrays of one shape
        Original and reconstruction, finite.
    axes : str
        One letter of ``TCZYXS`` per array axis.
    data_range : float or array of shape ``(channels,)``
        Range of the channels in grey levels, positive.

    Returns
    -------
    array of shape ``(channels,)``
        0 to 1.

    Raises
    ------
    InputError
        If the shapes differ.

    Notes
    -----
    Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multiscale structural similarity for image quality assessment", 37th
    Asilomar Conference on Signals, Systems and Computers (2003), section 3: the mean contrast and structure of four
    scales and the mean SSIM of the fifth, each to the power of its weight, multiplied. Each scale halves the plane by
    averaging squares of four pixels; a last odd row or column is dropped. A mean below 0 counts as 0.

    The 11 x 11 window must fit: a plane narrower than 176 pixels has fewer scales, whose weights are divided by their
    sum. One scale alone is SSIM. As in `ssim`, the smallest value of the original channel is subtracted first.
    """
    values = []
    for x, y, value_range in channel_stacks(a, b, axes, data_range):
        planes = zip(x, y, strict=True)
        values.append(float(np.mean([plane_ms_ssim(one, other, value_range) for one, other in planes])))
    return np.array(values)


def plane_ms_ssim(x: Floats, y: Floats, value_range: float) -> float:
    """MS-SSIM of one plane, 0 to 1; ``x`` is the original above its minimum, ``y`` the reconstruction above the same value."""
    scales = count_scales(x.shape)
    weights = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    value = 1.0
    for scale, weight in enumerate(weights):
        last = scale == scales - 1
        value *= max(_mean(x, y, value_range, full=last), 0.0) ** float(weight)
        if not last:
            x, y = _halve(x), _halve(y)
    return value


def count_scales(shape: tuple[int, ...]) -> int:
    """How many scales a plane of shape ``(Y, X)`` has: 1, and 1 more for every halving after which the window still fits."""
    scales = 1
    while scales < len(WEIGHTS) and min(shape) >> scales >= 2 * RADIUS + 1:
        scales += 1
    return scales


def _mean(x: Floats, y: Floats, value_range: float, *, full: bool) -> float:
    """Mean over a plane of SSIM (``full``), or of its contrast and structure factor alone."""
    factor = similarity if full else structure
    total, count = 0.0, 0
    for _, moments in moments_in_strips(x, y, window(x.shape)):
        values = factor(moments, value_range)
        total += float(values.sum())
        count += values.size
    return total / count


def _halve(plane: Floats) -> Floats:
    """Means of squares of four pixels; a last odd row or column is dropped."""
    rows, columns = plane.shape[0] // 2 * 2, plane.shape[1] // 2 * 2
    pairs = plane[0:rows:2, :columns] + plane[1:rows:2, :columns]
    return np.asarray((pairs[:, ::2] + pairs[:, 1::2]) / 4)
