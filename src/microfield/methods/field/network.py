"""The context network in whole numbers: features in, logits out, the same on every machine.

Weights are multiples of 1/128, features and activations of 1/32 (0 to 255), sums stay below 2**24: float32 holds all of
them exactly, so a BLAS may add them up in any order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microfield.coding.decisions import BUCKETS
from microfield.errors import FormatError
from microfield.methods.field.features import CONSTANTS, PLANES
from microfield.models import load, named

Floats = npt.NDArray[np.float32]

WEIGHT = 128
"""Weights are multiples of one over this, at most `LIMIT` of them."""
LIMIT = 511
SUM = WEIGHT * 32
"""Sums are multiples of one over this."""
HALF_LOGIT = SUM // 2
MOST_CHANGE = 1 << 17
"""No bias of the last layer is changed by more for one image."""
WIDEST = 120
"""So many inputs at 255 times `LIMIT` stay below 2**24."""


@dataclass(frozen=True)
class ContextNet:
    """Two hidden layers of clipped rectifiers; three logits: zero or not, larger than one, end of the tail.

    Attributes
    ----------
    name : bytes
        The hash that files name the network by.
    planes, constants : float32 arrays (hidden, PLANES), (hidden, CONSTANTS)
        First layer, whole numbers.
    second, third : float32 arrays (hidden, hidden), (3, hidden)
    biases : three float32 arrays, in units of 1 / `SUM`
    """

    name: bytes
    planes: Floats
    constants: Floats
    second: Floats
    third: Floats
    biases: tuple[Floats, Floats, Floats]

    @classmethod
    def load(cls, name: str | bytes) -> ContextNet:
        """A shipped network, by hash or by name; FormatError where it is not installed."""
        key = named("contexts", name) if isinstance(name, str) else name
        return cls.of(key, load("contexts", key))

    @classmethod
    def of(cls, key: bytes, arrays: Mapping[str, npt.NDArray[np.integer]]) -> ContextNet:
        """From integer arrays."""
        a = {k: np.ascontiguousarray(v, np.float32) for k, v in arrays.items()}
        hidden = a["second"].shape
        shapes = {"planes": (hidden[1], PLANES), "constants": (hidden[1], CONSTANTS), "third": (3, hidden[0])}
        if any(a[k].shape != shape for k, shape in shapes.items()) or max(hidden) > WIDEST:
            raise FormatError(f"the context network {key.hex()} does not have the shape this version computes with.")
        net = cls(key, a["planes"], a["constants"], a["second"], a["third"], (a["bias1"], a["bias2"], a["bias3"]))
        if max(net.largest_sums()) >= 1 << 24:
            raise FormatError(f"the context network {key.hex()} has sums that float32 does not hold exactly.")
        return net

    def largest_sums(self) -> tuple[float, float, float]:
        """What no sum of a layer exceeds, whatever the inputs, nor a part of it; the last layer as files may change it."""
        first = 255 * (np.abs(self.planes).sum(axis=1) + np.abs(self.constants).sum(axis=1)) + np.abs(self.biases[0])
        second = 255 * np.abs(self.second).sum(axis=1) + np.abs(self.biases[1])
        third = 255 * LIMIT * self.third.shape[1] + np.abs(self.biases[2]) + MOST_CHANGE
        return float(first.max()), float(second.max()), float(third.max())

    def hidden(self, planes: Floats, constants: Floats) -> Floats:
        """Activations of the second layer: float32 whole numbers of shape (hidden, coefficients)."""
        first = self.planes @ planes
        first += (self.constants @ constants + self.biases[0])[:, None]
        second = self.second @ _rectify(first)
        second += self.biases[1][:, None]
        return _rectify(second)

    def buckets(self, hidden: Floats, logit: int) -> npt.NDArray[np.uint8]:
        """Buckets of `microfield.coding.decisions` of one of the three logits: uint8 of shape (coefficients,)."""
        sums = self.third[logit] @ hidden
        sums += self.biases[2][logit]
        sums *= np.float32(1 / HALF_LOGIT)
        np.floor(sums, out=sums)
        sums += BUCKETS // 2
        return np.asarray(np.clip(sums, 0, BUCKETS - 1, out=sums), np.uint8)


def _rectify(sums: Floats) -> Floats:
    """Sums to activations: rounded to 1/32, cut to 0..255."""
    sums *= np.float32(1 / WEIGHT)
    np.rint(sums, out=sums)
    return np.clip(sums, 0, 255, out=sums)


def whole_numbers(weights: Mapping[str, Floats]) -> dict[str, npt.NDArray[np.int32]]:
    """Integer arrays of a trained network.

    Parameters
    ----------
    weights : arrays ``planes`` (PLANES, hidden), ``constants``, ``second``, ``third`` and ``bias1``, ``bias2``, ``bias3``
    """
    out = {}
    for key, value in weights.items():
        if key.startswith("bias"):
            out[key] = np.rint(value * SUM).astype(np.int32)
        else:
            out[key] = np.clip(np.rint(value.T * WEIGHT), -LIMIT, LIMIT).astype(np.int16)
    return out
