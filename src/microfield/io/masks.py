"""Files that mark voxels, laid over an image: ``compress --saliency`` and ``decompress --mask``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microfield.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from microfield.image import Image


@dataclass(frozen=True)
class Covered:
    """The image that a mask is laid over.

    Attributes
    ----------
    name : str
        What messages call it.
    axes : str
        A letter of ``TCZYXS`` per axis.
    shape : tuple of int
    """

    name: str
    axes: str
    shape: tuple[int, ...]

    @property
    def sizes(self) -> dict[str, int]:
        """Axis letter to extent."""
        return dict(zip(self.axes, self.shape, strict=True))


def read_mask(path: str | os.PathLike[str], covered: Covered) -> npt.NDArray[np.bool_]:
    """Which voxels of an image a file marks: those that are not 0, a boolean array of the image's shape.

    Raises
    ------
    InputError
        The file cannot be read or does not fit the image.
    """
    mask = _open("mask", path, covered)
    return _aligned(mask.read() != 0, mask, covered)


def read_saliency(path: str | os.PathLike[str], covered: Covered, axes: str | None = None) -> npt.NDArray[Any]:
    """What a file says about the importance of an image's voxels.

    Parameters
    ----------
    path : str
        An image file. Integers (masks and labels) mark the voxels that are not 0; floats are relative weights of voxels.
    covered : Covered
        What is compressed. The file may lack axes of it, and then counts for all positions along them.
    axes : str, optional
        What the user says the axes of the image's file are; a saliency of as many dimensions has the same.

    Returns
    -------
    array of the image's shape
        Booleans, True where a mask is not 0, or floats.

    Raises
    ------
    InputError
        The file cannot be read, does not fit the image, or marks no voxel; or its weights are negative or not finite.
    """
    import numpy as np

    mask = _open("saliency", path, covered, axes)
    values = mask.read()
    if mask.dtype.kind != "f":
        values = values != 0
    elif not np.isfinite(values).all():
        raise InputError(f"the saliency {mask.name} holds NaN or infinite values; weights must be finite numbers from 0 on.")
    elif (values < 0).any():
        raise InputError(f"the saliency {mask.name} holds negative values; weights must be numbers from 0 on.")
    if not values.any():
        raise InputError(f"the saliency {mask.name} is zero everywhere; it must mark at least one voxel that matters.")
    return _aligned(values, mask, covered)


def _open(what: str, path: str | os.PathLike[str], covered: Covered, axes: str | None = None) -> Image:
    """The file as an Image whose axes are among those of the covered image, with the same extents or an extent of 1."""
    from microfield.io import open_image

    mask = open_image(path, beside=covered.sizes)
    if axes is not None and len(axes) == len(mask.axes):
        mask = open_image(path, axes=axes)
    if not all(n in (1, covered.sizes.get(axis)) for axis, n in mask.sizes.items()) or not set(mask.axes) <= set(covered.axes):
        raise InputError(
            f"the {what} {mask.name} has shape {mask.shape} (axes {mask.axes}), which does not fit {covered.name} of shape "
            f"{covered.shape} (axes {covered.axes}); it may lack axes of the image, and must have the extents of the others."
        )
    return mask


def _aligned(values: npt.NDArray[Any], mask: Image, covered: Covered) -> npt.NDArray[Any]:
    """Values on the mask's axes as an array of the covered image's shape, repeated along the axes that the mask lacks."""
    import numpy as np

    order = [mask.axes.index(a) for a in covered.axes if a in mask.axes]
    spread = values.transpose(order).reshape([mask.sizes.get(a, 1) for a in covered.axes])
    return np.broadcast_to(spread, covered.shape)
