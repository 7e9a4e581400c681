"""A group's quantised weights as bytes: their differences to an earlier group's, coded with models that adapt along the chain.

Every tensor of a group has a table of the family of `microfield.coding.weights`, named by its spread and shape; both are coded as
differences to those of the ancestor. Within a tensor the spread of every weight is moved by what the differences of the same weight,
and of the same row and column, were in the groups before it: weights that moved much move much again. All of it is arithmetic of
whole numbers, so that every machine decodes the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from microfield.coding.range_coder import PRECISION, Decoder, Encoder, Tables, cumulate, frequencies, lanes_for
from microfield.coding.weights import SHAPES, SPREADS, bell, raw_bits, split
from microfield.errors import FormatError

Ints = npt.NDArray[np.int64]

MOVES = 6
"""The spread of a weight is at most so many quarters of an octave from its tensor's."""

MEMORY = 2
"""The mean of earlier differences keeps 1 - 2^-MEMORY of itself from one group to the next."""

FINE = 6
"""Means of differences are whole numbers of 2^-FINE quantiser steps."""

WIDEST = 40
"""The widest table without raw low bits."""

LARGEST = 1 << 20
"""Differences count at most this much in means."""

_THRESHOLDS = np.asarray([round(1024 * 2.0 ** ((k + 0.5) / 4)) for k in range(-MOVES, MOVES)], np.int64)
"""Ratios, in 1/1024, of a weight's mean to its tensor's, between which the spread moves by one."""

_TABLE_MODELS = Tables(cumulate(np.stack([
    frequencies(np.asarray([1 << max(0, 14 - 2 * min(d, SPREADS - d)) for d in range(SPREADS)], np.int64)),
    frequencies(np.asarray([16, 3, 3] + [0] * (SPREADS - SHAPES), np.int64)),
])))
"""Models of how spread (modulo `SPREADS`) and shape (modulo `SHAPES`) differ from the ancestor's; row 0 falls by 2 bits a step."""


@dataclass(frozen=True)
class Model:
    """What a chain of groups has learned up to a group.

    Attributes
    ----------
    means : tuple of int arrays of shape (rows, columns), per tensor
        Mean size of the differences of every weight, in 2^-`FINE` steps; None before there was a difference.
    codes : tuple of int, per tensor
        Table of the last group, ``shape + 3 * spread``; None at the beginning of a chain.
    """

    means: tuple[Ints, ...] | None = None
    codes: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Coded:
    """Differences of a group, modelled: per tensor the table, and for every weight by how much its spread moves from it."""

    codes: tuple[int, ...]
    bits: float


