"""A part as the residual stage sees it: channels of volumes on the scale of what the prior decodes to, and back to grey levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.image import Layout
from microfield.methods.field.groups import extents_of, gathered, scattered

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Scale:
    """Extremes of the channels of a part, in grey levels, which the prior's bytes hold; corrected values are clipped to them.

    Attributes
    ----------
    low, high : float64 arrays of shape (channels,)
    """

    low: Doubles
    high: Doubles

    @property
    def coded(self) -> npt.NDArray[np.intp]:
        """Numbers of the channels that are not constant."""
        return np.flatnonzero(self.high > self.low)

    def stretched(self, frames: Array, channel: int) -> Floats:
        """Grey levels of one channel on the scale 0..1, float32 in the shape of ``frames``."""
        low = self.low[channel]
        return np.asarray((frames.astype(np.float64) - low) / (self.high[channel] - low), np.float32)

    def added(self, frames: Array, correction: Floats, channel: int) -> Array:
        """Grey levels of one channel with a correction on the scale 0..1 added, clipped, and rounded where they are integers."""
        low, high = self.low[channel], self.high[channel]
        grey = frames.astype(np.float64) + correction.astype(np.float64) * (high - low)
        np.clip(grey, low, high, out=grey)
        return np.asarray(np.rint(grey) if frames.dtype.kind in "iu" else grey, frames.dtype)


def volume_shape(layout: Layout) -> tuple[int, int, int, int]:
    """Extents (batch, z, y, x) of a channel: z is Z, or T where there is no Z, and then the batch is 1; else the batch is T."""
    t, z, y, x = extents_of(layout)
    return (1, t, y, x) if z == 1 else (t, z, y, x)


def frames_shape(layout: Layout) -> tuple[int, int, int, int]:
    """Shape of `frames_of`: (channels, frames, Y, X)."""
    t, z, y, x = extents_of(layout)
    return layout.channels, t * z, y, x


def frames_of(block: Array, layout: Layout) -> Array:
    """A block in the part's axes as (channels, frames, Y, X), frames running through T and then Z."""
    return gathered(block, layout)


def block_of(frames: Array, layout: Layout) -> Array:
    """The inverse of `frames_of`."""
    return scattered(frames, layout)


def channel_errors(found: Array, original: Array) -> Doubles:
    """Mean squared error of every channel in squared grey levels, both of shape (channels, frames, Y, X)."""
    return np.asarray([np.mean([np.mean((a.astype(np.float64) - b) ** 2) for a, b in zip(x, y, strict=True)])
                       for x, y in zip(found, original, strict=True)], np.float64)
