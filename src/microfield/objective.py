"""What an encode minimises: squared errors, their weights, and a function of blocks that the user gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError
from microfield.image import Layout

BLOCK = {"Z": 16, "Y": 64, "X": 64}
"""Extents of the blocks of a guidance that does not say otherwise; 1 along all other axes."""


class GuidedBlock(NamedTuple):
    """A block of a part, as a `Guidance` sees it; every array is a jax array.

    Attributes
    ----------
    prediction, target : arrays of shape ``block_shape + (outputs,)``
        What the copy holds and what it should hold, normalised: grey = value * ``scale`` + ``offset``.
    coordinates : array of shape ``block_shape + (axes,)``
        Index of every point in the whole image along the axes of the block.
    arrays : dict of arrays of shape ``block_shape + (outputs,)``
        The auxiliary arrays of the `Objective`, and those of `Guidance.arrays`, at the same voxels.
    scale, offset : arrays of shape ``block_shape + (outputs,)``
        Of the grey levels.
    axes : str
        Letters of the axes of the block; channels or time points that are not among them are its outputs.
    beside : dict of arrays
        What `Guidance.beside` has drawn for this block.
    """

    prediction: Any
    target: Any
    coordinates: Any
    arrays: dict[str, Any]
    scale: Any
    offset: Any
    axes: str
    beside: Mapping[str, Any] = MappingProxyType({})

    def fields(self, values: Any) -> Any:
        """An array of shape ``block_shape + (outputs,)`` as planes (n, y, x) or volumes (n, z, y, x) of one channel and time."""
        return fields_of_block(values, self.axes)


def fields_of_block(values: Any, axes: str) -> Any:
    """See `GuidedBlock.fields`; ``axes`` are those of the block."""
    shape, order = values.shape, [*(axis if axis in "ZYX" else " " for axis in axes), " "]
    spatial = [i for i, axis in enumerate(order) if axis != " " and not (axis == "Z" and shape[i] == 1)]
    others = [i for i in range(len(order)) if i not in spatial]
    return values.transpose(*others, *spatial).reshape(-1, *(shape[i] for i in spatial))


class Guidance(ABC):
    """A differentiable loss on blocks, kept small beside the squared error.

    Must be hashable (a frozen dataclass), since compiled steps are kept per guidance.
    """

    weight: float | None = None
    """Factor of the loss beside the mean squared error of targets of unit variance, for networks; None leaves it to the encoder."""
    share: ClassVar[float] = 0.3
    """Where a network's weight is left to the encoder: the length of the loss's gradient beside that of the squared error."""
    notes: ClassVar[tuple[str, ...]] = ()
    """Sentences that the user is told of a copy made with it."""

    def block_shape(self, axes: str, extents: tuple[int, ...]) -> tuple[int, ...]:
        """Extent of the blocks along every axis of a part; by default as large as `BLOCK` and the part allow."""
        return tuple(min(n, BLOCK.get(axis, 1)) for axis, n in zip(axes, extents, strict=True))

    def arrays(self, block: npt.NDArray[Any], layout: Layout) -> Mapping[str, npt.NDArray[Any]]:
        """What the loss must know of a whole part, grey levels ``block``, as arrays of its shape; nothing by default."""
        del block, layout
        return {}

    def beside(self, rng: np.random.Generator, channels: npt.NDArray[np.intp]) -> Mapping[str, npt.NDArray[Any]]:
        """What the loss of one block is given that is not of the image, drawn anew for every block; nothing by default.

        Parameters
        ----------
        rng : numpy.random.Generator
        channels : int array of shape (fields,)
            Number in the whole image of the channel of every field of the block, as `GuidedBlock.fields` orders them.

        Returns
        -------
        mapping of name to array
            Of the same names, shapes and types at every call for as many fields.
        """
        del rng, channels
        return {}

    @abstractmethod
    def loss(self, block: GuidedBlock) -> Any:
        """Scalar loss of a block, differentiable by jax with respect to ``block.prediction``."""


@dataclass(frozen=True)
class Objective:
    """What is minimised beside the plain mean squared error.

    Attributes
    ----------
    weights : float32 array of the block's shape, optional
        Relative weight of every voxel's squared error, not negative (saliency, regions of interest).
    arrays : mapping of name to array of the block's shape
        Auxiliary arrays, such as a segmentation, for the guidance.
    guidance : Guidance, optional
        The user's differentiable function of blocks.
    origin : tuple of int
        Position of the block's first voxel in the whole image; empty means zeros.
    """

    weights: npt.NDArray[np.float32] | None = None
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    guidance: Guidance | None = None
    origin: tuple[int, ...] = ()

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse weights and arrays that cannot belong to an image of this shape.

        Raises
        ------
        InputError
            The shape differs, or weights are negative, not finite or all zero.
        """
        for name, array in self.arrays.items():
            if array.shape != shape:
                raise InputError(f"the auxiliary array {name!r} has shape {array.shape}, the image {shape}; they must be the same.")
        if self.weights is None:
            return
        if self.weights.shape != shape:
            raise InputError(f"the saliency has shape {self.weights.shape}, the image {shape}; they must be the same.")
        if not np.isfinite(self.weights).all():
            raise InputError("the saliency holds NaN or infinite values; its weights must be numbers from 0 on.")
        if (self.weights < 0).any():
            raise InputError("the saliency holds negative values; its weights must be numbers from 0 on.")
        if not self.weights.any():
            raise InputError("the saliency is zero everywhere; it must name at least one voxel that matters.")

    def first_channel(self, layout: Layout) -> int:
        """Number in the whole image of the first channel of a part, which is laid out so; samples are never cut apart."""
        at = dict(zip(layout.axes, self.origin, strict=False)).get("C", 0)
        return at * dict(zip(layout.axes, layout.shape, strict=True)).get("S", 1)

    def cut(self, box: tuple[slice, ...]) -> Objective:
        """The objective of the part of the image that lies at ``box``."""
        if self.weights is None and self.guidance is None and not self.arrays:
            return self
        origin = self.origin or (0,) * len(box)
        return Objective(
            None if self.weights is None else self.weights[box],
            {name: array[box] for name, array in self.arrays.items()},
            self.guidance,
            tuple(o + s.start for o, s in zip(origin, box, strict=True)),
        )
