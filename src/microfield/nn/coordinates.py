"""Coordinates: which array axes a network sees as inputs, and the number it sees for every index.

Every axis of extent s > 1 that is not an output axis is mapped to [-1, 1] by index / (s - 1) * 2 - 1 (INIF, as its
public code does); axes of extent 1 carry nothing and are left out. Output axes (channels, or time where that codes
better) become outputs of the network instead, in C order of the array.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from microfield.image import Layout

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]


def axis_table(extent: int) -> Float32:
    """Coordinate of every index of an axis: float32 of shape (extent,), from -1 to 1 (0 where the extent is 1)."""
    if extent == 1:
        return np.zeros(1, np.float32)
    return (np.arange(extent, dtype=np.float64) / (extent - 1) * 2 - 1).astype(np.float32)


@dataclass(frozen=True)
class CoordinateMap:
    """How a part's indices become network inputs and outputs.

    Parameters
    ----------
    layout : Layout
        Shape and axes of the part.
    output_axes : str
        Axis letters that are network outputs rather than inputs.
    """

    layout: Layout
    output_axes: str

    @cached_property
    def inputs(self) -> tuple[int, ...]:
        """Array positions of the axes the network takes as coordinates, in array order."""
        return tuple(
            i for i, (axis, n) in enumerate(zip(self.layout.axes, self.layout.shape, strict=True))
            if axis not in self.output_axes and n > 1
        )

    @cached_property
    def outputs(self) -> tuple[int, ...]:
        """Array positions of the output axes, in array order."""
        return tuple(i for i, axis in enumerate(self.layout.axes) if axis in self.output_axes)

    @cached_property
    def n_outputs(self) -> int:
        """Number of network outputs."""
        return math.prod(self.layout.shape[i] for i in self.outputs)

    @cached_property
    def input_shape(self) -> tuple[int, ...]:
        """Extents of the coordinate axes."""
        return tuple(self.layout.shape[i] for i in self.inputs)

    @cached_property
    def n_points(self) -> int:
        """Number of different coordinates."""
        return math.prod(self.input_shape)

    @cached_property
    def tables(self) -> tuple[Float32, ...]:
        """One `axis_table` per coordinate axis."""
        return tuple(axis_table(n) for n in self.input_shape)

    def channel_numbers(self, positions: tuple[int, ...]) -> npt.NDArray[np.intp]:
        """What the given array axes add to the channel number (C and S in C order), as a grid over these axes.

        The channel of an array element is the sum of this over the output axes and over the coordinate axes.
        """
        layout = self.layout
        number = np.zeros(tuple(layout.shape[i] for i in positions), np.intp)
        stride = 1
        for axis in reversed(layout.channel_axes):
            if axis in positions:
                where = positions.index(axis)
                index = np.arange(layout.shape[axis]).reshape([-1 if k == where else 1 for k in range(len(positions))])
                number = number + index * stride
            stride *= layout.shape[axis]
        return number

    def as_points(self, block: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """A block of the part's shape rearranged to (points, outputs); a view where the axis order allows."""
        order = self.inputs + tuple(i for i in range(block.ndim) if i not in self.inputs + self.outputs) + self.outputs
        return block.transpose(order).reshape(self.n_points, self.n_outputs)

    def gather(self, flat: Int64) -> Float32:
        """Coordinates of flat point numbers (C order over `input_shape`): float32 of shape (inputs, n)."""
        out = np.empty((len(self.inputs), flat.size), np.float32)
        if self.inputs:
            for row, table, index in zip(out, self.tables, np.unravel_index(flat, self.input_shape), strict=True):
                np.take(table, index, out=row)
        return out
