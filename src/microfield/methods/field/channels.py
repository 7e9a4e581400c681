"""Grey levels of the channels to decorrelated channels on one scale, dark at 0, and back; the way back is elementwise.

A channel is stretched from its minimum, times a gain that makes one quantiser step worth the same in every channel and tile;
then an orthonormal rotation, whose planes and angles are stored, takes out what channels share; then the dark level of
every rotated channel is subtracted. No step of the way back is a matrix product, whose rounding depends on the machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.methods.field.rotation import Rotation

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int16]

GAINS_PER_OCTAVE = 1024
"""A gain is stored as its binary logarithm, in whole 1/1024."""
DARKS = 1 << 15
"""A dark level is stored in whole 1/32768 of `Channels.reach`."""
ABOVE = 64.0
"""Gains are divided by this where grey levels are measured by their noise: the step then counts in noise sigmas / 64."""
SLAB = 1 << 20
"""Voxels of a channel that are converted at once, about."""
_DARK_QUANTILE = 0.005
"""The dark level of a channel is this quantile of its values."""
_DARK_SAMPLE = 1 << 18
"""It is measured on so many voxels, about."""



def power_of_two(exponent: npt.ArrayLike) -> Doubles:
    """``2**exponent`` as float64, rounded to float32: the last bits, which differ from machine to machine, are gone."""
    return np.exp2(np.asarray(exponent, np.float64)).astype(np.float32).astype(np.float64)


def _no_codes() -> Codes:
    """Codes of no channel."""
    return np.zeros(0, np.int16)


@dataclass(frozen=True)
class Channels:
    """How the grey levels of a part become the channels that are transformed.

    Attributes
    ----------
    low, high : float64 arrays of shape (channels,)
        Extremes in grey levels; a channel with ``low == high`` is constant and is not coded.
    gains : int16 array of shape (coded,)
        `GAINS_PER_OCTAVE` x log2 of what the range of every coded channel is stretched to.
    darks : int16 array of shape (coded,)
        Dark level of every rotated channel, in units of `reach` / `DARKS`.
    rotation : Rotation or None
        Decorrelates the coded channels.
    """

    low: Doubles
    high: Doubles
    gains: Codes = field(default_factory=_no_codes)
    darks: Codes = field(default_factory=_no_codes)
    rotation: Rotation | None = None

    @property
    def coded(self) -> npt.NDArray[np.bool_]:
        """Which channels are coded, those that are not constant: bool of shape (channels,)."""
        return np.asarray(self.high > self.low)

    @property
    def gain(self) -> Doubles:
        """What the range of every coded channel is stretched to, float64 of shape (coded,)."""
        return power_of_two(self.gains / GAINS_PER_OCTAVE)

    @property
    def reach(self) -> float:
        """A bound on the absolute values of rotated channels."""
        return math.sqrt(math.fsum((self.gain**2).tolist()))

    @property
    def dark(self) -> Floats:
        """Dark level of every rotated channel, float32 of shape (coded,)."""
        return (self.darks.astype(np.float64) * (self.reach / DARKS)).astype(np.float32)

    def forward(self, channels: npt.NDArray[np.generic]) -> Floats:
        """Grey levels of shape (channels, frames, Y, X) to decorrelated values, float32 of shape (coded, frames, Y, X)."""
        gain, span = self.gain, (self.high - self.low)[self.coded]
        out = np.empty((len(gain), *channels.shape[1:]), np.float32)
        for rows in slabs(channels.shape):
            for k, c in enumerate(np.flatnonzero(self.coded)):
                # Divided first: the reciprocal of the smallest float ranges would be infinite.
                out[k, rows] = (channels[c, rows].astype(np.float64) - self.low[c]) / span[k] * gain[k]
            if self.rotation is not None:
                self.rotation.forward(out[:, rows])
            for k, dark in enumerate(self.dark):
                out[k, rows] -= dark
        return out

    def inverse(self, values: Floats, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Inverse of `forward`: grey levels of shape (channels, frames, Y, X), clipped to the extremes of their channel.

        Parameters
        ----------
        values : float32 array of shape (coded, frames, Y, X)
            Any values, finite or not; they are overwritten.
        dtype : dtype
            Of the grey levels; they are rounded where it is an integer type.
        """
        out = np.empty((len(self.low), *values.shape[1:]), dtype)
        for rows in slabs(out.shape):
            for c, grey in self.grey(values[:, rows]):
                out[c, rows] = np.rint(grey) if dtype.kind in "iu" else grey
        return out

    def grey(self, values: Floats) -> Iterator[tuple[int, Doubles]]:
        """Number and grey levels (float64, clipped to the extremes) of every channel; ``values`` as in `inverse`."""
        with np.errstate(all="ignore"):
            for k, dark in enumerate(self.dark):
                values[k] += dark
            if self.rotation is not None:
                self.rotation.inverse(values)
            scale = iter((self.high - self.low)[self.coded] / self.gain)
            rows = iter(values)
            for c, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
                if low == high:
                    yield c, np.full(values.shape[1:], low)
                    continue
                grey = next(rows).astype(np.float64)
                grey *= next(scale)
                grey += low
                np.nan_to_num(grey, copy=False, nan=low)
                yield c, np.clip(grey, low, high, out=grey)


def slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of the second axis of an array (channels, frames, Y, X), each of about `SLAB` voxels of a channel."""
    rows = max(1, SLAB // max(1, shape[2] * shape[3]))
    for start in range(0, shape[1], rows):
        yield slice(start, min(start + rows, shape[1]))


def measured(channels: npt.NDArray[np.generic], unit: Doubles, weights: Doubles, in_noise: bool) -> Channels:
    """Extremes and gains of an array of shape (channels, frames, Y, X); no rotation, dark at the minimum.

    Parameters
    ----------
    unit, weights : float64 arrays of shape (channels,)
        `Context.unit` and `Context.channel_weights`.
    in_noise : bool
        Whether the unit is the noise: the quantiser step then counts in `ABOVE` ths of a noise sigma, in every part alike.
    """
    axes = (1, 2, 3)
    low = channels.min(axis=axes).astype(np.float64)
    high = channels.max(axis=axes).astype(np.float64)
    coded = high > low
    wanted = (high - low)[coded] / unit[coded] * np.sqrt(weights[coded])
    if in_noise:
        wanted /= ABOVE
    limits = np.iinfo(np.int16)
    codes = np.rint(GAINS_PER_OCTAVE * np.log2(np.maximum(wanted, 1e-9)))
    gains = np.clip(codes, limits.min, limits.max).astype(np.int16)
    return Channels(low, high, gains, np.zeros(len(gains), np.int16))


def dark_codes(values: Floats, reach: float) -> Codes:
    """Codes of the dark levels of rotated channels, int16 of shape (coded,).

    Parameters
    ----------
    values : float32 array of shape (coded, frames, Y, X)
        Rotated channels, nothing subtracted yet.
    reach : float
        `Channels.reach`.
    """
    stride = max(1, values[0].size // _DARK_SAMPLE) if len(values) else 1
    # Odd, so that it does not keep to the same columns of an image whose width is a power of two.
    found = [np.quantile(channel.reshape(-1)[:: stride | 1], _DARK_QUANTILE) for channel in values]
    codes = np.rint(np.asarray(found, np.float64) * (DARKS / max(reach, 1e-30)))
    return np.clip(codes, -DARKS, DARKS - 1).astype(np.int16)
