"""The layers of a learned codec in NumPy: in whole numbers, which every machine computes alike, or in float32 for encoding.

Values, weights and squares are rounded to multiples of powers of two, so coarse that every sum of a layer is below 2**53 of its
units: a double holds it exactly, and a BLAS may add it up in any order. What else is computed is elementwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError
from microfield.methods.learned.form import LEAK, Form, Layer

Values = npt.NDArray[Any]
"""Shape (batch, z, y, x, channels): float64 in whole units where decoding, float32 where encoding."""

LARGEST = float(1 << 15)
"""No value between layers is larger."""
UNITS = 12
"""Values between layers are multiples of 2**-12."""
LARGEST_SQUARE, SQUARE_UNITS = float(1 << 26), 4
"""Squares in a normalisation are at most so large, and multiples of 2**-4."""
EXACT = 53
"""Bits of the whole numbers that a double holds."""
FINEST = 24
"""Weights are multiples of 2**-24 or coarser."""
LEAST_NORM = 1e-6
PATCH_VALUES = 1 << 21
"""So many values of patches are put together at once."""


@dataclass(frozen=True)
class Computed:
    """A layer with its numbers, ready to be computed.

    Attributes
    ----------
    layer : Layer
    weight : array (z, y, x, inputs, outputs)
    bias : array (outputs,)
    beta, gamma : arrays (outputs,) and (outputs, outputs) of a normalisation, empty where there is none
    whole : whether values are rounded, so that sums are exact
    """

    layer: Layer
    weight: Values
    bias: Values
    beta: Values
    gamma: Values
    whole: bool

    def __call__(self, values: Values) -> Values:
        """What the layer makes of values."""
        sums = (_enlarge if self.layer.transposed else _reduce)(self.weight, self.layer, values)
        sums += self.bias
        return self._activate(sums)

    def _activate(self, sums: Values) -> Values:
        kind = self.layer.activation
        if kind == "leaky":
            sums = np.maximum(sums, LEAK.astype(sums.dtype) * sums)
        elif kind == "relu":
            sums = np.maximum(sums, 0, out=sums)
        elif kind in ("gdn", "igdn"):
            norm = self._norm(sums)
            sums = sums / norm if kind == "gdn" else sums * norm
        return rounded(sums) if self.whole else sums

    def _norm(self, sums: Values) -> Values:
        squares = np.minimum(sums * sums, LARGEST_SQUARE)
        if self.whole:
            squares = np.ldexp(np.rint(np.ldexp(squares, SQUARE_UNITS)), -SQUARE_UNITS)
        return np.asarray(np.sqrt(squares @ self.gamma.T + self.beta))


def rounded(values: Values) -> Values:
    """Values between layers: rounded to units, and no larger than `LARGEST`."""
    whole = np.rint(np.ldexp(values, UNITS))
    return np.clip(np.ldexp(whole, -UNITS), -LARGEST, LARGEST)


def computed(form: Form, arrays: Sequence[Mapping[str, Values]], network: str) -> list[Computed]:
    """The layers of a network; exact ones for all but the analyses, which only encoding needs.

    Raises
    ------
    FormatError
        Weights are no numbers, or so large that sums could not be exact.
    """
    whole = network.endswith("synthesis")
    found = []
    for number, layer in form.network(network):
        mine = arrays[number]
        empty = np.zeros(0)
        parts: list[Values] = [np.asarray(mine.get(name, empty), np.float64) for name in ("weight", "bias", "beta", "gamma")]
        if not all(np.isfinite(p).all() for p in parts) or any((p < 0).any() for p in parts[2:]):
            raise FormatError("a learned codec has weights that are no numbers.")
        weight, bias, beta, gamma = parts
        beta = beta + LEAST_NORM
        if whole:
            weight = _grid(weight, np.abs(weight).sum((0, 1, 2, 3)).max() * LARGEST, UNITS)
            bias = rounded(bias)
            if gamma.size:
                gamma = _grid(gamma, gamma.sum(1).max() * LARGEST_SQUARE, SQUARE_UNITS)
                beta = np.ldexp(np.rint(np.ldexp(beta, FINEST)), -FINEST)
        kind = np.float64 if whole else np.float32
        weight, bias, beta, gamma = (np.ascontiguousarray(p, kind) for p in (weight, bias, beta, gamma))
        found.append(Computed(layer, weight, bias, beta, gamma, whole))
    return found


def _grid(weights: Values, largest: float, units: int) -> Values:
    """Weights as multiples of the finest power of two at which sums of up to ``largest``, in 2**-units of it, are exact."""
    octaves = int(np.frexp(max(largest, 1.0))[1])
    finest = min(FINEST, EXACT - 1 - units - octaves)
    if finest < 0:
        raise FormatError("a learned codec has weights so large that its sums would not be exact.")
    return np.ldexp(np.rint(np.ldexp(weights, finest)), -finest)


def _reduce(weight: Values, layer: Layer, values: Values) -> Values:
    """Sums of a convolution: extents are divided by the stride and rounded up."""
    pads = [(k // 2, k // 2) for k in layer.kernel]
    padded = np.pad(values, [(0, 0), *pads, (0, 0)])
    shape = tuple(-(-n // s) for n, s in zip(values.shape[1:4], layer.stride, strict=True))
    out = np.empty((len(values), *shape, layer.outputs), values.dtype)
    matrix = weight.reshape(-1, layer.outputs)
    rows = max(1, PATCH_VALUES // (len(matrix) * shape[2]))
    sz, sy, sx = layer.stride
    places = list(product(*(range(k) for k in layer.kernel)))
    for b, z in product(range(len(values)), range(shape[0])):
        for y in range(0, shape[1], rows):
            end = min(y + rows, shape[1])
            patches = np.concatenate([padded[b, z * sz + i, y * sy + j : (end - 1) * sy + j + 1 : sy,
                                             k : k + (shape[2] - 1) * sx + 1 : sx] for i, j, k in places], axis=-1)
            out[b, z, y:end] = patches @ matrix
    return out


def _enlarge(weight: Values, layer: Layer, values: Values) -> Values:
    """Sums of a transposed convolution: extents are multiplied by the stride."""
    sizes = values.shape[1:4]
    whole = [n * s + 2 * (k // 2) for n, s, k in zip(sizes, layer.stride, layer.kernel, strict=True)]
    spread = np.zeros((len(values), *whole, layer.outputs), values.dtype)
    matrix = np.ascontiguousarray(np.moveaxis(weight, 3, 0).reshape(layer.inputs, -1))
    places = list(product(*(range(k) for k in layer.kernel)))
    rows = max(1, PATCH_VALUES // (matrix.shape[1] * sizes[2]))
    sz, sy, sx = layer.stride
    for b, z in product(range(len(values)), range(sizes[0])):
        for y in range(0, sizes[1], rows):
            end = min(y + rows, sizes[1])
            sums = (values[b, z, y:end] @ matrix).reshape(end - y, sizes[2], len(places), layer.outputs)
            for n, (i, j, k) in enumerate(places):
                rows_here = slice(y * sy + j, (end - 1) * sy + j + 1, sy)
                spread[b, z * sz + i, rows_here, k : k + (sizes[2] - 1) * sx + 1 : sx] += sums[:, :, n]
    box = tuple(slice(k // 2, k // 2 + n * s) for n, s, k in zip(sizes, layer.stride, layer.kernel, strict=True))
    return np.ascontiguousarray(spread[(slice(None), *box)])


def run(layers: Sequence[Computed], values: Values) -> Values:
    """Values through all layers of a network."""
    for layer in layers:
        values = layer(values)
    return values
