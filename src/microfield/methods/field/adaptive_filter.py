"""A filter fitted to the decoded channel, whose weights the file holds: it takes away errors that have a direction.

A voxel is corrected by a weighted sum of `taps.features`. Weights differ by class: along which of four directions the surroundings
vary most, or none, and how lively they are in quantiser steps. Directions share their weights: neighbours are turned with them
(classes and turns are those of VVC's adaptive loop filter, Karczewicz et al. 2021, section IV, with other numbers). All sums are
elementwise float32 in a stated order: the result is the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from microfield.coding.bytes_reader import ByteReader
from microfield.errors import FormatError
from microfield.kernel import filtering, loading
from microfield.kernel.filtering import Taps
from microfield.methods.field.least_squares import MOST_EXPONENT
from microfield.methods.field.lifting import Floats
from microfield.methods.field.taps import Pairs, Place, beside, bordered, features, neighbours, places

PAIRS: Pairs = ((0, 1), (1, 0),
                (0, 2), (1, -1), (1, 1), (2, 0),
                (0, 3), (1, -2), (1, 2), (2, -1), (2, 1), (3, 0),
                (0, 4), (1, -3), (1, 3), (2, -2), (2, 2), (3, -1), (3, 1), (4, 0))
"""Neighbours by their distance: sets of 6, 12 and 20 are diamonds of 5, 7 and 9 voxels."""
CLIPPED = 6
"""So many of the pairs come clipped, too, where a filter has clipped ones."""
CLIP = 0.25
"""Differences are clipped at so many quantiser steps."""
NEIGHBOURHOOD = 3
"""The class of a voxel is that of the square of voxels at most so far away."""
DIRECTED = np.float32(0.36)
"""The share of the variation in all directions from which the strongest is that of the voxel."""
LIVELY = 0.5
"""Second differences along x and y of so many quantiser steps, on average, make a place lively."""
DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Along which the variation is measured."""
PLACES = 10
"""Sorts of places: no direction and the four, each calm and lively."""


