"""The last layer of the context network fitted to one image: a few dozen bytes, which pay where a part takes some kilobytes.

Its three logits are linear in the activations of the layer before, so this is three logistic regressions that start from the
shipped weights (adaptation to one image: van Rozendaal, Huijben and Cohen, "Overfitting for fun and profit", ICLR 2021).
The changes are whole numbers and cost their Rice code.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from microfield.coding.bits import BitReader, BitWriter
from microfield.coding.decisions import BUCKETS
from microfield.errors import FormatError
from microfield.methods.field.evaluation import Evaluated
from microfield.methods.field.features import FEATURE_ONE
from microfield.methods.field.lifting import Floats
from microfield.methods.field.network import (
    HALF_LOGIT,
    LARGEST_BIAS_CHANGE,
    LARGEST_WEIGHT,
    LOGITS,
    SUM_SCALE,
    WEIGHT_SCALE,
    ContextNet,
)
from microfield.threads import single_threaded_blas

CHANGE_UNIT = 3
"""A change of 1 stands for so many units of a weight, 3/128; for a bias the same, 3/128."""
SAMPLE_SIZE = 30_000
"""Coefficients that the layer is fitted to, about."""
ADAM_STEPS = 90
LEARNING_RATE = 0.004
"""It falls evenly to a tenth of this."""
_DECAY = (0.9, 0.99)
"""Of Adam's running means of slopes and of squared slopes."""
_LARGEST_LOGIT = 30
"""Logits are cut at this before an exponential is taken."""
_LARGEST_TAIL = 40
"""Tails are cut at this, so that a single coefficient does not decide a slope."""

Changes = npt.NDArray[np.int32]
"""Changes of the last layer, shape (LOGITS, hidden2 + 1): those of weights, and in the last column those of biases."""


