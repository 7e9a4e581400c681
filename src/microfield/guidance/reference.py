"""A clean image of other fields of view: whether it can serve an image as reference, and its planes on that image's scale.

The two images show different fields, so no voxel of one belongs to a voxel of the other. What they have in common is how such a
specimen looks. Their grey levels may differ by gain and offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError
from microfield.guidance.look import best_blur
from microfield.image import CHANNELS, Image

Floats = npt.NDArray[np.float32]

MOST_PLANES, LARGEST_PLANE = 16, 2048
"""So many planes of an image are looked at, spread over Z and T, and of each the middle of so many pixels a side, at most."""
AVERAGED = 8
"""Grey levels are compared by means over so many pixels a side, which hold little noise."""
COARSE, LEAST_SEARCHED = 4, 64
"""The same field is looked for in means over so many pixels a side; one of fewer such means is not searched for in a larger one."""
SAME_FIELD = 0.9
"""Correlation from which two images are taken to show the same field."""
EXTREMES = (0.1, 99.9)
"""Percentiles of a channel of the reference that are shown to the network as black and white."""


@dataclass(frozen=True)
class Reference:
    """Planes of a reference.

    Attributes
    ----------
    planes : float32 arrays of shape (planes, y, x), one per channel
        -1 is black, 1 is white.
    low, span : float64 arrays of shape (channels,)
        In grey levels of the image that is compressed: black, and how far white is above it.
    blur : float
        Standard deviation in pixels of the Gaussian that makes the image look most like the reference, over all channels.
    """

    planes: tuple[Floats, ...]
    low: npt.NDArray[np.float64]
    span: npt.NDArray[np.float64]
    blur: float


def reference_for(reference: Image, image: Image) -> Reference:
    """The reference for an image.

    Raises
    ------
    InputError
        It has other channels or dimensions than the image, holds NaN, infinity or nothing at all, or shows the same field.
    """
    _check_kind(reference, image)
    clean, own = _planes(reference), _planes(image)
    if not np.isfinite(clean).all():
        raise InputError(f"the reference {reference.name} holds NaN or infinite values; a reference must hold numbers only.")
    alike = _likeness(clean, own)
    if alike >= SAME_FIELD:
        raise InputError(f"the reference {reference.name} shows the same field as {image.name} (correlation {alike:.2f}); a "
                         "reference must show other fields of such a specimen, since no copy may be made after its own answer.")
    planes, low, span, blurs = [], [], [], []
    for number, (theirs, ours) in enumerate(zip(clean, own, strict=True)):
        black, white = (float(v) for v in np.percentile(theirs, EXTREMES))
        means, own_means = averages(theirs, AVERAGED), averages(ours, AVERAGED)
        if not (white > black and means.std() > 0):
            raise InputError(f"channel {number} of the reference {reference.name} holds hardly more than one grey level; a "
                             "reference must show structure in every channel.")
        gain = float(own_means.std() / means.std())
        planes.append(((2 / (white - black)) * (theirs - black) - 1).astype(np.float32))
        low.append(float(own_means.mean()) + gain * (black - float(means.mean())))
        span.append(gain * (white - black) or 1.0)
        blurs.append(best_blur(((2 / span[-1]) * (ours - low[-1]) - 1).astype(np.float32), planes[-1]))
    return Reference(tuple(planes), np.array(low), np.array(span), float(np.sqrt(np.mean(np.square(blurs)))))


def averages(planes: npt.NDArray[Any], side: int) -> npt.NDArray[np.float64]:
    """Means of squares of so many pixels a side of planes (..., y, x); what is left at the ends is dropped, unless it is all."""
    for axis in (-2, -1):
        width = min(side, planes.shape[axis])
        count = planes.shape[axis] // width
        moved = np.moveaxis(planes, axis, -1)[..., : count * width]
        planes = np.moveaxis(moved.reshape(*moved.shape[:-1], count, width).mean(-1, dtype=np.float64), -1, axis)
    return planes


def _check_kind(reference: Image, image: Image) -> None:
    """Refuse a reference of other channels or another dimension."""
    kinds = [(one.layout.channels, "volumes" if one.sizes.get("Z", 1) > 1 else "planes") for one in (reference, image)]
    if kinds[0] != kinds[1]:
        told = [f"{one.name} holds {kind} of {n} channel{'s' * (n != 1)}"
                for one, (n, kind) in zip((reference, image), kinds, strict=True)]
        raise InputError(f"the reference {told[0]}, and {told[1]}; a reference must have as many channels as the image, and hold "
                         "planes where that holds planes, volumes where it holds volumes.")


def _planes(image: Image) -> npt.NDArray[np.float64]:
    """Planes of an image, (channels, planes, y, x), spread over its other axes."""
    others = [axis for axis in image.axes if axis not in CHANNELS + "YX"]
    grid = tuple(image.sizes[axis] for axis in others)
    chosen = np.linspace(0, np.prod(grid, dtype=int) - 1, min(MOST_PLANES, int(np.prod(grid)))).round().astype(int)
    found = []
    for place in zip(*np.unravel_index(chosen, grid), strict=True) if others else [()]:
        at = dict(zip(others, place, strict=True))
        box = tuple(slice(int(at[a]), int(at[a]) + 1) if a in at else _middle(n) if a in "YX" else slice(0, n)
                    for a, n in image.sizes.items())
        values = image.read(box).astype(np.float64)
        order = [i for i, a in enumerate(image.axes) if a in CHANNELS] + [image.axes.index(a) for a in (*others, "Y", "X")]
        turned = values.transpose(order)
        found.append(turned.reshape(-1, *turned.shape[-2:]))
    return np.stack(found, 1)


def _middle(extent: int) -> slice:
    """The middle of an axis, as far as it is looked at."""
    start = max(0, extent - LARGEST_PLANE) // 2
    return slice(start, min(extent, start + LARGEST_PLANE))


def _likeness(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    """The highest correlation of the coarse mean planes of two images, the smaller of which is moved over the larger one.

    0 where neither fits into the other, or the smaller one is so small that it would be found in any image.
    """
    from skimage.feature import match_template

    small, large = sorted((averages(v.mean(1), COARSE) for v in (first, second)), key=lambda v: v[0].size)
    if any(a > b for a, b in zip(small.shape, large.shape, strict=True)):
        return 0.0
    if small.shape != large.shape and small[0].size < LEAST_SEARCHED:
        return 0.0
    return float(np.mean([match_template(b, a) for a, b in zip(small, large, strict=True)], axis=0).max())
