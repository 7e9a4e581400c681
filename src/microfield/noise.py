"""The noise of an image, estimated from the image alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

_MAD = 1.482602218505602  # standard deviation of a normal distribution / its median absolute deviation


def noise_sigma(planes: npt.NDArray[Any]) -> float:
    """Estimate the standard deviation of white noise, in grey levels.

    Parameters
    ----------
    planes : array of shape ``(..., Y, X)``
        One plane or several, which are pooled.

    Returns
    -------
    float
        ``1.4826 median(|N|) / 6``, where ``N`` is the plane filtered by the outer product of (1, -2, 1) with itself,
        which removes what is linear along Y or X and turns white noise of deviation s into deviation 6 s. An axis
        shorter than 3 is not filtered. 0 where nothing varies or nothing can be filtered.

    Notes
    -----
    The mask is that of J. Immerkaer, "Fast noise variance estimation", Computer Vision and Image Understanding 64
    (1996), section 2; he takes the mean of ``|N|``, which edges inflate, hence the median. Three cares for real data:

    - neighbourhoods of equal values (empty background, saturation, padding) tell nothing and are left out;
    - integers leave ``|N|`` few values, between which a median jumps, so each value is spread over the interval
      halfway to its neighbours (the median of grouped data);
    - where ``N`` is 0 in more than half of what is left, the mean, ``sqrt(pi / 2) mean(|N|) / 6``, takes over.

    The rounding of the data (variance 1/12) is part of what is measured. Noise that neighbouring voxels share, as in
    interpolated, oversampled, deconvolved or JPEG-coded data, is underestimated.
    """
    # Second differences of 16-bit integers are exact in float32.
    exact = planes.dtype.kind in "iu" and planes.dtype.itemsize <= 2
    values = planes.astype(np.float32 if exact else np.float64)
    response, top, bottom, gain = values, values, values, 1.0
    for axis in (-2, -1):
        if planes.ndim + axis >= 0 and planes.shape[axis] >= 3:
            before, here, after = (_along(response, axis, k) for k in range(3))
            response = before - 2 * here + after
            top = np.maximum.reduce([_along(top, axis, k) for k in range(3)])
            bottom = np.minimum.reduce([_along(bottom, axis, k) for k in range(3)])
            gain *= math.sqrt(6.0)
    if gain == 1.0:
        return 0.0
    varied = np.greater(top, bottom) & np.isfinite(response)
    size = np.abs(response[varied])
    if size.size == 0:
        return 0.0
    if np.count_nonzero(size) < 0.5 * size.size:
        return float(math.sqrt(math.pi / 2) * size.mean(dtype=np.float64) / gain)
    return _MAD * _grouped_median(size) / gain


def _along(values: npt.NDArray[Any], axis: int, shift: int) -> npt.NDArray[Any]:
    """Of every three neighbours along ``axis`` (-2 or -1) the one at position ``shift``, 0 to 2."""
    cut = slice(shift, values.shape[axis] - 2 + shift)
    return values[..., cut, :] if axis == -2 else values[..., cut]


def _grouped_median(values: npt.NDArray[Any]) -> float:
    """Median of non-negative values, each distinct value spread evenly over the interval halfway to its neighbours."""
    distinct, counts = np.unique(values, return_counts=True)
    middle = (distinct[1:] + distinct[:-1]) / 2
    edges = np.concatenate([distinct[:1], middle, distinct[-1:]]).astype(np.float64)
    return float(np.interp(values.size / 2, np.concatenate([[0], np.cumsum(counts)]), edges))
