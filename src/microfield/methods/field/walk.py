"""The order in which a group of coefficients is coded, and the features met on the way: one walk for coder, decoder and training.

Levels coarse to fine; in a level the bands with details along x, y, z, yx, zx, zy, zyx; in a band eight phases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from microfield.methods.field import features
from microfield.methods.field.features import REFERENCE, SIBLINGS, Static
from microfield.methods.field.lifting import Floats, Schedule, gain, inverse
from microfield.methods.field.phases import LARGEST, Bytes, Phases, Shape, steps

BANDS: tuple[tuple[int, ...], ...] = ((3,), (2,), (1,), (2, 3), (1, 3), (1, 2), (1, 2, 3))
"""Bands of a level in their order, by the axes of details (1, 2, 3 are z, y, x)."""


TYPICAL = np.array([0, 0.92, 1.94, 2.97], np.float32)
"""Where magnitudes 1 to 3 lie on average, in steps; contexts are computed with these, whatever the file says."""

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Band:
    """One band: its level, its axes of details, and where it lies among the coefficients."""

    level: int
    details: tuple[int, ...]
    box: tuple[slice, ...]
    shape: Shape


def bands(schedule: Schedule) -> list[Band]:
    """All bands that hold anything, in their order."""
    found = []
    for level in reversed(range(len(schedule.levels))):
        split = schedule.split(level)
        for details in BANDS:
            if set(details) <= set(split):
                box = schedule.box(level, details)
                found.append(Band(level, details, box, tuple(s.stop - s.start for s in box)))
    return found


class Visitor(Protocol):
    """What happens at each band and phase."""

    def begin(self, band: Band) -> int:
        """A band starts; its mean magnitude as `mean_code` gives it, 0 where all of it is zero."""
        ...

    def phase(self, band: Band, phase: int, features: Callable[[slice], Floats], slabs: Sequence[slice],
              constants: Floats) -> Ints:
        """Code or decode a phase, slab by slab; its quantised values, of the phase's shape."""
        ...


@dataclass(frozen=True)
class Known:
    """Magnitudes (cut at `LARGEST`) of the bands that were coded, for groups that follow."""

    planes: dict[tuple[int, tuple[int, ...]], Bytes]


def mean_code(magnitudes: npt.NDArray[np.number]) -> int:
    """Mean magnitude of a band in half octaves: 1 to 50, 0 where there is nothing but zeros."""
    mean = float(np.mean(magnitudes))
    return min(50, max(1, round(2 * math.log2(mean)) + 34)) if mean else 0


class Walk:
    """A group on its way from the coarsest level to the finest.

    Parameters
    ----------
    schedule : of an array (batch, z, y, x); the batch axis is never split
    quantised : int32 array of the schedule's shape; the coarsest approximation is in place, bands are filled in
    reference : bands of the group before, of the same shapes; each level of it must be known first
    """

    def __init__(self, schedule: Schedule, quantised: Ints, visitor: Visitor, reference: Known | None = None) -> None:
        self.schedule, self.quantised, self.visitor, self.reference = schedule, quantised, visitor, reference
        self.known = Known({})
        self.order = bands(schedule)
        coarsest = tuple(slice(0, n) for n in schedule.extents[-1])
        self.approximation = quantised[coarsest].astype(np.float32)
        self.before: int | None = None

    def advance(self, level: int) -> None:
        """Visit the bands of a level, the next finer one each time."""
        here = [b for b in self.order if b.level == level]
        if not here:
            return
        if self.before is not None:
            coarser = [b for b in self.order if b.level == self.before]
            self.approximation = _finer(self.schedule, self.before, coarser, self.quantised, self.approximation)
        self.before = level
        _level(self.schedule, level, here, self.quantised, self.approximation, self.visitor, self.known, self.reference)


def walk(walks: Sequence[Walk], last: int = 0) -> None:
    """Visit every phase of every band of levels ``last`` and coarser: level by level, in each group by group.

    So that what is coarse in all groups comes before what is fine in any.
    """
    deepest = max((len(w.schedule.levels) for w in walks), default=0)
    for level in reversed(range(last, deepest)):
        for one in walks:
            one.advance(level)


