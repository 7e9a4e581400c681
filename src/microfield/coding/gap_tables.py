"""Probability tables of the gaps between rarer bits: one table for every quarter logit of the rarer bit.

A gap has the geometric distribution of its rarer bit's probability ``p``. Its low bits, as many as keep
``p << bits <= 0.15``, are almost uniform and stored raw. What remains of the gap is a symbol of a fixed table, whose last
symbol, the *escape*, says "at least this many, and more follows".
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from microfield.coding.range_coder import PRECISION
from microfield.coding.tables import Tables, cumulate, frequencies

__all__ = ["BUCKETS", "ROWS", "GapTables", "gap_tables", "rows_of", "symbol_ratios"]

BUCKETS = 32
"""Quantised logits that a decision can have."""

ROWS = 42
"""Tables: rarer bits of logit -9.75, -9.5, ... 0.5. From 0.5 on a gap could cost next to nothing."""

_ROW_OF_LOGIT_0 = 39

_NOMINAL = _ROW_OF_LOGIT_0 - np.abs(2 * np.arange(BUCKETS) - (BUCKETS - 1))
"""Table of each bucket, shape (32,): the centre of bucket b is the logit (2 b - 31) / 4."""

_LARGEST_RAW_PROBABILITY = 0.15
"""The low bits of a gap are stored raw while the chance that they hold its rarer bit is below this."""

_SYMBOLS = 64
"""Symbols of a table, the escape among them."""

_FIRST_WEIGHT, _LAST_WEIGHT = 1 << 30, 1 << 18
"""Weight of the commonest symbol, and the weight at which a table ends: rarer symbols would only waste frequencies of 1."""

_RATIO_BITS = 24
"""Ratios of probabilities are whole numbers of 2**-24."""

_Int64s = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


class GapTables(NamedTuple):
    """The codes of gaps by row, that is by logit of the rarer bit; arrays of shape (ROWS,).

    Attributes
    ----------
    tables : Tables
        Frequencies of the symbols.
    raw_bits : int64 array
        How many low bits of a gap are stored as they are.
    escape : int64 array
        The symbol that says "at least this many".
    rarer_cost, likelier_cost : float64 arrays
        Bits that a rarer and a likelier bit cost, for the choice of shifts.
    least_cost : float64 array
        Bits that every gap costs at least.
    """

    tables: Tables
    raw_bits: _Int64s
    escape: _Int64s
    rarer_cost: _Floats
    likelier_cost: _Floats
    least_cost: _Floats


@cache
def gap_tables() -> GapTables:
    """All codes, in whole numbers after one rounding each, which is nowhere near a tie (tested)."""
    logits = (np.arange(ROWS) - _ROW_OF_LOGIT_0) / 4
    p = 1 / (1 + np.exp(-logits))
    raw_bits = np.maximum(np.floor(np.log2(_LARGEST_RAW_PROBABILITY / p)), 0).astype(np.int64)
    weights = np.zeros((ROWS, _SYMBOLS), np.int64)
    escape = np.zeros(ROWS, np.int64)
    for row, ratio in enumerate(symbol_ratios(p, raw_bits).round().astype(int).tolist()):
        row_weights = _geometric_weights(ratio)
        weights[row, : len(row_weights)] = row_weights
        escape[row] = len(row_weights) - 1
    freq = frequencies(weights)
    least_cost = raw_bits + PRECISION - np.log2(freq.max(1))
    return GapTables(Tables(cumulate(freq)), raw_bits, escape, np.logaddexp2(0, -logits / np.log(2)),
                     np.logaddexp2(0, logits / np.log(2)), least_cost)


def symbol_ratios(p: _Floats, raw_bits: _Int64s) -> _Floats:
    """Probability of a symbol over that of the symbol before it, in units of 2**-24, for rarer bits of probability ``p``."""
    return (1 - p) ** (1 << raw_bits) * 2.0**_RATIO_BITS


def rows_of(shifts: _Int64s) -> _Int64s:
    """Table of every bucket, shape (..., 32), when its logit is off the nominal one by ``shifts`` quarter logits."""
    return np.clip(_NOMINAL + shifts, 0, ROWS - 1)


def _geometric_weights(ratio: int) -> list[int]:
    """Weights of the symbols of one table, the last one that of the escape: the sum of all that would follow it."""
    weights: list[int] = []
    weight = _FIRST_WEIGHT
    while len(weights) < _SYMBOLS - 1 and weight > _LAST_WEIGHT:
        weights.append(weight)
        weight = weight * ratio >> _RATIO_BITS
    return [*weights, (weight << _RATIO_BITS) // ((1 << _RATIO_BITS) - ratio)]