@dataclass
class Seen:
    """A sample of coefficients, which the last layer is fitted to.

    Attributes
    ----------
    expected : int
        How many coefficients will be shown in all.
    hidden : list of float32 arrays (hidden2, k)
        Activations of the layer before the last one.
    magnitudes : list of int32 arrays (k,)
    weights : list of float32 arrays (k,)
        How many coefficients each of them stands for.
    """

    expected: int
    hidden: list[Floats] = field(default_factory=list)
    magnitudes: list[npt.NDArray[np.int32]] = field(default_factory=list)
    weights: list[Floats] = field(default_factory=list)

    def add(self, known: Evaluated, magnitudes: npt.NDArray[np.int32]) -> None:
        """Keep some coefficients of a slab: all or every k-th of the significant ones and, apart from these, of the others.

        Parameters
        ----------
        known : Evaluated
            With its activations.
        magnitudes : int32 array (n,)
        """
        zero_stride = max(1, self.expected // (SAMPLE_SIZE // 2))
        zero = np.flatnonzero(magnitudes == 0)[::zero_stride]
        significant = np.flatnonzero(magnitudes)
        # As if the share of significant coefficients were that of this slab everywhere.
        expected = len(significant) * self.expected // max(1, len(magnitudes))
        stride = max(1, expected // SAMPLE_SIZE)
        significant = significant[::stride]
        kept = np.concatenate([significant, zero])
        self.hidden.append(known.hidden(kept))
        self.magnitudes.append(magnitudes[kept])
        self.weights.append(np.repeat([stride, zero_stride], [len(significant), len(zero)]).astype(np.float32))


def tuned(net: ContextNet, seen: Seen) -> tuple[Changes, float] | None:
    """Changes that make the sample shorter, found by Adam (Kingma and Ba, 2015), all of the sample at every step.

    Returns
    -------
    changes : Changes
    saved : float
        Bits that they save in all coefficients, less those that the changes themselves cost; above 0.

    None instead where nothing is saved.
    """
    if not seen.hidden:
        return None
    seen_hidden = np.concatenate(seen.hidden, axis=1).T / np.float32(FEATURE_ONE)
    hidden: Floats = np.concatenate([seen_hidden, np.ones((len(seen_hidden), 1), np.float32)], axis=1, dtype=np.float32)
    magnitudes, weights = np.concatenate(seen.magnitudes), np.concatenate(seen.weights)
    shipped: Floats = np.concatenate([net.third / WEIGHT_SCALE, net.biases[2][:, None] / SUM_SCALE], axis=1, dtype=np.float32)
    with single_threaded_blas():
        found = _descend(shipped, hidden, magnitudes, weights)
    changes: Changes = np.rint((found - shipped) * (WEIGHT_SCALE / CHANGE_UNIT)).astype(np.int32)
    kept = shipped + (changes * (CHANGE_UNIT / WEIGHT_SCALE)).astype(np.float32)
    before, after = (_bits(np.asarray(hidden @ last.T, np.float32), magnitudes, weights) for last in (shipped, kept))
    writer = BitWriter()
    write(writer, changes)
    saved = before - after - 8 * len(writer.finish())
    return (changes, saved) if saved > 0 else None


def _descend(found: Floats, hidden: Floats, magnitudes: npt.NDArray[np.int32], weights: Floats) -> Floats:
    """Weights of the last layer, (LOGITS, hidden2 + 1), after `ADAM_STEPS` steps from ``found``.

    Parameters
    ----------
    found : float32 array (LOGITS, hidden2 + 1)
    hidden : float32 array (n, hidden2 + 1), the last column 1
    magnitudes, weights : arrays (n,)
    """
    scale = np.float32(1 / weights.sum())
    first, second = np.zeros_like(found), np.zeros_like(found)
    for i in range(1, ADAM_STEPS + 1):
        slope = _slope(hidden @ found.T, magnitudes, weights * scale).T @ hidden
        first = _DECAY[0] * first + (1 - _DECAY[0]) * slope
        second = _DECAY[1] * second + (1 - _DECAY[1]) * slope**2
        rate = LEARNING_RATE * (1 - 0.9 * i / ADAM_STEPS) * (1 - _DECAY[1] ** i) ** 0.5 / (1 - _DECAY[0] ** i)
        found = found - rate * first / (np.sqrt(second) + 1e-9)
    return found


def changed(net: ContextNet, changes: Changes) -> ContextNet:
    """The network with its last layer changed; whole numbers within their limits."""
    third = np.clip(net.third + CHANGE_UNIT * changes[:, :-1], -LARGEST_WEIGHT, LARGEST_WEIGHT).astype(np.float32)
    of_bias = CHANGE_UNIT * (SUM_SCALE // WEIGHT_SCALE) * changes[:, -1]
    bias = (net.biases[2] + np.clip(of_bias, -LARGEST_BIAS_CHANGE, LARGEST_BIAS_CHANGE)).astype(np.float32)
    return replace(net, third=third, biases=(*net.biases[:2], bias))


def write(bits: BitWriter, changes: Changes | None) -> None:
    """Write a bit, whether there are changes, and then the changes of every logit as Rice codes."""
    bits.number(int(changes is not None), 1)
    if changes is not None:
        for row in changes.tolist():
            bits.rice(row)


def read(bits: BitReader, net: ContextNet) -> ContextNet:
    """The network with the changes that `write` wrote, if any.

    Raises
    ------
    FormatError
        If a change is larger than any that makes sense.
    """
    if not bits.number(1):
        return net
    n = net.third.shape[1] + 1
    changes = np.array([bits.rice(n) for _ in range(LOGITS)])
    if np.abs(changes).max() > 2 * LARGEST_WEIGHT:
        raise FormatError("A part changes its context network beyond all bounds: it is damaged.")
    return changed(net, changes.astype(np.int32))


def _slope(logits: Floats, magnitudes: npt.NDArray[np.int32], weights: Floats) -> Floats:
    """Derivative of the weighted code length, in nats, by the logits (n, LOGITS)."""
    p = 1 / (1 + np.exp(-np.clip(logits, -_LARGEST_LOGIT, _LARGEST_LOGIT)))
    out = np.empty_like(logits)
    out[:, 0] = p[:, 0] - (magnitudes > 0)
    out[:, 1] = np.where(magnitudes > 0, p[:, 1] - (magnitudes > 1), 0)
    tail = np.minimum(magnitudes - 2, _LARGEST_TAIL)
    out[:, 2] = np.where(magnitudes > 1, (tail + 1) * p[:, 2] - 1, 0)
    out *= weights[:, None]
    return out


def _bits(logits: Floats, magnitudes: npt.NDArray[np.int32], weights: Floats) -> float:
    """Weighted code length, in bits, at the centres of the buckets that the logits (n, LOGITS) fall into."""
    buckets_a_logit = SUM_SCALE / HALF_LOGIT
    buckets = np.clip(np.floor(logits * buckets_a_logit), -BUCKETS // 2, BUCKETS // 2 - 1)
    centres = (buckets + 0.5) / buckets_a_logit
    cost_one, cost_zero = np.logaddexp(0, -centres), np.logaddexp(0, centres)
    nats = np.where(magnitudes > 0, cost_one[:, 0], cost_zero[:, 0])
    nats += np.where(magnitudes > 0, np.where(magnitudes > 1, cost_one[:, 1], cost_zero[:, 1]), 0)
    nats += np.where(magnitudes > 1, cost_one[:, 2] + np.maximum(magnitudes - 2, 0) * cost_zero[:, 2], 0)
    return float((nats * weights).sum() / np.log(2))
