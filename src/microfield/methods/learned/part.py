"""A part of a file of a learned codec: the grey levels of its channels as inputs of the codec, and the bytes of its head.

A part is the intensity mapping of `microfield.methods.conventional.intensities`, and unless all of its channels are constant: a
byte of flags, the four bytes that name the codec, for every channel that is coded its centre (uint16, in 65535ths of its range) and
its scale (float32, the part of its range that one unit of input is), and the coded latents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microfield.coding.bytes_reader import ByteReader
from microfield.errors import FormatError
from microfield.image import Layout
from microfield.methods.conventional.intensities import Intensities
from microfield.methods.conventional.sheets import OPPONENT, ORDERS, is_colour

Floats = npt.NDArray[np.float64]

CENTRES = 65535
"""Centres are stored in such parts of a channel's range."""
MIXING = OPPONENT * math.sqrt(3)
"""Red, green and blue to lightness and two colour differences: orthonormal."""
LEAST_SCALE, LARGEST_SCALE = 1e-9, 1e9


@dataclass(frozen=True)
class Head:
    """What stands before the latents of a part that is not constant.

    Attributes
    ----------
    key : four bytes, the codec
    order : "Z" or "T", the axis that frames follow
    opponent : whether the three channels are coded as lightness and colour differences
    centres : float64 array (coded,), 0..1 of the channel's range, what becomes 0
    scales : float64 array (coded,), of float32 values: one unit of input, in channel's ranges
    """

    key: bytes
    order: str
    opponent: bool
    centres: Floats
    scales: Floats

    def inputs(self, stretched: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Inputs of the codec, float32, from values 0..1 (coded, frames, y, x)."""
        values = (stretched - self.centres[:, None, None, None]) / self.scales[:, None, None, None]
        return np.asarray(_mixed(values, MIXING) if self.opponent else values, np.float32)

    def stretched(self, decoded: Floats) -> npt.NDArray[np.float32]:
        """The inverse of `inputs`, by elementwise operations."""
        values = _mixed(decoded, MIXING.T) if self.opponent else decoded
        return np.asarray(values * self.scales[:, None, None, None] + self.centres[:, None, None, None], np.float32)

    def pack(self) -> bytes:
        """The head as bytes."""
        flags = ORDERS.index(self.order) | self.opponent << 1
        centres = np.rint(self.centres * CENTRES).astype("<u2")
        return bytes([flags]) + self.key + centres.tobytes() + self.scales.astype("<f4").tobytes()

    @classmethod
    def unpack(cls, data: bytes, intensities: Intensities, layout: Layout) -> tuple[Head, bytes]:
        """The head at the start of bytes, and what follows it; FormatError where there is none."""
        coded = int(intensities.coded.sum())
        fields = ByteReader(data, "its head")
        flags, key = fields.next(1)[0], fields.next(4)
        centres = np.frombuffer(fields.next(2 * coded), "<u2") / CENTRES
        scales = np.frombuffer(fields.next(4 * coded), "<f4").astype(np.float64)
        opponent = bool(flags & 2)
        if flags > 3 or (opponent and not (is_colour(layout) and coded == 3)):
            raise FormatError(f"a part is laid out in an unknown way ({flags}).")
        if not ((scales >= LEAST_SCALE) & (scales <= LARGEST_SCALE)).all():
            raise FormatError("a part has scales that are none.")
        return cls(key, ORDERS[flags & 1], opponent, centres, scales), fields.rest()


def _mixed(values: npt.NDArray[np.floating], matrix: Floats) -> npt.NDArray[np.floating]:
    """Rows of a matrix times three channels, in one order on every machine."""
    return np.stack([values[0] * row[0] + values[1] * row[1] + values[2] * row[2] for row in matrix])
