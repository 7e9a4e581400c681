"""Guidance: extra losses that look at neighbourhoods, not at scattered points.

INIF adds a segmentation or a perceptual loss on blocks to the squared error. A guidance names the block it wants to see
and gives a differentiable loss; the fit evaluates the network on random blocks of that shape and adds the loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import jax
import numpy as np
import numpy.typing as npt

from microfield.errors import InputError
from microfield.nn.sampling import Target


class Guidance(Protocol):
    """An extra loss on blocks. Must be hashable (a frozen dataclass), since compiled steps are kept per guidance."""

    @property
    def block_shape(self) -> tuple[int, ...]:
        """Extent of the block along every coordinate axis of the network."""
        ...

    @property
    def weight(self) -> float:
        """Factor of the loss beside the mean squared error of unit-variance targets."""
        ...

    def loss(self, prediction: jax.Array, target: jax.Array) -> jax.Array:
        """Scalar loss of a block: both arrays have shape ``block_shape + (outputs,)``, in target units."""
        ...


@dataclass
class BlockSampler:
    """Random blocks for a guidance: coordinates (points, inputs) and targets (points, outputs), C order in the block."""

    target: Target
    block_shape: tuple[int, ...]

    def __post_init__(self) -> None:
        extents = self.target.coordinates.input_shape
        if len(self.block_shape) != len(extents) or any(
            b > n for b, n in zip(self.block_shape, extents, strict=False)
        ):
            raise InputError(f"the guidance wants blocks of {self.block_shape}, but the coordinates span {extents}.")

    def draw(self, rng: np.random.Generator, n: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """``n`` blocks: arrays of shape (n, points, inputs) and (n, points, outputs)."""
        extents = self.target.coordinates.input_shape
        offsets = np.stack(np.unravel_index(np.arange(int(np.prod(self.block_shape))), self.block_shape), 1)
        blocks = []
        for _ in range(n):
            corner = [int(rng.integers(0, e - b + 1)) for e, b in zip(extents, self.block_shape, strict=True)]
            blocks.append(self.target.batch(np.ravel_multi_index(tuple((offsets + corner).T), extents)))
        return np.stack([b.x for b in blocks]), np.stack([b.y for b in blocks])
