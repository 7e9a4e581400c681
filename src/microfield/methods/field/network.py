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
from microfield.methods.field.exact import LARGEST_ACTIVATION, LARGEST_WEIGHT, SUM_SCALE, WEIGHT_SCALE, Floats, checked, rectify
from microfield.methods.field.features import ORIENTED, PLAIN, FeatureSet
from microfield.methods.field.signs import PREFIX, SignNet
from microfield.models import load, named

LOGITS = 3
SIGNIFICANCE, ABOVE_ONE, TAIL = range(LOGITS)
"""The logits: a magnitude is not 0; one that is not 0 is above 1; the tail of one above 1 ends here."""

HALF_LOGIT = SUM_SCALE // 2
"""Width of a bucket, as a sum."""
LARGEST_BIAS_CHANGE = 1 << 17
"""No bias is changed by more for one image."""
MOST_INPUTS = 120
"""So many inputs of `LARGEST_ACTIVATION` times `LARGEST_WEIGHT` add up to less than `EXACT`."""


@dataclass(frozen=True)
class ContextNet:
    """Two hidden layers of clipped rectifiers, then a linear layer with three logits. All numbers are whole.

    Attributes
    ----------
    name : bytes
        The hash that files name the network by.
    features : FeatureSet
        What it is told.
    planes, constants : float32 arrays (hidden1, features.planes), (hidden1, features.constants)
        Weights of the first layer, in units of 1 / `WEIGHT_SCALE`.
    second, third : float32 arrays (hidden2, hidden1), (LOGITS, hidden2)
        Weights of the second and of the last layer, likewise.
    biases : three float32 arrays (hidden1,), (hidden2,), (LOGITS,)
        In units of 1 / `SUM_SCALE`.
    signs : SignNet, optional
        The network of the signs; without it they are raw bits.
    """

    name: bytes
    features: FeatureSet
    planes: Floats
    constants: Floats
    second: Floats
    third: Floats
    biases: tuple[Floats, Floats, Floats]
    signs: SignNet | None = None

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
            ``planes``, ``constants``, ``second``, ``third`` as the attributes, ``bias1``, ``bias2``, ``bias3``; and those of
            the network of the signs, see `signs.PREFIX`.

        Raises
        ------
        FormatError
            If shapes do not fit, or sums could leave what float32 holds exactly.
        """
        a = {k: np.ascontiguousarray(v, np.float32) for k, v in arrays.items() if not k.startswith(PREFIX)}
        hidden, told = a["second"].shape, ORIENTED if a["planes"].shape[1] == ORIENTED.planes else PLAIN
        shapes = {"planes": (hidden[1], told.planes), "constants": (hidden[1], told.constants), "third": (LOGITS, hidden[0])}
        signs = SignNet.of(arrays)
        if any(a[k].shape != shape for k, shape in shapes.items()) or max(hidden) > MOST_INPUTS or (signs and not told.oriented):
            raise FormatError(f"the context network {key.hex()} does not have the shape this version computes with.")
        biases = (a["bias1"], a["bias2"], a["bias3"])
        net = cls(key, told, a["planes"], a["constants"], a["second"], a["third"], biases, signs)
        checked(f"the context network {key.hex()}", net.largest_sums())
        return net

    def largest_sums(self) -> tuple[float, float, float]:
        """Bounds on every partial sum of each layer, for any input and any stored change of the last or of the first layer."""
        most = LARGEST_ACTIVATION
        if self.features.oriented:
            inputs = self.features.planes + self.features.constants
            first = most * LARGEST_WEIGHT * inputs + np.abs(self.biases[0]) + LARGEST_BIAS_CHANGE
        else:
            first = most * (np.abs(self.planes).sum(axis=1) + np.abs(self.constants).sum(axis=1)) + np.abs(self.biases[0])
        second = most * np.abs(self.second).sum(axis=1) + np.abs(self.biases[1])
        third = most * LARGEST_WEIGHT * self.third.shape[1] + np.abs(self.biases[2]) + LARGEST_BIAS_CHANGE
        return float(first.max()), float(second.max()), float(third.max())

    def hidden(self, planes: Floats, constants: Floats) -> Floats:
        """Activations of the second layer: whole numbers 0 to 255, float32 of shape (hidden2, coefficients).

        Parameters
        ----------
        planes : float32 array (features.planes, coefficients)
            Features of every coefficient.
        constants : float32 array (features.constants,)
            Features that all of them share.
        """
        first = self.planes @ planes
        first += self.offsets(constants)[:, None]
        second = self.second @ rectify(first)
        second += self.biases[1][:, None]
        return rectify(second)

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
