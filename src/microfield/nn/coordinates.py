"""Coordinates: which array axes a network sees as inputs, and the number it sees for every index.

Every axis of extent s > 1 that is not an output axis is mapped to [-1, 1] by index / (s - 1) * 2 - 1 (INIF, as its
public code does); axes of extent 1 carry nothing and are left out. Output axes (channels, or time where that codes
better) become outputs of the network instead, in C order of the array.
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

    @cached_property
    def _channel_strides(self) -> dict[int, int]:
        """How much one step along each channel axis (array position) adds to the channel number (C order over C, S)."""
        strides, stride = {}, 1
        for axis in reversed(self.layout.channel_axes):
            strides[axis] = stride
            stride *= self.layout.shape[axis]
        return strides

    @cached_property
    def channel_of_outputs(self) -> npt.NDArray[np.intp]:
        """What every output adds to the channel number: intp of shape (outputs,)."""
        number = np.zeros((), np.intp)
        for axis in self.outputs:
            number = number[..., None] + np.arange(self.layout.shape[axis]) * self._channel_strides.get(axis, 0)
        return number.reshape(-1)

    def channel_of_inputs(self, index: Sequence[npt.NDArray[np.intp]]) -> npt.NDArray[np.intp] | int:
        """What the given coordinates (one index array per coordinate axis) add to the channel number."""
        number: npt.NDArray[np.intp] | int = 0
        for axis, positions in zip(self.inputs, index, strict=True):
            if axis in self._channel_strides:
                number = number + positions * self._channel_strides[axis]
        return number
