"""Whether an image holds object labels, a mask or classes rather than intensities.

Labels lie in patches of equal values, intensities do not: noise makes neighbours differ, and where there is no noise a patch of
one grey level is surrounded by patches of the next ones. Neither needs a gap between objects (Voronoi cells, plant tissue,
superpixels, class maps), and neither depends on the type of the values. A few windows decide; only what they take for labels,
or find empty, is read further.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.image import Image
from microfield.statistics import Slices, as_planes, boxes, windows

Planes = npt.NDArray[Any]

FIRST, FIRST_SIDE = 16, 256
"""Windows, and pixels a side of each, that tell an image from labels in nearly all cases."""
MORE, MORE_SIDE = 96, 512
"""Windows, and pixels a side of each, that what looks like labels is looked at in again."""
ENOUGH = 1024
"""Pixels of foreground to judge by; where the windows hold fewer, all of the image is read."""
MOST_REPLICATED = 8
"""An image magnified by repeating its pixels up to so many times is judged by the pixels it had before."""
FEW_CLASSES, SOME_CLASSES = 6, 16
"""Class maps have few values, so that neighbouring patches often hold neighbouring values, as they do in an image of few grey
levels; the fewer values there are, the less even the patches have to be."""
UNLIKE = 40
"""A lookup table is one of labels where neighbouring entries differ by more than this, of 255, in the mean of the three colours."""

_NAMES = re.compile(r"(?:^|[\W_])(?:labels?(?![\W_]?free)|masks?|seg|segmentations?|annotations?|instances?)(?=[\W_]|\d|$)")


@dataclass(frozen=True)
class Hints:
    """What a source says beside its values: it shifts the limits and never decides alone.

    Attributes
    ----------
    declared : the metadata say that the values are labels (OME-Zarr ``image-label``, boolean values, a colour table of labels)
    named : the name is one of those that labels get (``cells_labels``, ``cells_cp_masks``, ``seg``)
    """

    declared: bool = False
    named: bool = False

    @classmethod
    def of(cls, image: Image) -> Hints:
        """The hints of an image."""
        tables = any(table_of_labels(channel.table) for channel in image.display.channels)
        return cls(bool(image.labels) or tables, sounds_like_labels(image.name))


def sounds_like_labels(name: str) -> bool:
    """Whether a file name is one of those that labels and masks get."""
    return _NAMES.search(name.lower()) is not None


def table_of_labels(table: bytes | None) -> bool:
    """Whether neighbouring entries of a lookup table have quite different colours, so that objects can be told apart (glasbey)."""
    if table is None:
        return False
    colours = np.frombuffer(table, np.uint8).reshape(3, -1).astype(np.int32)
    return float(np.abs(np.diff(colours, axis=1)).mean()) > UNLIKE


@dataclass(frozen=True)
class Patches:
    """How the foreground of some planes is made up; counts of pixels and of pairs of neighbours along X and Y.

    Attributes
    ----------
    pixels : foreground pixels
    supported : those that lie in a square of 2 x 2 equal pixels
    lonely : those that equal none of their four neighbours
    empty, border : pairs within the background, and across its border
    equal, different : pairs within the foreground
    stepped : those of ``different`` whose values follow one another among the values of their window
    values : most values in one window, with the background
    """

    pixels: int = 0
    supported: int = 0
    lonely: int = 0
    empty: int = 0
    border: int = 0
    equal: int = 0
    different: int = 0
    stepped: int = 0
    values: int = 0

    def __add__(self, other: Patches) -> Patches:
        pairs = zip(vars(self).items(), vars(other).values(), strict=True)
        return Patches(**{name: max(a, b) if name == "values" else a + b for (name, a), b in pairs})

    def are_labels(self, hints: Hints) -> bool:
        """Whether this is what labels are made of.

        Objects on a background are told by the equality of neighbours within them, which in intensities is never met; patches
        without gaps by three shares: of equal neighbours, of pixels in squares of equal ones and of lonely pixels. Where the
        values of different neighbours mostly follow one another, as grey levels do, more is asked.
        """
        if self.border + self.different == 0:  # every plane is constant
            return False
        if hints.declared and self.values <= 2:
            return True
        if self._lie_on_background():
            return True
        within = self.equal + self.different
        equal = self.equal / max(1, within)
        supported, lonely = (count / max(1, self.pixels) for count in (self.supported, self.lonely))
        if hints.declared or hints.named:
            return equal >= 0.5 and supported >= 0.6 and lonely <= 0.1
        if self.values <= 2:
            return False
        if self.stepped <= 0.5 * self.different:
            return equal >= 0.7 and supported >= 0.85 and lonely <= 0.03
        if self.values <= FEW_CLASSES:
            return equal >= 0.8 and supported >= 0.9 and lonely <= 0.004
        if self.values <= SOME_CLASSES:
            return equal >= 0.9 and supported >= 0.97 and lonely <= 0.001
        return equal >= 0.95 and supported >= 0.985 and lonely <= 0.001

    def _lie_on_background(self) -> bool:
        """Whether more than 99 % of the pairs within objects are equal, they are patches rather than lone dots, and more than 75 %
        of all pairs are equal (in binary noise every pair of ones is equal, too).
        """
        total = self.empty + self.border + self.equal + self.different
        patches = self.equal >= max(1, self.border / 4) and self.equal > 0.99 * (self.equal + self.different)
        return patches and self.empty + self.equal > 0.75 * total


def looks_like_labels(image: Image) -> bool:
    """Whether an image holds object labels, a mask or a class map rather than intensities.

    ``image.labels`` is False where somebody said that it is none, and True where the metadata say that it is; the latter is a
    `Hints`, like the name. Some 10^6 pixels are read of an image, all of it at most where it is labels or nearly empty.
    """
    if image.labels is False:
        return False
    hints = Hints.of(image)
    first = list(_windows(image, FIRST, FIRST_SIDE))
    background, largest = _background(first)
    seen = _look(first, {background})
    if seen.pixels >= ENOUGH and not seen.are_labels(hints):
        return False
    seen = _look(_windows(image, MORE, MORE_SIDE), {background})
    if seen.pixels < ENOUGH:
        seen = _look((as_planes(image.read(box), image.axes) for box in boxes(image.layout)), {background})
    if not seen.are_labels(hints):
        return False
    # A saturated or masked image holds patches of its largest value as well; labels are labels without it, too.
    rest = _look(_windows(image, MORE, MORE_SIDE), {background, largest})
    return rest.pixels < 64 or rest.values <= 3 or rest.are_labels(hints)


def _windows(image: Image, count: int, side: int) -> Iterator[Planes]:
    """About ``count`` windows as arrays of shape ``(1, 1, Y, X)``, spread over channels, planes and the field."""
    channels = image.layout.channels
    count = min(count, 1 + 2 * image.layout.size // side**2)  # more would show small images again and again
    chosen = np.unique(np.linspace(0, channels - 1, min(channels, count)).astype(int))
    for channel in chosen:
        found: list[Slices] = windows(image.layout, int(channel), max(1, count // len(chosen)), side)
        for box in found:
            yield as_planes(image.read(box), image.axes)


def _background(cut: list[Planes]) -> tuple[float, float]:
    """The value of the background (0 where 1 % of the values are 0, else the most frequent one), and the largest value."""
    values, counts = np.unique(np.concatenate([window.ravel() for window in cut]), return_counts=True)
    zeros = int(counts[values == 0].sum())
    return 0 if zeros >= 0.01 * counts.sum() else values[np.argmax(counts)].item(), values[-1].item()


def _look(blocks: Iterable[Planes], excluded: set[float]) -> Patches:
    """The patches of all planes of some blocks of shape ``(channels, planes, Y, X)``; ``excluded`` values are background."""
    total = Patches()
    for block in blocks:
        for plane in block.reshape(-1, *block.shape[-2:]):
            total += _patches(_without_replication(plane), excluded)
    return total


def _patches(plane: Planes, excluded: set[float]) -> Patches:
    """The patches of one plane."""
    values, ranks = np.unique(plane, return_inverse=True)
    ranks = ranks.reshape(plane.shape).astype(np.int32)
    foreground = ~np.isin(values, list(excluded))[ranks]
    alike = np.zeros(plane.shape, np.uint8)  # how many of the four neighbours are equal
    counts = np.zeros(5, np.int64)
    for axis in (0, 1):
        one, other = (np.s_[1:], np.s_[:-1]) if axis == 0 else (np.s_[:, 1:], np.s_[:, :-1])
        step = np.abs(ranks[one] - ranks[other])
        same, both = step == 0, foreground[one] & foreground[other]
        alike[one] += same
        alike[other] += same
        border = np.count_nonzero(foreground[one] ^ foreground[other])
        inside = np.count_nonzero(both)
        unlike = both & ~same
        differ = np.count_nonzero(unlike)
        counts += [step.size - inside - border, border, inside - differ, differ, np.count_nonzero(unlike & (step == 1))]
    square = (ranks[1:, 1:] == ranks[:-1, 1:]) & (ranks[1:, 1:] == ranks[1:, :-1]) & (ranks[1:, 1:] == ranks[:-1, :-1])
    supported = np.zeros(plane.shape, np.bool_)
    for part in np.s_[1:, 1:], np.s_[:-1, 1:], np.s_[1:, :-1], np.s_[:-1, :-1]:
        supported[part] |= square
    empty, across, equal, different, stepped = counts.tolist()
    pixels, held, lonely = (int(np.count_nonzero(where & foreground)) for where in (foreground, supported, alike == 0))
    return Patches(pixels, held, lonely, empty, across, equal, different, stepped, len(values))


def _without_replication(plane: Planes) -> Planes:
    """The plane with one pixel for every block of up to `MOST_REPLICATED` equal ones that magnification has made."""
    for axis in (0, 1):
        one, other = (plane[1:], plane[:-1]) if axis == 0 else (plane[:, 1:], plane[:, :-1])
        changes = np.flatnonzero((one != other).any(axis=1 - axis)) + 1
        factor = math.gcd(*np.diff(changes).tolist()) if len(changes) > 3 else 1
        if 1 < factor <= MOST_REPLICATED:
            start = int(changes[0]) % factor
            plane = plane[start::factor] if axis == 0 else plane[:, start::factor]
    return plane
