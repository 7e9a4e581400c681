"""The context network fitted to one image: a few dozen bytes, which pay where a part takes some kilobytes.

Either its last layer, whose three logits are linear in the activations of the layer before, so that this is three logistic
regressions that start from the shipped weights; or, from bitstream version 5 on, the gain and the bias of every unit of the first
layer (`unit_gains`). Adaptation to one image: van Rozendaal, Huijben and Cohen, "Overfitting for fun and profit", ICLR 2021. The
changes are whole numbers and cost their Rice code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from microfield.coding.bits import BitReader, BitWriter
from microfield.errors import FormatError
from microfield.methods.field.code_length import code_length, logit_slopes
from microfield.methods.field.evaluation import Evaluated
from microfield.methods.field.exact import LARGEST_WEIGHT, SUM_SCALE, WEIGHT_SCALE
from microfield.methods.field.features import FEATURE_ONE
from microfield.methods.field.lifting import Floats
from microfield.methods.field.network import LARGEST_BIAS_CHANGE, LOGITS, ContextNet
from microfield.methods.field.unit_gains import Units
from microfield.methods.field.walk import PhaseContext
from microfield.threads import single_threaded_blas

CHANGE_UNIT = 3
"""A change of 1 stands for so many units of a weight of the last layer, 3/128; for a bias the same, 3/128."""
GAINS_A_UNIT = 32
"""A change of the gain of a unit of the first layer is in such parts of 1."""
FIRST_BIAS_UNIT = SUM_SCALE // 16
"""A change of 1 of its bias, as a whole number."""
SAMPLE_SIZE = 30_000
"""Coefficients of each sort, significant or not, that are fitted to, about."""
ADAM_STEPS = 90
LEARNING_RATE = 0.004
"""It falls evenly to a tenth of this."""
_DECAY = (0.9, 0.99)
"""Of Adam's running means of slopes and of squared slopes."""

NONE, LAST, FIRST = range(3)
"""What is changed."""
_SORT_BITS = 2
"""Bits that say so, from bitstream version 5 on; one before."""


class Changes(NamedTuple):
    """Changes of a context network, in whole numbers.

    Attributes
    ----------
    sort : int
        `LAST` or `FIRST`.
    rows : tuple of int32 arrays
        `LAST`: for every logit an array (hidden2 + 1,), changes of weights and then of the bias. `FIRST`: changes of the gains and
        of the biases of the first layer, each (hidden1,), and of the biases of the last layer (LOGITS,).
    """

    sort: int
    rows: tuple[npt.NDArray[np.int32], ...]