def _level(schedule: Schedule, level: int, here: Sequence[Band], quantised: Ints, approximation: Floats, visitor: Visitor,
           known: Known, reference: Known | None) -> None:
    """All bands of a level."""
    parents = _Parents(known, schedule, level)
    siblings: list[Bytes | None] = [None] * SIBLINGS
    picture: list[Bytes] | None = None
    for band in here:
        mean = visitor.begin(band)
        whole = np.zeros(band.shape, np.uint8)
        if mean:
            if picture is None:
                picture = features.picture(approximation, gain(schedule, level + 1))
            static = _static(parents.of(band.details), siblings, picture, reference, band)
            _phases(band, whole, quantised, static, visitor, 4 * mean, 1 in schedule.split(level))
            siblings[features.sibling_slot(band.details)] = features.scaled(features.faces(whole), 1, 2, 8 * LARGEST)
        known.planes[level, band.details] = whole


def _phases(band: Band, whole: Bytes, quantised: Ints, static: Static, visitor: Visitor, mean: int, z_split: bool) -> None:
    coded = Phases(band.shape)
    values = quantised[band.box]
    for phase in coded.order():
        extents = coded.extents(phase)
        planes = static.of(phase, extents)

        def matrix(rows: slice, phase: int = phase, planes: list[Bytes | None] = planes) -> Floats:
            return features.matrix(coded, planes, phase, rows)

        constants = features.constants(band.level, band.details, z_split, mean, phase)
        found = visitor.phase(band, phase, matrix, features.rows_of(extents), constants)
        magnitudes = np.minimum(np.abs(found), LARGEST).astype(np.uint8)
        coded.put(phase, magnitudes)
        whole[steps(phase)] = magnitudes
        values[steps(phase)] = found


def reconstruct(quantised: Ints, centroids: Floats) -> Floats:
    """Values in steps: magnitudes 1 to 3 at their centroids (float32 of shape (4,), the first 0), others as they are."""
    values = quantised.astype(np.float32)
    small = np.abs(quantised) <= 3
    table = np.concatenate([-centroids[:0:-1], centroids])
    values[small] = table[quantised[small] + 3]
    return values


def _finer(schedule: Schedule, level: int, here: Sequence[Band], quantised: Ints, approximation: Floats) -> Floats:
    """The approximation one level finer, in steps."""
    shape = schedule.extents[level]
    joined = np.empty(shape, np.float32)
    joined[tuple(slice(0, n) for n in schedule.extents[level + 1])] = approximation
    for band in here:
        joined[band.box] = reconstruct(quantised[band.box], TYPICAL)
    return inverse(joined, Schedule((schedule.split(level),), shape))


def _static(parents: tuple[list[Bytes | None], tuple[int, ...]], siblings: list[Bytes | None], picture: list[Bytes],
            reference: Known | None, band: Band) -> Static:
    planes, halved = parents
    others: list[Bytes | None] = [*siblings, *picture]
    found = None if reference is None else reference.planes.get((band.level, band.details))
    if found is None:
        others += [None] * REFERENCE
    else:
        others += [features.scaled(found, 2, 1, LARGEST), features.scaled(features.faces(found), 1, 2, 8 * LARGEST)]
    return Static([*planes, *others], [halved] * len(planes) + [()] * len(others))


class _Parents:
    """Features from the next coarser level."""

    def __init__(self, known: Known, schedule: Schedule, level: int) -> None:
        self.bands: dict[tuple[int, ...], npt.NDArray[np.uint8]] = {}
        self.halved: tuple[int, ...] = ()
        above = level + 1
        # A level may split nothing (an axis too short): its bands are those of the level above it.
        while above < len(schedule.levels) and not schedule.split(above):
            above += 1
        if above < len(schedule.levels):
            self.halved = schedule.split(above)
            self.bands = {d: plane for (k, d), plane in known.planes.items() if k == above}
        self.total = self._total()

    def _total(self) -> Bytes | None:
        if not self.bands:
            return None
        shape = tuple(max(b.shape[i] for b in self.bands.values()) for i in range(4))
        total = np.zeros(shape, np.uint8)
        for plane in self.bands.values():
            view = total[tuple(slice(0, n) for n in plane.shape)]
            view += plane
        return features.scaled(features.spread(total), 2, 9, 27 * 7 * LARGEST)

    def of(self, details: tuple[int, ...]) -> tuple[list[Bytes | None], tuple[int, ...]]:
        """Value of the parent, its neighbourhood, and that of all bands of its level."""
        if self.total is None:
            return [None, None, None], ()
        same = self.bands.get(tuple(a for a in details if a in self.halved))
        if same is None:
            return [None, None, self.total], self.halved
        return [features.scaled(same, 2, 1, LARGEST),
                features.scaled(features.spread(same), 2, 9, 27 * LARGEST), self.total], self.halved
