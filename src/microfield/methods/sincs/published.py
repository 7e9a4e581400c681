"""The published network of SINCS (`paper=true`): an encoding of positions, then layers of rectified sums.

Positions along Y and X are projected onto six directions, and each projection p becomes sin(pi 2^k p) and cos(pi 2^k p) for k from
0 to 9; every other axis becomes these for k from 0 to 5. The coordinates themselves are features, too (Ma et al. 2024; details from
the authors' public code). What differs from it: widths come from the budget, weights are quantised and coded as all of sincs, sums
of more than `microfield.nn.evaluate.CEILING` are cut off there, and features are rounded, so that every machine decodes the same
values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microfield.methods.coordinate.bitstream import UnpackedPart
from microfield.methods.coordinate.decoder import NetworkDecoder
from microfield.nn.coordinates import CoordinateMap
from microfield.nn.evaluate import ACTIVATION_STEP, SineNetwork
from microfield.nn.sampling import Batch, Target
from microfield.nn.sine import sine_turns

Float32 = npt.NDArray[np.float32]

LAYERS = 6
"""Layers before the last."""

DIRECTIONS, OCTAVES, AXIAL_OCTAVES = 6, 10, 6
"""Directions of the plane, octaves of each, and octaves of every other axis."""

RATE = 1e-3
"""Learning rate of Adam."""

GROUPS, CHAIN = 3, 3
"""Groups that slices are dealt out to, and after how many the chain begins anew."""


@dataclass(frozen=True)
class Encoding:
    """Features of positions on some coordinate axes.

    Parameters
    ----------
    axes : str
        Letters of the coordinate axes, in array order.
    """

    axes: str

    @classmethod
    def of(cls, coordinates: CoordinateMap) -> Encoding:
        """The encoding of the coordinate axes of a part."""
        return cls("".join(coordinates.layout.axes[i] for i in coordinates.inputs))

    @property
    def _lines(self) -> list[tuple[tuple[tuple[int, np.float32], ...], int]]:
        """Every projection, as coordinates with factors, and its octaves."""
        found: list[tuple[tuple[tuple[int, np.float32], ...], int]] = []
        if "Y" in self.axes and "X" in self.axes:
            y, x = self.axes.index("Y"), self.axes.index("X")
            for k in range(DIRECTIONS):
                angle = math.pi * k / DIRECTIONS
                # Rounded to fewer digits than libraries differ in, so that every machine has the same factors.
                found.append((((x, np.float32(round(math.cos(angle), 6))), (y, np.float32(round(math.sin(angle), 6)))), OCTAVES))
        for i, axis in enumerate(self.axes):
            if axis not in "YX" or not found:
                found.append((((i, np.float32(1)),), OCTAVES if axis in "YX" else AXIAL_OCTAVES))
        return found

    @property
    def n_features(self) -> int:
        """Numbers per position."""
        return len(self.axes) + sum(2 * octaves for _, octaves in self._lines)

    def __call__(self, coordinates: Float32) -> Float32:
        """Features of shape (features, n), all within -1..1, of coordinates of shape (axes, n)."""
        n = coordinates.shape[1]
        out = np.empty((self.n_features, n), np.float32)
        out[: len(self.axes)] = coordinates
        one, two, at = np.empty(n, np.float32), np.empty(n, np.float32), len(self.axes)
        for factors, octaves in self._lines:
            place = np.zeros(n, np.float32)
            for axis, factor in factors:
                place += coordinates[axis] * factor
            for k in range(octaves):
                for quarter in (0.0, 0.25):
                    turns = place * np.float32(2.0 ** (k - 1)) + np.float32(quarter)
                    turns -= np.rint(turns)
                    sine_turns(turns, one, two)
                    out[at] = turns
                    at += 1
        return np.asarray(np.rint(out / ACTIVATION_STEP) * ACTIVATION_STEP, np.float32)


@dataclass(frozen=True)
class EncodedTarget(Target):
    """A target whose network sees features of positions."""

    def batch(self, flat: npt.NDArray[np.int64]) -> Batch:
        """The points of these numbers."""
        plain = super().batch(flat)
        features = Encoding.of(self.coordinates)(np.ascontiguousarray(plain.x.T))
        return plain._replace(x=np.ascontiguousarray(features.T))


class EncodedDecoder(NetworkDecoder):
    """Decoder of a network that sees features of positions."""

    def __init__(self, part: UnpackedPart, nbytes: int) -> None:
        super().__init__(part.coordinates.layout, part, nbytes)
        self._encoding = Encoding.of(part.coordinates)

    def _coordinates(self, inputs: tuple[npt.NDArray[np.intp], ...], n: int) -> Float32:
        """Features at these indices."""
        plain = np.empty((len(inputs), n), np.float32)
        for row, extent, index in zip(plain, self.part.coordinates.input_shape, inputs, strict=True):
            row[:] = index / (extent - 1) * 2 - 1
        return self._encoding(plain)


def rectified_network(values: Sequence[Float32], depth: int) -> SineNetwork:
    """The network of a group, from the weights of its tensors."""
    biases = [*values[-2], values[-1][0]]
    layers = [np.ascontiguousarray(np.concatenate([w, b[None]], 0).T) for w, b in zip(values[: depth + 1], biases, strict=True)]
    return SineNetwork(tuple(layers[:-1]), layers[-1], rectified=True)