def moves(model: Model, sizes: Sequence[tuple[int, int]]) -> list[Ints]:
    """By how many quarters of an octave the spread of every weight differs from its tensor's: one array of (rows, columns) a tensor."""
    if model.means is None:
        return [np.zeros(size, np.int64) for size in sizes]
    found = []
    for mean in model.means:
        total = max(1, int(mean.sum()))
        # The weight itself, its row and its column, and the tensor, which keeps the estimate from 0.
        near = mean + mean.sum(1, keepdims=True) // mean.shape[1] + mean.sum(0, keepdims=True) // mean.shape[0]
        whole = -(-total // mean.size)
        found.append(np.searchsorted(_THRESHOLDS, (near + whole) * 1024 // (4 * whole)) - MOVES)
    return found


def learned(model: Model, differences: Sequence[Ints], codes: tuple[int, ...]) -> Model:
    """The model after a group with these differences."""
    size = [np.minimum(np.abs(d), LARGEST) << FINE for d in differences]
    if model.means is None:
        return Model(tuple(size), codes)
    return Model(tuple(m + ((s - m) >> MEMORY) for m, s in zip(model.means, size, strict=True)), codes)


# -- estimates ------------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=SHAPES)
def _lengths(shape: int) -> npt.NDArray[np.float32]:
    """Bits of the values 0, 1, 2, ... (as of their negatives) in every table of a shape: (SPREADS, values), infinite beyond."""
    rows = [PRECISION - np.log2(bell(shape + SHAPES * s)[len(bell(shape + SHAPES * s)) // 2 :].astype(np.float64))
            for s in range(SPREADS)]
    out = np.full((SPREADS, max(r.size for r in rows) + 1), np.inf, np.float32)
    for row, bits in zip(out, rows, strict=True):
        row[: bits.size] = bits
    return out


def best_table(values: Ints, moved: Ints) -> tuple[int, float]:
    """The table that codes differences in the fewest bits, and these bits; ``moved`` is what `moves` says of each.

    Raises
    ------
    OverflowError
        A difference is larger than any table holds.
    """
    # Sizes of weights whose spread moves are counted in the unit of their tensor.
    relative = np.abs(values) / np.exp2(moved / 4)
    deviation = max(float(np.sqrt(np.mean(relative**2))), 1e-3)
    middle = int(np.clip(round(4 * (np.log2(deviation) + 4)), 0, SPREADS - 1))
    best = (0, np.inf)
    for spread in range(max(0, middle - 3), min(SPREADS, middle + 7)):
        k = raw_bits(SHAPES * spread)
        high, _ = split(values, k)
        row = _rows(spread, moved)
        for shape in range(SHAPES):
            lengths = _lengths(shape)
            bits = float(lengths[row, np.minimum(np.abs(high), lengths.shape[1] - 1)].sum(dtype=np.float64)) + k * values.size
            if bits < best[1]:
                best = (shape + SHAPES * spread, bits)
        if best[1] < np.inf and spread > middle + 2:
            break
    if best[1] == np.inf:
        raise OverflowError(f"a difference of {np.abs(values).max()} steps is larger than any table holds.")
    return best


def _rows(spread: int, moved: Ints) -> Ints:
    """Spread of the table of every weight, raw low bits taken off."""
    return np.clip(spread - 4 * raw_bits(SHAPES * spread) + moved, 0, WIDEST)


def modelled(differences: Sequence[Ints], moved: Sequence[Ints]) -> Coded:
    """Tables for the differences of a group, and about how many bits it takes."""
    found = [best_table(d, m) for d, m in zip(differences, moved, strict=True)]
    return Coded(tuple(code for code, _ in found), sum(bits for _, bits in found) + 4 * len(found) + 8)


# -- bytes ----------------------------------------------------------------------------------------------------------------------


def encode(differences: Sequence[Ints], model: Model) -> tuple[bytes, Model]:
    """Differences of a group, one array of (rows, columns) a tensor, as bytes; and the model after it."""
    moved = moves(model, [(d.shape[0], d.shape[1]) for d in differences])
    codes = modelled(differences, moved).codes
    encoder = Encoder(_lanes(sum(d.size for d in differences)))
    now, before = _pairs(codes), _pairs(model.codes or (0,) * len(codes))
    if model.codes is None:
        for spread, shape in now:
            encoder.put_bits(np.asarray([spread]), 6)
            encoder.put_bits(np.asarray([shape]), 2)
    else:
        changed = np.asarray([[(s - t) % SPREADS, (a - b) % SHAPES] for (s, a), (t, b) in zip(now, before, strict=True)])
        encoder.put_symbols(changed.ravel(), _TABLE_MODELS, np.tile([0, 1], len(now)))
    flat = [split(d.ravel(), raw_bits(c)) for d, c in zip(differences, codes, strict=True)]
    tables, rows, centre = _weight_tables(codes, moved)
    symbols = np.concatenate([high for high, _ in flat])
    encoder.put_symbols(symbols + centre[rows], tables, rows)
    for (_, low), code in zip(flat, codes, strict=True):
        if raw_bits(code):
            encoder.put_bits(low, raw_bits(code))
    return encoder.finish(), learned(model, differences, codes)


def decode(data: bytes, sizes: Sequence[tuple[int, int]], model: Model) -> tuple[list[Ints], Model]:
    """Inverse of `encode`, given the extents (rows, columns) of every tensor.

    Raises
    ------
    FormatError
        The bytes are not such a stream.
    """
    decoder = Decoder(data, _lanes(sum(r * c for r, c in sizes)))
    if model.codes is None:
        pairs = [(int(decoder.get_bits(1, 6)[0]), int(decoder.get_bits(1, 2)[0])) for _ in sizes]
        if any(shape >= SHAPES for _, shape in pairs):
            raise FormatError("the weights name a table that does not exist.")
    else:
        changed = decoder.get(_TABLE_MODELS, np.tile([0, 1], len(sizes))).reshape(-1, 2).tolist()
        pairs = [((s + t) % SPREADS, (a + b) % SHAPES) for (s, a), (t, b) in zip(changed, _pairs(model.codes), strict=True)]
    codes = tuple(shape + SHAPES * spread for spread, shape in pairs)
    tables, rows, centre = _weight_tables(codes, moves(model, sizes))
    values = decoder.get(tables, rows).astype(np.int64) - centre[rows]
    pieces = np.split(values, np.cumsum([r * c for r, c in sizes])[:-1])
    for i, code in enumerate(codes):
        if k := raw_bits(code):
            pieces[i] = (pieces[i] << k) + decoder.get_bits(pieces[i].size, k) - (1 << k >> 1)
    decoder.finish()
    differences = [p.reshape(size) for p, size in zip(pieces, sizes, strict=True)]
    return differences, learned(model, differences, codes)


def _pairs(codes: Sequence[int]) -> list[tuple[int, int]]:
    """(spread, shape) of tables."""
    return [divmod(code, SHAPES) for code in codes]


def _weight_tables(codes: Sequence[int], moved: Sequence[Ints]) -> tuple[Tables, Ints, Ints]:
    """The tables of a group, the row of every weight in them, and the symbol that is 0 in every row."""
    names = [_rows(spread, m).ravel() * SHAPES + shape for (spread, shape), m in zip(_pairs(codes), moved, strict=True)]
    used, rows = np.unique(np.concatenate(names), return_inverse=True)
    found = [bell(int(code)).astype(np.int64) for code in used]
    cumulative = np.full((len(found), max(t.size for t in found) + 1), 1 << PRECISION, np.int64)
    for row, table in zip(cumulative, found, strict=True):
        row[: table.size + 1] = np.concatenate(([0], np.cumsum(table)))
    return Tables(cumulative), rows.reshape(-1).astype(np.int64), np.asarray([t.size // 2 for t in found], np.int64)


def _lanes(n_weights: int) -> int:
    """Lanes of a stream, from the number of weights alone: about 0.6 byte per weight."""
    return lanes_for(n_weights * 3 // 5)
