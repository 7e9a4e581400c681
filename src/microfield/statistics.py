"""Statistics of an image: ranges, percentiles and noise of its channels.

Images are read in blocks of bounded size, so that memory does not grow with them. A *channel* is one element of the product
of axes C and S: a colour sample counts as a channel of its own. Channels are numbered in C order of these axes as the array
has them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.image import CHANNELS, Image, Layout
from microfield.noise import noise_sigma

Floats = npt.NDArray[np.float64]
Slices = tuple[slice, ...]
"""Part of an array: one slice per axis."""

BLOCK = 1 << 22
"""Array elements read at once, about."""
SAMPLE = 1 << 20
"""Values per channel that percentiles are taken from, where values are too many kinds for a full histogram."""
WINDOWS, WINDOW = 8, 512
"""Noise is estimated per channel from at most so many windows, of at most so many pixels a side."""
_MIN_ROWS = 64
"""Least rows of a box where a plane does not fit one."""


def boxes(layout: Layout, limit: int = BLOCK) -> Iterator[Slices]:
    """Cut an array into boxes of about ``limit`` elements: whole YX planes where they fit, else bands of whole rows."""
    order = sorted(range(len(layout.axes)), key=lambda i: ("YXS".find(layout.axes[i]), i), reverse=True)
    step, inner = [1] * len(order), 1
    for axis in order:
        least = _MIN_ROWS if layout.axes[axis] == "Y" else 1
        step[axis] = min(layout.shape[axis], max(least, limit // inner))
        inner *= step[axis]
    counts = [-(-n // s) for n, s in zip(layout.shape, step, strict=True)]
    for index in np.ndindex(*counts):
        yield tuple(slice(i * s, min(n, (i + 1) * s)) for i, s, n in zip(index, step, layout.shape, strict=True))


def channel_numbers(layout: Layout, box: Slices) -> list[int]:
    """Numbers of the channels that a box of the array holds, in the order in which `as_planes` returns them."""
    numbers = np.arange(layout.channels).reshape([layout.shape[i] for i in layout.channel_axes])
    return [int(n) for n in np.ravel(numbers[tuple(box[i] for i in layout.channel_axes)])]


def as_planes(block: npt.NDArray[Any], axes: str) -> npt.NDArray[Any]:
    """A block with any axes (one letter of ``TCZYXS`` each) as an array of shape ``(channels, planes, Y, X)``."""
    first = [i for i, axis in enumerate(axes) if axis in CHANNELS]
    rest = [i for i, axis in enumerate(axes) if axis not in CHANNELS + "YX"]
    y, x = axes.index("Y"), axes.index("X")
    channels = math.prod(block.shape[i] for i in first)
    planes = math.prod(block.shape[i] for i in rest)
    return block.transpose(*first, *rest, y, x).reshape(channels, planes, block.shape[y], block.shape[x])


def count_invalid(block: npt.NDArray[Any]) -> tuple[int, int]:
    """How many values are NaN and how many are infinite; (0, 0) for integers."""
    if block.dtype.kind != "f":
        return 0, 0
    nan = int(np.count_nonzero(np.isnan(block)))
    return nan, int(block.size - np.count_nonzero(np.isfinite(block))) - nan


@dataclass(frozen=True)
class ChannelStatistics:
    """Statistics of the finite values of an image; every field is a float64 array of shape ``(channels,)``.

    Attributes
    ----------
    minimum, maximum : grey levels
    range : maximum - minimum, and 1 where a channel is constant
    low, high : 0.1 and 99.9 percentile: the value of the data at that rank, rounded down
    noise : estimated standard deviation of the noise in grey levels, 0 where none can be seen (`noise_sigma`)
    deviation : standard deviation of all values about their mean, in grey levels
    """

    minimum: Floats
    maximum: Floats
    range: Floats
    low: Floats
    high: Floats
    noise: Floats
    deviation: Floats

    @property
    def robust_range(self) -> Floats:
        """``high - low``, which a hot pixel does not change; ``range`` where the two percentiles are equal. Positive."""
        return np.where(self.high > self.low, self.high - self.low, self.range)


class _Histogram:
    """Counts of every value of a channel of 8- or 16-bit integers: extremes and percentiles are exact."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.first = int(np.iinfo(dtype).min)
        self.counts = np.zeros(1 << (8 * dtype.itemsize), np.int64)

    def add(self, values: npt.NDArray[Any]) -> None:
        """Count values of any shape."""
        shifted = values.ravel() if self.first == 0 else values.ravel().astype(np.int32) - self.first
        self.counts += np.bincount(shifted, minlength=self.counts.size)

    def quantiles(self, levels: tuple[float, ...]) -> list[float]:
        """Grey levels at some shares (0 to 1) of the sorted values, rounded down in rank."""
        cumulative = np.cumsum(self.counts)
        ranks = [math.floor(level * (int(cumulative[-1]) - 1)) for level in levels]
        return [float(self.first + int(np.searchsorted(cumulative, rank, side="right"))) for rank in ranks]

    @property
    def deviation(self) -> float:
        """Standard deviation of the values."""
        mean = np.average(levels := np.arange(self.counts.size), weights=self.counts)
        return math.sqrt(np.average((levels - mean) ** 2, weights=self.counts))


