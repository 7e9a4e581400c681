"""The filters that segmentation pipelines start from: smoothing, Hessian ridges, Laplacian of Gaussian, local mean.

A *field* is one plane or one volume of one channel: a 2-D or 3-D array. ``spacing`` is the step along each of its axes in
any common unit; widths (``sigma``, ``size``) are in pixels of the finest axis and shrink along coarser ones. Beyond the edges
the outermost value is repeated, so no axis is too short.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError, MissingExtraError

try:
    import skimage  # noqa: F401 - used by the modules that build on this one; asked for once, here
    from scipy import ndimage as ndimage
except ImportError as error:  # pragma: no cover - scipy is there in every test environment
    raise MissingExtraError("analysing images", "report") from error

Field = npt.NDArray[np.float32]
Spacing = Sequence[float] | None

BLOBNESS = 0.5
"""How fast the ridge response falls where a structure is round and not long: beta of Frangi et al. 1998, equation 13."""
_MAD = 1.482602218505602  # standard deviation of a normal distribution / its median absolute deviation
_SLAB = 1 << 18  # voxels whose eigenvalues are worked out at once; their temporaries stay in cache


def as_field(values: npt.ArrayLike) -> Field:
    """Map a plane or volume of any numeric type linearly onto 0..1 in float32; zeros where it is constant.

    Thresholds found on each image by itself do not change with such a mapping, and huge or tiny ranges survive float32.

    Raises
    ------
    InputError
        If the array is not 2-D or 3-D, is empty, or holds NaN or infinity.
    """
    array = np.asarray(values)
    if array.ndim not in (2, 3) or array.size == 0:
        raise InputError(f"only a plane or a volume can be segmented, not an array of shape {array.shape}.")
    if array.dtype.kind not in "buif":
        raise InputError(f"an array of {array.dtype.name} values cannot be segmented; give intensities.")
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError("the image holds NaN or infinite values, which cannot be segmented; replace them first.")
    # Halves keep the span of the widest float64 ranges finite.
    span = high / 2 - low / 2
    if span == 0 or 1 / span == np.inf:
        return np.zeros(array.shape, np.float32)
    wide = np.float32 if array.dtype.itemsize <= 2 else np.float64
    return np.asarray((np.divide(array, 2, dtype=wide) - wide(low / 2)) / wide(span), np.float32)


def widths(sigma: float, ndim: int, spacing: Spacing = None) -> tuple[float, ...]:
    """A width in pixels of the finest axis as one width per axis, each in pixels of that axis."""
    steps = relative_steps(ndim, spacing)
    return tuple(sigma / step for step in steps)


def relative_steps(ndim: int, spacing: Spacing = None) -> tuple[float, ...]:
    """Steps along the axes in units of the finest one; all 1 without a spacing.

    Raises
    ------
    InputError
        If the spacing is not one positive number per axis.
    """
    if spacing is None:
        return (1.0,) * ndim
    steps = [float(s) for s in spacing]
    if len(steps) != ndim or not all(s > 0 and np.isfinite(s) for s in steps):
        raise InputError(f"a spacing needs one positive number per axis ({ndim}), not {tuple(spacing)}.")
    return tuple(s / min(steps) for s in steps)


def smooth(field: Field, sigma: float, spacing: Spacing = None) -> Field:
    """Gaussian smoothing with a standard deviation in pixels, cut at 3 sigma."""
    found: Field = ndimage.gaussian_filter(field, widths(sigma, field.ndim, spacing), mode="nearest", truncate=3.0)
    return found


def local_mean(field: Field, size: int, spacing: Spacing = None) -> Field:
    """Mean over a box of ``size`` pixels a side, an odd number, around each pixel."""
    sizes = [2 * int(width / 2) + 1 for width in widths(float(size), field.ndim, spacing)]
    found: Field = ndimage.uniform_filter(field, sizes, mode="nearest")
    return found


def robust_sigma(values: npt.NDArray[Any]) -> float:
    """Standard deviation of the bulk of the values: 1.4826 times the median absolute deviation from the median."""
    sample = values.reshape(-1)[:: max(1, values.size >> 20)]
    return float(_MAD * np.median(np.abs(sample - np.median(sample))))


def spot_response(field: Field, sigma: float, spacing: Spacing = None) -> Field:
    """Spot filter: the negative Laplacian of Gaussian times sigma squared, large at bright spots of radius sigma sqrt(ndim).

    T. Lindeberg, "Feature detection with automatic scale selection", International Journal of Computer Vision 30 (1998),
    section 4 (blobs, normalised Laplacian).
    """
    smoothed = smooth(field, sigma, spacing)
    total = np.zeros_like(smoothed)
    for axis, step in enumerate(relative_steps(field.ndim, spacing)):
        total -= _second_difference(smoothed, axis, axis, step, step)
    return total * np.float32(sigma**2)


def ridge_response(field: Field, sigma: float, spacing: Spacing = None) -> Field:
    """Ridge filter: how strongly a pixel belongs to a bright line, tube or sheet of scale ``sigma``, in units of the field.

    With the eigenvalues of the Hessian times sigma squared ordered by size, ``|l1| <= ... <= |ln|``, the response is
    ``-ln exp(-R^2 / (2 0.5^2))`` where ln < 0, else 0. R is 1 in a round blob and 0 on a line: ``|l1| / |l2|`` in 2-D and
    ``|l1| / sqrt(|l2 l3|)`` in 3-D (A. F. Frangi et al., "Multiscale vessel enhancement filtering", MICCAI 1998,
    equations 11, 13 and 15). Their factors for plates and for contrast are left out: membranes are sheets in 3-D, and a
    response in grey levels lets the threshold judge the contrast.
    """
    smoothed = smooth(field, sigma, spacing)
    steps = relative_steps(field.ndim, spacing)
    response = np.empty_like(smoothed)
    scale = np.float32(sigma**2)
    along = int(np.argmax(field.shape))  # slabs overlap by 2 on either side, which costs least across the longest axis
    thickness = max(1, _SLAB * field.shape[along] // field.size)
    for start in range(0, field.shape[along], thickness):
        stop, first = start + thickness, max(0, start - 2)
        wide, inner, slab = (
            (slice(None),) * along + (slice(*ends),)
            for ends in ((first, stop + 2), (start - first, stop - first), (start, stop))
        )
        hessian = [part[inner] for part in _hessian(smoothed[wide], steps)]
        response[slab] = _line_strength(_eigenvalues(hessian)) * scale
    return response


def _second_difference(values: Field, i: int, j: int, step_i: float, step_j: float) -> Field:
    """Second derivative along axes ``i`` and ``j`` (mixed where they differ), from central differences."""
    if i == j:
        found: Field = ndimage.correlate1d(values, [1 / step_i**2, -2 / step_i**2, 1 / step_i**2], i, mode="nearest")
        return found
    first = ndimage.correlate1d(values, [-0.5 / step_i, 0, 0.5 / step_i], i, mode="nearest")
    mixed: Field = ndimage.correlate1d(first, [-0.5 / step_j, 0, 0.5 / step_j], j, mode="nearest")
    return mixed


def _hessian(values: Field, steps: tuple[float, ...]) -> list[Field]:
    """The upper triangle of the Hessian, row by row: 3 arrays in 2-D, 6 in 3-D."""
    n = values.ndim
    return [_second_difference(values, i, j, steps[i], steps[j]) for i in range(n) for j in range(i, n)]


def _eigenvalues(hessian: list[Field]) -> list[Field]:
    """Eigenvalues of symmetric 2 x 2 or 3 x 3 matrices given as upper triangles, from smallest to largest.

    For 3 x 3: O. K. Smith, "Eigenvalues of a symmetric 3 x 3 matrix", Communications of the ACM 4 (1961).
    """
    if len(hessian) == 3:
        a, b, d = hessian
        middle, root = np.asarray((a + d) / 2, np.float32), np.hypot((a - d) / 2, b)
        return [np.asarray(middle - root), np.asarray(middle + root)]
    a, b, c, d, e, f = hessian
    mean = np.asarray((a + d + f) / 3, np.float32)
    a, d, f = a - mean, d - mean, f - mean
    p = np.sqrt((a * a + d * d + f * f + 2 * (b * b + c * c + e * e)) / 6)
    determinant = a * (d * f - e * e) - b * (b * f - c * e) + c * (b * e - c * d)
    cube = 2 * p * p * p
    ratio = np.divide(determinant, cube, out=np.zeros_like(cube), where=cube > 0)
    angle = np.arccos(np.clip(ratio, -1, 1)) / 3
    largest = mean + 2 * p * np.cos(angle)
    smallest = mean + 2 * p * np.cos(angle + np.float32(2 * np.pi / 3))
    return [smallest, 3 * mean - smallest - largest, largest]


def _line_strength(eigenvalues: list[Field]) -> Field:
    """`ridge_response` from the eigenvalues of the Hessian, for a scale of 1."""
    lowest, highest = eigenvalues[0], eigenvalues[-1]
    bright = (lowest < 0) & (-lowest >= np.abs(highest))  # the largest in size is the negative one
    if len(eigenvalues) == 2:
        below, above = highest * highest, lowest * lowest
    else:
        sizes = np.abs(np.stack(eigenvalues[1:]))
        smaller, larger = sizes.min(axis=0), sizes.max(axis=0)
        below, above = smaller * smaller, larger * -lowest
    square = np.divide(below, above, out=np.ones_like(above), where=bright & (above > 0))
    return np.where(bright, -lowest * np.exp(square * np.float32(-0.5 / BLOBNESS**2)), np.float32(0))
