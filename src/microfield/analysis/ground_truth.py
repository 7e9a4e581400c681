"""Ground-truth labels as they are given: which axes they have, their part in the subset, whether they are labels at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError
from microfield.image import CHANNELS, Image
from microfield.statistics import Slices

Array = npt.NDArray[Any]

PATCHES = 0.6
"""Labels have at least this share of equal values among neighbours in the foreground: even objects of 3 x 3 pixels that touch
others on all sides have 2/3. Intensities are at 0.4 where they are smooth, of 8 bits and mostly empty, and below 0.2 otherwise."""


def shape_of(values: Any) -> tuple[int, ...]:
    """Shape of an array-like; of lists, that of the array NumPy makes of them."""
    return tuple(int(n) for n in (values.shape if hasattr(values, "shape") else np.shape(values)))


def match_labels(image: Image, labels: Any) -> str:
    """The axes of the image that labels have, found from their shape: all but C and S, with or without T and axes of size 1.

    ``labels`` is an Image or array-like.

    Raises
    ------
    InputError
        If no choice of axes gives the labels' shape.
    """
    data = labels.data if isinstance(labels, Image) else labels
    shape = shape_of(data)
    whole = [axis for axis in image.axes if axis not in CHANNELS]
    for axes in (whole, [a for a in whole if a != "T"]):
        for kept in (axes, [a for a in axes if image.sizes[a] > 1]):
            if shape == tuple(image.sizes[a] for a in kept):
                return "".join(kept)
    wanted = tuple(image.sizes[a] for a in whole)
    raise InputError(
        f"the labels have shape {shape}, but {image.name} needs {wanted} ({''.join(whole)})"
        + (" or one time point of it." if "T" in whole else ".")
    )


def read_labels(labels: Any, axes: str, image: Image, times: tuple[int, ...], box: Slices) -> Array:
    """The part of labels that belongs to a subset (`choose_subset` of the image), of shape ``(T or 1, [Z,] Y, X)``.

    Parameters
    ----------
    labels : Image or array-like
    axes : str
        Axes of the labels, from `match_labels`.
    image : Image
        The image they belong to.
    times : tuple of int
        Time points of the subset.
    box : tuple of slice
        What is read of each time point, one slice per axis of the image.
    """
    data = labels.data if isinstance(labels, Image) else labels
    if not hasattr(data, "shape"):
        data = np.asarray(data)
    spatial = dict(zip(image.axes, box, strict=True)) | {"T": slice(None)}
    values = np.asarray(data[tuple(spatial[axis] for axis in axes)])
    order = [axes.index(axis) for axis in "TZYX" if axis in axes]
    values = values.transpose(order)
    kept = [axes[i] for i in order]
    if "T" in kept:
        values = values[list(times)]
    for position, axis in enumerate(axis for axis in "TZYX" if axis == "T" or axis in image.axes):
        if axis not in kept:
            values = np.expand_dims(values, position)
    return values


def check_labels(values: Array, known: bool | None, name: str) -> None:
    """Refuse intensities that are given as labels.

    A mask (at most two values) is accepted, and so is what the source calls labels; other integers only where they lie in
    patches of equal values (`PATCHES`). That is less strict than `microfield.label_images.looks_like_labels`, which has to
    tell labels from images and would miss small objects that touch.

    Parameters
    ----------
    values : array of shape ``(T, [Z,] Y, X)``
    known : whether the source says that they are labels; None where it says nothing
    name : of the labels, for the message

    Raises
    ------
    InputError
        The values are not integers, or look like intensities.
    """
    if values.dtype.kind not in "biu":
        raise InputError(f"labels are whole numbers of an integer type, 0 for the ground, but {name} holds {values.dtype.name} "
                         "values; convert them if they are labels.")
    if known or len(np.unique(values)) <= 2:
        return
    both = equal = 0
    for axis in (-2, -1):
        here, after = (np.moveaxis(values, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        inside = (here != 0) & (after != 0)
        both += int(np.count_nonzero(inside))
        equal += int(np.count_nonzero(inside & (here == after)))
    if equal < PATCHES * both:
        raise InputError(f"{name} looks like an image of intensities, not like labels: give an image with a number for every "
                         "object, or a mask of 0 and 1 (or 0 and 255).")
