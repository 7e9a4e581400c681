"""Gaps between rarer decisions as bytes: the head that tells their numbers, their tables, and the range coder over all of them.

The stream of `microfield.coding.decisions` is ``head | range-coded gaps``. The head is a string of bits, filled up with zeros
to whole bytes:

- log2 of the lanes;
- for every kind a bit (used or not), the first and the last used bucket in 5 bits each, for each bucket between the
  number of its gaps: its length in bits as the difference from the bucket before, then the bits below the highest;
- a bit, whether the real frequencies differ from the nominal ones; if so, for each bucket that has gaps its shift, in
  steps of a quarter logit, as the difference from the bucket before.

Lengths, shifts and lanes are in unary, signed ones zigzag: zeros, then a one. What follows the last gap of a bucket is
likelier bits without end, so the number of decisions is not stored.

A gap has the geometric distribution of its rarer bit's probability ``p``. Its low bits, as many as keep
``p << bits <= 0.15``, are almost uniform and stored raw. The rest is a symbol of a fixed table; the last one says "at
least this many" and another symbol of the same table follows, which is exact, as the distribution has no memory. After
three such symbols come 30 raw bits. Batches: first symbols of all gaps, kind by kind and bucket by bucket; second;
third; lower and upper half of the 30 bits; then the raw low bits, 1 bit wide first. A gap is below 2**30.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microfield.coding import varint
from microfield.coding.range_coder import PRECISION, Decoder, Encoder, lanes_for
from microfield.coding.tables import Tables, cumulate, frequencies
from microfield.errors import FormatError

__all__ = ["BUCKETS", "Kind", "read_gaps", "refuse", "write_gaps"]

BUCKETS = 32
_HALF = BUCKETS // 2
_STEPS = 8
"""Largest shift, in quarter logits."""

_ROWS = 42
"""Tables: rarer bits of logit -9.75, -9.5, ... 0.5. From 0.5 on a gap could cost next to nothing."""

_NOMINAL = 39 - np.abs(2 * np.arange(BUCKETS) - 31)
"""Table of each bucket; the centre of bucket b is the logit (2 b - 31) / 4."""

_ESCAPES, _REST = 3, 15
_GAPS = 1 << 2 * _REST
"""Gaps are below this, so that no sum of them overflows."""

_PIECE = 1 << 17

_Int64s = npt.NDArray[np.int64]
_Ints = npt.NDArray[Any]


class Kind(NamedTuple):
    """The gaps of one kind of decisions.

    Attributes
    ----------
    gaps : int32 or int64 array (n,)
        Those of all buckets, one bucket after the other.
    counts : int64 array (32,)
        How many each bucket has.
    """

    gaps: _Ints
    counts: _Int64s


def write_gaps(kinds: Sequence[Kind]) -> bytes:
    """Head and range-coded gaps of all kinds."""
    text, all_gaps, all_rows = "", [np.zeros(0, np.int32)], [np.zeros(0, np.uint8)]
    for gaps, counts in kinds:
        head, shifts = _write_kind(counts, gaps)
        text += head
        all_gaps.append(gaps)
        all_rows.append(np.repeat(np.clip(_NOMINAL + shifts, 0, _ROWS - 1).astype(np.uint8), counts))
    batches = _intervals(np.concatenate(all_gaps), np.concatenate(all_rows))
    # Lanes go by what the batches really take, which the reader can check against the length of the stream.
    lanes = _lanes_for(sum(float(np.sum(PRECISION - np.log2(freq))) for _, freq in batches) / 8)
    encoder = Encoder(lanes)
    for start, freq in batches:
        encoder.put(start, freq)
    text = _unary(lanes.bit_length() - 1) + text
    size = (len(text) + 7) // 8
    return int(text.ljust(8 * size, "0"), 2).to_bytes(size, "big") + encoder.finish()


def read_gaps(data: bytes, kinds: int, limit: int) -> list[Kind]:
    """Inverse of `write_gaps`; ``kinds`` and ``limit`` as in `microfield.coding.decisions.DecisionReader`.

    Raises
    ------
    FormatError
        If the data cannot be such a stream.
    """
    bits = _Bits(data[: 8 + 600 * kinds])
    lanes = 1 << bits.unary(8)
    lists = [_read_kind(bits) for _ in range(kinds)]
    counts = np.array([numbers for numbers, _ in lists], np.int64).reshape(kinds, BUCKETS)
    rows = np.clip(_NOMINAL + np.array([shifts for _, shifts in lists], np.int64).reshape(kinds, BUCKETS), 0, _ROWS - 1)
    rest = data[bits.finish() :]
    # A rarer bit of the low buckets is a flag or ends a run, and no gap is cheaper than the commonest symbol. The
    # same symbol again and again can take 3 per cent less than its cost, and with one lane (below 9600 bytes) nothing.
    least = float((counts * _code().least[rows]).sum())
    refuse(int(counts[:, :_HALF].sum()) > limit or least > max(9 * len(rest), 76_800) + 64)
    refuse(lanes < _lanes_for(len(rest) / 2))  # Few lanes on many bytes are slow, and no writer does that.
    decoder = Decoder(rest, lanes)
    gaps = _decode_gaps(decoder, np.repeat(rows.ravel(), counts.ravel()))
    decoder.finish()
    parts = np.split(gaps, np.cumsum(counts.sum(1))[:-1]) if kinds else []
    return [Kind(part, numbers) for part, numbers in zip(parts, counts, strict=True)]


def refuse(wrong: bool) -> None:
    """FormatError where something is wrong."""
    if wrong:
        raise FormatError("A stream of decisions is impossible: the file is damaged or truncated.")


class _Bits:
    """Reads the head."""

    def __init__(self, data: bytes) -> None:
        self._text = "".join(f"{byte:08b}" for byte in data)
        self._at = 0

    def number(self, n: int) -> int:
        """An unsigned number of ``n`` bits."""
        self._at += n
        refuse(self._at > len(self._text))
        return int("0" + self._text[self._at - n : self._at], 2)

    def unary(self, largest: int) -> int:
        value = self._text.find("1", self._at, self._at + largest + 1) - self._at
        refuse(value < 0)
        self._at += value + 1
        return value

    def signed(self) -> int:
        code = self.unary(64)
        return code >> 1 ^ -(code & 1)

    def finish(self) -> int:
        """Bytes of the head."""
        refuse(self.number(-self._at % 8) != 0)
        return self._at // 8


def _unary(value: int) -> str:
    return "0" * value + "1"


def _signed(value: int) -> str:
    return _unary(int(varint.zigzag([value])[0]))


_SHIFTS = np.arange(-_STEPS, _STEPS + 1)
_CHANGES = varint.zigzag(_SHIFTS - _SHIFTS[:, None]) + 1
"""Bits of a shift, given the one of the bucket before."""


def _write_kind(counts: _Int64s, gaps: _Ints) -> tuple[str, _Int64s]:
    """Head of one kind, and the shift of each of its buckets."""
    shifts = np.zeros(BUCKETS, np.int64)
    used = counts.nonzero()[0]
    if not used.size:
        return "0", shifts
    text, last = f"1{used[0]:05b}{used[-1]:05b}", 0
    for count in counts[used[0] : used[-1] + 1].tolist():
        length = count.bit_length()
        text += _signed(length - last) + f"{count:b}"[1:] * (count > 0)
        last = length
    # The cheapest path through the shifts of all buckets: what the gaps cost with a shift, and what the shift costs.
    likelier = np.add.reduceat(gaps, (np.cumsum(counts) - counts)[used], dtype=np.int64)
    rows = np.clip(_NOMINAL[used, None] + _SHIFTS, 0, _ROWS - 1)
    costs = counts[used, None] * _code().rarer[rows] + likelier[:, None] * _code().likelier[rows]
    best, origins = np.where(_SHIFTS == 0, 0.0, np.inf), []
    for cost in costs:
        paths = best[:, None] + _CHANGES
        origins.append(paths.argmin(0))
        best = paths.min(0) + cost
    if best.min() >= costs[:, _STEPS].sum():
        return text + "0", shifts
    at = int(best.argmin())
    for bucket, origin in zip(used[::-1].tolist(), origins[::-1], strict=True):
        shifts[bucket] = at - _STEPS
        at = int(origin[at])
    return text + "1" + "".join(_signed(change) for change in np.diff(shifts[used], prepend=0).tolist()), shifts


def _read_kind(bits: _Bits) -> tuple[list[int], list[int]]:
    """Numbers of gaps and shifts of the 32 buckets of one kind."""
    counts, shifts = [0] * BUCKETS, [0] * BUCKETS
    if not bits.number(1):
        return counts, shifts
    first, last = bits.number(5), bits.number(5)
    length = shift = 0
    for b in range(first, last + 1):
        length += bits.signed()
        refuse(not 0 <= length <= 32)
        counts[b] = 1 << (length - 1) | bits.number(length - 1) if length else 0
    refuse(not (counts[first] and counts[last]))
    for b in range(first, last + 1) if bits.number(1) else ():
        if counts[b]:
            shift += bits.signed()
            refuse(abs(shift) > _STEPS)
            shifts[b] = shift
    return counts, shifts


class _Code(NamedTuple):
    """Codes of gaps, one for each logit of the rarer bit; arrays of shape (42,)."""

    tables: Tables
    low: _Int64s
    """Raw bits."""
    escape: _Int64s
    """The symbol "at least this many"."""
    rarer: npt.NDArray[np.float64]
    """Cost of a rarer and of a likelier bit, for the choice of shifts."""
    likelier: npt.NDArray[np.float64]
    least: npt.NDArray[np.float64]
    """A gap costs at least this many bits."""


@cache
def _code() -> _Code:
    """The tables, in whole numbers after one rounding each, which is nowhere near a tie (tested)."""
    logits = (np.arange(_ROWS) - 39) / 4
    p = 1 / (1 + np.exp(-logits))
    low = np.maximum(np.floor(np.log2(0.15 / p)), 0).astype(np.int64)
    weights = np.zeros((_ROWS, 64), np.int64)
    escape = np.full(_ROWS, 63)
    for row, ratio in enumerate(_ratios(p, low).round().astype(int).tolist()):
        weight = 1 << 30
        for symbol in range(64):
            if symbol == 63 or weight <= 1 << 18:  # Rarer symbols would only waste frequencies of 1.
                weights[row, symbol] = (weight << 24) // ((1 << 24) - ratio)
                escape[row] = symbol
                break
            weights[row, symbol] = weight
            weight = weight * ratio >> 24
    freq = frequencies(weights)
    least = low + PRECISION - np.log2(freq.max(1))
    return _Code(Tables(cumulate(freq)), low, escape, np.logaddexp2(0, -logits / np.log(2)),
                 np.logaddexp2(0, logits / np.log(2)), least)


def _ratios(p: npt.NDArray[np.float64], low: _Int64s) -> npt.NDArray[np.float64]:
    """Probability of a symbol over that of the one before, times 2**24."""
    return (1 - p) ** (1 << low) * 2.0**24


def _intervals(gaps: _Ints, rows: _Ints) -> list[tuple[_Ints, _Ints]]:
    """The batches of the range coder for all ``gaps`` (n,), each with code ``rows`` (n,)."""
    code, batches = _code(), []
    if gaps.size and gaps.max() >= _GAPS:
        raise ValueError("too many decisions of one bucket between two rarer bits.")
    low = code.low.astype(np.uint8)[rows]
    high, left = gaps >> low, rows
    for _ in range(_ESCAPES):
        most = code.escape.astype(np.uint8)[left]
        batches.append(_symbols(np.minimum(high, most), left))
        more = high >= most
        high, left = (high - most)[more], left[more]
    raw = [(high & ((1 << _REST) - 1), _REST), (high >> _REST, _REST)]
    raw += [(gaps[low == k] & ((1 << k) - 1), k) for k in range(1, int(code.low.max()) + 1)]
    return [*batches, *((bits << (PRECISION - k), np.full(len(bits), 1 << (PRECISION - k))) for bits, k in raw)]


def _symbols(symbols: _Ints, rows: _Ints) -> tuple[_Ints, _Ints]:
    """Intervals of symbols (n,) of tables ``rows`` (n,), piece by piece: there may be millions."""
    start, freq = np.empty(len(symbols), np.uint32), np.empty(len(symbols), np.uint32)
    for begin in range(0, len(symbols), _PIECE):
        piece = slice(begin, begin + _PIECE)
        start[piece], freq[piece] = _code().tables.intervals(symbols[piece], rows[piece])
    return start, freq


def _decode_gaps(decoder: Decoder, rows: _Int64s) -> _Int64s:
    """Inverse of `_intervals`."""
    code = _code()
    gaps, left = np.zeros(len(rows), np.int64), np.arange(len(rows))
    for _ in range(_ESCAPES):
        symbols = decoder.get(code.tables, rows[left])
        gaps[left] += symbols
        left = left[symbols == code.escape[rows[left]]]
    for shift in (0, _REST):
        gaps[left] += decoder.get_bits(len(left), _REST).astype(np.int64) << shift
    low = code.low[rows]
    for k in range(1, int(code.low.max()) + 1):
        which = (low == k).nonzero()[0]
        gaps[which] = gaps[which] << k | decoder.get_bits(len(which), k)
    refuse(bool(gaps.size and gaps.max() >= _GAPS))
    return gaps


def _lanes_for(n_bytes: float) -> int:
    """Lanes for about ``n_bytes``: 2 to 8 of them would cost bytes and yet be no faster than one."""
    lanes = lanes_for(n_bytes)
    return lanes if lanes > 8 else 1
