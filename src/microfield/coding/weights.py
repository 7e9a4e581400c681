"""Quantised weights to bytes: a static integer model per group of tensors, then the range coder.

Weights of a fitted sine network are symmetric around zero, between Gaussian and Laplacian. Every group is coded with one
of a family of such tables, named by one byte, and the tables are built in integer arithmetic alone, so that every machine
decodes the same weights. Quantiser steps are named by one byte too: sixteen per octave.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from microfield.coding.range_coder import PRECISION, Decoder, Encoder, frequencies, lanes_for
from microfield.errors import FormatError

Ints = npt.NDArray[np.int64]

SHAPES = 3
"""Shapes of a table: 0 is a Gaussian, 2 a Laplacian, 1 lies between them."""

SPREADS = 64
"""Widths of a table: spread s stands for a standard deviation of 2^(s / 4 - 4) quantiser steps."""

STEP_CODES = 256
"""Codes of quantiser steps, one byte: sixteen per octave."""

_OCTAVE = tuple(
    np.float32(m) for m in (
        1.0, 1.0442737, 1.0905077, 1.1387886, 1.1892071, 1.2418578, 1.2968396, 1.3542556,
        1.4142135, 1.4768262, 1.5422108, 1.6104903, 1.6817929, 1.7562522, 1.8340081, 1.915206,
    )
)
"""The sixteen steps from 1 to 2, as float32 constants: 2^(k / 16)."""


def step_size(code: int) -> np.float32:
    """Quantiser step named by a code 0..255: 2^(code / 16 - 14), from 6e-5 to 3.8, exact on every machine."""
    return np.float32(np.ldexp(_OCTAVE[code % 16], code // 16 - 14))


def step_code(step: float) -> int:
    """Code of the step nearest to ``step`` on the logarithmic scale."""
    return int(np.clip(round(16 * (np.log2(step) + 14)), 0, STEP_CODES - 1))


_ONE = 1 << 24
"""The fixed-point number 1 of the integer arithmetic that builds tables."""


@lru_cache(maxsize=1024)
def bell(code: int, least: int = 0) -> npt.NDArray[np.uint32]:
    """Frequencies of the symbols -K..K of one table, summing to 2^PRECISION; K is ``least`` or more.

    Parameters
    ----------
    code : int
        ``shape + 3 * spread``. The weight of k + 1 is that of k times a ratio which itself shrinks by a constant factor:
        a constant ratio gives a Laplacian, a ratio that starts near one and shrinks a Gaussian. Exponentials are
        replaced by 1 / (1 + x), which integers can do exactly. K is 6 (Gaussian) to 12 (Laplacian) deviations.
        Where low bits are stored raw, the table is that of the weights without them.
    """
    spread, shape = divmod(code, SHAPES)
    if not 0 <= spread < SPREADS:
        raise FormatError(f"weight table {code} does not exist.")
    # Variance in 1/2^24 of a squared step: 2^(spread / 2 - 8), by shifts and one constant for the odd codes.
    half, odd = divmod(spread - 4 * raw_bits(code), 2)
    variance = ((46341 if odd else 32768) << (half + 9)) >> 8
    gauss = (2, 1, 0)[shape]
    deviation = math.isqrt(variance << 24)
    # Gaussian: ratio e^(-1/(2 v)) falling by e^(-1/v); Laplacian: ratio e^(-sqrt(2)/d); the middle takes half of each.
    ratio = _ONE * _ONE // (_ONE + gauss * (_ONE * _ONE // (4 * variance)) + (2 - gauss) * (23726566 * _ONE // (2 * deviation)))
    fall = _ONE * _ONE // (_ONE + gauss * (_ONE * _ONE // (2 * variance)))
    reach = max(least, min(2047, 2 + (6 + 3 * shape) * deviation // _ONE))
    weights = [1 << 28]
    for _ in range(reach):
        weights.append(max(1, weights[-1] * ratio // _ONE))
        ratio = ratio * fall // _ONE
    return frequencies(np.asarray(weights[:0:-1] + weights, np.int64)).astype(np.uint32)


@lru_cache(maxsize=1024)
def _code_lengths(code: int, least: int = 0) -> npt.NDArray[np.float64]:
    """Bits of the symbols -K..K of one table; K is ``least`` or more."""
    return PRECISION - np.log2(bell(code, least).astype(np.float64))


def raw_bits(code: int) -> int:
    """Low bits of every weight that are stored as they are: at large spreads they are noise, and tables stay short."""
    return max(0, (code // SHAPES - 37) // 4)


def split(values: Ints, k: int) -> tuple[Ints, Ints]:
    """Weights split into what the table codes and their ``k`` raw low bits."""
    shifted = values + ((1 << k) >> 1)
    return shifted >> k, shifted & ((1 << k) - 1)


def best_table(values: Ints, below: int = SHAPES * SPREADS, least: int = 0) -> tuple[int, float]:
    """The table of a code less than ``below`` that codes ``values`` in the fewest bits, and these bits.

    Tables reach ``least`` or further.

    Raises
    ------
    OverflowError
        If a value is larger than any table holds.
    """
    if values.size == 0:
        return 0, 0.0
    # Tables are judged on the histogram, so that their number hardly matters.
    levels, counts = _histogram(values)
    deviation = max(float(np.sqrt(counts @ levels.astype(np.float64) ** 2 / values.size)), 1e-3)
    middle = int(np.clip(round(4 * (np.log2(deviation) + 4)), 0, SPREADS - 1))
    # A Laplacian reaches 12 deviations: a few large values among many zeros need one far wider than their own deviation.
    widest = max(middle + 12, math.ceil(4 * (math.log2(max(int(np.abs(levels[[0, -1]]).max()), 1) / 12) + 4)) + 2)
    best = (0, np.inf)
    for code in range(min(SHAPES * max(0, middle - 4), below - SHAPES), min(SHAPES * min(SPREADS, widest), below)):
        k = raw_bits(code)
        high, _ = split(levels, k)
        lengths = _code_lengths(code, least)
        reach = lengths.size // 2
        if reach >= np.abs(high[[0, -1]]).max():
            bits = float(counts @ lengths[reach + high]) + k * values.size
            if bits < best[1]:
                best = (code, bits)
    if best[1] == np.inf:
        raise OverflowError(f"a quantised weight of {np.abs(values).max()} steps is larger than any table holds.")
    return best


def _histogram(values: Ints) -> tuple[Ints, Ints]:
    """The distinct values in ascending order, and how often each occurs."""
    lowest, highest = int(values.min()), int(values.max())
    if highest - lowest > 1 << 22:
        return np.unique(values, return_counts=True)
    counts = np.bincount(values - lowest)
    used = np.flatnonzero(counts)
    return used + lowest, counts[used]


def estimate_bits(groups: Sequence[Ints]) -> float:
    """Bits that `encode` needs for the groups, without the few bytes that the range coder itself adds."""
    return sum(8 + best_table(g)[1] for g in groups)


def encode(groups: Sequence[Ints]) -> bytes:
    """Groups of quantised weights to bytes.

    One table byte per group, then one range-coded stream: the symbols of all groups in one batch, then the raw low bits
    of each group that has any.
    """
    codes = [best_table(g)[0] for g in groups]
    encoder = Encoder(_lanes(sum(g.size for g in groups)))
    starts, freqs, raw = [], [], []
    for values, code in zip(groups, codes, strict=True):
        table = bell(code).astype(np.int64)
        high, low = split(values, raw_bits(code))
        symbols = high + table.size // 2
        starts.append((np.cumsum(table) - table)[symbols])
        freqs.append(table[symbols])
        raw.append((low, raw_bits(code)))
    encoder.put(np.concatenate(starts), np.concatenate(freqs))
    for low, k in raw:
        if k:
            encoder.put_bits(low, k)
    return bytes(codes) + encoder.finish()


def decode(data: bytes, sizes: Sequence[int]) -> list[Ints]:
    """Inverse of `encode`: the groups, given how many weights each holds.

    Raises
    ------
    FormatError
        If the bytes are not such a stream.
    """
    codes = data[: len(sizes)]
    if len(codes) < len(sizes):
        raise FormatError("the weights are cut short.")
    if any(code >= SHAPES * SPREADS for code in codes):
        raise FormatError("the weights name a table that does not exist.")
    tables = [bell(code).astype(np.int64) for code in codes]
    longest = max(t.size for t in tables)
    cumulative = np.full((len(tables), longest + 1), 1 << PRECISION, np.int64)
    for row, table in zip(cumulative, tables, strict=True):
        row[: table.size + 1] = np.concatenate(([0], np.cumsum(table)))
    decoder = Decoder(data[len(sizes) :], _lanes(sum(sizes)))
    which = np.repeat(np.arange(len(sizes)), sizes)
    symbols = decoder.get(cumulative, which).astype(np.int64)
    centre = np.asarray([t.size // 2 for t in tables], np.int64)
    groups = np.split(symbols - centre[which], np.cumsum(sizes)[:-1])
    for i, code in enumerate(codes):
        if k := raw_bits(code):
            low = decoder.get_bits(sizes[i], k).astype(np.int64)
            groups[i] = (groups[i] << k) + low - (1 << k >> 1)
    decoder.finish()
    return groups


def _lanes(n_weights: int) -> int:
    """Lanes of a stream of weights, from their number alone, so that nothing is stored: about 0.8 byte per weight."""
    return lanes_for(n_weights * 4 // 5)
