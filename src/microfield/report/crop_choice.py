"""The choice of crops to look at closely: the largest error, the richest structure, and a place at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microfield.report.pair import Pair, Region, View
from microfield.report.tile_errors import TILE, TileErrors

Doubles = npt.NDArray[np.float64]

LARGEST_ERROR, RICHEST_STRUCTURE, RANDOM = "largest error", "richest structure", "random place"
"""Reasons to choose a crop, as the page says them."""
SIDES = (48, 128)
"""Smallest and largest side of a crop in pixels, where the image allows it."""
SOMETHING = 0.2
"""The random place has at least this share of the structure of the richest one: background shows nothing."""
SEED = 0
"""Of the random place, so that the same images always give the same page."""
TIE_BREAK = 1e-6
"""Weight of the whole square error beside the structured one: decides where no error is structured."""


@dataclass(frozen=True)
class Crop:
    """A rectangle of one plane and why it was chosen.

    Attributes
    ----------
    reason : `LARGEST_ERROR`, `RICHEST_STRUCTURE` or `RANDOM`
    t, z : the plane
    y, x : rows and columns in pixels
    """

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
        """The position in words, along the axes that the image has."""
        named = (("t", "T", self.t), ("z", "Z", self.z))
        fixed = [f"{letter} = {at}" for letter, axis, at in named if pair.original.sizes.get(axis, 1) > 1]
        return ", ".join([*fixed, f"y = {self.y.start}–{self.y.stop - 1}", f"x = {self.x.start}–{self.x.stop - 1}"])


def richest(crops: Sequence[Crop]) -> Crop | None:
    """The crop with the richest structure; where it is missing the first one, None without any."""
    return next((crop for crop in crops if crop.reason == RICHEST_STRUCTURE), crops[0] if crops else None)


def choose_crops(pair: Pair, tiles: TileErrors, view: View) -> tuple[Crop, ...]:
    """Three crops of a view that do not overlap; fewer where the image, or what there is in it, is hardly larger than one.

    The first has the largest structured error, so that a noisy but faithful place does not win, the second the most
    structure in the original, the third is drawn at random with a fixed seed, among the places where there is something
    (`SOMETHING`).
    """
    channels = [tiles.channels[c] for c in view.channels]
    window = _window_size(pair)
    error = _mean([c.structured for c in channels]) + TIE_BREAK * _mean([c.square for c in channels])
    structure = _window_sums(_mean([c.structure for c in channels]), window)
    maps = {
        LARGEST_ERROR: _window_sums(error, window), RICHEST_STRUCTURE: structure,
        RANDOM: np.where(structure >= SOMETHING * structure.max(), 1.0, 0.0)
        + np.random.default_rng(SEED + view.channels[0]).random(structure.shape),
    }
    free = np.ones(structure.shape, bool)
    crops: list[Crop] = []
    for reason, score in maps.items():
        if not free.any() or (crops and all(pair.is_constant(c) for c in view.channels)):
            break
        if reason == RANDOM and not (free & (score >= 1)).any():
            break  # The others show all that there is.
        plane, row, column = (int(i) for i in np.unravel_index(int(np.argmax(np.where(free, score, -1.0))), score.shape))
        crops.append(_crop(reason, pair, tiles.planes[plane], (row, column), window))
        free[plane, max(0, row - window[0] + 1) : row + window[0], max(0, column - window[1] + 1) : column + window[1]] = False
    return tuple(crops)


def _mean(maps: Sequence[Doubles]) -> Doubles:
    """Mean of the maps of several channels."""
    return np.asarray(np.mean(maps, axis=0))


def _window_size(pair: Pair) -> tuple[int, int]:
    """Rows and columns of tiles in a crop: a quarter of the plane's shorter side, within `SIDES`."""
    side = min(max(min(pair.extents[2:]) // 4, SIDES[0]), SIDES[1])
    tiles = max(1, side // TILE)
    rows, columns = (max(1, n // TILE) for n in pair.extents[2:])
    return min(tiles, rows), min(tiles, columns)


def _window_sums(tiles: Doubles, window: tuple[int, int]) -> Doubles:
    """Sums of a map over the window at every position, shape ``(planes, positions along Y, positions along X)``."""
    total = np.cumsum(np.cumsum(np.pad(tiles, ((0, 0), (1, 0), (1, 0))), axis=1), axis=2)
    h, w = window
    return np.asarray(total[:, h:, w:] - total[:, :-h, w:] - total[:, h:, :-w] + total[:, :-h, :-w])


def _crop(reason: str, pair: Pair, plane: tuple[int, int], corner: tuple[int, int], window: tuple[int, int]) -> Crop:
    """The crop of a window of tiles whose first tile is ``corner``; of at least the smallest side, and inside the plane."""
    spans = []
    for first, tiles, extent in zip(corner, window, pair.extents[2:], strict=True):
        length = min(max(tiles * TILE, min(SIDES[0], extent)), extent)
        start = min(first * TILE, extent - length)
        spans.append(slice(start, start + length))
    return Crop(reason, plane[0], plane[1], spans[0], spans[1])
