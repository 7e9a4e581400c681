"""The head of a stream of gaps: how many gaps every bucket has, and by how much its probability is off the nominal one.

For every kind of decisions

- a bit: used or not;
- the first and the last used bucket, 5 bits each;
- for each bucket between them the number of its gaps: its length in bits as the difference from the bucket before, then
  the bits below the highest;
- a bit: whether the real frequencies differ from the nominal ones; if so, for each bucket that has gaps its *shift*, in
  quarter logits, as the difference from the bucket before.

Differences are signed unary numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microfield.coding.bits import BitReader, BitWriter
from microfield.coding.gap_tables import BUCKETS, gap_tables, rows_of
from microfield.coding.varint import zigzag
from microfield.errors import FormatError

__all__ = ["MOST_BYTES", "Kind", "read_kind", "write_kind"]

MOST_BYTES = 600
"""Bytes that the head of one kind cannot exceed."""

_BUCKET_BITS = 5
_LARGEST_SHIFT = 8
_LONGEST_COUNT = 32
"""Bits of the number of gaps of a bucket, at most."""
_LARGEST_DIFFERENCE = 64
"""Folded differences of lengths or shifts are not larger."""

_Int64s = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[Any]

_SHIFTS: _Int64s = np.arange(-_LARGEST_SHIFT, _LARGEST_SHIFT + 1)
_SHIFT_COSTS: _Int64s = zigzag(_SHIFTS - _SHIFTS[:, None]) + 1
"""Bits of a shift (second axis), given that of the bucket before (first axis)."""


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


def write_kind(bits: BitWriter, kind: Kind) -> _Int64s:
    """Write the head of one kind; the shifts of its buckets, shape (32,), are chosen here and given back."""
    shifts: _Int64s = np.zeros(BUCKETS, np.int64)
    used = kind.counts.nonzero()[0]
    bits.number(int(used.size > 0), 1)
    if not used.size:
        return shifts
    bits.number(int(used[0]), _BUCKET_BITS)
    bits.number(int(used[-1]), _BUCKET_BITS)
    length_before = 0
    for count in kind.counts[used[0] : used[-1] + 1].tolist():
        length = count.bit_length()
        bits.signed_unary(length - length_before)
        if count:
            bits.number(count - (1 << length - 1), length - 1)
        length_before = length
    found = _cheapest_shifts(kind, used)
    bits.number(int(found is not None), 1)
    if found is not None:
        shifts[used] = found
        for change in np.diff(found, prepend=0).tolist():
            bits.signed_unary(change)
    return shifts


def read_kind(bits: BitReader) -> tuple[list[int], list[int]]:
    """Numbers of gaps and shifts of the 32 buckets of one kind.

    Raises
    ------
    FormatError
        If the bits are no such head.
    """
    counts, shifts = [0] * BUCKETS, [0] * BUCKETS
    if not bits.number(1):
        return counts, shifts
    first, last = bits.number(_BUCKET_BITS), bits.number(_BUCKET_BITS)
    length = 0
    for bucket in range(first, last + 1):
        length += bits.signed_unary(_LARGEST_DIFFERENCE)
        if not 0 <= length <= _LONGEST_COUNT:
            raise FormatError(f"A stream of decisions counts its gaps in {length} bits: the file is damaged.")
        counts[bucket] = 1 << (length - 1) | bits.number(length - 1) if length else 0
    if not (counts[first] and counts[last]):
        raise FormatError("A stream of decisions has no gaps in a bucket that it names: the file is damaged.")
    if bits.number(1):
        _read_shifts(bits, counts, shifts)
    return counts, shifts


def _read_shifts(bits: BitReader, counts: list[int], shifts: list[int]) -> None:
    """Fill in the shifts of the buckets that have gaps."""
    shift = 0
    for bucket, count in enumerate(counts):
        if not count:
            continue
        shift += bits.signed_unary(_LARGEST_DIFFERENCE)
        if abs(shift) > _LARGEST_SHIFT:
            raise FormatError("A stream of decisions shifts a probability too far: the file is damaged.")
        shifts[bucket] = shift


def _cheapest_shifts(kind: Kind, used: _Ints) -> _Int64s | None:
    """Shifts of the ``used`` buckets that make head and gaps shortest, shape (used,); None where all 0 is as short."""
    counts = kind.counts[used]
    likelier = np.add.reduceat(kind.gaps, (np.cumsum(kind.counts) - kind.counts)[used], dtype=np.int64)
    rows = np.stack([rows_of(np.full(BUCKETS, shift))[used] for shift in _SHIFTS], axis=1)
    tables = gap_tables()
    costs = counts[:, None] * tables.rarer_cost[rows] + likelier[:, None] * tables.likelier_cost[rows]
    # The cheapest path through the shifts of all buckets: what the gaps cost with a shift, and what the shift costs.
    best: _Floats = np.where(_SHIFTS == 0, 0.0, np.inf)
    origins = []
    for cost in costs:
        paths = best[:, None] + _SHIFT_COSTS
        origins.append(paths.argmin(0))
        best = paths.min(0) + cost
    if best.min() >= costs[:, _LARGEST_SHIFT].sum():
        return None
    path, at = [], int(best.argmin())
    for origin in reversed(origins):
        path.append(at)
        at = int(origin[at])
    return _SHIFTS[path[::-1]]
