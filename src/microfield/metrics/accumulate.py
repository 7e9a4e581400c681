"""The one pass over an original and its reconstruction in which `microfield.compare` accumulates all metrics.

Both arrays are read once, in blocks of whole planes or, of planes above 4 Mpixel, in bands of rows. Every metric keeps
running sums, so that memory depends on the size of a block and not on that of the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError, NotFiniteError
from microfield.image import CHANNELS, Image, Layout
from microfield.metrics.blocking import Steps
from microfield.metrics.distributions import Correlation, GreyValues
from microfield.metrics.multiscale import plane_ms_ssim
from microfield.metrics.perceptual import has_features, plane_lpips
from microfield.metrics.similarity import Floats, PlaneSimilarity, window
from microfield.metrics.spectral import MIN_RINGS, NYQUIST, RingSums
from microfield.metrics.volume_similarity import StackSimilarity, has_stacks
from microfield.statistics import BLOCK, ChannelStatistics, Slices, as_planes, boxes, channel_numbers, count_invalid

Read = Callable[[Slices], npt.NDArray[Any]]
"""Reads a box (one slice per axis) of an image."""

_LEAST_ROWS = 64
"""The last band of a plane that was cut is left out, where it has fewer rows, by metrics that need an area."""


@dataclass(frozen=True)
class Piece:
    """Some rows of one YX plane of one channel in both images.

    Attributes
    ----------
    channel : number of the channel
    volume : positions along the axes other than C, S, Z, Y, X
    z : position along Z, 0 without that axis
    row : number of its first row in the plane
    lead : number of rows at its beginning that an earlier piece had already
    a, b : grey levels of the original and of the reconstruction, shape ``(rows, X)``
    """

    channel: int
    volume: tuple[int, ...]
    z: int
    row: int
    lead: int
    a: npt.NDArray[Any]
    b: npt.NDArray[Any]

    @property
    def has_area(self) -> bool:
        """Whether the piece is a whole plane or a band of at least `_LEAST_ROWS` rows."""
        return self.row == 0 or len(self.a) >= _LEAST_ROWS


def measure(original: Image, read: Read, statistics: ChannelStatistics | None, *, ssim: bool, full: bool,
            lpips: bool = False) -> list[ChannelSums]:
    """Go over both images once.

    Parameters
    ----------
    original : Image
    read : callable
        Reads a box of the reconstruction.
    statistics : ChannelStatistics or None
        Of the original; without them only the errors are measured.
    ssim, full, lpips : bool
        As in `microfield.compare`.

    Returns
    -------
    list of ChannelSums
        One per channel.

    Raises
    ------
    InputError
        If the shapes differ.
    NotFiniteError
        If either image holds NaN or infinity.
    """
    layout = original.layout
    channels = [ChannelSums(layout, c, statistics, ssim=ssim, full=full, lpips=lpips) for c in range(layout.channels)]
    lead = len(window(_plane(layout))[0]) - 1 if ssim else int(full)
    invalid = np.zeros((2, 2), np.int64)  # original, reconstruction; NaN, infinite
    for piece in _pieces(original, read, lead, invalid):
        channels[piece.channel].add(piece)
    _refuse(invalid, original.name)
    return channels


def identical(original: Image, read: Read) -> bool:
    """Whether a reconstruction has the values of its original everywhere, NaN where that is NaN; read until they differ."""
    for box in boxes(original.layout):
        a, b = original.read(box), np.asarray(read(box))
        if not np.array_equal(a, b, equal_nan=a.dtype.kind == b.dtype.kind == "f"):
            return False
    return True


def check_shapes(original: tuple[int, ...], reconstruction: tuple[int, ...]) -> None:
    """Raise InputError where two shapes differ."""
    if original != reconstruction:
        raise InputError(
            f"the original has shape {original} and the reconstruction {reconstruction}; "
            "only arrays of one shape can be compared."
        )


class ChannelSums:
    """The running sums of one channel; those of metrics that were not requested are None.

    Grey levels count from the original's minimum, in units of 1; where the range is so large or small that its fourth power
    does not fit a double, in units of the range.

    Attributes
    ----------
    low : minimum of the original in grey levels
    unit : grey levels per unit
    range : of the original, in units
    """

    def __init__(
        self, layout: Layout, channel: int, statistics: ChannelStatistics | None, *, ssim: bool = False, full: bool = False,
        lpips: bool = False,
    ) -> None:
        self.low = 0.0 if statistics is None else float(statistics.minimum[channel])
        span = 1.0 if statistics is None else float(statistics.range[channel])
        self.unit = 1.0 if 1e-60 < span < 1e60 else span
        self.range = span / self.unit
        self.squares, self.count, self.highest, self.lowest = 0.0, 0, -math.inf, math.inf
        plane = _plane(layout)
        self.correlation = None if statistics is None else Correlation()
        self.similarity = PlaneSimilarity(plane, self.range) if ssim else None
        self.scales: Mean | None = Mean() if ssim and full else None
        self.features = Mean() if lpips and has_features(plane) else None
        self.stacks = _stacks(layout, self.range) if ssim and full else None
        self.values = GreyValues(self.range, whole=layout.dtype.kind in "iu") if full else None
        self.steps = Steps(plane) if full else None
        rings = RingSums(plane)
        self.rings = rings if full and rings.rings >= MIN_RINGS else None

    def add(self, piece: Piece) -> None:
        """Count one piece in every metric."""
        x, y = self._above_minimum(piece.a), self._above_minimum(piece.b)
        new_x, new_y = x[piece.lead :], y[piece.lead :]
        self._add_error(new_x, new_y)
        if self.correlation:
            self.correlation.add(new_x, new_y)
        if self.similarity:
            self.similarity.add(x, y)
        if self.stacks:
            self.stacks.add(x, y, (*piece.volume, piece.row), piece.z)
        if self.scales and piece.has_area:
            self.scales.add(plane_ms_ssim(x, y, self.range), x.size)
        if self.features and piece.has_area and has_features(x.shape):
            self.features.add(plane_lpips(x, y, self.range), x.size)
        if self.values:
            self.values.add(new_x, new_y)
        if self.steps:
            self.steps.add(x, y, piece.row, piece.lead)
        if self.rings and piece.has_area:
            self.rings.add(new_x, new_y)

    def _above_minimum(self, values: npt.NDArray[Any]) -> Floats:
        above = values.astype(np.float64)
        above -= self.low
        if self.unit != 1.0:
            above /= self.unit
        return above

    def _add_error(self, x: Floats, y: Floats) -> None:
        error = x - y
        self.squares += float(np.einsum("ij,ij->", error, error))  # np.vdot would start threads
        self.count += error.size
        self.highest = max(self.highest, float(error.max()))
        self.lowest = min(self.lowest, float(error.min()))

    @property
    def mse(self) -> float:
        """Mean square error in units squared."""
        return self.squares / self.count

    @property
    def max_error(self) -> float:
        """Largest absolute error in grey levels."""
        return max(self.highest, -self.lowest, 0.0) * self.unit

    @property
    def frc_cutoff(self) -> float | None:
        """Share of the Nyquist frequency up to which the ring correlation stays at 0.5; None for constant or tiny planes."""
        if self.rings is None or not self.rings.first[1:].any():
            return None
        return self.rings.result().cutoff() / NYQUIST


class Mean:
    """A running weighted mean."""

    def __init__(self) -> None:
        self.total, self.weight = 0.0, 0

    def add(self, value: float, weight: int) -> None:
        """Count a value with a positive weight."""
        self.total += value * weight
        self.weight += weight

    @property
    def value(self) -> float:
        """The mean of the values so far, of which there must be one."""
        return self.total / self.weight


def _pieces(original: Image, read: Read, lead: int, invalid: npt.NDArray[np.int64]) -> Iterator[Piece]:
    """All pieces of an image, with Z rising in every volume.

    A band of rows that does not start a plane repeats ``lead`` rows, so that windows across the cut are counted. The numbers
    of NaN and infinite values are added to ``invalid``, of shape (image, kind); from the first such value on there are no
    further pieces, only counts.
    """
    layout, y = original.layout, original.axes.index("Y")
    others = [i for i, axis in enumerate(layout.axes) if axis not in CHANNELS + "YX"]
    for box in boxes(layout, BLOCK):
        seen = min(lead, box[y].start)
        wide = (*box[:y], slice(box[y].start - seen, box[y].stop), *box[y + 1 :])
        a, b = original.read(wide), read(wide)
        check_shapes(a.shape, b.shape)
        first, second = as_planes(a, layout.axes), as_planes(b, layout.axes)
        invalid += [count_invalid(first[..., seen:, :]), count_invalid(second[..., seen:, :])]
        if invalid.any():
            continue
        places = [
            {layout.axes[i]: box[i].start + k for i, k in zip(others, index, strict=True)}
            for index in np.ndindex(*(box[i].stop - box[i].start for i in others))
        ]
        for channel, planes, same in zip(channel_numbers(layout, box), first, second, strict=True):
            for place, p, q in zip(places, planes, same, strict=True):
                volume = tuple(n for axis, n in place.items() if axis != "Z")
                yield Piece(channel, volume, place.get("Z", 0), wide[y].start, seen, p, q)


def _refuse(invalid: npt.NDArray[np.int64], name: str) -> None:
    """Raise InputError where values were not finite."""
    for which, (nan, infinite) in zip((name, "the reconstruction"), invalid.tolist(), strict=True):
        if nan or infinite:
            raise NotFiniteError(
                f"{which} holds {nan} NaN and {infinite} infinite values, which have no error; "
                "replace them in both images before comparing."
            )


def _plane(layout: Layout) -> tuple[int, int]:
    """Extents of a plane, (Y, X)."""
    return layout.shape[layout.axes.index("Y")], layout.shape[layout.axes.index("X")]


def _stacks(layout: Layout, value_range: float) -> StackSimilarity | None:
    """Sums for the 3-D similarity of an image; None where it has no deep enough stacks."""
    sizes = dict(zip(layout.axes, layout.shape, strict=True))
    if not has_stacks(sizes):
        return None
    inside = [n for axis, n in sizes.items() if axis in "TC" and layout.axes.index(axis) > layout.axes.index("Z")]
    return StackSimilarity(sizes["Z"], _plane(layout), value_range, math.prod(inside) * sizes.get("S", 1))
