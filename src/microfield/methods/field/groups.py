"""Which values are transformed together: a part's axes as (channels, T, Z, Y, X), then as groups of coefficients, and back.

Z, or T where there is no Z, is an axis of the wavelet. Where a part has both, either T is split first, and every band of it is a
group of its own, a batch of volumes; or T is the axis of the wavelet and Z is the batch. In a film T is no axis of the wavelet: the
time points of a generation (`film_order`) are a group.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError
from microfield.image import Layout
from microfield.methods.field.align import Shifts, roll
from microfield.methods.field.coefficients import CodingOrder
from microfield.methods.field.film_order import Film
from microfield.methods.field.lifting import Floats, Schedule, forward, gain, inverse
from microfield.methods.field.schedules import NAMES, schedule

USUAL_TIME_SPLITS = 3
"""T is split at most so often where nothing is tried."""


def gathered(block: npt.NDArray[Any], layout: Layout) -> npt.NDArray[Any]:
    """A block in the part's axes as (channels, frames, Y, X), frames running through T and then Z; a view where possible."""
    axes = _axes(layout)
    y, x = (layout.shape[layout.axes.index(a)] for a in "YX")
    return block.transpose(axes).reshape(layout.channels, -1, y, x)


def scattered(values: npt.NDArray[Any], layout: Layout, shape: tuple[int, ...] | None = None) -> npt.NDArray[Any]:
    """The inverse of `gathered`, C-contiguous.

    Parameters
    ----------
    values : array (channels, frames, Y, X)
    layout : Layout
    shape : tuple of int, optional
        Shape of the result where it is not that of the layout, as for a preview.
    """
    axes, extents = _axes(layout), shape or layout.shape
    return np.ascontiguousarray(values.reshape([extents[i] for i in axes]).transpose(np.argsort(axes)))


def _axes(layout: Layout) -> tuple[int, ...]:
    """Numbers of the layout's axes in the order channels, T, Z, Y, X, as far as they exist."""
    return (*layout.channel_axes, *(i for i in map(layout.axes.find, "TZYX") if i >= 0))


def times(layout: Layout) -> int:
    """How often T is split by default: once where there are T and Z, again while 8 time points are left."""
    return times_of(extents_of(layout))


def times_of(extents: tuple[int, ...]) -> int:
    """The same from the extents of T, Z, Y and X."""
    t, z = extents[:2]
    if t == 1 or z == 1:
        return 0
    return max(1, min(USUAL_TIME_SPLITS, t.bit_length() - 3))


def most_times(extents: tuple[int, ...]) -> int:
    """How often T can be split, from the extents of T, Z, Y and X: until one time point is left."""
    t, z = extents[:2]
    return 0 if t == 1 or z == 1 else (t - 1).bit_length()


def extents_of(layout: Layout) -> tuple[int, int, int, int]:
    """Extents of T, Z, Y and X, 1 where there is no such axis."""
    sizes = dict(zip(layout.axes, layout.shape, strict=True))
    return sizes.get("T", 1), sizes.get("Z", 1), sizes["Y"], sizes["X"]


