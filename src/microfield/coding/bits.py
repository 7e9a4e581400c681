"""Small whole numbers as bits: fixed width, unary, and Rice codes (R. F. Rice, JPL Publication 79-22, 1979).

For the few values of a part that are not worth a probability model. Signed numbers are folded to unsigned ones first
(zigzag): 0, -1, 1, -2, ... become 0, 1, 2, 3, ...
"""

from __future__ import annotations

from collections.abc import Sequence

from microfield.errors import FormatError

_LONGEST_UNARY = 48
"""A unary part of a Rice code is shorter than this: the writer takes a wider code before, and the reader sees damage."""

_WIDTH_BITS = 5
"""Bits that store the width (the number of low bits stored as they are) of a list of Rice codes."""


class BitWriter:
    """Collects bits, most significant first."""

    def __init__(self) -> None:
        self._bits: list[str] = []

    def number(self, value: int, width: int) -> None:
        """An unsigned number of ``width`` bits."""
        if width:
            self._bits.append(format(value, f"0{width}b"))

    def unary(self, value: int) -> None:
        """An unsigned number as so many zeros and a one."""
        self._bits.append("0" * value + "1")

    def signed_unary(self, value: int) -> None:
        """A signed number, folded, in unary."""
        self.unary(_fold(value))

    def rice(self, values: Sequence[int]) -> None:
        """Signed numbers as Rice codes, preceded by their common width: the one that makes them shortest.

        Raises
        ------
        ValueError
            If a value is so large (about 2**36) that no width keeps its unary part short.
        """
        folded = [_fold(int(v)) for v in values]
        width = min(range(1 << _WIDTH_BITS), key=lambda k: (sum((v >> k) + 1 + k for v in folded), k))
        while any(v >> width >= _LONGEST_UNARY for v in folded):
            width += 1
        if width >= 1 << _WIDTH_BITS:
            raise ValueError("values of 2**36 and more cannot be coded.")
        self.number(width, _WIDTH_BITS)
        for v in folded:
            self.unary(v >> width)
            self.number(v & ((1 << width) - 1), width)

    def append(self, other: BitWriter) -> None:
        """All bits that another writer has collected so far."""
        self._bits += other._bits

    def finish(self) -> bytes:
        """All bits, filled up with zeros to whole bytes."""
        text = "".join(self._bits)
        n = -(-len(text) // 8)
        return int(text.ljust(8 * n, "0") or "0", 2).to_bytes(n, "big")


class BitReader:
    """Reads what `BitWriter` wrote.

    Raises
    ------
    FormatError
        From every method, where the data ends or holds what no writer writes.
    """

    def __init__(self, data: bytes) -> None:
        self._text = "".join(format(byte, "08b") for byte in data)
        self._at = 0

    def number(self, width: int) -> int:
        """An unsigned number of ``width`` bits."""
        self._at += width
        if self._at > len(self._text):
            raise FormatError("A part ends inside its numbers: it is damaged or truncated.")
        return int(self._text[self._at - width : self._at] or "0", 2)

    def unary(self, largest: int) -> int:
        """A number of `BitWriter.unary`, at most ``largest``."""
        end = self._text.find("1", self._at, self._at + largest + 1)
        if end < 0:
            raise FormatError("A part holds a number without end: it is damaged or truncated.")
        value, self._at = end - self._at, end + 1
        return value

    def signed_unary(self, largest: int) -> int:
        """A number of `BitWriter.signed_unary`; ``largest`` bounds the folded number."""
        return _unfold(self.unary(largest))

    def rice(self, count: int) -> list[int]:
        """``count`` signed numbers of one call of `BitWriter.rice`."""
        width = self.number(_WIDTH_BITS)
        return [_unfold(self.unary(_LONGEST_UNARY - 1) << width | self.number(width)) for _ in range(count)]

    def align(self) -> int:
        """Pass over the filling up to the next whole byte, which must be zeros; the number of bytes read so far."""
        if self.number(-self._at % 8):
            raise FormatError("A part has bits set where only filling should be: it is damaged.")
        return self._at // 8

    def finish(self) -> None:
        """Check that nothing is left but the filling."""
        rest = self._text[self._at :]
        if len(rest) > 7 or "1" in rest:
            raise FormatError("A part holds more numbers than it should: it is damaged.")


def _fold(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1


def _unfold(folded: int) -> int:
    return -(folded + 1 >> 1) if folded & 1 else folded >> 1
