"""Networks of clipped rectifiers in whole numbers, and what `field` computes with them, by the compiled kernel.

Weights are whole numbers of 16 bits, sums of 32. ``source/network.c`` computes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

MOST_WIDTH = 160
"""Inputs and outputs of a layer, at most."""
MOST_LAYERS = 4
_LARGEST_WEIGHT = (1 << 15) - 1
_LARGEST_SUM = (1 << 31) - 1

Floats = npt.NDArray[np.float32]


class _Layer(ctypes.Structure):
    _fields_ = (("pairs", ctypes.c_int32), ("outputs", ctypes.c_int32), ("weights", ctypes.c_void_p), ("biases", ctypes.c_void_p),
                ("factors", ctypes.c_void_p), ("largest", ctypes.c_float))


class _Network(ctypes.Structure):
    _fields_ = (("layers", ctypes.c_int32), ("layer", _Layer * MOST_LAYERS))


@dataclass(frozen=True)
class Layer:
    """One layer: whole sums, multiplied by factors, rounded to whole activations and cut to 0 ... largest.

    Attributes
    ----------
    weights : array (outputs, inputs)
        Whole numbers of at most 15 bits and a sign.
    biases : array (outputs,)
        Whole numbers.
    factors : float32 array (outputs,), optional
        None for the last layer, whose sums are the result.
    largest : int
        Of the activations.
    """

    weights: npt.NDArray[Any]
    biases: npt.NDArray[Any]
    factors: Floats | None = None
    largest: int = 0


class WholeNetwork:
    """A network as the kernel takes it.

    Attributes
    ----------
    structure : ctypes.Structure
        For functions of the kernel.
    inputs, outputs : int
        Of the whole network.
    first : int
        Outputs of the first layer, filled up to fours.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._kept: list[npt.NDArray[Any]] = []
        self.structure = _Network(len(layers))
        for i, layer in enumerate(layers):
            self.structure.layer[i] = self._prepared(layer, self.structure.layer[i - 1].outputs if i else 0)
        self.inputs, self.outputs = layers[0].weights.shape[1], layers[-1].weights.shape[0]
        self.first = int(self.structure.layer[0].outputs)

    @classmethod
    def of(cls, layers: Sequence[Layer], largest_input: int) -> Self | None:
        """The network, or None where its numbers are beyond those of the kernel.

        Parameters
        ----------
        layers : sequence of Layer
        largest_input : int
            No absolute value of an input is above this.
        """
        largest = largest_input
        for layer in layers:
            weights, biases = np.abs(layer.weights.astype(np.float64)), np.abs(layer.biases.astype(np.float64))
            sums = weights.sum(axis=1) * largest + biases
            if (max(layer.weights.shape) > MOST_WIDTH or largest > _LARGEST_WEIGHT or weights.max() > _LARGEST_WEIGHT
                    or sums.max() > _LARGEST_SUM):
                return None
            largest = layer.largest
        return cls(layers) if len(layers) <= MOST_LAYERS else None

    def sums(self, library: ctypes.CDLL, inputs: Floats) -> npt.NDArray[np.int32]:
        """Sums of the last layer, (outputs, n), of columns of ``inputs``, float32 (inputs, n): whole numbers of at most 15 bits."""
        kept = np.ascontiguousarray(inputs, np.float32)
        if kept.ndim != 2 or len(kept) != self.inputs:
            raise ValueError("the network has other inputs.")
        found = np.empty((self.outputs, kept.shape[1]), np.int32)
        library.mf_network(ctypes.byref(self.structure), ctypes.c_void_p(kept.ctypes.data), self.inputs,
                           ctypes.c_int64(kept.shape[1]), self.outputs, ctypes.c_void_p(found.ctypes.data))
        return found

    def _prepared(self, layer: Layer, inputs: int) -> _Layer:
        """A layer filled up with zeros to pairs of inputs, or the outputs of the layer before, and fours of outputs."""
        n, m = layer.weights.shape
        rows, columns = -(-n // 4) * 4, max(-(-m // 2) * 2, inputs)
        weights = np.zeros((rows, columns), np.int16)
        weights[:n, :m] = layer.weights
        biases, factors = np.zeros(rows, np.int32), np.zeros(rows, np.float32)
        biases[:n] = layer.biases
        if layer.factors is not None:
            factors[:n] = layer.factors
        self._kept += [weights, biases, factors]
        return _Layer(columns // 2, rows, weights.ctypes.data, biases.ctypes.data, factors.ctypes.data, float(layer.largest))
