"""Intensity mapping: between the grey values of a channel and the numbers that a network is fitted to.

Every channel has its minimum and maximum in the part and two codes of one byte: where in that range the network's 0 lies, and how
much of the range its 1 spans. Each channel is scaled by its own range or noise, so that a dim marker counts as much as a bright
one. The published configuration uses one minimum and maximum for all channels, and targets of 0..100.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.coding.varint import decode_one, encode_one, unzigzag, zigzag
from microfield.errors import FormatError

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Mapping:
    """Grey value = output * scale + offset, clipped to minimum..maximum and rounded for integers.

    Attributes
    ----------
    minimum, maximum : float64 arrays of shape (channels,)
        Extremes of the part.
    zero : int array of shape (channels,), 0..255
        The network's 0 lies at minimum + range * zero / 255.
    unit : int array of shape (channels,), 0..255
        The network's 1 spans range * 2^(-unit / 8).
    """

    minimum: Float64
    maximum: Float64
    zero: npt.NDArray[np.int64]
    unit: npt.NDArray[np.int64]

    @property
    def scale(self) -> npt.NDArray[np.float32]:
        """Grey values per unit of output: float32 (channels,), 0 where the channel is constant."""
        fraction = np.asarray([_FRACTIONS[u % 8] for u in self.unit], np.float64)
        with np.errstate(over="ignore"):  # Infinite beyond float32: see `CoordinateDecoder`.
            return np.ldexp((self.maximum - self.minimum) * fraction, -(self.unit // 8)).astype(np.float32)

    @property
    def offset(self) -> npt.NDArray[np.float32]:
        """Grey value of output 0: float32 (channels,)."""
        with np.errstate(over="ignore"):
            return (self.minimum + (self.maximum - self.minimum) * self.zero / 255).astype(np.float32)

    def pack(self, dtype: np.dtype[Any]) -> bytes:
        """Bytes of the mapping, channel by channel: the extremes, then zero and unit.

        Integer extremes are varints, the maximum as its distance from the minimum; floats are stored as they are.
        """
        out = bytearray()
        for low, high, zero, unit in zip(self.minimum, self.maximum, self.zero, self.unit, strict=True):
            if dtype.kind == "f":
                out += struct.pack("<ff" if dtype.itemsize == 4 else "<dd", low, high)
            else:
                out += encode_one(int(zigzag([int(low)])[0])) + encode_one(int(high) - int(low))
            out += bytes((int(zero), int(unit)))
        return bytes(out)

    @classmethod
    def unpack(cls, data: bytes, at: int, channels: int, dtype: np.dtype[Any]) -> tuple[Mapping, int]:
        """Read the mapping of ``channels`` channels from byte ``at``; it and the position behind it. FormatError for damage."""
        rows = []
        limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
        for _ in range(channels):
            if at >= len(data):
                raise FormatError("the intensity mapping is cut short.")
            if dtype.kind == "f":
                form = "<ff" if dtype.itemsize == 4 else "<dd"
                if at + struct.calcsize(form) > len(data):
                    raise FormatError("the intensity mapping is cut short.")
                low, high = struct.unpack_from(form, data, at)
                at += struct.calcsize(form)
            else:
                coded, at = decode_one(data, at)
                span, at = decode_one(data, at)
                start = int(unzigzag(np.asarray([coded]))[0])
                low, high = float(start), float(start + span)
            if at + 2 > len(data):
                raise FormatError("the intensity mapping is cut short.")
            if not float(limits.min) <= low <= high <= float(limits.max) or high - low == math.inf:
                raise FormatError(f"the intensity mapping claims a range of {low} to {high} for {dtype.name} values.")
            rows.append((low, high, data[at], data[at + 1]))
            at += 2
        low_, high_, zero, unit = (np.asarray(column) for column in zip(*rows, strict=True))
        return cls(low_.astype(float), high_.astype(float), zero.astype(np.int64), unit.astype(np.int64)), at


_FRACTIONS = (1.0, 0.917004, 0.8408964, 0.7711054, 0.7071068, 0.6484198, 0.5946036, 0.5452539)
"""2^(-k / 8) for k from 0 to 7, as constants that are the same on every machine."""

_LEAST_SPREAD = 1e-9
"""A standard deviation of the targets below this, in units, counts as this."""

_LEAST_UNIT = 2.0**-31
"""The network's 1 spans no less than this part of the range, the finest that a code of one byte can say."""


def fit_mapping(values: list[Float64], unit: Float64) -> Mapping:
    """The mapping that gives targets of about unit variance over all channels.

    Parameters
    ----------
    values : list of float arrays, one per channel
        Values of the channel in the part, its extremes among them.
    unit : float64 array (channels,)
        `Context.unit`: range or noise of every channel in the whole image, in grey levels. An error of one unit is worth the
        same in every channel.
    """
    minimum = np.asarray([v.min() for v in values], np.float64)
    maximum = np.asarray([v.max() for v in values], np.float64)
    span = np.where(maximum > minimum, maximum - minimum, 1)
    mean = np.asarray([v.mean(dtype=np.float64) for v in values])
    variance = np.asarray([v.var(dtype=np.float64) for v in values]) / unit**2
    common = max(float(np.sqrt(variance.mean())), _LEAST_SPREAD)
    wanted = np.clip(common * unit / span, _LEAST_UNIT, 1)
    return Mapping(
        minimum, maximum,
        np.clip(np.rint((mean - minimum) / span * 255), 0, 255).astype(np.int64),
        np.clip(np.rint(-8 * np.log2(wanted)), 0, 255).astype(np.int64),
    )