@dataclass
class Seen:
    """A sample of coefficients, which the last layer is fitted to.

    Attributes
    ----------
    expected : int
        How many coefficients will be shown in all.
    hidden : list of uint8 arrays (hidden2, k)
        Activations of the layer before the last one.
    inputs : list of uint8 arrays (planes + constants, k)
        What the network is told; only of networks whose first layer may be changed.
    magnitudes : list of int32 arrays (k,)
    weights : list of float32 arrays (k,)
        How many coefficients each of them stands for.
    """

    expected: int
    hidden: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    inputs: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    magnitudes: list[npt.NDArray[np.int32]] = field(default_factory=list)
    weights: list[Floats] = field(default_factory=list)

    def add(self, known: Evaluated, magnitudes: npt.NDArray[np.int32], context: PhaseContext, rows: slice) -> None:
        """Keep some coefficients of a slab: all or every k-th of the significant ones and, apart from these, of the others.

        Parameters
        ----------
        known : Evaluated
            With its activations.
        magnitudes : int32 array (n,)
        context : PhaseContext
        rows : slice
            Of the slab, along the phase's y axis.
        """
        zero_stride = max(1, self.expected // SAMPLE_SIZE)
        zero = np.flatnonzero(magnitudes == 0)[::zero_stride]
        significant = np.flatnonzero(magnitudes)
        # As if the share of significant coefficients were that of this slab everywhere.
        expected = len(significant) * self.expected // max(1, len(magnitudes))
        stride = max(1, expected // SAMPLE_SIZE)
        significant = significant[::stride]
        kept = np.concatenate([significant, zero])
        self.hidden.append(known.hidden(kept).astype(np.uint8))
        if context.signs is not None:
            constants = np.broadcast_to(context.constants[:, None], (len(context.constants), len(kept)))
            self.inputs.append(np.concatenate([context.features(rows)[:, kept], constants]).astype(np.uint8))
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
    magnitudes, weights = np.concatenate(seen.magnitudes), np.concatenate(seen.weights)
    with single_threaded_blas():
        found = [_last_layer(net, seen, magnitudes, weights)]
        if seen.inputs:
            found.append(_first_layer(net, seen, magnitudes, weights))
    best, saved = max(found, key=lambda one: one[1])
    return (best, saved) if saved > 0 else None


def _paid(net: ContextNet, changes: Changes, saved: float) -> tuple[Changes, float]:
    """Changes, and the bits that they save less those that they cost."""
    writer = BitWriter()
    write(writer, changes, net)
    return changes, saved - 8 * len(writer.finish())


def _last_layer(net: ContextNet, seen: Seen, magnitudes: npt.NDArray[np.int32], weights: Floats) -> tuple[Changes, float]:
    """Changes of the last layer, and what they save."""
    hidden = np.ones((len(weights), len(net.second) + 1), np.float32)
    np.divide(np.concatenate(seen.hidden, axis=1).T, np.float32(FEATURE_ONE), out=hidden[:, :-1])
    shipped: Floats = np.concatenate([net.third / WEIGHT_SCALE, net.biases[2][:, None] / SUM_SCALE], axis=1, dtype=np.float32)
    found = _descend(shipped, hidden, magnitudes, weights)
    changes = np.rint((found - shipped) * (WEIGHT_SCALE / CHANGE_UNIT)).astype(np.int32)
    kept = shipped + (changes * (CHANGE_UNIT / WEIGHT_SCALE)).astype(np.float32)
    before, after = (code_length(np.asarray(hidden @ last.T, np.float32), magnitudes, weights) for last in (shipped, kept))
    return _paid(net, Changes(LAST, tuple(changes)), before - after)


def _first_layer(net: ContextNet, seen: Seen, magnitudes: npt.NDArray[np.int32], weights: Floats) -> tuple[Changes, float]:
    """Changes of the gains and biases of the first layer, and what they save."""
    units = Units.of(net, np.concatenate(seen.inputs, axis=1), magnitudes, weights)
    gains, biases, last = units.fitted()
    changes = Changes(FIRST, (np.rint((gains - 1) * GAINS_A_UNIT).astype(np.int32),
                              np.rint(biases * (SUM_SCALE / FIRST_BIAS_UNIT)).astype(np.int32),
                              np.rint(last * (WEIGHT_SCALE / CHANGE_UNIT)).astype(np.int32)))
    kept = (1 + changes.rows[0] / GAINS_A_UNIT, changes.rows[1] * (FIRST_BIAS_UNIT / SUM_SCALE),
            changes.rows[2] * (CHANGE_UNIT / WEIGHT_SCALE))
    after = units.code_length(*(np.asarray(values, np.float32) for values in kept))
    return _paid(net, changes, units.code_length(*units.start()) - after)


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
        slope = logit_slopes(hidden @ found.T, magnitudes, weights * scale).T @ hidden
        first = _DECAY[0] * first + (1 - _DECAY[0]) * slope
        second = _DECAY[1] * second + (1 - _DECAY[1]) * slope**2
        rate = LEARNING_RATE * (1 - 0.9 * i / ADAM_STEPS) * (1 - _DECAY[1] ** i) ** 0.5 / (1 - _DECAY[0] ** i)
        found = found - rate * first / (np.sqrt(second) + 1e-9)
    return found


def changed(net: ContextNet, changes: Changes) -> ContextNet:
    """The network with changes; whole numbers within their limits."""
    last = np.array([row[-1] for row in changes.rows]) if changes.sort == LAST else changes.rows[2]
    of_last = np.clip(CHANGE_UNIT * (SUM_SCALE // WEIGHT_SCALE) * last, -LARGEST_BIAS_CHANGE, LARGEST_BIAS_CHANGE)
    biases = (*net.biases[:2], (net.biases[2] + of_last).astype(np.float32))
    if changes.sort == LAST:
        weights = np.stack(changes.rows)[:, :-1]
        third = np.clip(net.third + CHANGE_UNIT * weights, -LARGEST_WEIGHT, LARGEST_WEIGHT).astype(np.float32)
        return replace(net, third=third, biases=biases)
    gains, of_first = changes.rows[0][:, None] + GAINS_A_UNIT, FIRST_BIAS_UNIT * changes.rows[1]
    planes, constants = (np.clip(np.rint(weights.astype(np.float64) * gains / GAINS_A_UNIT), -LARGEST_WEIGHT, LARGEST_WEIGHT)
                         for weights in (net.planes, net.constants))
    first = net.biases[0] + np.clip(of_first, -LARGEST_BIAS_CHANGE, LARGEST_BIAS_CHANGE)
    return replace(net, planes=planes.astype(np.float32), constants=constants.astype(np.float32),
                   biases=(first.astype(np.float32), *biases[1:]))


def _sort_bits(net: ContextNet) -> int:
    """Bits that say what is changed of a network."""
    return _SORT_BITS if net.features.oriented else 1


def _counts(sort: int, net: ContextNet) -> Sequence[int]:
    """Numbers in every row of changes."""
    return [net.third.shape[1] + 1] * LOGITS if sort == LAST else [len(net.planes)] * 2 + [LOGITS]


def write(bits: BitWriter, changes: Changes | None, net: ContextNet) -> None:
    """Write what is changed of a network, and then the changes row by row as Rice codes."""
    bits.number(NONE if changes is None else changes.sort, _sort_bits(net))
    for row in () if changes is None else changes.rows:
        bits.rice(row.tolist())


def read(bits: BitReader, net: ContextNet) -> ContextNet:
    """The network with the changes that `write` wrote, if any.

    Raises
    ------
    FormatError
        If a change is larger than any that makes sense.
    """
    sort = bits.number(_sort_bits(net))
    if sort == NONE:
        return net
    if sort > FIRST:
        raise FormatError("A part changes its context network in a way that this version does not know.")
    rows = [np.array(bits.rice(n)) for n in _counts(sort, net)]
    if max(np.abs(row).max() for row in rows) > 2 * LARGEST_WEIGHT:
        raise FormatError("A part changes its context network beyond all bounds: it is damaged.")
    return changed(net, Changes(sort, tuple(row.astype(np.int32) for row in rows)))
