"""A part's axes in the order a codec wants, and back: *sheets* of shape (channels, frames, Y, X). Also colour to opponent colour.

Codecs know planes and one axis of frames. Where an image has both T and Z, the frames run along one of them (a *run*), then
along it again at the next position of the other. Every second run goes backwards, so that successive frames are always neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microfield.image import Layout

Floats = npt.NDArray[np.float32]

ORDERS = ("Z", "T")
"""The axes that a run of frames can follow; a file stores the index."""

OPPONENT = np.array([[1, 1, 1], [math.sqrt(1.5), 0, -math.sqrt(1.5)], [math.sqrt(0.5), -math.sqrt(2), math.sqrt(0.5)]]) / 3
"""Rows that turn (red, green, blue) into lightness and two colour differences.

They are orthogonal and of equal length, so that the same error in any of the three makes the same squared error in red, green and
blue. For samples of 0..1 the lightness lies in 0..1 and the differences within 0.5 of 0.
"""


@dataclass(frozen=True)
class Sheets:
    """How one part becomes sheets.

    Attributes
    ----------
    layout : Layout
        Of the part.
    order : str
        ``"Z"`` or ``"T"``: the axis that a run of frames follows.
    """

    layout: Layout
    order: str = "Z"

    @property
    def axes(self) -> tuple[int, ...]:
        """Array positions of the part's axes in this order: channels, the axis between runs, the axis along runs, Y, X."""
        find = self.layout.axes.find
        frames = ("T", "Z") if self.order == "Z" else ("Z", "T")
        wanted = (*self.layout.channel_axes, *(find(a) for a in frames), find("Y"), find("X"))
        return tuple(i for i in wanted if i >= 0)

    @property
    def runs(self) -> tuple[int, int]:
        """Number of runs of frames, and frames in each."""
        sizes = dict(zip(self.layout.axes, self.layout.shape, strict=True))
        slow, fast = ("T", "Z") if self.order == "Z" else ("Z", "T")
        return sizes.get(slow, 1), sizes.get(fast, 1)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the sheets: (channels, frames, Y, X)."""
        y, x = (self.layout.shape[self.layout.axes.index(a)] for a in "YX")
        return self.layout.channels, math.prod(self.runs), y, x

    def gather(self, block: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """The sheets of a block that has the part's axes."""
        channels, _, y, x = self.shape
        runs = block.transpose(self.axes).reshape(channels, *self.runs, y, x)
        return _every_second_backwards(runs).reshape(self.shape)

    def scatter(self, sheets: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """The block of sheets; the inverse of `gather`."""
        channels, _, y, x = self.shape
        runs = _every_second_backwards(sheets.reshape(channels, *self.runs, y, x))
        ordered = runs.reshape([self.layout.shape[i] for i in self.axes])
        return np.ascontiguousarray(ordered.transpose(np.argsort(self.axes)))


def _every_second_backwards(runs: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Frames of shape (channels, runs, length, Y, X) with every second run reversed; its own inverse."""
    if runs.shape[1] == 1 or runs.shape[2] == 1:
        return runs
    turned = runs.copy()
    turned[:, 1::2] = runs[:, 1::2, ::-1]
    return turned


def orders(layout: Layout) -> tuple[str, ...]:
    """The orders that give different sheets: both where there are several T and several Z, else one."""
    sizes = dict(zip(layout.axes, layout.shape, strict=True))
    return ORDERS if sizes.get("T", 1) > 1 and sizes.get("Z", 1) > 1 else ORDERS[:1]


def is_colour(layout: Layout) -> bool:
    """Whether the channels are the red, green and blue samples of one colour image."""
    sizes = dict(zip(layout.axes, layout.shape, strict=True))
    return sizes.get("S", 0) == 3 and layout.channels == 3


def to_opponent(rgb: Floats) -> Floats:
    """Samples 0..1 of shape (3, ...) to lightness and two colour differences, these moved to lie around 0.5."""
    mixed = np.tensordot(OPPONENT.astype(np.float32), rgb, axes=1)
    mixed[1:] += np.float32(0.5)
    return np.asarray(mixed)


def from_opponent(mixed: Floats) -> Floats:
    """The inverse of `to_opponent`: since the rows have the length 1/sqrt(3), the matrix is three times the transpose."""
    centred = mixed.copy()
    centred[1:] -= np.float32(0.5)
    return np.asarray(np.tensordot((3 * OPPONENT.T).astype(np.float32), centred, axes=1))