class _Sample:
    """Extremes and every n-th value of a channel of 32 or more bits or of floats; percentiles are those of the sample."""

    def __init__(self, stride: int) -> None:
        self.stride, self.minimum, self.maximum = stride, math.inf, -math.inf
        self.count, self.mean, self.squares = 0, 0.0, 0.0
        self.kept: list[npt.NDArray[Any]] = []

    def add(self, values: npt.NDArray[Any]) -> None:
        """Count values of any shape; NaN and infinity are left out."""
        finite = values[np.isfinite(values)]
        if finite.size:
            self.minimum = min(self.minimum, float(finite.min()))
            self.maximum = max(self.maximum, float(finite.max()))
            self.kept.append(finite[:: self.stride].copy())
            self._spread(finite)

    def _spread(self, values: npt.NDArray[Any]) -> None:
        """Add to mean and sum of squares about it; those of two sets are put together as Chan et al. (1979) do."""
        with np.errstate(over="ignore", invalid="ignore"):  # Squares of the largest numbers are infinite, and so is the deviation.
            mean = float(values.mean(dtype=np.float64))
            squares = float(values.size * values.var(dtype=np.float64))
            moved, total = np.float64(mean - self.mean), self.count + values.size
            self.squares += squares + float(moved**2 * (self.count * values.size / total))
            self.mean += float(moved * (values.size / total))
            self.count = total

    @property
    def deviation(self) -> float:
        """Standard deviation of the values; infinite or NaN where they are too large for squares, 0 without any."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0

    def quantiles(self, levels: tuple[float, ...]) -> list[float]:
        """Grey levels at some shares (0 to 1) of the sorted values, rounded down in rank; zeros without a finite value."""
        if not self.kept:
            return [0.0] * len(levels)
        inside = np.quantile(np.concatenate(self.kept).astype(np.float64), levels, method="lower")
        exact = {0.0: self.minimum, 1.0: self.maximum}
        return [exact.get(level, float(value)) for level, value in zip(levels, inside, strict=True)]


def _sketch(layout: Layout) -> _Histogram | _Sample:
    """What percentiles of a channel are worked out from."""
    if layout.dtype.kind in "iu" and layout.dtype.itemsize <= 2:
        return _Histogram(layout.dtype)
    stride = max(1, -(-(layout.size // layout.channels) // SAMPLE))
    row = layout.shape[layout.axes.index("X")]
    while stride > 1 and math.gcd(stride, row) > 1:  # a common factor would visit some columns only
        stride += 1
    return _Sample(stride)


def channel_statistics(image: Image) -> ChannelStatistics:
    """Range, percentiles and noise of every channel, in one pass over the image and a look at a few windows.

    NaN and infinity are left out (`count_invalid` counts them); a channel without a finite value has zeros.
    """
    layout = image.layout
    sketches = [_sketch(layout) for _ in range(layout.channels)]
    for box in boxes(layout):
        values = as_planes(image.read(box), layout.axes)
        for number, channel in zip(channel_numbers(layout, box), values, strict=True):
            sketches[number].add(channel)
    table = np.array([sketch.quantiles((0.0, 0.001, 0.999, 1.0)) for sketch in sketches])
    minimum, low, high, maximum = table.T.copy()
    span = maximum - minimum
    noise = np.array([_channel_noise(image, number) for number in range(layout.channels)])
    deviation = np.array([sketch.deviation for sketch in sketches])
    return ChannelStatistics(minimum, maximum, np.where(span > 0, span, 1.0), low, high, noise, deviation)


def windows(layout: Layout, channel: int, count: int = WINDOWS, side: int = WINDOW) -> list[Slices]:
    """At most ``count`` boxes of one channel and one YX plane each, ``side`` pixels a side or less, spread over the whole image."""
    others = [i for i, axis in enumerate(layout.axes) if axis not in CHANNELS + "YX"]
    extents = [layout.shape[i] for i in others]
    at = np.unravel_index(channel, [layout.shape[i] for i in layout.channel_axes]) if layout.channel_axes else ()
    fixed = {i: slice(int(k), int(k) + 1) for i, k in zip(layout.channel_axes, at, strict=True)}
    found: dict[tuple[tuple[int, int], ...], Slices] = {}
    for k in range(count):
        plane = int((k + 0.5) / count * math.prod(extents))
        box = fixed | {
            i: slice(int(p), int(p) + 1)
            for i, p in zip(others, np.unravel_index(plane, extents) if extents else (), strict=True)
        }
        # The fractional parts of multiples of these irrational numbers fill the unit square evenly (Kronecker).
        for axis, step in (("Y", math.sqrt(2.0)), ("X", math.sqrt(3.0))):
            i = layout.axes.index(axis)
            start = int((0.5 + k * step) % 1.0 * max(0, layout.shape[i] - side + 1))
            box[i] = slice(start, min(layout.shape[i], start + side))
        whole = tuple(box[i] for i in range(len(layout.axes)))
        found[tuple((s.start, s.stop) for s in whole)] = whole
    return list(found.values())


def _channel_noise(image: Image, channel: int) -> float:
    """Noise sigma of a channel in grey levels, from its windows."""
    cut = [as_planes(image.read(box), image.axes)[0, 0] for box in windows(image.layout, channel)]
    values = np.stack(cut)
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        values = np.where(finite, values, values.dtype.type(0))
    return noise_sigma(values)
