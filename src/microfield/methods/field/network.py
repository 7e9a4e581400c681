"""The context network in whole numbers: features in, logits out, the same on every machine.

Weights are multiples of 1/128, features and activations of 1/32 (0 to 255), sums stay below 2**24: float32 holds all of
them exactly, so a BLAS may add them up in any order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from microfield.coding.decisions import BUCKETS
from microfield.errors import FormatError
from microfield.kernel.networks import Layer, WholeNetwork
from microfield.methods.field.features import CONSTANTS, FEATURE_ONE, PLANES
from microfield.models import load, named

Floats = npt.NDArray[np.float32]

LOGITS = 3
SIGNIFICANCE, ABOVE_ONE, TAIL = range(LOGITS)
"""The logits: a magnitude is not 0; one that is not 0 is above 1; the tail of one above 1 ends here."""

WEIGHT_SCALE = 128
"""A weight of 1.0 as a whole number: weights are multiples of 1/128."""
LARGEST_WEIGHT = 511
"""Largest absolute value of a weight, as a whole number."""
SUM_SCALE = WEIGHT_SCALE * FEATURE_ONE
"""A sum of 1.0 as a whole number: sums and biases are multiples of 1/4096."""
HALF_LOGIT = SUM_SCALE // 2
"""Width of a bucket, as a sum."""
LARGEST_ACTIVATION = 255
"""Features and activations, as whole numbers, lie between 0 and this."""
EXACT = 1 << 24
"""Whole numbers below this are exact in float32."""
LARGEST_BIAS_CHANGE = 1 << 17
"""No bias of the last layer is changed by more for one image."""
MOST_INPUTS = 120
"""So many inputs of `LARGEST_ACTIVATION` times `LARGEST_WEIGHT` add up to less than `EXACT`."""


@dataclass(frozen=True)
class ContextNet:
    """Two hidden layers of clipped rectifiers, then a linear layer with three logits. All numbers are whole.

    Attributes
    ----------
    name : bytes
        The hash that files name the network by.
    planes, constants : float32 arrays (hidden1, PLANES), (hidden1, CONSTANTS)
        Weights of the first layer, in units of 1 / `WEIGHT_SCALE`.
    second, third : float32 arrays (hidden2, hidden1), (LOGITS, hidden2)
        Weights of the second and of the last layer, likewise.
    biases : three float32 arrays (hidden1,), (hidden2,), (LOGITS,)
        In units of 1 / `SUM_SCALE`.
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
        """A network from its integer arrays, checked.

        Parameters
        ----------
        key : bytes
            The hash that files name it by.
        arrays : mapping
            ``planes``, ``constants``, ``second``, ``third`` as the attributes, ``bias1``, ``bias2``, ``bias3``.

        Raises
        ------
        FormatError
            If shapes do not fit, or sums could leave what float32 holds exactly.
        """
        a = {k: np.ascontiguousarray(v, np.float32) for k, v in arrays.items()}
        hidden = a["second"].shape
        shapes = {"planes": (hidden[1], PLANES), "constants": (hidden[1], CONSTANTS), "third": (LOGITS, hidden[0])}
        if any(a[k].shape != shape for k, shape in shapes.items()) or max(hidden) > MOST_INPUTS:
            raise FormatError(f"the context network {key.hex()} does not have the shape this version computes with.")
        net = cls(key, a["planes"], a["constants"], a["second"], a["third"], (a["bias1"], a["bias2"], a["bias3"]))
        if max(net.largest_sums()) >= EXACT:
            raise FormatError(f"the context network {key.hex()} has sums that float32 does not hold exactly.")
        return net

    def largest_sums(self) -> tuple[float, float, float]:
        """Bounds on every partial sum of each layer, for any input and any stored change of the last layer."""
        most = LARGEST_ACTIVATION
        first = most * (np.abs(self.planes).sum(axis=1) + np.abs(self.constants).sum(axis=1)) + np.abs(self.biases[0])
        second = most * np.abs(self.second).sum(axis=1) + np.abs(self.biases[1])
        third = most * LARGEST_WEIGHT * self.third.shape[1] + np.abs(self.biases[2]) + LARGEST_BIAS_CHANGE
        return float(first.max()), float(second.max()), float(third.max())

    def hidden(self, planes: Floats, constants: Floats) -> Floats:
        """Activations of the second layer: whole numbers 0 to 255, float32 of shape (hidden2, coefficients).

        Parameters
        ----------
        planes : float32 array (PLANES, coefficients)
            Features of every coefficient.
        constants : float32 array (CONSTANTS,)
            Features that all of them share.
        """
        first = self.planes @ planes
        first += self.offsets(constants)[:, None]
        second = self.second @ _rectify(first)
        second += self.biases[1][:, None]
        return _rectify(second)

    def offsets(self, constants: Floats) -> Floats:
        """What features that all coefficients share, (CONSTANTS,), add to the sums of the first layer, its biases included."""
        return np.asarray(self.constants @ constants + self.biases[0], np.float32)

    @cached_property
    def compiled(self) -> WholeNetwork | None:
        """The network for the compiled kernel; None where its numbers are too large for that."""
        rectified = [Layer(weights, bias, np.full(len(weights), 1 / WEIGHT_SCALE, np.float32), LARGEST_ACTIVATION)
                     for weights, bias in zip((self.planes, self.second), self.biases, strict=False)]
        return WholeNetwork.of([*rectified, Layer(self.third, self.biases[2])], LARGEST_ACTIVATION)

    def buckets(self, hidden: Floats, logit: int) -> npt.NDArray[np.uint8]:
        """Buckets, as `microfield.coding.decisions` defines them, of one of the logits: uint8 of shape (coefficients,)."""
        sums = self.third[logit] @ hidden
        sums += self.biases[2][logit]
        sums *= np.float32(1 / HALF_LOGIT)
        np.floor(sums, out=sums)
        sums += BUCKETS // 2
        # Much faster than np.clip where there are few.
        np.maximum(sums, 0, out=sums)
        return np.asarray(np.minimum(sums, BUCKETS - 1, out=sums), np.uint8)


def _rectify(sums: Floats) -> Floats:
    """Sums to activations, in place: rounded to 1/32, cut to 0 ... `LARGEST_ACTIVATION`."""
    sums *= np.float32(1 / WEIGHT_SCALE)
    np.rint(sums, out=sums)
    np.maximum(sums, 0, out=sums)
    return np.minimum(sums, LARGEST_ACTIVATION, out=sums)


def whole_numbers(weights: Mapping[str, Floats]) -> dict[str, npt.NDArray[np.int32]]:
    """Integer arrays of a trained network, as `ContextNet.of` takes them.

    Parameters
    ----------
    weights : mapping
        Float arrays of shape (inputs, outputs): ``planes``, ``constants``, ``second``, ``third``; and the biases ``bias1``,
        ``bias2``, ``bias3`` of shape (outputs,).
    """
    out = {}
    for key, value in weights.items():
        if key.startswith("bias"):
            out[key] = np.rint(value * SUM_SCALE).astype(np.int32)
        else:
            out[key] = np.clip(np.rint(value.T * WEIGHT_SCALE), -LARGEST_WEIGHT, LARGEST_WEIGHT).astype(np.int16)
    return out
