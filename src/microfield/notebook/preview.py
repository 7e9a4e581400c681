"""A small picture of an image: the middle plane, its channels in their colours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.display import WHITE, ChannelDisplay, Colour, Display

SIDE = 160
"""Pixels of the longer side of a picture, at most."""

MOST_PIXELS = 1 << 24
"""Of larger planes only the middle is looked at, since most files must be read whole to take every n-th pixel."""

PALETTE: tuple[Colour, ...] = ((255, 0, 255), (0, 255, 0), (0, 255, 255), (255, 255, 0), (255, 128, 0), (128, 128, 255))
"""Colours of channels that have none; of more channels only the first six are shown."""

DARK, BRIGHT = 0.5, 99.8
"""Percentiles of a channel that are shown as black and as its full colour."""


@dataclass(frozen=True)
class Preview:
    """A few values of one plane, and how to show them.

    Attributes
    ----------
    values : float32 array of shape ``(channels, Y, X)``
    colours : tuple of (red, green, blue)
        One per channel.
    ranges : tuple of (float, float)
        Values of every channel that are shown as black and as its full colour.
    where : str
        What part of the image this is, such as ``"plane 12 of 24"``; empty for all of it.
    """

    values: npt.NDArray[np.float32]
    colours: tuple[Colour, ...]
    ranges: tuple[tuple[float, float], ...]
    where: str = ""

    @property
    def picture(self) -> npt.NDArray[np.uint8]:
        """The channels in their colours, added up: an array of shape ``(Y, X, 3)``, or ``(Y, X)`` where all is grey."""
        total = np.zeros((*self.values.shape[1:], 3))
        for values, colour, (low, high) in zip(self.values, self.colours, self.ranges, strict=True):
            shares = np.clip((values - low) / (high - low or 1), 0, 1)
            total += np.where(np.isnan(shares), 0, shares)[..., None] * np.array(colour)
        shown = np.asarray(np.clip(np.rint(total), 0, 255), np.uint8)
        return shown[..., 0] if self.colours == (WHITE,) else shown


@dataclass(frozen=True)
class Look:
    """Where to look: what of an array to read for a preview.

    Attributes
    ----------
    key : tuple of slice
        The middle plane of all channels, every n-th pixel of it.
    step : int
        This n.
    where : str
        The same in words.
    """

    key: tuple[slice, ...]
    step: int
    where: str


def look(sizes: Mapping[str, int]) -> Look:
    """Where to look in an image with these axes and extents.

    Parameters
    ----------
    sizes : mapping of str to int
        Axis letter to extent, in array order.
    """
    share = min(1.0, math.sqrt(MOST_PIXELS / (sizes["Y"] * sizes["X"])))
    extents = {a: max(1, int(sizes[a] * share)) for a in "YX"}
    step = -(-max(extents.values()) // SIDE)
    key, words = [], []
    for axis, n in sizes.items():
        if axis in "YX":
            start = (n - extents[axis]) // 2
            key.append(slice(start, start + extents[axis], step))
        elif axis in "TZ":
            key.append(slice(n // 2, n // 2 + 1))
            if n > 1:
                words.append(f"{'time' if axis == 'T' else 'plane'} {n // 2} of {n}")
        else:
            key.append(slice(0, min(n, len(PALETTE))))
    if share < 1:
        words.append("its middle" if words else "the middle")
    return Look(tuple(key), step, ", ".join(words))


def preview(values: npt.NDArray[Any], axes: str, display: Display, where: str = "") -> Preview:
    """The preview that values of one plane make.

    Parameters
    ----------
    values : array
        What `Look.key` selects: extents of 1 along T and Z.
    axes : str
        A letter per axis of the values.
    display : Display
        Of the image.
    where : str
        What part of the image this is, in words.
    """
    order = [axes.index(a) for a in "TZCSYX" if a in axes]
    with np.errstate(over="ignore"):  # What float32 cannot hold is infinite and shown as white.
        flat = values.transpose(order).reshape(-1, *(values.shape[axes.index(a)] for a in "YX")).astype(np.float32)
    if "S" in axes and flat.shape[0] in (3, 4):
        flat = flat[:3]
        colours: tuple[Colour, ...] = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
        together = _contrast(flat) if values.dtype != np.uint8 else (0.0, 255.0)
        return Preview(flat, colours, (together,) * 3, where)
    flat = flat[:len(PALETTE)]
    known = [*display.channels, *(ChannelDisplay(),) * len(flat)][:len(flat)]
    plain = (WHITE,) if len(flat) == 1 else PALETTE
    return Preview(flat, tuple(c.colour or colour for c, colour in zip(known, plain, strict=False)),
                   tuple(_contrast(v) for v in flat), where)


def like(values: npt.NDArray[Any], axes: str, other: Preview) -> Preview:
    """The preview of a reconstruction in the colours and at the contrast of that of its original."""
    made = preview(values, axes, Display())
    return Preview(made.values, other.colours, other.ranges, other.where)


def _contrast(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    """What to show as black and as white, by percentiles; NaN and infinity do not count."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(finite, (DARK, BRIGHT)))
    return (low, high) if high > low else (float(finite.min()), float(finite.max()))
