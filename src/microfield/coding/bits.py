"""Small whole numbers as bits: Rice codes (R. F. Rice, JPL Publication 79-22, 1979) for values that are not worth a model."""

from __future__ import annotations

from collections.abc import Sequence

from microfield.errors import FormatError

_LONGEST = 48
"""A unary part longer than this means damage; the writer takes a wider code before it comes to that."""


def _zigzag(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1


class BitWriter:
    """Collects bits, most significant first."""

    def __init__(self) -> None:
        self._bits: list[str] = []

    def number(self, value: int, width: int) -> None:
        """An unsigned number of ``width`` bits."""
        if width:
            self._bits.append(format(value, f"0{width}b"))

    def rice(self, values: Sequence[int]) -> None:
        """Signed whole numbers, with the parameter (5 bits) that makes them shortest."""
        folded = [_zigzag(int(v)) for v in values]
        width = min(range(32), key=lambda k: (sum((v >> k) + 1 + k for v in folded), k))
        while any(v >> width >= _LONGEST for v in folded):
            width += 1
        if width > 31:
            raise ValueError("values of 2**36 and more cannot be coded.")
        self.number(width, 5)
        for v in folded:
            self._bits.append("0" * (v >> width) + "1")
            self.number(v & ((1 << width) - 1), width)

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
        From every method where the data ends or makes no sense.
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

    def rice(self, count: int) -> list[int]:
        """``count`` signed numbers of one `BitWriter.rice`."""
        width = self.number(5)
        return [self._one(width) for _ in range(count)]

    def _one(self, width: int) -> int:
        end = self._text.find("1", self._at, self._at + _LONGEST)
        if end < 0:
            raise FormatError("A part holds a number without end: it is damaged.")
        high, self._at = end - self._at, end + 1
        folded = high << width | self.number(width)
        return -(folded + 1 >> 1) if folded & 1 else folded >> 1

    def finish(self) -> None:
        """All bits must be used but for the filling."""
        rest = self._text[self._at :]
        if len(rest) > 7 or "1" in rest:
            raise FormatError("A part holds more numbers than it should: it is damaged.")



