"""What a band is told by other bands: the next coarser level, its own level, the picture so far, and the reference.

The neighbours within the band itself are the subject of `microfield.methods.field.phases`.
"""

from __future__ import annotations

import numpy as np

from microfield.methods.field import features
from microfield.methods.field.features import REFERENCE, SIBLINGS, BandPlanes
from microfield.methods.field.lifting import Axes, Floats, Schedule, gain
from microfield.methods.field.oriented import OrientedPicture, exchanged, is_turned
from microfield.methods.field.phases import Bytes

Planes = list[Bytes | None]
"""Planes of features, None where nothing is known."""
CodedBands = dict[tuple[int, Axes], Bytes]
"""Magnitudes, cut at `phases.CONTEXT_CAP`, of the bands of a group that are coded, by level and axes of details."""


class LevelContext:
    """What is known around the bands of one level of a group; grows with every band that is coded.

    Parameters
    ----------
    schedule : Schedule
    level : int
    approximation : float32 array (batch, z, y, x)
        Of this level, in quantiser steps, as decoded so far.
    coded : CodedBands
        Bands of the group in coarser levels.
    reference : CodedBands, optional
        Bands of another group of the same shapes, coded before.
    oriented : bool
        Whether bands are seen along their details.

    Attributes
    ----------
    oriented_picture : OrientedPicture
    """

    def __init__(self, schedule: Schedule, level: int, approximation: Floats, coded: CodedBands,
                 reference: CodedBands | None, oriented: bool = False) -> None:
        self._level, self._reference, self._oriented = level, reference, oriented
        self._approximation, self._gain = approximation, gain(schedule, level + 1)
        self.oriented_picture = OrientedPicture(approximation, self._gain)
        self._parents = _Parents(coded, schedule, level)
        self._siblings: Planes = [None] * SIBLINGS
        self._picture: list[Bytes] | None = None

    def planes(self, details: Axes) -> BandPlanes:
        """All that is known of the band with details along these axes before any of it is coded."""
        parents = self._parents.of(details)
        others = [*self._siblings_of(details), *self._picture_of(details), *self._reference_planes(details)]
        return BandPlanes([*parents, *others], [self._parents.halved] * len(parents) + [()] * len(others))

    def add(self, details: Axes, magnitudes: Bytes) -> None:
        """A band of this level was coded: it is a sibling of those that follow."""
        self._siblings[features.sibling_slot(details)] = features.cross(magnitudes)

    def _siblings_of(self, details: Axes) -> Planes:
        """Planes of the bands of this level that were coded before."""
        if not (self._oriented and is_turned(details)):
            return self._siblings
        names = [tuple(axis for axis in (1, 2, 3) if slot + 1 >> (axis - 1) & 1) for slot in range(SIBLINGS)]
        return [self._siblings[features.sibling_slot(exchanged(name))] for name in names]

    def _picture_of(self, details: Axes) -> list[Bytes]:
        """Planes of the picture so far."""
        if self._oriented:
            return self.oriented_picture.planes(details)
        if self._picture is None:
            self._picture = features.picture(self._approximation, self._gain)
        return self._picture

    def _reference_planes(self, details: Axes) -> Planes:
        found = None if self._reference is None else self._reference.get((self._level, details))
        if found is None:
            return [None] * REFERENCE
        return [features.same_place(found), features.cross(found)]


class _Parents:
    """Planes of the next coarser level.

    Attributes
    ----------
    halved : tuple of int
        Axes that the coarser level splits: along these its bands have half the resolution. Empty without such a level.
    """

    def __init__(self, coded: CodedBands, schedule: Schedule, level: int) -> None:
        self.halved: Axes = ()
        self._bands: dict[Axes, Bytes] = {}
        coarser = level + 1
        # A level may split nothing (an axis too short): then its bands are those of the level above it.
        while coarser < len(schedule.levels) and not schedule.split(coarser):
            coarser += 1
        if coarser < len(schedule.levels):
            self.halved = schedule.split(coarser)
            self._bands = {details: magnitudes for (k, details), magnitudes in coded.items() if k == coarser}
        self._all_bands = self._block_of_all()

    def of(self, details: Axes) -> Planes:
        """The parent band at the same place, a block of it, and a block of all bands of its level added up."""
        parent = self._bands.get(tuple(axis for axis in details if axis in self.halved))
        if parent is None:
            return [None, None, self._all_bands]
        return [features.same_place(parent), features.block(parent), self._all_bands]

    def _block_of_all(self) -> Bytes | None:
        """Plane of all bands of the level added up; None where there are none."""
        if not self._bands:
            return None
        # Bands of odd extents differ by one coefficient: what one of them lacks counts as 0.
        shape = tuple(max(band.shape[i] for band in self._bands.values()) for i in range(4))
        total = np.zeros(shape, np.uint8)
        for band in self._bands.values():
            corner = total[tuple(slice(0, n) for n in band.shape)]
            corner += band
        return features.block(total, bands=SIBLINGS)
