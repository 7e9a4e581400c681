"""The last layer of the context network, fitted to one image: a few dozen bytes that pay from some kilobytes on.

Its three logits are linear in the activations of the layer before, so this is three logistic regressions that start from the
shipped weights (adaptation to one image: van Rozendaal, Huijben and Cohen, "Overfitting for fun and profit", ICLR 2021).
The changes are whole numbers and cost their Rice code.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from microfield.coding.bits import BitReader, BitWriter
from microfield.errors import FormatError
from microfield.methods.field.lifting import Floats
from microfield.methods.field.network import HALF_LOGIT, LIMIT, MOST_CHANGE, SUM, WEIGHT, ContextNet
from microfield.threads import single_threaded_blas

UNIT = 3
"""Changes are multiples of so many 1 / `WEIGHT`; of biases 32 times that, in 1 / `SUM`."""
MOST = 30_000
"""Coefficients that are looked at, about."""
STEPS = 90
RATE = 0.004
_DECAY = (0.9, 0.99)

Changes = npt.NDArray[np.int32]
"""Shape (3, hidden + 1), the biases last."""


@dataclass
class Seen:
    """A sample of coefficients: what the last layer saw, and what they were.

    Attributes
    ----------
    expected : int
        How many coefficients there will be in all.
    """

    expected: int
    hidden: list[Floats] = field(default_factory=list)
    magnitudes: list[npt.NDArray[np.int32]] = field(default_factory=list)
    weights: list[Floats] = field(default_factory=list)

    def add(self, hidden: Floats, magnitudes: npt.NDArray[np.int32]) -> None:
        """Look at a slab: activations (hidden, n) and magnitudes (n,). Half of what is kept is not zero, where there is enough."""
        kept = np.flatnonzero(magnitudes)
        every = max(1, self.expected // (MOST // 2))
        idle = np.flatnonzero(magnitudes == 0)[:: every]
        some = max(1, 8 * len(kept) * self.expected // max(1, len(magnitudes)) // (MOST * 8))
        kept = kept[::some]
        k = np.concatenate([kept, idle])
        self.hidden.append(hidden[:, k])
        self.magnitudes.append(magnitudes[k])
        self.weights.append(np.concatenate([np.full(len(kept), some), np.full(len(idle), every)]).astype(np.float32))


def tuned(net: ContextNet, seen: Seen) -> tuple[Changes, float] | None:
    """Changes of the last layer, and the bits they save, their own included; None where they do not.

    Adam (Kingma and Ba, 2015) on the weighted code length, all samples at every step.
    """
    if not seen.hidden:
        return None
    seen_hidden = np.concatenate(seen.hidden, axis=1).T / np.float32(32)
    hidden: Floats = np.concatenate([seen_hidden, np.ones((len(seen_hidden), 1), np.float32)], axis=1, dtype=np.float32)
    magnitudes, weights = np.concatenate(seen.magnitudes), np.concatenate(seen.weights)
    shipped: Floats = np.concatenate([net.third / WEIGHT, net.biases[2][:, None] / SUM], axis=1, dtype=np.float32)
    with single_threaded_blas():
        found = _descend(shipped, hidden, magnitudes, weights)
    changes: Changes = np.rint((found - shipped) * (WEIGHT / UNIT)).astype(np.int32)
    kept = shipped + (changes * (UNIT / WEIGHT)).astype(np.float32)
    before, after = (_bits(np.asarray(hidden @ last.T, np.float32), magnitudes, weights) for last in (shipped, kept))
    writer = BitWriter()
    write(writer, changes)
    saved = before - after - 8 * len(writer.finish())
    return (changes, saved) if saved > 0 else None


def _descend(found: Floats, hidden: Floats, magnitudes: npt.NDArray[np.int32], weights: Floats) -> Floats:
    """Weights of the last layer after `STEPS` steps."""
    scale = np.float32(1 / weights.sum())
    first, second = np.zeros_like(found), np.zeros_like(found)
    for i in range(1, STEPS + 1):
        slope = _slope(hidden @ found.T, magnitudes, weights * scale).T @ hidden
        first = _DECAY[0] * first + (1 - _DECAY[0]) * slope
        second = _DECAY[1] * second + (1 - _DECAY[1]) * slope**2
        rate = RATE * (1 - 0.9 * i / STEPS) * (1 - _DECAY[1] ** i) ** 0.5 / (1 - _DECAY[0] ** i)
        found = found - rate * first / (np.sqrt(second) + 1e-9)
    return found


def changed(net: ContextNet, changes: Changes) -> ContextNet:
    """The network with its last layer changed, in whole numbers."""
    third = np.clip(net.third + UNIT * changes[:, :-1], -LIMIT, LIMIT).astype(np.float32)
    bias = (net.biases[2] + np.clip(UNIT * (SUM // WEIGHT) * changes[:, -1], -MOST_CHANGE, MOST_CHANGE)).astype(np.float32)
    return replace(net, third=third, biases=(*net.biases[:2], bias))


def write(bits: BitWriter, changes: Changes | None) -> None:
    """A bit whether there are changes, then they, logit by logit."""
    bits.number(int(changes is not None), 1)
    if changes is not None:
        for row in changes.tolist():
            bits.rice(row)


def read(bits: BitReader, net: ContextNet) -> ContextNet:
    """The network as the file has it."""
    if not bits.number(1):
        return net
    n = net.third.shape[1] + 1
    changes = np.array([bits.rice(n) for _ in range(3)])
    if np.abs(changes).max() > 2 * LIMIT:
        raise FormatError("A part changes its context network beyond all bounds: it is damaged.")
    return changed(net, changes.astype(np.int32))


def _slope(logits: Floats, magnitudes: npt.NDArray[np.int32], weights: Floats) -> Floats:
    """Derivative of the weighted code length (in nats) by the logits."""
    p = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
    out = np.empty_like(logits)
    out[:, 0] = p[:, 0] - (magnitudes > 0)
    out[:, 1] = np.where(magnitudes > 0, p[:, 1] - (magnitudes > 1), 0)
    tail = np.minimum(magnitudes - 2, 40)
    out[:, 2] = np.where(magnitudes > 1, (tail + 1) * p[:, 2] - 1, 0)
    out *= weights[:, None]
    return out


def _bits(logits: Floats, magnitudes: npt.NDArray[np.int32], weights: Floats) -> float:
    """Weighted code length with logits rounded as buckets round them."""
    half = SUM / HALF_LOGIT
    centres = (np.clip(np.floor(logits * half), -16, 15) + 0.5) / half
    cost_one, cost_zero = np.logaddexp(0, -centres), np.logaddexp(0, centres)
    nats = np.where(magnitudes > 0, cost_one[:, 0], cost_zero[:, 0])
    nats += np.where(magnitudes > 0, np.where(magnitudes > 1, cost_one[:, 1], cost_zero[:, 1]), 0)
    nats += np.where(magnitudes > 1, cost_one[:, 2] + np.maximum(magnitudes - 2, 0) * cost_zero[:, 2], 0)
    return float((nats * weights).sum() / np.log(2))
