"""Where to look closely: where the error is largest, where the structure is richest, and somewhere at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microfield.report.pair import Pair, Region, View
from microfield.report.tile_errors import TILE, ChannelSurvey, Survey

Doubles = npt.NDArray[np.float64]

SIDES = (48, 128)
"""Smallest and largest side of a crop in pixels, where the image allows it."""
SEED = 0


@dataclass(frozen=True)
class Crop:
    """A rectangle of one plane and why it was chosen."""

    reason: str
    t: int
    z: int
    y: slice
    x: slice

    @property
    def region(self) -> Region:
        """The crop as `Pair.read` takes it."""
        return slice(self.t, self.t + 1), slice(self.z, self.z + 1), self.y, self.x

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.y.stop - self.y.start, self.x.stop - self.x.start

    def where(self, pair: Pair) -> str:
        """The position in words, with the axes the image has."""
        named = (("t", "T", self.t), ("z", "Z", self.z))
        fixed = [f"{letter} = {at}" for letter, axis, at in named if pair.original.sizes.get(axis, 1) > 1]
        return ", ".join([*fixed, f"y = {self.y.start}–{self.y.stop - 1}", f"x = {self.x.start}–{self.x.stop - 1}"])


def choose_crops(pair: Pair, found: Survey, view: View) -> tuple[Crop, ...]:
    """Three crops of a view that do not overlap; fewer where the image is hardly larger than one.

    The first has the largest structured error, so that a noisy but faithful place does not win, the second the most
    structure in the original, the third is drawn with a fixed seed.
    """
    channels = [found.channels[c] for c in view.channels]
    window = _window(pair)
    maps = {
        "largest error": _windows(_mean(channels, "structured") + 1e-6 * _mean(channels, "square"), window),
        "richest structure": _windows(_mean(channels, "structure"), window),
        "random place": np.random.default_rng(SEED + view.channels[0]).random(_positions(found, channels[0], window)),
    }
    free = np.ones(next(iter(maps.values())).shape, bool)
    crops: list[Crop] = []
    for reason, score in maps.items():
        if not free.any() or (crops and all(pair.is_constant(c) for c in view.channels)):
            break
        plane, row, column = (int(i) for i in np.unravel_index(int(np.argmax(np.where(free, score, -1.0))), score.shape))
        crops.append(_crop(reason, pair, found.planes[plane], (row, column), window))
        free[plane, max(0, row - window[0] + 1) : row + window[0], max(0, column - window[1] + 1) : column + window[1]] = False
    return tuple(crops)


def _mean(channels: list[ChannelSurvey], name: str) -> Doubles:
    return np.asarray(np.mean([getattr(c, name) for c in channels], axis=0))


def _window(pair: Pair) -> tuple[int, int]:
    """Rows and columns of tiles in a crop: a quarter of the plane's shorter side, within `SIDES`."""
    side = min(max(min(pair.extents[2:]) // 4, SIDES[0]), SIDES[1])
    tiles = max(1, side // TILE)
    rows, columns = (max(1, n // TILE) for n in pair.extents[2:])
    return min(tiles, rows), min(tiles, columns)


def _windows(tiles: Doubles, window: tuple[int, int]) -> Doubles:
    """Sums over all windows of tiles; a last tile that is not whole takes part only in a plane without whole ones."""
    total = np.cumsum(np.cumsum(np.pad(tiles, ((0, 0), (1, 0), (1, 0))), axis=1), axis=2)
    h, w = window
    return np.asarray(total[:, h:, w:] - total[:, :-h, w:] - total[:, h:, :-w] + total[:, :-h, :-w])


def _positions(found: Survey, channel: ChannelSurvey, window: tuple[int, int]) -> tuple[int, int, int]:
    planes, rows, columns = channel.square.shape
    return planes, rows - window[0] + 1, columns - window[1] + 1


def _crop(reason: str, pair: Pair, plane: tuple[int, int], corner: tuple[int, int], window: tuple[int, int]) -> Crop:
    spans = []
    for first, tiles, extent in zip(corner, window, pair.extents[2:], strict=True):
        length = min(max(tiles * TILE, min(SIDES[0], extent)), extent)
        start = min(first * TILE, extent - length)
        spans.append(slice(start, start + length))
    return Crop(reason, plane[0], plane[1], spans[0], spans[1])
