"""Whether an image is the one that a file was made from: the file holds a checksum of its values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.format.header import checksum
from microfield.image import Image
from microfield.reading.file import MicrofieldFile

VOXELS = 1 << 24
"""Array elements that are read at once, about."""


def original_checksum(image: Image) -> bytes:
    """The checksum of an image that its file holds: of all values in C order, NaN and infinity replaced where they were."""
    return checksum(_slabs(image))


def _slabs(image: Image) -> Iterator[npt.NDArray[Any]]:
    """The image cut along its first axis, in array order."""
    rows = max(1, VOXELS // max(1, math.prod(image.shape[1:])))
    rest = tuple(slice(0, n) for n in image.shape[1:])
    for start in range(0, image.shape[0], rows):
        yield image.read((slice(start, min(start + rows, image.shape[0])), *rest))


def foreign(image: Image, file: MicrofieldFile) -> tuple[bool | None, tuple[str, ...]]:
    """Whether a file was made from an image (None where it does not say), and what to say where it was made from another one.

    Parameters
    ----------
    image : Image
        As it was read: with the same scene and channel, and NaN and infinity replaced as they were for the file.
    file : MicrofieldFile
        Of the same shape and axes.
    """
    made_from = file.header.checksum
    if not made_from or not any(made_from):
        return None, ()
    found = original_checksum(image)
    if found == made_from:
        return True, ()
    kinds = "" if np.dtype(image.dtype) == file.dtype else f"; it holds {image.dtype} values and the file {file.dtype}"
    return False, (
        f"{file.name} was not made from {image.name} as it is now: the checksum of its original is {made_from.hex()}, and that "
        f"of {image.name} is {found.hex()}{kinds}. What follows compares two different images.",)
