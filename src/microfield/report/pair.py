"""The two images of a comparison, read channel by channel with the same four axes whatever the file's are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from microfield.analysis.ground_truth import shape_of
from microfield.analysis.subset import WithAxes
from microfield.errors import InputError
from microfield.image import ArrayLike, Image, Layout
from microfield.metrics import channel_names
from microfield.statistics import ChannelStatistics, channel_statistics
from microfield.wording import argument

Floats = npt.NDArray[np.float32]
Region = tuple[slice, slice, slice, slice]
"""A part of an image: slices of T, Z, Y and X."""

KEEP_BYTES = 256 << 20
"""Arrays up to this size are read (decoded) once and kept; of larger ones each part is read when it is needed."""
SHOWN = 4
"""How many views get pictures of their own."""


@runtime_checkable
class CompressedFile(Protocol):
    """What the report says of the file behind a reconstruction; a `MicrofieldFile` has it."""

    @property
    def method(self) -> str:
        """Name of the method."""
        ...

    @property
    def file_bytes(self) -> int:
        """Size of the file."""
        ...


@dataclass(frozen=True)
class View:
    """What is shown as one picture: a channel, or the three samples of a colour image.

    Attributes
    ----------
    name : as the page says it
    channels : one or three channel numbers, as in `microfield.statistics.channel_numbers`
    """

    name: str
    channels: tuple[int, ...]

    @property
    def is_colour(self) -> bool:
        """Whether the view is red, green and blue together."""
        return len(self.channels) == 3


@dataclass(frozen=True)
class Pair:
    """Original and reconstruction of one shape.

    Attributes
    ----------
    original : the original
    reconstruction : array-like, read block by block
    statistics : those of the original
    file : the file behind the reconstruction; None where there is none
    names : one per channel
    """

    original: Image
    reconstruction: ArrayLike
    statistics: ChannelStatistics
    file: CompressedFile | None = None
    names: tuple[str, ...] = field(default=())

    @property
    def layout(self) -> Layout:
        """Shape, axes and dtype of the original."""
        return self.original.layout

    @cached_property
    def extents(self) -> tuple[int, int, int, int]:
        """Extents of T, Z, Y and X; 1 where the image lacks the axis."""
        sizes = self.original.sizes
        t, z, y, x = (sizes.get(axis, 1) for axis in "TZYX")
        return t, z, y, x

    @cached_property
    def views(self) -> tuple[View, ...]:
        """One view per channel; colour samples (three or four on axis S) are one view, alpha left out."""
        samples = self.original.sizes.get("S", 0)
        if samples not in (3, 4):
            return tuple(View(name, (c,)) for c, name in enumerate(self.names))
        numbers = np.arange(self.layout.channels).reshape([self.layout.shape[i] for i in self.layout.channel_axes])
        at = [self.layout.axes[i] for i in self.layout.channel_axes].index("S")
        groups = np.moveaxis(numbers, at, -1).reshape(-1, samples)
        known = self.original.channel_names
        titles = known if len(known) == len(groups) else [f"C{i}" for i in range(len(groups))]
        return tuple(
            View("colour" if len(groups) == 1 else f"{titles[i]} colour", tuple(int(n) for n in group[:3]))
            for i, group in enumerate(groups)
        )

    def read(self, which: str, channel: int, region: Region) -> Floats:
        """Read a region of one channel as float32 of shape ``(T, Z, Y, X)``; ``which`` is "original" or "reconstruction".

        The original's minimum reads 0 and its maximum 1, so that float32 neither rounds large offsets nor overflows;
        `levels` turns differences back into grey levels.
        """
        layout = self.layout
        numbers = [layout.shape[i] for i in layout.channel_axes]
        at = dict(zip(layout.channel_axes, np.unravel_index(channel, numbers) if numbers else (), strict=True))
        parts = dict(zip("TZYX", region, strict=True))
        box = tuple(
            slice(int(at[i]), int(at[i]) + 1) if i in at else parts[axis] for i, axis in enumerate(layout.axes)
        )
        values = self.original.read(box) if which == "original" else np.asarray(self.reconstruction[box])
        order = [layout.axes.index(axis) for axis in "TZYX" if axis in layout.axes]
        rest = [i for i in range(len(layout.axes)) if i not in order]
        moved = values.transpose(*rest, *order)
        shape = tuple(len(range(*s.indices(n))) for s, n in zip(region, self.extents, strict=True))
        scaled = (moved.reshape(shape).astype(np.float64) - self.statistics.minimum[channel]) / self.levels(channel)
        return np.asarray(scaled, np.float32)

    def levels(self, channel: int) -> float:
        """Grey levels in one unit of what `read` gives: the channel's range."""
        return float(self.statistics.range[channel])

    def grey(self, channel: int, value: float) -> float:
        """The grey level that `read` gives as ``value``."""
        return float(self.statistics.minimum[channel]) + value * self.levels(channel)

    def contrast(self, channel: int) -> tuple[float, float]:
        """Values of `read` shown as black and as white: the 0.1 and 99.9 percentiles of the original."""
        known = self.statistics
        low = float(known.low[channel] - known.minimum[channel]) / self.levels(channel)
        return low, low + float(known.robust_range[channel]) / self.levels(channel)

    def noise(self, channel: int) -> float:
        """Estimated noise sigma in units of `read`, 0 where none is visible."""
        return float(self.statistics.noise[channel]) / self.levels(channel)

    def plane(self, which: str, channel: int, t: int, z: int) -> Floats:
        """Read one plane of shape ``(Y, X)``, in units of `read`."""
        return np.asarray(self.read(which, channel, (slice(t, t + 1), slice(z, z + 1), slice(None), slice(None)))[0, 0])

    def is_constant(self, channel: int) -> bool:
        """Whether the original has one value only in this channel."""
        return bool(self.statistics.minimum[channel] == self.statistics.maximum[channel])


def make_pair(original: Image, reconstruction: Any, file: CompressedFile | None = None) -> Pair:
    """Check that two images can be compared, and read those that are small enough to keep (`KEEP_BYTES`).

    ``reconstruction`` is a MicrofieldFile, an Image or array-like; ``file`` is the file behind it, where it is another object.

    Raises
    ------
    InputError
        The shapes or axes differ.
    """
    check_match(original, reconstruction)
    if file is None and isinstance(reconstruction, CompressedFile):
        file = reconstruction
    data = reconstruction.data if isinstance(reconstruction, Image) else reconstruction
    if math.prod(original.shape) * np.dtype(data.dtype).itemsize <= KEEP_BYTES:
        data = np.asarray(data[(slice(None),) * len(original.shape)])
    if original.nbytes <= KEEP_BYTES:
        original = replace(original, data=original.read())
    return Pair(original, data, channel_statistics(original), file, tuple(channel_names(original)))


def check_match(original: Image, reconstruction: Any) -> None:
    """Raise InputError where the shapes differ, or the axes of a reconstruction that says what its axes are."""
    shape = shape_of(reconstruction)
    if shape != original.shape:
        raise InputError(f"the original has shape {original.shape} and the reconstruction {shape}; "
                         "only arrays of one shape can be compared.")
    if isinstance(reconstruction, WithAxes) and reconstruction.axes != original.axes:
        raise InputError(f"the original has axes {original.axes} and the reconstruction {reconstruction.axes}; "
                         f"give {argument('axes')} where the file of the original names them wrongly.")