class Kind(NamedTuple):
    """Which parameters a filter has.

    Attributes
    ----------
    groups : int
        Directions with weights of their own: 1, all alike; 3, none, along an axis, diagonal.
    by_liveliness : bool
        Whether calm and lively places have weights of their own.
    pairs : int
        How many of `PAIRS` it uses.
    clipped : int
        How many of them come clipped, too.
    """

    groups: int
    by_liveliness: bool
    pairs: int
    clipped: int

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.groups * (2 if self.by_liveliness else 1)

    def weights(self, shape: tuple[int, ...]) -> int:
        """Weights a class has in a volume (batch, z, y, x), or in a part whose extents of T, Z, Y and X these are."""
        return self.pairs + self.clipped + beside(shape)

    def size(self, shape: tuple[int, ...]) -> int:
        """Bytes of such a filter: its number, and for every class an exponent and the weights."""
        return 1 + self.classes * (1 + self.weights(shape))

    def class_of(self) -> npt.NDArray[np.intp]:
        """The class of every sort of place, intp of shape (PLACES,)."""
        directions, lively = np.arange(PLACES) // 2, np.arange(PLACES) % 2
        group = np.minimum((directions + 1) // 2, self.groups - 1)
        return group * 2 + lively if self.by_liveliness else group


KINDS = (Kind(1, False, 12, 0), Kind(3, False, 12, CLIPPED), Kind(3, True, 20, CLIPPED))
"""A file names the kind of filter by its number here plus 1; 0 is none."""


def turned(direction: int, pairs: int) -> list[int]:
    """For every one of so many pairs the pair that stands for it where the surroundings vary along a direction 0 to 4.

    0, 1 and 3 (none, along x, along the diagonal of `DIRECTIONS`) change nothing; along y, y and x are exchanged; along the
    other diagonal x is mirrored.
    """
    found = []
    for dy, dx in PAIRS[:pairs]:
        y, x = (dx, dy) if direction == 2 else (dy, -dx) if direction == 4 else (dy, dx)
        if (y, x) not in PAIRS:
            y, x = -y, -x
        found.append(PAIRS.index((y, x)))
    return found


def order_of(sort: int, kind: Kind, extra: int) -> npt.NDArray[np.intp]:
    """For every feature of a kind of filter, with ``extra`` along z and the batch, the feature it is at a sort of place."""
    if kind.groups == 1:
        return np.arange(kind.pairs + kind.clipped + extra)
    direction = sort // 2
    pairs, clipped = turned(direction, kind.pairs), turned(direction, kind.clipped)
    end = kind.pairs + kind.clipped
    return np.array([*pairs, *(kind.pairs + k for k in clipped), *range(end, end + extra)])


def sorts(volume: Floats, place: Place, step: float) -> npt.NDArray[np.uint8]:
    """Of which sort every voxel of a place is: twice its direction, 0 to 4, plus 1 where it is lively; uint8 of shape (rows, x).

    Parameters
    ----------
    volume : float32 array (batch, z, y, x)
    place : Place
    step : float
        Quantiser step.
    """
    padded = bordered(volume, place)
    middle = padded[1:-1, 1:-1]
    twice, rows, columns = middle * np.float32(2), *padded.shape
    strengths = []
    for dy, dx in DIRECTIONS:
        before, after = (padded[1 + y : rows - 1 + y, 1 + x : columns - 1 + x] for y, x in ((-dy, -dx), (dy, dx)))
        around = before + after
        around -= twice
        strengths.append(_box(np.abs(around, out=around)))
    total = strengths[0] + strengths[1]
    found = (total > np.float32(lively_from(step))).astype(np.uint8)
    total += strengths[2]
    total += strengths[3]
    strongest = strengths[0].copy()
    direction = np.ones(found.shape, np.uint8)
    for k in range(1, len(strengths)):
        direction[strengths[k] > strongest] = k + 1
        np.maximum(strongest, strengths[k], out=strongest)
    direction[strongest <= DIRECTED * total] = 0
    found += direction * np.uint8(2)
    return found


def lively_from(step: float) -> float:
    """The sum of second differences along x and y over the neighbourhood above which a place is lively."""
    return LIVELY * (2 * NEIGHBOURHOOD + 1) ** 2 * step


def _box(values: Floats) -> Floats:
    """Sums over the neighbourhood, added up along y and then along x from the first to the last."""
    width = 2 * NEIGHBOURHOOD + 1
    for axis in (0, 1):
        n = values.shape[axis] - width + 1
        rows = values if axis == 0 else values.T
        total = rows[:n] + rows[1 : n + 1]
        for k in range(2, width):
            total += rows[k : k + n]
        values = total if axis == 0 else total.T
    return values


@dataclass(frozen=True)
class Filter:
    """The filter of one channel, in the codes that a file holds.

    Attributes
    ----------
    number : int
        Of its kind: index into `KINDS` plus 1; 0 is no filter.
    exponents : tuple of int
        Weights of every class are whole multiples of 2**-exponent.
    codes : tuple of tuple of int, -127..127
        Weights of the features in every class.
    """

    number: int = 0
    exponents: tuple[int, ...] = ()
    codes: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def blank(cls, number: int, shape: tuple[int, ...]) -> Filter:
        """A filter of a kind that changes nothing in volumes of this shape."""
        if not number:
            return cls()
        kind = KINDS[number - 1]
        return cls(number, (0,) * kind.classes, ((0,) * kind.weights(shape),) * kind.classes)

    def pack(self) -> bytes:
        """The bytes of the filter."""
        out = bytearray([self.number])
        for exponent, codes in zip(self.exponents, self.codes, strict=True):
            out.append(exponent)
            out += np.asarray(codes, np.int8).tobytes()
        return bytes(out)

    @classmethod
    def unpack(cls, fields: ByteReader, shape: tuple[int, ...]) -> Filter:
        """Read the filter of a channel whose volume has this shape, as `Kind.weights` takes it; FormatError for damage."""
        number = fields.next(1)[0]
        if not number:
            return cls()
        if number > len(KINDS):
            raise FormatError("a part is filtered in a way that this version does not know.")
        kind, exponents, codes = KINDS[number - 1], list[int](), list[tuple[int, ...]]()
        for _ in range(kind.classes):
            exponents.append(fields.next(1)[0])
            codes.append(tuple(np.frombuffer(fields.next(kind.weights(shape)), np.int8).tolist()))
        if max(exponents) > MOST_EXPONENT:
            raise FormatError("a filter of a part has a weight that cannot be.")
        return cls(number, tuple(exponents), tuple(codes))

    def correction(self, volume: Floats, step: float) -> Floats:
        """What to add to a volume (batch, z, y, x) with this quantiser step: float32 of its shape.

        Products of weights and features are added in the order of the features.
        """
        out = np.zeros(volume.shape, np.float32)
        if not self.number:
            return out
        kind = KINDS[self.number - 1]
        table, library = self._table(kind, beside(volume.shape)), loading.library()
        # Damaged files have values that overflow; their grey levels are cut to the range afterwards.
        with np.errstate(over="ignore", invalid="ignore"):
            for place in places(volume.shape):
                part = out[place.batch, place.plane, place.rows]
                if library is not None:
                    taps = Taps(np.asarray(PAIRS[: kind.pairs], np.int32), kind.clipped, kind.classes > 1, table, CLIP * step,
                                lively_from(step))
                    part[...] = filtering.filtered(library, taps, bordered(volume, place), neighbours(volume, place))
                    continue
                found = features(volume, place, PAIRS[: kind.pairs], PAIRS[: kind.clipped], CLIP * step)
                sort = None if kind.classes == 1 else sorts(volume, place, step)
                for k, feature in enumerate(found):
                    feature *= table[k, 0] if sort is None else table[k][sort]
                    part += feature
        return out

    def _table(self, kind: Kind, extra: int) -> Floats:
        """The weight of every feature at every sort of place, float32 of shape (features, PLACES)."""
        weights = np.ldexp(np.asarray(self.codes, np.float32), -np.asarray(self.exponents)[:, None])
        table = np.empty((weights.shape[1], PLACES), np.float32)
        for sort, class_ in enumerate(kind.class_of()):
            table[order_of(sort, kind, extra), sort] = weights[class_]
        return table
