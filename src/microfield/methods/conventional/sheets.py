"""A part's axes in the order a codec wants: (channels, frames, Y, X), and back; colour decorrelated on the way.

Codecs know planes and one axis of frames. Where an image has both T and Z, the frames run through one of them first;
every second run goes backwards, so that neighbouring frames always resemble each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microfield.image import Layout

Floats = npt.NDArray[np.float32]

ORDERS = ("Z", "T")
"""Which axis successive frames follow first; the index is what the file stores."""

OPPONENT = np.array([[1, 1, 1], [math.sqrt(1.5), 0, -math.sqrt(1.5)], [math.sqrt(0.5), -math.sqrt(2), math.sqrt(0.5)]]) / 3
"""Orthogonal rows of equal length: lightness and two colour differences, so that an error of one step in any of the
three is worth the same in red, green and blue. Lightness of 0..1 samples is 0..1, the differences lie within 0.5 of 0."""


@dataclass(frozen=True)
class Sheets:
    """The arrangement of one part.

    Attributes
    ----------
    layout : Layout
    order : str
        ``"Z"`` or ``"T"``: the axis that successive frames follow.
    """

    layout: Layout
    order: str = "Z"

    @property
    def axes(self) -> tuple[int, ...]:
        """The part's axes: channels first, then frames from the slowest to the fastest, then Y and X."""
        find = self.layout.axes.find
        frames = ("T", "Z") if self.order == "Z" else ("Z", "T")
        wanted = (*self.layout.channel_axes, *(find(a) for a in frames), find("Y"), find("X"))
        return tuple(i for i in wanted if i >= 0)

    @property
    def runs(self) -> tuple[int, int]:
        """How many runs of frames there are and how long each is."""
        sizes = dict(zip(self.layout.axes, self.layout.shape, strict=True))
        slow, fast = ("T", "Z") if self.order == "Z" else ("Z", "T")
        return sizes.get(slow, 1), sizes.get(fast, 1)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(channels, frames, Y, X)."""
        y, x = (self.layout.shape[self.layout.axes.index(a)] for a in "YX")
        return self.layout.channels, math.prod(self.runs), y, x

    def gather(self, block: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """A block in the part's axes as (channels, frames, Y, X)."""
        channels, _, y, x = self.shape
        runs = block.transpose(self.axes).reshape(channels, *self.runs, y, x)
        return _every_second_backwards(runs).reshape(self.shape)

    def scatter(self, sheets: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """The inverse of `gather`."""
        channels, _, y, x = self.shape
        runs = _every_second_backwards(sheets.reshape(channels, *self.runs, y, x))
        ordered = runs.reshape([self.layout.shape[i] for i in self.axes])
        return np.ascontiguousarray(ordered.transpose(np.argsort(self.axes)))


def _every_second_backwards(runs: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """(channels, runs, length, Y, X) with every second run reversed; its own inverse."""
    if runs.shape[1] == 1 or runs.shape[2] == 1:
        return runs
    turned = runs.copy()
    turned[:, 1::2] = runs[:, 1::2, ::-1]
    return turned


def orders(layout: Layout) -> tuple[str, ...]:
    """The orders that differ for this layout."""
    sizes = dict(zip(layout.axes, layout.shape, strict=True))
    return ORDERS if sizes.get("T", 1) > 1 and sizes.get("Z", 1) > 1 else ORDERS[:1]


def is_colour(layout: Layout) -> bool:
    """Whether the channels are the red, green and blue samples of one colour image."""
    sizes = dict(zip(layout.axes, layout.shape, strict=True))
    return sizes.get("S", 0) == 3 and layout.channels == 3


def to_opponent(rgb: Floats) -> Floats:
    """Samples 0..1 of shape (3, ...) to lightness and two colour differences around 0.5."""
    mixed = np.tensordot(OPPONENT.astype(np.float32), rgb, axes=1)
    mixed[1:] += np.float32(0.5)
    return np.asarray(mixed)


def from_opponent(mixed: Floats) -> Floats:
    """The inverse of `to_opponent`; rows of length 1/sqrt(3) make it three times the transpose."""
    centred = mixed.copy()
    centred[1:] -= np.float32(0.5)
    return np.asarray(np.tensordot((3 * OPPONENT.T).astype(np.float32), centred, axes=1))