@dataclass(frozen=True)
class Groups:
    """How a part becomes groups: one for every band of T, coarsest first, and within it for every channel in its order.

    Attributes
    ----------
    channels : int
        Number of coded channels.
    extents : tuple of int
        Extents of T, Z, Y and X.
    transform : str
        See `schedules`.
    times : int
        How often T is split before the volumes of its bands are transformed.
    shifts : int32 array (planes, 2), optional
        By how much planes are rolled along y and x before all else; planes are those of T, or of Z where there is no T.
    along_time : bool
        T takes the place of z in the wavelet, and Z is the batch; only where there are both.
    film : Film, optional
        How time points are predicted from others; T is then not split.
    """

    channels: int
    extents: tuple[int, int, int, int]
    transform: str
    times: int = 0
    shifts: Shifts | None = None
    along_time: bool = False
    film: Film | None = None

    def check(self) -> None:
        """Raise FormatError where a part of these extents cannot be grouped so."""
        if self.times > most_times(self.extents):
            raise FormatError("a part splits a time axis that it does not have.")
        if self.along_time and (self.times or not most_times(self.extents)):
            raise FormatError("a part is transformed along a time axis that it does not have.")
        if self.film is not None and (self.extents[0] < 2 or self.shifts is not None):
            raise FormatError("a part is no film.")
        found = schedule(self.transform, (1, *self.extents[1:]) if self.film is not None else self.volume)
        if self.transform not in NAMES and not all(found.split(k) for k in range(len(found.levels))):
            raise FormatError("a part has levels that split nothing.")

    @property
    def volume(self) -> tuple[int, int, int, int]:
        """Shape (batch, z, y, x) of a channel as volumes: T is the batch axis where there is Z, and stands for z where not."""
        t, z, y, x = self.extents
        if self.along_time:
            return (z, t, y, x)
        return (t, z, y, x) if t > 1 and z > 1 else (1, t * z, y, x)

    def volumes(self, frames: Floats) -> Floats:
        """Frames (channels, frames, y, x), running through T and then Z, as volumes (channels, batch, z, y, x); y and x are any."""
        t, z = self.extents[:2]
        if self.along_time:
            return frames.reshape(len(frames), t, z, *frames.shape[2:]).swapaxes(1, 2)
        return frames.reshape(len(frames), *self.volume[:2], *frames.shape[2:])

    def frames(self, volumes: Floats) -> Floats:
        """The inverse of `volumes`."""
        in_order = volumes.swapaxes(1, 2) if self.along_time else volumes
        return in_order.reshape(len(volumes), -1, *volumes.shape[3:])

    @cached_property
    def in_time(self) -> Schedule:
        """The schedule that splits T, of the shape `volume`."""
        return Schedule(((0,),) * self.times, self.volume)

    @cached_property
    def bands(self) -> tuple[slice, ...]:
        """Where the bands of T lie along the time axis after it was split, coarsest first."""
        ends = [0] + [extents[0] for extents in reversed(self.in_time.extents)]
        return tuple(slice(start, stop) for start, stop in itertools.pairwise(ends))

    @property
    def by_frame(self) -> Shifts:
        """The shifts of all frames, int32 of shape (frames, 2); there must be shifts."""
        assert self.shifts is not None
        return np.repeat(self.shifts, self.extents[0] * self.extents[1] // len(self.shifts), axis=0)

    def rolled(self, values: Floats, frames: npt.NDArray[np.intp] | slice = slice(None)) -> Floats:
        """Planes of an array (channels, frames, y, x) rolled into alignment; of certain ``frames`` only, if these are given."""
        some = values[:, frames]
        return some if self.shifts is None else np.stack([roll(v, self.by_frame[frames]) for v in some])

    def unrolled(self, values: Floats) -> Floats:
        """Inverse of `rolled`, for all frames."""
        return values if self.shifts is None else np.stack([roll(v, self.by_frame, back=True) for v in values])

    @cached_property
    def order(self) -> CodingOrder:
        """The order of coding: the reference of a group is the same band of T of the channel before."""
        if self.film is not None:
            return _film_order(self.film, self.transform, self.extents[1:], self.channels)
        shapes = [(band.stop - band.start, *self.volume[1:]) for band in self.bands]
        schedules = tuple(schedule(self.transform, shape) for shape in shapes for _ in range(self.channels))
        references = tuple(None if i % self.channels == 0 else i - 1 for i in range(len(schedules)))
        return CodingOrder(schedules, references)

    def forward(self, values: Floats) -> list[Floats]:
        """Coefficients of every group, float32, from values of shape (channels, frames, Y, X)."""
        return [forward(piece, s) for piece, s in zip(self.pieces(values, forward), self.order.schedules, strict=True)]

    def pieces(self, values: Floats, split: Callable[[Floats, Schedule], Floats]) -> Iterator[Floats]:
        """What `forward` transforms: values of every group before y, x and z are split, T being split by the function."""
        if self.film is not None:
            series = values.reshape(self.channels, *self.extents)
            yield from (channel[generation.frames] for generation in self.film.generations for channel in series)
            return
        in_time = list(self.volumes(self.rolled(values)))
        if self.times:
            in_time = [split(v, self.in_time) for v in in_time]
        yield from (v[band] for band in self.bands for v in in_time)

    def inverse(self, coefficients: Sequence[Floats], level: int = 0) -> Floats:
        """Values of shape (channels, batch, z, y, x) from the coefficients of every group, not of a film; planes are still rolled.

        Parameters
        ----------
        coefficients : sequence of float32 arrays
            One per group.
        level : int
            If it is not 0, the result is the approximation before that level of the wavelet, on the scale of the values.
        """
        smaller = self.order.schedules[0].extents[level][1:]
        out = np.empty((self.channels, self.volume[0], *smaller), np.float32)
        for i, (group, s) in enumerate(zip(coefficients, self.order.schedules, strict=True)):
            out[i % self.channels, self.bands[i // self.channels]] = inverse(group, s, level)
        if level:
            out *= np.float32(1 / gain(self.order.schedules[0], level))
        if self.times:
            split = Schedule(self.in_time.levels, (self.volume[0], *smaller))
            for channel in out:
                channel[...] = inverse(channel, split)
        return out

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return self.channels * math.prod(self.extents)


def _film_order(film: Film, transform: str, volume: tuple[int, ...], channels: int) -> CodingOrder:
    """The order of coding of a film.

    The reference of a group is the channel before; that of the first channel is the generation before of the same depth, if it has
    as many time points.
    """
    schedules, references, scales, predicted = list[Schedule](), list[int | None](), list[float](), set[int]()
    last: dict[tuple[int, int], int] = {}
    for generation in film.generations:
        n, depth = len(generation.frames), generation.depth
        for channel in range(channels):
            references.append(len(schedules) - 1 if channel else last.get((depth, n)))
            if generation.references.size:
                predicted.add(len(schedules))
            schedules.append(schedule(transform, (n, *volume)))
            scales.append(film.scale(depth))
        last[depth, n] = len(schedules) - channels
    return CodingOrder(tuple(schedules), tuple(references), tuple(scales), frozenset(predicted))
