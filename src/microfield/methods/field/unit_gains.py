"""Gains and biases of the first layer of the context network, fitted to a sample of one image's coefficients.

What the inputs of a unit add up to does not change, so only the layers behind are evaluated again: a few gigaflops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microfield.methods.field.code_length import code_length, logit_slopes
from microfield.methods.field.exact import LARGEST_ACTIVATION, SUM_SCALE, WEIGHT_SCALE
from microfield.methods.field.features import FEATURE_ONE
from microfield.methods.field.lifting import Floats
from microfield.methods.field.network import LOGITS, ContextNet

STEPS, BATCH = 120, 6144
RATE = 0.008
"""Learning rate of Adam (Kingma and Ba, 2015); it falls to nothing on a cosine."""
_DECAY = (0.9, 0.99)
_TOP = np.float32(LARGEST_ACTIVATION / FEATURE_ONE)

Parameters = tuple[Floats, Floats, Floats]
"""Gains (hidden1,) and changes of biases (hidden1,) of the first layer, changes of biases of the last one (LOGITS,)."""


@dataclass(frozen=True)
class Units:
    """A sample of n coefficients, and the layers of a network in floating point.

    Attributes
    ----------
    sums : float32 array (n, hidden1)
        What the inputs of the units add up to.
    first, second, biases, third, last
        Biases (hidden1,), weights (hidden1, hidden2) and biases (hidden2,), weights (hidden2, LOGITS) and biases (LOGITS,).
    magnitudes, weights : arrays (n,)
    """

    sums: Floats
    first: Floats
    second: Floats
    biases: Floats
    third: Floats
    last: Floats
    magnitudes: npt.NDArray[np.int32]
    weights: Floats

    @classmethod
    def of(cls, net: ContextNet, inputs: npt.NDArray[np.uint8], magnitudes: npt.NDArray[np.int32], weights: Floats) -> Units:
        """From what a network is told of n coefficients, uint8 (planes + constants, n)."""
        matrix = np.concatenate([net.planes, net.constants], axis=1).T / np.float32(WEIGHT_SCALE * FEATURE_ONE)
        sums = np.empty((inputs.shape[1], len(net.planes)), np.float32)
        for k in range(0, len(sums), BATCH):
            np.matmul(inputs[:, k : k + BATCH].T.astype(np.float32), matrix, out=sums[k : k + BATCH])
        first, second, last = (bias / np.float32(SUM_SCALE) for bias in net.biases)
        return cls(sums, first, net.second.T / np.float32(WEIGHT_SCALE), second, net.third.T / np.float32(WEIGHT_SCALE), last,
                   magnitudes, weights)

    def start(self) -> Parameters:
        """Those of the network as it is shipped."""
        n = self.sums.shape[1]
        return np.ones(n, np.float32), np.zeros(n, np.float32), np.zeros(LOGITS, np.float32)

    def code_length(self, gains: Floats, biases: Floats, last: Floats) -> float:
        """Bits of all coefficients that the sample stands for."""
        total = 0.0
        for k in range(0, len(self.sums), BATCH):
            rows = slice(k, k + BATCH)
            logits = self._forward(rows, gains, biases, last)[2]
            total += code_length(logits, self.magnitudes[rows], self.weights[rows])
        return total

    def fitted(self) -> Parameters:
        """Parameters that make the sample shorter."""
        rng, parameters = np.random.default_rng(0), list(self.start())
        # Half of a batch are significant; within both halves each counts as often as it stands for others.
        chance = np.where(self.magnitudes > 0, 1, self.weights).astype(np.float64)
        for sort in (self.magnitudes > 0, self.magnitudes == 0):
            chance[sort] /= max(2 * chance[sort].sum(), 1e-9)
        ends = np.cumsum(chance) / chance.sum()
        shares = (self.weights / chance / (BATCH * self.weights.sum())).astype(np.float32)
        first, second = ([np.zeros_like(p) for p in parameters] for _ in range(2))
        for i in range(1, STEPS + 1):
            rows = np.minimum(np.searchsorted(ends, rng.random(BATCH)), len(ends) - 1)
            rate = RATE * (1 + np.cos(np.pi * i / STEPS)) / 2 * (1 - _DECAY[1] ** i) ** 0.5 / (1 - _DECAY[0] ** i)
            for k, slope in enumerate(self._slopes(rows, shares[rows], *parameters)):
                first[k] += np.float32(1 - _DECAY[0]) * (slope - first[k])
                second[k] += np.float32(1 - _DECAY[1]) * (slope**2 - second[k])
                parameters[k] -= np.float32(rate) * first[k] / (np.sqrt(second[k]) + np.float32(1e-9))
        return parameters[0], parameters[1], parameters[2]

    def _forward(self, rows: slice | npt.NDArray[np.intp], gains: Floats, biases: Floats, last: Floats,
                 ) -> tuple[Floats, Floats, Floats]:
        """Sums of both hidden layers, (k, hidden1) and (k, hidden2), and logits (k, LOGITS)."""
        one = self.sums[rows] * gains + (self.first + biases)
        two = np.clip(one, 0, _TOP) @ self.second + self.biases
        return one, two, np.asarray(np.clip(two, 0, _TOP) @ self.third + (self.last + last), np.float32)

    def _slopes(self, rows: npt.NDArray[np.intp], weights: Floats, *parameters: Floats) -> Parameters:
        """Derivatives of the weighted code length by the parameters."""
        one, two, logits = self._forward(rows, *parameters)
        by_logit = logit_slopes(logits, self.magnitudes[rows], weights)
        by_two = by_logit @ self.third.T * ((two > 0) & (two < _TOP))
        by_one = by_two @ self.second.T * ((one > 0) & (one < _TOP))
        return (by_one * self.sums[rows]).sum(axis=0), by_one.sum(axis=0), by_logit.sum(axis=0)
