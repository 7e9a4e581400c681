"""Segmenters, which turn one plane or volume into a mask, and how far two masks agree.

The threshold is found on each image by itself, as a user's pipeline would.

- ``otsu``: light smoothing, one threshold. For separate bright objects on an even background (nuclei).
- ``local``: brighter than the surroundings. For uneven illumination and tissue background.
- ``filament``: Hessian ridges. For membranes, fibres and mitochondria.
- ``spots``: Laplacian of Gaussian. For puncta.

The same with ``-dark`` finds dark objects on a bright background (electron microscopy, bright field). A constant image gives an
empty mask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from microfield.analysis.filters import (
    Field,
    Spacing,
    as_field,
    local_mean,
    ridge_response,
    robust_sigma,
    smooth,
    spot_response,
)
from microfield.errors import InputError

Mask = npt.NDArray[np.bool_]

SMOOTHING = 1.0
"""Standard deviation of the smoothing before every threshold, in pixels."""
RIDGE_SCALES = (1.0, 2.0)
"""Scales of the filament filter in pixels: lines about 2 to 5 pixels wide."""
SPOT_SIGMA = 1.5
"""Scale of the spot filter in pixels: spots about 4 pixels wide."""
SPOT_NOISE = 6.0
"""A spot stands this many robust standard deviations of the filtered image above it ..."""
SPOT_CONTRAST = 0.1
"""... and has at least this share of the response of the brightest 0.01 %."""
LOCAL_SIZES = (31, 8)
"""Side of the box of the local mean: at least so many pixels, or the shorter side of a plane divided by this."""


class Segmenter(Protocol):
    """Turns a field of shape ``(Y, X)`` or ``(Z, Y, X)`` into a boolean mask of that shape."""

    def __call__(self, field: npt.ArrayLike, spacing: Spacing = None, /) -> Mask:
        """Raise InputError for anything but a finite plane or volume; ``spacing`` is the step along each axis."""
        ...


def otsu_threshold(values: npt.NDArray[Any]) -> float:
    """Threshold that maximises the variance between the two classes; infinite where the values are constant.

    N. Otsu, "A threshold selection method from gray-level histograms", IEEE Transactions on Systems, Man, and Cybernetics
    9 (1979). The histogram has 512 bins from the 0.01 to the 99.99 percentile, so that a hot pixel does not coarsen it.
    """
    sample = values.reshape(-1)
    low, high = np.quantile(sample[:: max(1, sample.size >> 20)], (0.0001, 0.9999))
    if not high > low:  # nearly all is one value: what differs is the object
        low, high = float(sample.min()), float(sample.max())
        return float(low / 2 + high / 2) if high > low else float("inf")
    counts, edges = np.histogram(np.clip(sample, low, high), 512, (low, high))
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    mass = np.cumsum(counts * centres)
    above = sample.size - below
    apart = mass[:-1] / np.maximum(below, 1) - (mass[-1] - mass[:-1]) / np.maximum(above, 1)
    between = below * above * apart**2
    best = np.flatnonzero(between == between.max())  # a plateau where bins in between are empty: take its middle
    return float(edges[1 + best[len(best) // 2]])


def _otsu(field: Field, spacing: Spacing) -> Mask:
    """Pixels above Otsu's threshold of the smoothed image."""
    smoothed = smooth(field, SMOOTHING, spacing)
    return np.asarray(smoothed > otsu_threshold(smoothed))


def _local(field: Field, spacing: Spacing) -> Mask:
    """Pixels whose difference to the local mean is above Otsu's threshold of that difference, and above 0.

    Uneven background drops out of the difference, and noise stays below its threshold.
    """
    smoothed = smooth(field, SMOOTHING, spacing)
    difference = smoothed - local_mean(smoothed, local_size(field.shape), spacing)
    return np.asarray(difference > max(0.0, otsu_threshold(difference)))


def local_size(shape: tuple[int, ...]) -> int:
    """Side of the box of the local mean, in pixels."""
    least, fraction = LOCAL_SIZES
    return max(least, min(shape[-2:]) // fraction)


def _filament(field: Field, spacing: Spacing) -> Mask:
    """Pixels whose ridge response, the larger one of two scales, is above its Otsu threshold."""
    response = np.maximum.reduce([ridge_response(field, scale, spacing) for scale in RIDGE_SCALES])
    return np.asarray(response > otsu_threshold(response))


def _spots(field: Field, spacing: Spacing) -> Mask:
    """Pixels that respond to the spot filter above `spot_threshold`."""
    response = spot_response(field, SPOT_SIGMA, spacing)
    return np.asarray(response > spot_threshold(response))


def spot_threshold(response: Field) -> float:
    """Response (`spot_response`) above which something counts as a spot; infinite where nothing responds."""
    sample = response.reshape(-1)[:: max(1, response.size >> 22)]
    top = float(np.quantile(sample, 0.9999))
    if top <= 0:
        top = float(response.max())
    return max(SPOT_NOISE * robust_sigma(response), SPOT_CONTRAST * top) if top > 0 else float("inf")


def _segmenter(method: Callable[[Field, Spacing], Mask], dark: bool) -> Segmenter:
    def segment(field: npt.ArrayLike, spacing: Spacing = None, /) -> Mask:
        values = as_field(field)
        if values.max() == values.min():
            return np.zeros(values.shape, np.bool_)
        return method(1 - values if dark else values, spacing)

    return segment


SEGMENTERS: Mapping[str, Segmenter] = {
    f"{method.__name__[1:]}{'-dark' if dark else ''}": _segmenter(method, dark)
    for dark in (False, True)
    for method in (_otsu, _local, _filament, _spots)
}
"""Name to segmenter: every method for bright and, with ``-dark``, for dark objects."""


# -- agreement ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Overlap:
    """How far two masks agree.

    Attributes
    ----------
    iou : intersection over union (Jaccard index), 0..1
    dice : 2 intersection / (size of one + size of the other), 0..1
    false_positive, false_negative : masks of the pixels that only the second, only the first mask has

    Two empty masks agree entirely: iou and dice are 1.
    """

    iou: float
    dice: float
    false_positive: Mask
    false_negative: Mask


def overlap(mask_a: npt.ArrayLike, mask_b: npt.ArrayLike) -> Overlap:
    """Compare the mask of an original (a) with that of its reconstruction (b), of one shape.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    a, b = np.asarray(mask_a, np.bool_), np.asarray(mask_b, np.bool_)
    if a.shape != b.shape:
        raise InputError(f"masks of shapes {a.shape} and {b.shape} cannot be compared.")
    sizes = int(a.sum()), int(b.sum())
    both = int((a & b).sum())
    return Overlap(*agreement(both, *sizes), b & ~a, a & ~b)


def agreement(both: int, size_a: int, size_b: int) -> tuple[float, float]:
    """IoU and Dice from the sizes of two masks and of their intersection; 1 and 1 where both are empty."""
    if size_a + size_b == 0:
        return 1.0, 1.0
    return both / (size_a + size_b - both), 2 * both / (size_a + size_b)
