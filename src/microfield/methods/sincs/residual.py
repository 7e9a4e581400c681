"""A group's quantised weights as bytes: their differences to an earlier group's, coded with models that adapt along the chain.

Every tensor of a group has a table of the family of `microfield.coding.weights`, named by its spread and shape. At the beginning of
a chain both are stored; later groups store how they differ from those of their ancestor, which takes a bit or two. All of it is
arithmetic of whole numbers, so that every machine decodes the same weights.

Spreads that follow single weights, their rows or their columns from group to group were tried: they took 1 % more bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from microfield.coding.range_coder import PRECISION, Decoder, Encoder, Tables, cumulate, frequencies, lanes_for
from microfield.coding.weights import SHAPES, SPREADS, bell, best_table, raw_bits, split
from microfield.errors import FormatError

Ints = npt.NDArray[np.int64]

Codes = tuple[int, ...]
"""The table of every tensor, ``shape + 3 * spread``."""

SPREAD_BITS, SHAPE_BITS = 6, 2
"""Bits of a table at the beginning of a chain."""

_CHANGES = Tables(cumulate(np.stack([
    frequencies(np.asarray([1 << max(0, 14 - 2 * min(d, SPREADS - d)) for d in range(SPREADS)], np.int64)),
    frequencies(np.asarray([16, 3, 3] + [0] * (SPREADS - SHAPES), np.int64)),
])))
"""Models of how spread (modulo `SPREADS`, row 0) and shape (modulo `SHAPES`, row 1) differ from the ancestor's."""

_TABLE_BITS = 3
"""About the bits that a table of a later group takes."""


def estimated(differences: Sequence[Ints], first: bool) -> tuple[Codes, float]:
    """Tables for the differences of a group, and about how many bits it takes; ``first`` says whether it begins a chain.

    Raises
    ------
    OverflowError
        A difference is larger than any table holds.
    """
    found = [best_table(d.ravel()) for d in differences]
    each = SPREAD_BITS + SHAPE_BITS if first else _TABLE_BITS
    return tuple(code for code, _ in found), sum(bits + each for _, bits in found) + 8


def encode(differences: Sequence[Ints], before: Codes | None) -> tuple[bytes, Codes]:
    """Differences of a group, one array a tensor, as bytes; and its tables.

    ``before`` are the tables of the ancestor, None at the beginning of a chain.
    """
    codes, _ = estimated(differences, before is None)
    encoder = Encoder(_lanes(sum(d.size for d in differences)))
    if before is None:
        for code in codes:
            encoder.put_bits(np.asarray([code // SHAPES]), SPREAD_BITS)
            encoder.put_bits(np.asarray([code % SHAPES]), SHAPE_BITS)
    else:
        changes = [((c // SHAPES - b // SHAPES) % SPREADS, (c - b) % SHAPES) for c, b in zip(codes, before, strict=True)]
        encoder.put_symbols(np.ravel(changes), _CHANGES, np.tile([0, 1], len(codes)))
    pieces = [split(d.ravel(), raw_bits(c)) for d, c in zip(differences, codes, strict=True)]
    tables, centre = _tables(codes)
    rows = np.repeat(np.arange(len(codes)), [d.size for d in differences])
    encoder.put_symbols(np.concatenate([high for high, _ in pieces]) + centre[rows], tables, rows)
    for (_, low), code in zip(pieces, codes, strict=True):
        if raw_bits(code):
            encoder.put_bits(low, raw_bits(code))
    return encoder.finish(), codes


def decode(data: bytes, sizes: Sequence[int], before: Codes | None) -> tuple[list[Ints], Codes]:
    """Inverse of `encode`, given how many weights every tensor has.

    Raises
    ------
    FormatError
        The bytes are not such a stream.
    """
    decoder = Decoder(data, _lanes(sum(sizes)))
    if before is None:
        pairs = [(int(decoder.get_bits(1, SPREAD_BITS)[0]), int(decoder.get_bits(1, SHAPE_BITS)[0])) for _ in sizes]
        if any(shape >= SHAPES for _, shape in pairs):
            raise FormatError("the weights name a table that does not exist.")
    else:
        changes = decoder.get(_CHANGES, np.tile([0, 1], len(sizes))).reshape(-1, 2).tolist()
        pairs = [((s + b // SHAPES) % SPREADS, (a + b) % SHAPES) for (s, a), b in zip(changes, before, strict=True)]
    codes = tuple(shape + SHAPES * spread for spread, shape in pairs)
    tables, centre = _tables(codes)
    rows = np.repeat(np.arange(len(codes)), sizes)
    pieces = np.split(decoder.get(tables, rows).astype(np.int64) - centre[rows], np.cumsum(sizes)[:-1])
    for i, code in enumerate(codes):
        if k := raw_bits(code):
            pieces[i] = (pieces[i] << k) + decoder.get_bits(sizes[i], k) - (1 << k >> 1)
    decoder.finish()
    return list(pieces), codes


def _tables(codes: Codes) -> tuple[Tables, Ints]:
    """The table of every tensor, and the symbol that is 0 in each."""
    found = [bell(code).astype(np.int64) for code in codes]
    cumulative = np.full((len(found), max(t.size for t in found) + 1), 1 << PRECISION, np.int64)
    for row, table in zip(cumulative, found, strict=True):
        row[: table.size + 1] = np.concatenate(([0], np.cumsum(table)))
    return Tables(cumulative), np.asarray([t.size // 2 for t in found], np.int64)


def _lanes(n_weights: int) -> int:
    """Lanes of a stream, from the number of weights alone: about 0.6 byte per weight."""
    return lanes_for(n_weights * 3 // 5)
