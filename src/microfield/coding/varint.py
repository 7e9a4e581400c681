"""Whole numbers as few bytes: unsigned LEB128, zigzag for signed values, and delta-coded sequences.

A value is cut into groups of 7 bits, least significant first, one byte each; the high bit of a byte says that another
follows. Values stay below 2**53, so that JavaScript reads them exactly. Every value has one encoding only: a last byte
of zero after another byte is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError

LIMIT = 2**53
"""Unsigned values are below this, zigzag-coded ones in -LIMIT/2 .. LIMIT/2 - 1."""

_LONGEST = 8
"""Bytes of a value at most."""
_Int64s = npt.NDArray[np.int64]
_Values = Sequence[int] | _Int64s


def encode_one(value: int) -> bytes:
    """Bytes of one unsigned ``value``, 0 <= value < 2**53."""
    if not 0 <= value < LIMIT:
        raise ValueError(f"{value} is not in 0..2**53 - 1.")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_one(data: bytes, offset: int = 0) -> tuple[int, int]:
    """One unsigned value at ``offset`` and the offset after it.

    Raises
    ------
    FormatError
        If the data ends inside the value, or the value is too large or not minimal.
    """
    value = 0
    for i in range(_LONGEST):
        if offset + i >= len(data):
            raise FormatError("The file ends inside a number: it is damaged or truncated.")
        byte = data[offset + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            if value >= LIMIT or (byte == 0 and i > 0):
                break
            return value, offset + i + 1
    raise FormatError("The file holds a number that is too large or badly written: it is damaged.")


def encode(values: _Values) -> bytes:
    """Bytes of a sequence of unsigned values; the count is not stored."""
    rest = np.asarray(values, dtype=np.int64).ravel()
    if rest.size and not 0 <= int(rest.min()) <= int(rest.max()) < LIMIT:
        raise ValueError("a value is not in 0..2**53 - 1.")
    groups = (rest[:, None] >> (7 * np.arange(_LONGEST, dtype=np.int64))) & 0x7F
    used = _lengths(rest)
    position = np.arange(_LONGEST)
    groups |= np.where(position < used[:, None] - 1, 0x80, 0)
    return groups.astype(np.uint8)[position < used[:, None]].tobytes()


def decode(data: bytes, count: int, offset: int = 0) -> tuple[_Int64s, int]:
    """Read ``count`` unsigned values from ``offset`` on.

    Returns
    -------
    values : int64 array of shape (count,)
    offset : int
        Where the bytes of the last value end.

    Raises
    ------
    FormatError
        If the data ends too early, or a value is too large or not minimal. Nothing larger than the data is
        allocated before that is known.
    """
    if count == 0:
        return np.zeros(0, np.int64), offset
    if count > len(data) - offset:
        raise FormatError("The file ends inside a list of numbers: it is damaged or truncated.")
    octets = np.frombuffer(data, np.uint8, offset=offset)[: count * _LONGEST]
    last = np.flatnonzero(octets < 0x80)[:count]
    if len(last) < count:
        raise FormatError("The file ends inside a list of numbers: it is damaged or truncated.")
    first = np.concatenate([[0], last[:-1] + 1])
    lengths = last - first + 1
    if int(lengths.max()) > _LONGEST or bool(np.any((octets[last] == 0) & (lengths > 1))):
        raise FormatError("The file holds a number that is too large or badly written: it is damaged.")
    octets = octets[: int(last[-1]) + 1]
    shifts = 7 * (np.arange(len(octets)) - np.repeat(first, lengths))
    values = np.add.reduceat((octets & 0x7F).astype(np.int64) << shifts, first)
    if int(values.max()) >= LIMIT:
        raise FormatError("The file holds a number that is too large or badly written: it is damaged.")
    return values, offset + int(last[-1]) + 1


def zigzag(values: _Values) -> _Int64s:
    """Signed to unsigned, small magnitudes to small values: 0, -1, 1, -2, ... become 0, 1, 2, 3, ..."""
    signed = np.asarray(values, dtype=np.int64)
    return (signed << 1) ^ (signed >> 63)


def unzigzag(values: _Int64s) -> _Int64s:
    """Inverse of `zigzag`."""
    return (values >> 1) ^ -(values & 1)


def encode_deltas(values: _Values) -> bytes:
    """Bytes of unsigned values below 2**52 as zigzag-coded differences, the first from 0."""
    absolute = np.asarray(values, dtype=np.int64).ravel()
    if absolute.size and not 0 <= int(absolute.min()) <= int(absolute.max()) < LIMIT // 2:
        raise ValueError("a value is not in 0..2**52 - 1.")
    return encode(zigzag(np.diff(absolute, prepend=np.int64(0))))


def decode_deltas(data: bytes, count: int, offset: int = 0) -> tuple[_Int64s, int]:
    """Inverse of `encode_deltas`: ``count`` values (int64) and the offset after them.

    Raises
    ------
    FormatError
        As `decode`, and where a value leaves 0..2**52 - 1.
    """
    coded, offset = decode(data, count, offset)
    # The sum can only wrap after a value far outside the limits, so checking every value catches that as well.
    values = np.cumsum(unzigzag(coded), dtype=np.int64)
    if count and not 0 <= int(values.min()) <= int(values.max()) < LIMIT // 2:
        raise FormatError("The file holds a list of numbers out of range: it is damaged.")
    return values, offset


def _lengths(values: _Int64s) -> _Int64s:
    """Bytes that each of ``values`` takes, from 1 to 8."""
    bounds = np.int64(1) << (7 * np.arange(1, _LONGEST, dtype=np.int64))
    return np.searchsorted(bounds, values, side="right").astype(np.int64) + 1
