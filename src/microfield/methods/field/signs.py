"""The network that says which sign a coefficient is likely to have, in whole numbers, the same on every machine.

It is odd by construction: g(s, u) - g(-s, u) with inputs s that have a sign and u that have none, so that what it says turns over
with the image. Weights, activations and sums are as in `microfield.methods.field.network`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError
from microfield.kernel import loading
from microfield.kernel.networks import Layer, WholeNetwork
from microfield.methods.field.exact import LARGEST_ACTIVATION, LARGEST_WEIGHT, WEIGHT_SCALE, Floats, checked, rectify
from microfield.methods.field.sign_context import SIGNED, UNSIGNED

PREFIX = "sign_"
"""What the names of the arrays begin with, among those of the context network."""


@dataclass(frozen=True)
class SignNet:
    """Two hidden layers of clipped rectifiers, then a linear layer without bias, evaluated for s and -s. All numbers are whole.

    Attributes
    ----------
    signed, unsigned : float32 arrays (hidden1, SIGNED), (hidden1, UNSIGNED)
        Weights of the first layer.
    second, third : float32 arrays (hidden2, hidden1), (1, hidden2)
    biases : two float32 arrays (hidden1,), (hidden2,)
    """

    signed: Floats
    unsigned: Floats
    second: Floats
    third: Floats
    biases: tuple[Floats, Floats]

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[np.integer]]) -> SignNet | None:
        """The network among the arrays of a context network, checked; None where there is none.

        Raises
        ------
        FormatError
            If shapes do not fit, or sums could leave what float32 holds exactly.
        """
        a = {k.removeprefix(PREFIX): np.ascontiguousarray(v, np.float32) for k, v in arrays.items() if k.startswith(PREFIX)}
        if not a:
            return None
        hidden = a["second"].shape
        shapes = {"signed": (hidden[1], SIGNED), "unsigned": (hidden[1], UNSIGNED), "third": (1, hidden[0]),
                  "bias1": (hidden[1],), "bias2": (hidden[0],)}
        if any(a[k].shape != shape for k, shape in shapes.items()):
            raise FormatError("a sign network does not have the shape this version computes with.")
        net = cls(a["signed"], a["unsigned"], a["second"], a["third"], (a["bias1"], a["bias2"]))
        checked("a sign network", net.largest_sums())
        return net

    def largest_sums(self) -> tuple[float, float, float]:
        """Bounds on every partial sum of each layer, for any input."""
        most = LARGEST_ACTIVATION
        first = most * (np.abs(self.signed).sum(axis=1) + np.abs(self.unsigned).sum(axis=1)) + np.abs(self.biases[0])
        second = most * np.abs(self.second).sum(axis=1) + np.abs(self.biases[1])
        return float(first.max()), float(second.max()), float(most * LARGEST_WEIGHT * self.third.shape[1])

    def sums(self, signed: Floats, unsigned: Floats) -> npt.NDArray[np.int32]:
        """Logits of the sign being negative, in units of 1 / `exact.SUM_SCALE`: int32 (n,).

        Parameters
        ----------
        signed, unsigned : float32 arrays (SIGNED, n), (UNSIGNED, n)
        """
        library = loading.library()
        if library is not None and self.compiled is not None:
            both = (self.compiled.sums(library, np.concatenate([s, unsigned])) for s in (signed, -signed))
            return np.asarray(next(both)[0] - next(both)[0], np.int32)
        odd, even = self.signed @ signed, self.unsigned @ unsigned + self.biases[0][:, None]
        difference = self._behind(even + odd) - self._behind(even - odd)
        return np.asarray((self.third @ difference)[0], np.int32)

    @cached_property
    def compiled(self) -> WholeNetwork | None:
        """The network, of signed inputs and then the others, for the compiled kernel; None where its numbers are too large."""
        first = np.concatenate([self.signed, self.unsigned], axis=1)
        rectified = [Layer(weights, bias, np.full(len(weights), 1 / WEIGHT_SCALE, np.float32), LARGEST_ACTIVATION)
                     for weights, bias in zip((first, self.second), self.biases, strict=True)]
        return WholeNetwork.of([*rectified, Layer(self.third, np.zeros(1))], LARGEST_ACTIVATION)

    def _behind(self, first: Floats) -> Floats:
        """Activations of the second layer from the sums of the first."""
        second = self.second @ rectify(first)
        second += self.biases[1][:, None]
        return rectify(second)
