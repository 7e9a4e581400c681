"""Errors and structure of both images tile by tile, and the histograms of errors and grey values, in one pass.

Noise differs from pixel to pixel; what compression does to structure is shared by neighbouring pixels. So the error is
split in two: its covariance between direct neighbours in the plane is the *structured error*; the rest cannot be told from
noise, whatever the brightness (shot noise, too). No estimate of the noise is needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microfield.report.pair import Pair

Doubles = npt.NDArray[np.float64]

TILE = 16
"""Side of a tile in pixels."""
MOST_VOXELS = 1 << 26
"""Of larger images only planes spread evenly over them are measured."""
SIGMAS = 6.0
"""How many noise sigmas the histogram of errors reaches to either side at least ..."""
HELD = 0.999
"""... and it reaches as far as this share of the errors, found in ..."""
LOOKED = 4
"""... so many planes, spread evenly over those measured."""
BINS = 128
"""About how many bins a histogram has."""


@dataclass(frozen=True)
class Bins:
    """Bins of equal width from ``start``, in units of `Pair.read`."""

    start: float
    width: float
    count: int

    @property
    def centres(self) -> Doubles:
        """Middle of every bin, shape ``(count,)``."""
        return np.asarray(self.start + (np.arange(self.count) + 0.5) * self.width, np.float64)

    def counts(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """How many values lie in each bin, shape ``(count,)``; values outside are counted in the bins at the ends."""
        scaled = np.clip((values.ravel() - np.float32(self.start)) / np.float32(self.width), 0, self.count - 1)
        return np.bincount(scaled.astype(np.intp), minlength=self.count)


def make_bins(low: float, high: float, level: float | None) -> Bins:
    """About `BINS` bins over a range.

    ``level`` is the step between neighbouring values of an integer image, None for others. Every bin then holds the same
    number of levels, around its middle: otherwise some bins would hold one more than others, and the histogram would look
    like a comb.
    """
    if level is None:
        return Bins(low, (high - low) / BINS, BINS)
    each = max(1, round((high - low) / level / BINS))
    first, last = math.floor(low / level + 0.5), math.ceil(high / level - 0.5)
    count = (last - first) // each + 1
    return Bins((first - 0.5) * level, each * level, count)


@dataclass(frozen=True)
class ChannelTiles:
    """The tiles of one channel. Maps have shape ``(planes, tile rows, tile columns)`` and the units of `Pair.read`.

    Attributes
    ----------
    square : mean square error of a tile
    structured : the part of it that neighbours share (`_shared`), at least 0
    structure : variance of the original within the tile without its noise (the same covariance, of the original)
    mean_original, mean_reconstruction : mean value
    errors : bins over +-`SIGMAS` noise sigmas, or as far as `HELD` of the errors reach; None without visible noise
    error_counts : errors per bin of ``errors``, those beyond its ends in the bins there; empty without visible noise
    greys : bins over the channel's robust range
    grey_original, grey_reconstruction : values per bin of ``greys``, those beyond its ends in the bins there
    """

    square: Doubles
    structured: Doubles
    structure: Doubles
    mean_original: Doubles
    mean_reconstruction: Doubles
    errors: Bins | None
    error_counts: npt.NDArray[np.int64]
    greys: Bins
    grey_original: npt.NDArray[np.int64]
    grey_reconstruction: npt.NDArray[np.int64]


@dataclass(frozen=True)
class TileErrors:
    """The tiles of all channels.

    Attributes
    ----------
    channels : one `ChannelTiles` each
    planes : (t, z) of every plane measured, along the first axis of the maps
    total : number of planes that the image has
    """

    channels: tuple[ChannelTiles, ...]
    planes: tuple[tuple[int, int], ...]
    total: int


def measure_tiles(pair: Pair) -> TileErrors:
    """Measure every channel of a pair, on at most `MOST_VOXELS` of it."""
    t, z, y, x = pair.extents
    wanted = max(1, min(t * z, MOST_VOXELS // (pair.layout.channels * y * x)))
    numbers = [(2 * k + 1) * t * z // (2 * wanted) for k in range(wanted)]
    planes = tuple((n // z, n % z) for n in numbers)
    return TileErrors(tuple(_channel(pair, c, planes) for c in range(pair.layout.channels)), planes, t * z)


def _channel(pair: Pair, channel: int, planes: tuple[tuple[int, int], ...]) -> ChannelTiles:
    """The tiles of one channel, plane by plane."""
    noise = pair.noise(channel)
    low, high = pair.contrast(channel)
    rows, columns = (range(0, n, TILE) for n in pair.extents[2:])
    maps = np.zeros((5, len(planes), len(rows), len(columns)))
    level = 1 / pair.levels(channel) if pair.layout.dtype.kind in "iu" else None
    reach = _error_reach(pair, channel, planes, noise) if noise > 0 else 0.0
    errors = make_bins(-reach, reach, level) if noise > 0 else None
    greys = make_bins(low, high, level)
    counts = np.zeros(errors.count if errors else 0, np.int64)
    grey = np.zeros((2, greys.count), np.int64)
    for k, (t, z) in enumerate(planes):
        a, b = (pair.plane(which, channel, t, z) for which in ("original", "reconstruction"))
        error = b - a
        maps[:, k] = _tiles(a, b, error)
        if errors:
            counts += errors.counts(error)
        for row, values in zip(grey, (a, b), strict=True):
            row += greys.counts(values)
    square, structured, structure, mean_a, mean_b = maps
    return ChannelTiles(square, structured, structure, mean_a, mean_b, errors, counts, greys, grey[0], grey[1])


def _error_reach(pair: Pair, channel: int, planes: tuple[tuple[int, int], ...], noise: float) -> float:
    """How far the histogram of errors goes to either side, in units of `Pair.read`: a whole number of noise sigmas."""
    count = min(len(planes), LOOKED)
    reach = SIGMAS
    for t, z in (planes[(2 * k + 1) * len(planes) // (2 * count)] for k in range(count)):
        error = np.abs(pair.plane("reconstruction", channel, t, z) - pair.plane("original", channel, t, z))
        reach = max(reach, math.ceil(float(np.quantile(error, HELD)) / noise))
    return reach * noise


def _tiles(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32], error: npt.NDArray[np.float32]) -> Doubles:
    """The five maps of one plane, stacked; the order is that of `ChannelTiles`."""
    count = tile_sums(np.ones(a.shape, np.float32))
    square = tile_sums(error * error) / count
    mean_a, mean_b = tile_sums(a) / count, tile_sums(b) / count
    centred = a - np.repeat(np.repeat(mean_a, TILE, 0)[: a.shape[0]], TILE, 1)[:, : a.shape[1]].astype(np.float32)
    variance = tile_sums(centred * centred) / count
    return np.stack([square, _shared(error, square), _shared(centred, variance), mean_a, mean_b])


def _shared(values: npt.NDArray[np.float32], square: Doubles) -> Doubles:
    """The part of the mean square of every tile that neighbours share; 0 to ``square``, the mean square itself.

    It is the mean product of neighbours, less two of its standard deviations by chance: for independent values of variance v
    the mean product over n pairs varies around 0 by ``v / sqrt(n)``. Tiles of one pixel have no neighbours and count whole.
    """
    total, pairs = np.zeros_like(square), np.zeros_like(square)
    for axis in (0, 1):
        if values.shape[axis] < 2:
            continue
        here = values[:-1] if axis == 0 else values[:, :-1]
        after = values[1:] if axis == 0 else values[:, 1:]
        product = np.zeros_like(values)
        ones = np.zeros_like(values)
        inside = (slice(None, -1), slice(None)) if axis == 0 else (slice(None), slice(None, -1))
        product[inside], ones[inside] = here * after, 1
        total += tile_sums(product)
        pairs += tile_sums(ones)
    known = np.maximum(pairs, 1)
    shared = np.maximum(total / known - 2 * square / np.sqrt(known), 0)
    return np.asarray(np.where(pairs > 0, np.minimum(shared, square), square))


def tile_sums(plane: npt.NDArray[np.float32]) -> Doubles:
    """Sums over the tiles of a plane, shape ``(tile rows, tile columns)``; the last row and column of tiles may be smaller."""
    rows = np.add.reduceat(plane, range(0, plane.shape[0], TILE), axis=0, dtype=np.float64)
    return np.asarray(np.add.reduceat(rows, range(0, plane.shape[1], TILE), axis=1))
