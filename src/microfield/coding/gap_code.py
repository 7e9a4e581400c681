"""Gaps between rarer decisions as bytes: a head that tells their numbers and tables, then the range coder over all of them.

The stream of `microfield.coding.decisions` is ``head | range-coded gaps``. The head is a string of bits, filled up with zeros
to whole bytes: log2 of the lanes in unary, then every kind as `microfield.coding.gap_head` tells. What follows the last gap
of a bucket is likelier bits without end, so the number of decisions is not stored.

A gap is split into raw low bits and a symbol of a table (`microfield.coding.gap_tables`). The escape symbol says "at least
this many" and another symbol of the same table follows, which is exact, as the distribution has no memory. After three
escapes come 30 raw bits. Batches: first symbols of all gaps, kind by kind and bucket by bucket; second; third; lower and
upper half of the 30 bits; then the raw low bits, 1 bit wide first. A gap is below 2**30.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.coding.bits import BitReader, BitWriter
from microfield.coding.gap_head import MOST_BYTES, Kind, read_kind, write_kind
from microfield.coding.gap_tables import BUCKETS, gap_tables, rows_of
from microfield.coding.range_coder import MAX_LANES, PRECISION, Decoder, Encoder, lanes_for
from microfield.errors import FormatError

__all__ = ["BUCKETS", "Kind", "read_gaps", "write_gaps"]

_LOW_BUCKETS = BUCKETS // 2
"""Buckets below this have 1 as their rarer bit."""

_ESCAPES = 3
"""Symbols of a gap at most; after so many escapes the rest of the gap follows as raw bits."""
_REST_BITS = 15
"""The rest of a gap is stored in two halves of so many bits."""
_GAP_LIMIT = 1 << 2 * _REST_BITS
"""Gaps are below this, so that no sum of them overflows."""

_LARGEST_LANE_BITS = MAX_LANES.bit_length() - 1
_PIECE = 1 << 17
"""Symbols that are looked up at a time: there may be millions."""

_Int64s = npt.NDArray[np.int64]
_Ints = npt.NDArray[Any]


def write_gaps(kinds: Sequence[Kind]) -> bytes:
    """Head and range-coded gaps of all kinds.

    Raises
    ------
    ValueError
        If a gap is 2**30 or more.
    """
    heads = BitWriter()
    gaps, rows = [np.zeros(0, np.int32)], [np.zeros(0, np.uint8)]
    shifts = [write_kind(heads, kind) for kind in kinds]
    for kind, shift in zip(kinds, shifts, strict=True):
        gaps.append(kind.gaps)
        rows.append(np.repeat(rows_of(shift).astype(np.uint8), kind.counts))
    batches = _intervals(np.concatenate(gaps), np.concatenate(rows))
    # Lanes go by what the batches really take, which the reader can check against the length of the stream.
    lanes = _lanes_for(sum(float(np.sum(PRECISION - np.log2(freq))) for _, freq in batches) / 8)
    encoder = Encoder(lanes)
    for start, freq in batches:
        encoder.put(start, freq)
    head = BitWriter()
    head.unary(lanes.bit_length() - 1)
    head.append(heads)
    return head.finish() + encoder.finish()


def read_gaps(data: bytes, kinds: int, limit: int) -> list[Kind]:
    """Inverse of `write_gaps`.

    Parameters
    ----------
    data : bytes
        The whole stream.
    kinds : int
        How many kinds were written.
    limit : int
        Number of flags and runs that the caller will not exceed: streams that hold more are refused undecoded.

    Raises
    ------
    FormatError
        If the data cannot be such a stream.
    """
    bits = BitReader(data[: 8 + MOST_BYTES * kinds])
    lanes = 1 << bits.unary(_LARGEST_LANE_BITS)
    heads = [read_kind(bits) for _ in range(kinds)]
    counts = np.array([count for count, _ in heads], np.int64).reshape(kinds, BUCKETS)
    rows = rows_of(np.array([shift for _, shift in heads], np.int64).reshape(kinds, BUCKETS))
    coded = data[bits.align() :]
    _check_numbers(counts, rows, limit, len(coded))
    if lanes < _lanes_for(len(coded) / 2):  # Few lanes on many bytes are slow, and no writer does that.
        raise FormatError("A stream of decisions has fewer lanes than its length asks for: the file is damaged.")
    decoder = Decoder(coded, lanes)
    gaps = _decode_gaps(decoder, np.repeat(rows.ravel(), counts.ravel()))
    decoder.finish()
    parts = np.split(gaps, np.cumsum(counts.sum(1))[:-1]) if kinds else []
    return [Kind(part, numbers) for part, numbers in zip(parts, counts, strict=True)]


def _check_numbers(counts: _Int64s, rows: _Int64s, limit: int, n_bytes: int) -> None:
    """Refuse numbers of gaps, shape (kinds, 32), that exceed the limit or cannot fit into so many bytes."""
    # A rarer bit of the low buckets is a flag or ends a run.
    if int(counts[:, :_LOW_BUCKETS].sum()) > limit:
        raise FormatError("A stream of decisions holds more of them than the image has: the file is damaged.")
    # No gap is cheaper than the commonest symbol. The same symbol again and again can take 3 per cent less than its
    # cost, which 9 bits a byte allow for, and with one lane (below 9600 bytes) nothing.
    least = float((counts * gap_tables().least_cost[rows]).sum())
    if least > max(9 * n_bytes, 8 * 9600) + 64:
        raise FormatError("A stream of decisions is too short for its gaps: the file is damaged or truncated.")


def _intervals(gaps: _Ints, rows: _Ints) -> list[tuple[_Ints, _Ints]]:
    """The batches of the range coder for all ``gaps`` (n,), each coded with row ``rows`` (n,) of the tables."""
    tables, batches = gap_tables(), []
    if gaps.size and gaps.max() >= _GAP_LIMIT:
        raise ValueError("too many decisions of one bucket between two rarer bits.")
    raw_bits = tables.raw_bits.astype(np.uint8)[rows]
    high, left = gaps >> raw_bits, rows
    for _ in range(_ESCAPES):
        escape = tables.escape.astype(np.uint8)[left]
        batches.append(_symbols(np.minimum(high, escape), left))
        more = high >= escape
        high, left = (high - escape)[more], left[more]
    raw = [(high & ((1 << _REST_BITS) - 1), _REST_BITS), (high >> _REST_BITS, _REST_BITS)]
    raw += [(gaps[raw_bits == k] & ((1 << k) - 1), k) for k in range(1, int(tables.raw_bits.max()) + 1)]
    return [*batches, *((bits << (PRECISION - k), np.full(len(bits), 1 << (PRECISION - k))) for bits, k in raw)]


def _symbols(symbols: _Ints, rows: _Ints) -> tuple[_Ints, _Ints]:
    """Start and frequency of symbols (n,) of tables ``rows`` (n,)."""
    start, freq = np.empty(len(symbols), np.uint32), np.empty(len(symbols), np.uint32)
    for begin in range(0, len(symbols), _PIECE):
        piece = slice(begin, begin + _PIECE)
        start[piece], freq[piece] = gap_tables().tables.intervals(symbols[piece], rows[piece])
    return start, freq


def _decode_gaps(decoder: Decoder, rows: _Int64s) -> _Int64s:
    """Inverse of `_intervals`: the gaps (n,) coded with tables ``rows`` (n,)."""
    tables = gap_tables()
    gaps, left = np.zeros(len(rows), np.int64), np.arange(len(rows))
    for _ in range(_ESCAPES):
        symbols = decoder.get(tables.tables, rows[left])
        gaps[left] += symbols
        left = left[symbols == tables.escape[rows[left]]]
    for shift in (0, _REST_BITS):
        gaps[left] += decoder.get_bits(len(left), _REST_BITS).astype(np.int64) << shift
    raw_bits = tables.raw_bits[rows]
    for k in range(1, int(tables.raw_bits.max()) + 1):
        which = (raw_bits == k).nonzero()[0]
        gaps[which] = gaps[which] << k | decoder.get_bits(len(which), k)
    if gaps.size and gaps.max() >= _GAP_LIMIT:
        raise FormatError("A stream of decisions holds a gap beyond all bounds: the file is damaged.")
    return gaps


def _lanes_for(n_bytes: float) -> int:
    """Lanes for about ``n_bytes``: 2 to 8 of them would cost bytes and yet be no faster than one."""
    lanes = lanes_for(n_bytes)
    return lanes if lanes > 8 else 1
