"""How an image is cut into parts of a regular grid and put together again; sums over blocks, for previews."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Box = tuple[range, ...]
"""One `range` per axis, of any step: the outer product of the ranges is what is read."""


@dataclass(frozen=True)
class Grid:
    """A regular grid of parts over an array; parts are numbered in C order, those at the far edges may be smaller.

    Parameters
    ----------
    shape : tuple of int
        Extents of the array, all positive.
    tile : tuple of int
        Extents of a part, all positive; what exceeds the array is cut off.
    """

    shape: tuple[int, ...]
    tile: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.tile) != len(self.shape) or min(self.tile, default=1) < 1 or min(self.shape, default=1) < 1:
            raise ValueError(f"a tile of {self.tile} does not fit an array of shape {self.shape}.")

    @functools.cached_property
    def counts(self) -> tuple[int, ...]:
        """Number of parts along every axis."""
        return tuple(-(-extent // tile) for extent, tile in zip(self.shape, self.tile, strict=True))

    @property
    def n(self) -> int:
        """Number of parts."""
        return math.prod(self.counts)

    def box(self, part: int) -> tuple[slice, ...]:
        """Where part number ``part`` lies in the array."""
        if not 0 <= part < self.n:
            raise IndexError(f"part {part} does not exist: the grid has {self.n} parts.")
        corner: list[int] = []
        for count in reversed(self.counts):
            part, position = divmod(part, count)
            corner.append(position)
        return tuple(slice(i * tile, min((i + 1) * tile, extent))
                     for i, tile, extent in zip(reversed(corner), self.tile, self.shape, strict=True))

    def part_shape(self, part: int) -> tuple[int, ...]:
        """Extents of part number ``part``."""
        return tuple(s.stop - s.start for s in self.box(part))

    def touching(self, box: Box) -> Iterator[tuple[int, Box, tuple[slice, ...]]]:
        """Cut a selection along the grid.

        Parameters
        ----------
        box : tuple of range
            One range of valid indices per axis, of any step, ascending or descending.

        Yields
        ------
        part : int
            A part that the box touches; each comes once.
        local : tuple of range
            What to read of it, in the part's own coordinates and in the direction of ``box``.
        where : tuple of slice
            Where the values belong in an array of the extents of ``box``; ascending, step 1.
        """
        pieces = [_pieces(r, tile, extent) for r, tile, extent in zip(box, self.tile, self.shape, strict=True)]
        counts = self.counts
        for combination in itertools.product(*pieces):
            part = 0
            for (position, _, _), count in zip(combination, counts, strict=True):
                part = part * count + position
            yield part, tuple(c[1] for c in combination), tuple(c[2] for c in combination)

    def locate(self, points: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The part each point lies in, shape (n,), and the points in their parts' coordinates, shape (n, ndim)."""
        tile = np.array(self.tile, dtype=np.int64)
        corner = points // tile
        part = np.zeros(len(points), dtype=np.int64)
        for axis, count in enumerate(self.counts):
            part = part * count + corner[:, axis]
        return part, points - corner * tile


def slabs(box: tuple[slice, ...], voxels: int) -> Iterator[tuple[slice, ...]]:
    """Cut a box, of slices with a start and a stop, into boxes of about ``voxels`` elements at most, long along the last axes."""
    shape = tuple(s.stop - s.start for s in box)
    extents: list[int] = []
    for extent in reversed(shape):
        extents.append(max(1, min(extent, voxels)))
        voxels //= extents[-1]
    cut = Grid(shape, tuple(reversed(extents)))
    for slab in range(cut.n):
        yield tuple(slice(outer.start + inner.start, outer.start + inner.stop)
                    for outer, inner in zip(box, cut.box(slab), strict=True))


def block_sums(values: npt.NDArray[Any], box: tuple[slice, ...], steps: tuple[int, ...],
                ) -> tuple[tuple[slice, ...], npt.NDArray[Any]]:
    """Sums over blocks of ``steps`` voxels of the image's block grid, for values at ``box``, and where these belong.

    Blocks may start or end outside the box; sums are float64, exact for integers below 2**53.
    """
    where: list[slice] = []
    for axis, (side, step) in enumerate(zip(box, steps, strict=True)):
        first, last = side.start // step, -(-side.stop // step)
        where.append(slice(first, last))
        if step > 1:
            edges = np.maximum(np.arange(first, last) * step - side.start, 0)
            # An exact copy may hold NaN, infinities and extremes, whose sums are what they are.
            with np.errstate(over="ignore", invalid="ignore"):
                values = np.add.reduceat(values, edges, axis=axis, dtype=np.float64)
    return tuple(where), values


def block_counts(shape: tuple[int, ...], steps: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Number of voxels in every block."""
    sides = [np.minimum(step, extent - np.arange(0, extent, step)) for extent, step in zip(shape, steps, strict=True)]
    return functools.reduce(np.multiply, np.ix_(*sides))


def as_slice(indices: range) -> slice:
    """The slice that takes the same elements as a range of valid indices."""
    if len(indices) == 0:
        return slice(0, 0)
    # A descending range that ends at 0 has a negative stop, which a slice would count from the end.
    return slice(indices.start, indices.stop if indices.stop >= 0 else None, indices.step)


def _pieces(indices: range, tile: int, extent: int) -> list[tuple[int, range, slice]]:
    """One axis of `Grid.touching`: (position of the part, local range, slice of the output) for each part touched."""
    found: list[tuple[int, range, slice]] = []
    done = 0
    while done < len(indices):
        position = indices[done] // tile
        low, high = position * tile, min((position + 1) * tile, extent)
        # The first index of the selection that lies beyond this part, in the direction the selection runs.
        up, down = -((indices.start - high) // indices.step), (indices.start - low) // -indices.step + 1
        end = min(up if indices.step > 0 else down, len(indices))
        inside = indices[done:end]
        found.append((position, range(inside.start - low, inside.stop - low, inside.step), slice(done, end)))
        done = end
    return found
