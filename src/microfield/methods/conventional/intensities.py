"""Grey levels of every channel on a common scale from 0 to 1, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microfield.coding.bytes_reader import ByteReader
from microfield.errors import FormatError
from microfield.image import Layout

Floats = npt.NDArray[np.float32]

SLAB = 1 << 18
"""Voxels whose grey levels are computed at once, in double precision."""

GAINS_PER_OCTAVE = 8
"""A gain is stored as the number of such steps by which it lies below 1, in one byte."""


@dataclass(frozen=True)
class Intensities:
    """How the channels of a part map to 0..1: ``(value - low) / (high - low) * gain``.

    The gain makes one step of a codec's quantiser worth the same in every channel and in every tile: it is the part's
    range over the whole image's, and smaller where the user gave a channel less weight.

    Attributes
    ----------
    low, high : float64 arrays of shape (channels,)
        Extremes of the part in grey levels; a channel with ``low == high`` is constant and needs no codec.
    gain : float64 array of shape (channels,), above 0 and at most 1
        The part of 0..1 that the channel uses.
    """

    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    gain: npt.NDArray[np.float64]

    @classmethod
    def of(cls, channels: npt.NDArray[np.generic], unit: npt.NDArray[np.float64], weights: npt.NDArray[np.float64],
           reach: float) -> Intensities:
        """The mapping of an array of shape (channels, values).

        ``unit`` and ``weights`` have the shape (channels,) and are, like ``reach``, those of `Context`: an error of one unit is
        then worth the same in every channel, times the root of its weight.
        """
        low = channels.min(axis=1).astype(np.float64)
        high = channels.max(axis=1).astype(np.float64)
        wanted = (high - low) / unit * np.sqrt(weights)
        wanted /= max(1.0, reach, float(wanted.max()))
        codes = np.clip(np.rint(-GAINS_PER_OCTAVE * np.log2(np.maximum(wanted, 1e-30))), 0, 255)
        return cls(low, high, 2 ** (-codes / GAINS_PER_OCTAVE))

    @property
    def coded(self) -> npt.NDArray[np.bool_]:
        """Which channels a codec has to code: those that are not constant."""
        return np.asarray(self.high > self.low)

    def stretch(self, channels: npt.NDArray[np.generic]) -> Floats:
        """The channels that a codec has to code, float32 of shape (coded, values), on the scale 0..1."""
        which = self.coded
        span = (self.high - self.low)[which, None]
        scaled = (channels[which].astype(np.float64) - self.low[which, None]) / span * self.gain[which, None]
        return scaled.astype(np.float32)

    def restore(self, coded: Floats, dtype: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
        """Grey levels of all channels, shape (channels, values), from the decoded ones, shape (coded, values).

        Integers are rounded; values are clipped to the channel's extremes.
        """
        out = np.empty((len(self.low), coded.shape[1]), dtype)
        rows = iter(coded)
        for row, low, high, gain in zip(out, self.low, self.high, self.gain, strict=True):
            if low == high:
                row[:] = low
                continue
            values, factor = next(rows), (high - low) / gain
            for start in range(0, len(row), SLAB):
                grey = values[start : start + SLAB].astype(np.float64) * factor + low
                np.clip(grey, low, high, out=grey)
                row[start : start + SLAB] = np.rint(grey) if dtype.kind in "iu" else grey
        return out

    # -- bytes: flags, which channels are constant, extremes, gains; a flag of 0 leaves its list out ------------------

    def pack(self, dtype: np.dtype[np.generic]) -> bytes:
        """The mapping as bytes, in grey levels of ``dtype``; a constant channel stores one value, gains that are all 1 nothing."""
        kind = dtype.newbyteorder("<")
        constant, gains = ~self.coded, self.gain[self.coded]
        flags = int(constant.any()) | int((gains < 1).any()) << 1
        parts = [bytes([flags])]
        if constant.any():
            parts.append(np.packbits(constant).tobytes())
        parts.append(self.low.astype(kind).tobytes())
        parts.append(self.high[self.coded].astype(kind).tobytes())
        if (gains < 1).any():
            parts.append(np.rint(-GAINS_PER_OCTAVE * np.log2(gains)).astype(np.uint8).tobytes())
        return b"".join(parts)

    @classmethod
    def unpack(cls, data: bytes, layout: Layout) -> tuple[Intensities, bytes]:
        """The mapping at the start of the bytes of a part, and the bytes behind it; FormatError where there is none."""
        n, kind = layout.channels, layout.dtype.newbyteorder("<")
        if n * kind.itemsize > len(data):  # Before anything is allocated for so many channels.
            raise FormatError("a part ends before the minima of its channels.")
        fields = ByteReader(data, "its intensity mapping")
        flags = fields.next(1)[0]
        if flags > 3:
            raise FormatError("the intensity mapping of a part has unknown flags.")
        constant = np.zeros(n, bool)
        if flags & 1:
            constant = np.unpackbits(np.frombuffer(fields.next(-(-n // 8)), np.uint8), count=n).astype(bool)
        coded, gain = int((~constant).sum()), np.ones(n)
        # Converting what is no number, and the difference of extremes, warn; both are refused below.
        with np.errstate(over="ignore", invalid="ignore"):
            low = np.frombuffer(fields.next(n * kind.itemsize), kind).astype(np.float64)
            high = low.copy()
            high[~constant] = np.frombuffer(fields.next(coded * kind.itemsize), kind).astype(np.float64)
            span = high - low
        if flags & 2:
            codes = np.frombuffer(fields.next(coded), np.uint8).astype(np.float64)
            gain[~constant] = 2.0 ** (-codes / GAINS_PER_OCTAVE)
        if not (np.isfinite(low).all() and np.isfinite(span).all() and (span[~constant] > 0).all()):
            raise FormatError("the intensity mapping of a part is not a range.")
        return cls(low, high, gain), fields.rest()
