"""Spots: point-like signals, found with a Laplacian of Gaussian and matched by position."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from microfield.analysis.filters import Spacing, as_field, local_mean, ndimage, relative_steps, spot_response
from microfield.analysis.objects import Matched
from microfield.analysis.segmentation import SPOT_SIGMA, spot_threshold
from microfield.errors import InputError

Points = npt.NDArray[np.float64]

LOCAL_CONTRAST = 3.0
"""A spot's response is at least so many times the root mean square of the response around it ..."""
LOCAL_SIZE = 31
"""... in a box of so many pixels a side, so that the grain of noisy or textured objects is not taken for spots."""
TOLERANCE = 2.0
"""Spots of two images at most so many pixels apart are the same spot."""


def find_spots(field: npt.ArrayLike, sigma: float = SPOT_SIGMA, spacing: Spacing = None, *, dark: bool = False) -> Points:
    """Find bright spots (with ``dark``, dark ones) of radius about ``sigma sqrt(ndim)`` pixels.

    A spot is a maximum of the negative Laplacian of Gaussian among its 3^ndim neighbours, above `spot_threshold` (6 robust
    standard deviations of the response, and 10 % of the response of the brightest) and above 3 times the root mean square
    of the response in the 31 pixels around, so that neither noise nor the grain of a nucleus counts. Nor do maxima on the
    outermost pixels; connected equal maxima are one spot.

    Returns
    -------
    array of shape ``(n, ndim)``
        Positions in pixels.
    """
    values = as_field(field)
    response = spot_response(-values if dark else values, sigma, spacing)
    around = np.sqrt(np.maximum(local_mean(response * response, LOCAL_SIZE, spacing), 0))
    peaks = (response > spot_threshold(response)) & (response > LOCAL_CONTRAST * around)
    peaks &= response == ndimage.maximum_filter(response, 3, mode="nearest")
    for axis, extent in enumerate(values.shape):
        if extent >= 3:
            np.moveaxis(peaks, axis, 0)[[0, -1]] = False
    labels, count = ndimage.label(peaks, np.ones((3,) * values.ndim))
    centres = ndimage.center_of_mass(peaks, labels, np.arange(1, count + 1)) if count else []
    return np.asarray(centres, np.float64).reshape(-1, values.ndim)


def match_spots(a: npt.ArrayLike, b: npt.ArrayLike, tolerance: float = TOLERANCE, spacing: Spacing = None) -> Matched:
    """Pair spots at most ``tolerance`` pixels (of the finest axis) apart, the nearest pairs first.

    Parameters
    ----------
    a, b : arrays of shape ``(n, ndim)``
        Positions in pixels, in the original and in the reconstruction.

    Raises
    ------
    InputError
        If the positions are not 2-D arrays of equally many axes.
    """
    from scipy.spatial import cKDTree

    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise InputError(f"spots are positions of shape (n, ndim), not {first.shape} and {second.shape}.")
    if not len(first) or not len(second):
        return Matched(len(first), len(second), 0)
    steps = np.array(relative_steps(first.shape[1], spacing))
    near = cKDTree(first * steps).sparse_distance_matrix(cKDTree(second * steps), tolerance, output_type="ndarray")
    free_a, free_b = np.ones(len(first), np.bool_), np.ones(len(second), np.bool_)
    matched = 0
    for pair in near[np.argsort(near["v"], kind="stable")]:
        if free_a[pair["i"]] and free_b[pair["j"]]:
            free_a[pair["i"]] = free_b[pair["j"]] = False
            matched += 1
    return Matched(len(first), len(second), matched)
