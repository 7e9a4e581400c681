"""Coordinates: which array axes are inputs of a network, and the number that it sees for every index.

Every axis of extent s > 1 that is not an output axis is an input: index / (s - 1) * 2 - 1, which runs from -1 to 1 (as in the
public code of INIF). Axes of extent 1 say nothing and are left out. Output axes (channels, or time where that codes better) are
outputs of the network instead: one output per combination of their indices, in C order of the array.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from microfield.image import Layout

Float32 = npt.NDArray[np.float32]


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
        Letters of the axes that are network outputs.
    """

    layout: Layout
    output_axes: str

    @cached_property
    def inputs(self) -> tuple[int, ...]:
        """Array positions of the coordinate axes, which are the network's inputs, in array order."""
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
        """Number of points, which are the combinations of indices along the coordinate axes."""
        return math.prod(self.input_shape)

    @cached_property
    def tables(self) -> tuple[Float32, ...]:
        """One `axis_table` per coordinate axis."""
        return tuple(axis_table(n) for n in self.input_shape)

    @cached_property
    def _channel_strides(self) -> dict[int, int]:
        """Array position of every channel axis (C and S) to what one step along it adds to the channel number."""
        strides, stride = {}, 1
        for axis in reversed(self.layout.channel_axes):
            strides[axis] = stride
            stride *= self.layout.shape[axis]
        return strides

    @cached_property
    def channel_of_outputs(self) -> npt.NDArray[np.intp]:
        """What every output adds to the channel number: an intp array of shape (outputs,)."""
        number = np.zeros((), np.intp)
        for axis in self.outputs:
            number = number[..., None] + np.arange(self.layout.shape[axis]) * self._channel_strides.get(axis, 0)
        return number.reshape(-1)

    def channel_of_inputs(self, index: Sequence[npt.NDArray[np.intp]]) -> npt.NDArray[np.intp] | int:
        """What points add to the channel number: integers of shape (points,), or 0 where no coordinate axis is C or S.

        ``index`` holds an array of shape (points,) per coordinate axis. A channel number is the sum of what its point and its
        output add.
        """
        number: npt.NDArray[np.intp] | int = 0
        for axis, positions in zip(self.inputs, index, strict=True):
            if axis in self._channel_strides:
                number = number + positions * self._channel_strides[axis]
        return number
