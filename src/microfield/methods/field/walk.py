"""The order in which a group of coefficients is coded, and the features met on the way: one walk for coder, decoder and training.

Levels coarse to fine; in a level the bands with details along x, y, z, yx, zx, zy, zyx; in a band eight phases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from microfield.methods.field import features
from microfield.methods.field.features import REFERENCE, SIBLINGS, Static
from microfield.methods.field.phases import LARGEST, Bytes, Phases, Shape
from microfield.transforms.lifting import Floats, Schedule, gain, inverse

BANDS: tuple[tuple[int, ...], ...] = ((3,), (2,), (1,), (2, 3), (1, 3), (1, 2), (1, 2, 3))
"""Bands of a level in their order, by the axes of details (1, 2, 3 are z, y, x)."""


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
    """What happens at each phase."""

    def begin(self, band: Band) -> int | None:
        """A band starts; its mean magnitude as a feature, None where nothing of it is coded."""
        ...

    def phase(self, band: Band, phase: int, matrices: Callable[[slice], Floats], slabs: Sequence[slice],
              constants: Floats) -> Bytes:
        """Code or decode a phase; its magnitudes cut at `LARGEST`, of the phase's shape."""
        ...

    def level(self, level: int) -> Floats:
        """The coefficients so far (float32, steps times centroids), once all bands of coarser levels are known."""
        ...


@dataclass
class Known:
    """Magnitudes of the bands that were coded, for groups that follow."""

    planes: dict[tuple[int, tuple[int, ...]], Bytes]


def walk(schedule: Schedule, visitor: Visitor, dark: float, step: float, reference: Known | None = None) -> Known:
    """Visit every phase of every band.

    Parameters
    ----------
    schedule : of an array (batch, z, y, x); the batch axis is never split
    dark : grey value of the darkest voxels
    step : quantiser step
    reference : bands of the group before, of the same shapes
    """
    known = Known({})
    order = bands(schedule)
    for level in reversed(range(len(schedule.levels))):
        here = [b for b in order if b.level == level]
        if not here:
            continue
        approximation = inverse(visitor.level(level), schedule, level + 1)
        planes: list[Bytes] | None = None
        parents = _Parents(known, schedule, level)
        siblings: list[Bytes | None] = [None] * SIBLINGS
        for band in here:
            mean = visitor.begin(band)
            coded = Phases(band.shape)
            whole = np.zeros(band.shape, np.uint8)
            if mean is not None:
                if planes is None:
                    planes = features.picture(approximation, dark, gain(schedule, level + 1), step)
                static = _static(parents.of(band.details), siblings, planes, reference, band)
                _phases(band, coded, whole, static, visitor, mean, 1 in schedule.split(level))
            known.planes[level, band.details] = whole
            siblings[features.sibling_slot(band.details)] = (
                None if mean is None else features.scaled(features.faces(whole), 1, 2, 8 * LARGEST))
    return known


def _phases(band: Band, coded: Phases, whole: Bytes, static: Static, visitor: Visitor, mean: int, z_split: bool) -> None:
    for phase in coded.order():
        extents = coded.extents(phase)
        planes = static.of(phase, extents)

        def matrices(rows: slice, phase: int = phase, planes: list[Bytes | None] = planes) -> Floats:
            return features.matrix(coded, planes, phase, rows)

        constants = features.constants(band.level, band.details, z_split, mean, phase)
        magnitudes = visitor.phase(band, phase, matrices, features.rows_of(extents), constants)
        coded.put(phase, magnitudes)
        whole[features.steps(phase)] = magnitudes


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
