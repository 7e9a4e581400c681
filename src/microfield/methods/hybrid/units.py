"""Units: the pieces of a part of which each keeps the corrected or the plain result, and the map of a bit each that says which."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError

Array = npt.NDArray[Any]
Bits = npt.NDArray[np.bool_]
Box = tuple[int, slice, slice, slice]
"""A channel, frames, rows and columns."""

CHANNEL, SLICE, FIRST_TILE, LAST_TILE = 0, 1, 2, 8
"""Codes of units: a whole channel, a plane of it, or from here on square tiles of a plane."""
SMALLEST_TILE = 16
"""Edge of the tiles of code `FIRST_TILE` in pixels; each further code doubles it."""
NAMES = {"channel": CHANNEL, "slice": SLICE, **{str(SMALLEST_TILE << k): FIRST_TILE + k for k in range(LAST_TILE - FIRST_TILE + 1)}}
"""What users call them."""


@dataclass(frozen=True)
class Units:
    """The units of channels of shape (channels, frames, Y, X).

    Attributes
    ----------
    code : int
    shape : tuple of int
        Of the channels.
    """

    code: int
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if not CHANNEL <= self.code <= LAST_TILE:
            raise FormatError("a part is cut into unknown units.")

    @property
    def grid(self) -> tuple[int, int, int, int]:
        """Number of units along every axis."""
        channels, frames, y, x = self.shape
        if self.code == CHANNEL:
            return channels, 1, 1, 1
        edge = self.edge
        return channels, frames, -(-y // edge), -(-x // edge)

    @property
    def edge(self) -> int:
        """Rows and columns of a unit; those of the whole plane, or more, where it is not cut."""
        return max(self.shape[2:]) if self.code < FIRST_TILE else SMALLEST_TILE << (self.code - FIRST_TILE)

    @property
    def size(self) -> int:
        """Number of units."""
        return int(np.prod(self.grid))

    @property
    def nbytes(self) -> int:
        """Bytes of the map."""
        return -(-self.size // 8)

    def boxes(self) -> Iterator[Box]:
        """Where every unit lies, in C order of the grid."""
        channels, frames, rows, columns = self.grid
        edge = self.edge
        for channel in range(channels):
            for frame in range(frames):
                for y in range(rows):
                    for x in range(columns):
                        time = slice(None) if self.code == CHANNEL else slice(frame, frame + 1)
                        yield channel, time, slice(y * edge, (y + 1) * edge), slice(x * edge, (x + 1) * edge)

    def put(self, corrected: Array, plain: Array, kept: Bits) -> None:
        """Set ``corrected`` back to ``plain`` in every unit that is not kept."""
        for keep, box in zip(kept.tolist(), self.boxes(), strict=True):
            if not keep:
                corrected[box] = plain[box]

    def pack(self, kept: Bits) -> bytes:
        """The map: a bit a unit, first unit in the highest bit, filled up with zeros."""
        return np.packbits(kept).tobytes()

    def unpack(self, data: bytes) -> Bits:
        """The inverse of `pack`."""
        return np.unpackbits(np.frombuffer(data, np.uint8), count=self.size).astype(np.bool_)


def finest(shape: tuple[int, ...], most: float) -> Units:
    """The finest units whose map takes at most ``most`` bytes; whole channels where none does."""
    for code in (*range(FIRST_TILE, LAST_TILE + 1), SLICE):
        units = Units(code, shape)
        if units.nbytes <= most:
            return units
    return Units(CHANNEL, shape)
