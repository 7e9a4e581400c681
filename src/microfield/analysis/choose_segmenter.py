"""The choice a user makes once, looking at the original: which segmenter suits it, and how large its objects are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.analysis.filters import Field, as_field, local_mean, ndimage, smooth
from microfield.analysis.objects import fill_holes
from microfield.analysis.segmentation import SMOOTHING, Mask, local_size, otsu_threshold
from microfield.noise import noise_sigma

WINDOW = 512
"""Side of the square looked at, in the middle of one plane, in pixels."""
DARK_TAIL = 0.75
"""Objects are dark where the upper tail of the grey values is shorter than this share of the lower one (`_tails`)."""
UNEVEN = 0.135
"""A background that scatters by more than this, in units of the contrast (`_unevenness`), needs a local threshold."""
NOISE_CONTRAST = 4.0
"""With less contrast, in standard deviations of the smoothed noise, a threshold only divides the noise."""
SPOT_RADIUS, SPOT_ELONGATION = 4.0, 4.0
"""Spots have an inscribed circle of at most this radius in pixels, and at most so many times its area."""
LINE_ELONGATION, LINE_HALF_WIDTH = 7.0, 4.5
"""Lines have at least so many times the area of their inscribed circle, and half of their pixels lie within this distance in
pixels of the border."""
LEAST_AREA = 9
"""Objects of fewer pixels have no shape to judge by."""
RADII = (2.0, 40.0)
"""Smallest and largest radius taken for that of a typical object, in pixels."""


def choose_segmenter(field: npt.ArrayLike) -> str:
    """The name of the segmenter that suits an image, decided on the original alone.

    The middle (at most 512 x 512 pixels) of the plane that varies most, of 9 spread over a volume, is smoothed by 1 pixel and
    split by Otsu's threshold. The first of these rules that applies decides:

    1. *Dark* objects, where the darkest 0.5 % lie further from the median than the brightest 0.5 % (the upper tail is
       under 0.75 of the lower) and the bright class varies less than the dark one: the background is the more even class.
       The image is then inverted for what follows, and the name ends in ``-dark``.
    2. Uneven background, whose mean in 4 x 4 blocks scatters by more than 0.135 of the contrast between the classes:
       ``local``. Polarity is then taken from the tails of the difference to the local mean.
    3. Classes less than 4 standard deviations of the smoothed noise apart (noise alone gives about 2): only what stands
       far above the noise can be found, ``spots``.
    4. Objects whose largest inscribed circles are at most 4 pixels in radius, and that are at most 4 times these
       circles' area: ``spots``.
    5. Objects over 7 times the area of their inscribed circle and mostly within 4.5 pixels of their border: ``filament``.
    6. Else ``otsu``.
    """
    plane = telling_plane(as_field(field))
    if plane.max() == plane.min():
        return "otsu"
    smoothed = smooth(plane, SMOOTHING)
    mask = smoothed > otsu_threshold(smoothed)
    dark = _tails(smoothed) < DARK_TAIL and smoothed[mask].std() < smoothed[~mask].std()
    if dark:
        smoothed, mask = 1 - smoothed, ~mask
    if _unevenness(smoothed, mask) > UNEVEN:
        difference = smoothed - local_mean(smoothed, local_size(plane.shape))
        inverted = _tails(difference) < 1
        return "local-dark" if dark != inverted else "local"
    suffix = "-dark" if dark else ""
    noise = noise_sigma(plane) / (2 * np.sqrt(np.pi) * SMOOTHING)
    if smoothed[mask].mean() - smoothed[~mask].mean() < NOISE_CONTRAST * noise:
        return "spots" + suffix
    return _by_shape(mask) + suffix


def telling_plane(field: Field) -> Field:
    """The middle of the plane with the largest standard deviation among 9 spread over a volume."""
    planes = field if field.ndim == 3 else field[None]
    middle = tuple(slice(max(0, (n - WINDOW) // 2), max(0, (n - WINDOW) // 2) + WINDOW) for n in planes.shape[1:])
    several = [planes[i][middle] for i in np.unique(np.linspace(0, len(planes) - 1, 9).astype(int))]
    return max(several, key=lambda plane: float(plane.std()))


def _tails(values: Field) -> float:
    """Distance of the brightest 0.5 % from the median, over that of the darkest 0.5 %."""
    low, middle, high = (float(q) for q in np.quantile(values, (0.005, 0.5, 0.995)))
    return (high - middle) / (middle - low) if middle > low else float("inf")


def _unevenness(smoothed: Field, mask: Mask) -> float:
    """Standard deviation of the background's mean over 4 x 4 blocks, in units of the contrast between object and background."""
    means = [
        float(values[~inside].mean())
        for rows, inside_rows in zip(np.array_split(smoothed, 4), np.array_split(mask, 4), strict=True)
        for values, inside in zip(np.array_split(rows, 4, 1), np.array_split(inside_rows, 4, 1), strict=True)
        if not inside.all()
    ]
    contrast = float(smoothed[mask].mean() - smoothed[~mask].mean())
    return float(np.std(means)) / contrast


def _by_shape(mask: Mask) -> str:
    """``spots``, ``filament`` or ``otsu``, from the areas of the objects and their largest inscribed circles."""
    labels, count = ndimage.label(mask)
    depth = ndimage.distance_transform_edt(mask)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:].astype(np.float64)
    radii = np.asarray(ndimage.maximum(depth, labels, np.arange(1, count + 1)))
    large = areas >= LEAST_AREA
    if not large.any():
        return "spots"
    areas, radii = areas[large], radii[large]
    radius = weighted_median(radii, areas)
    elongation = weighted_median(areas / (np.pi * radii**2), areas)
    if radius <= SPOT_RADIUS and elongation <= SPOT_ELONGATION:
        return "spots"
    if elongation >= LINE_ELONGATION and float(np.median(depth[mask])) <= LINE_HALF_WIDTH:
        return "filament"
    return "otsu"


def typical_radius(mask: Mask) -> float:
    """Radius of the largest circle inside an object: the median over the objects of a plane, weighted by their areas."""
    inside = fill_holes(mask, RADII[1])
    labels, count = ndimage.label(inside)
    if not count:
        return RADII[0]
    radii = np.asarray(ndimage.maximum(ndimage.distance_transform_edt(inside), labels, np.arange(1, count + 1)))
    return float(np.clip(weighted_median(radii, np.bincount(labels.reshape(-1))[1:]), *RADII))


def weighted_median(values: npt.NDArray[Any], weights: npt.NDArray[Any]) -> float:
    """The value at which the sorted weights reach half of their sum."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
