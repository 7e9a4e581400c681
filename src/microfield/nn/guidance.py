"""Blocks for a guidance, which judges neighbourhoods of voxels, not scattered points.

INIF adds a segmentation or a perceptual loss on blocks to the squared error. A `Guidance` says the shape of its blocks and gives
a differentiable loss; the fit evaluates the network on random blocks of that shape and adds the loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError
from microfield.nn.sampling import Target
from microfield.objective import Guidance, fields_of_block

Float32 = npt.NDArray[np.float32]


class Blocks(NamedTuple):
    """Random blocks, their points in C order.

    Attributes
    ----------
    x : float32 array of shape (blocks, points, inputs)
        Coordinates as the network sees them.
    y : float32 array of shape (blocks, points, outputs)
        Targets.
    position : float32 array of shape (blocks, points, inputs)
        Index of every point in the whole image, along the coordinate axes.
    arrays : mapping of name to float32 array of the shape of ``y``
        Auxiliary values.
    scale, offset : float32 arrays of the shape of ``y``
        grey = y * scale + offset.
    beside : mapping of name to array of shape (blocks, ...)
        What `Guidance.beside` drew.
    """

    x: Float32
    y: Float32
    position: Float32
    arrays: dict[str, Float32]
    scale: Float32
    offset: Float32
    beside: dict[str, npt.NDArray[Any]]


@dataclass
class BlockSampler:
    """Draws random blocks for a guidance; InputError where its blocks do not fit the part.

    Parameters
    ----------
    target : Target
    guidance : Guidance
        Says the extent of its blocks along every coordinate axis of the network.
    arrays : mapping of name to array of the part's shape
        Auxiliary arrays.
    origin : tuple of int
        Position of the part's first voxel in the whole image, per array axis; empty means zeros.
    first_channel : int
        Number of the part's first channel in the whole image.
    """

    target: Target
    guidance: Guidance
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    origin: tuple[int, ...] = ()
    first_channel: int = 0

    def __post_init__(self) -> None:
        coordinates, block = self.target.coordinates, self.target.block
        extents = coordinates.input_shape
        self.axes = "".join(coordinates.layout.axes[i] for i in coordinates.inputs)
        self.block_shape = self.guidance.block_shape(self.axes, extents)
        if len(self.block_shape) != len(extents) or any(
            b > n for b, n in zip(self.block_shape, extents, strict=False)
        ):
            raise InputError(f"the guidance wants blocks of shape {self.block_shape}, which do not fit the coordinates of shape "
                             f"{extents}; block_shape must give one extent per coordinate axis, none longer than it.")
        self.arrays = {**self.arrays, **self.guidance.arrays(block, coordinates.layout)}

    def draw(self, rng: np.random.Generator, n: int) -> Blocks:
        """Draw ``n`` blocks, every position that keeps them inside the part being as likely."""
        coordinates = self.target.coordinates
        extents = coordinates.input_shape
        origin = [self.origin[i] if self.origin else 0 for i in coordinates.inputs]
        offsets = np.stack(np.unravel_index(np.arange(int(np.prod(self.block_shape))), self.block_shape), 1)
        drawn, positions, channels = [], [], []
        arrays: dict[str, list[Float32]] = {name: [] for name in self.arrays}
        beside: list[Mapping[str, npt.NDArray[Any]]] = []
        for _ in range(n):
            corner = [int(rng.integers(0, e - b + 1)) for e, b in zip(extents, self.block_shape, strict=True)]
            index = tuple((offsets + corner).T)
            drawn.append(self.target.batch(np.ravel_multi_index(index, extents)))
            channels.append(self.target.channels_at(index, len(offsets)))
            beside.append(self.guidance.beside(rng, self._channels_of_fields(channels[-1])))
            positions.append((offsets + corner + origin).astype(np.float32))
            for name, array in self.arrays.items():
                arrays[name].append(self.target.gather(array, index).astype(np.float32))
        scale = np.where(self.target.scale > 0, self.target.scale, np.float32(1))
        of = np.stack(channels)
        return Blocks(np.stack([b.x for b in drawn]), np.stack([b.y for b in drawn]), np.stack(positions),
                      {name: np.stack(values) for name, values in arrays.items()}, scale[of], self.target.offset[of],
                      {name: np.stack([known[name] for known in beside]) for name in beside[0]})

    def _channels_of_fields(self, channels: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """The channel of every field of a block, given those of its points (points, outputs)."""
        fields = fields_of_block(channels.reshape(*self.block_shape, -1), self.axes)
        return np.asarray(fields.reshape(len(fields), -1)[:, 0]) + self.first_channel
