"""The order in which groups of coefficients are coded: one walk that encoder, decoder and training share.

Levels come coarse to fine; in a level the bands with details along x, y, z, yx, zx, zy, zyx; in a band eight phases. At each
band the walk asks a *visitor*, which codes, decodes or samples, and hands it what is known of every phase.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from microfield.kernel import loading, wavelet
from microfield.methods.field import features
from microfield.methods.field.level_context import CodedBands, LevelContext, Planes
from microfield.methods.field.lifting import Axes, Floats, Schedule, inverse
from microfield.methods.field.oriented import is_turned, seen
from microfield.methods.field.phases import (
    CONTEXT_CAP,
    NEIGHBOUR_GROUPS,
    ORIENTED_GROUPS,
    TURNED_GROUPS,
    Bytes,
    Offset,
    Phases,
    Shape,
    phase_slices,
)
from microfield.methods.field.sign_context import SignedBand, SignedBands, SignLevel, places_of
from microfield.methods.field.sign_scales import Kind, kind_of

BANDS: tuple[Axes, ...] = ((3,), (2,), (1,), (2, 3), (1, 3), (1, 2), (1, 2, 3))
"""Bands of a level in the order of coding, by the axes of details (1, 2, 3 are z, y, x)."""
Z = 1

TYPICAL_VALUES = np.array([0, 0.92, 1.94, 2.97], np.float32)
"""Where magnitudes 0 to 3 lie on average, in steps; contexts are computed with these, whatever centroids the file has."""

LARGEST_MEAN_CODE = 50
_MEAN_CODE_OF_ONE = 34
"""The code of a mean magnitude of 1; there are two codes per octave."""
_MEAN_FEATURE = 4
"""A mean code is multiplied by this to become a feature."""

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Band:
    """One band of wavelet coefficients.

    Attributes
    ----------
    level : int
        0 is the finest.
    details : tuple of int
        Axes along which the band holds details.
    box : tuple of slice
        Where it lies among the coefficients of its group.
    shape : tuple of int
        Its shape (batch, z, y, x).
    """

    level: int
    details: Axes
    box: tuple[slice, ...]
    shape: Shape


def bands(schedule: Schedule) -> list[Band]:
    """All bands of a schedule in the order of coding."""
    found = []
    for level in reversed(range(len(schedule.levels))):
        split = schedule.split(level)
        for details in BANDS:
            if set(details) <= set(split):
                box = schedule.box(level, details)
                found.append(Band(level, details, box, tuple(s.stop - s.start for s in box)))
    return found


def mean_code(magnitudes: npt.NDArray[np.number]) -> int:
    """Mean magnitude of a band in half octaves: 1 to `LARGEST_MEAN_CODE`, 0 where all magnitudes are 0."""
    mean = float(np.mean(magnitudes))
    return min(LARGEST_MEAN_CODE, max(1, round(2 * math.log2(mean)) + _MEAN_CODE_OF_ONE)) if mean else 0


@dataclass(frozen=True)
class PhaseContext:
    """What is known of a phase when it is coded.

    Attributes
    ----------
    number : int
        Index into `phases.PHASE_ORDER`.
    coded : Phases
        Magnitudes of the phases of the band that come before.
    planes : list of uint8 arrays or None
        What other bands tell of every coefficient.
    constants : float32 array
        Features of the phase as a whole.
    groups : tuple of tuples of offsets
        The neighbours that make up a feature each.
    signs : SignLevel, optional
        What is known of the signs around; only where bands are seen along their details.
    details : tuple of int
        Axes along which the band holds details.
    """

    number: int
    coded: Phases
    planes: Planes
    constants: Floats
    groups: tuple[tuple[Offset, ...], ...] = NEIGHBOUR_GROUPS
    signs: SignLevel | None = None
    details: Axes = ()

    @property
    def shape(self) -> Shape:
        """Shape (batch, z, y, x) of the phase."""
        return self.coded.extents(self.number)

    @cached_property
    def slabs(self) -> list[slice]:
        """The phase cut into slabs, which are coded one after the other: rows along its y axis."""
        return features.rows_of(self.shape)

    def features(self, rows: slice) -> Floats:
        """Features of the coefficients of a slab, in raster order: float32 of shape (planes, coefficients)."""
        return features.matrix(self.coded, self.planes, self.number, rows, self.groups)

    @property
    def kind(self) -> Kind:
        """The kind of the band, by which signs are scaled."""
        assert self.signs is not None
        return kind_of(self.signs.level, self.details)

    def sign_inputs(self, rows: slice, where: npt.NDArray[np.intp], magnitudes: Ints) -> tuple[Floats, Floats]:
        """Inputs of the sign network, with and without a sign, of coefficients of a slab by their numbers in it."""
        assert self.signs is not None
        return self.signs.inputs(self.details, places_of(self.number, rows, self.shape, where), magnitudes, self.constants)


class BandVisitor(Protocol):
    """What happens at the phases of one band."""

    @property
    def mean_code(self) -> int:
        """`mean_code` of the band; if it is 0 the band is all zeros, and its phases are not visited."""
        ...

    def phase(self, context: PhaseContext) -> Ints:
        """Encode or decode a phase: its quantised values, int32 of its shape."""
        ...


class Visitor(Protocol):
    """What happens at the bands of a group."""

    def begin(self, band: Band) -> BandVisitor:
        """Begin a band; its phases follow, in their order, before the next band begins."""
        ...


class Walk:
    """One group on its way from the coarsest level to the finest.

    Parameters
    ----------
    schedule : Schedule
        Of an array (batch, z, y, x) whose batch axis is never split.
    quantised : int32 array of the schedule's shape
        The coarsest approximation is in place; the bands are filled in.
    visitor : Visitor
    reference : Walk, optional
        That of a group of the same shapes, always one level ahead.
    oriented : bool
        Whether bands are seen along their details.
    predicted : bool
        Whether the group is what a prediction left.

    Attributes
    ----------
    coded : CodedBands
        Magnitudes of the bands that were visited, for groups that follow.
    signed : SignedBands
        The values of those that hold anything; only where bands are seen along their details.
    """

    def __init__(self, schedule: Schedule, quantised: Ints, visitor: Visitor, reference: Walk | None = None,
                 oriented: bool = False, predicted: bool = False) -> None:
        self.schedule, self.quantised, self.visitor, self.reference = schedule, quantised, visitor, reference
        self._oriented, self._predicted = oriented, predicted
        self.coded: CodedBands = {}
        self.signed: SignedBands = {}
        self._bands = bands(schedule)
        coarsest = tuple(slice(0, n) for n in schedule.extents[-1])
        self._approximation = quantised[coarsest].astype(np.float32)
        self._level_before: int | None = None

    def advance(self, level: int) -> None:
        """Visit the bands of a level; to be called for every level from the coarsest on."""
        here = [band for band in self._bands if band.level == level]
        if not here:
            return
        if self._level_before is not None:
            self._approximation = self._finer_approximation(self._level_before)
        self._level_before = level
        magnitudes, signed = (None, None) if self.reference is None else (self.reference.coded, self.reference.signed)
        known = LevelContext(self.schedule, level, self._approximation, self.coded, magnitudes, self._oriented)
        signs = SignLevel(self.schedule, level, known.oriented_picture, self.signed, signed)
        for band in here:
            visitor = self.visitor.begin(band)
            found = np.zeros(band.shape, np.uint8)
            if visitor.mean_code:
                self._visit(band, visitor, known, signs if self._oriented else None, found)
                known.add(band.details, found)
            self.coded[band.level, band.details] = found

    def _visit(self, band: Band, visitor: BandVisitor, known: LevelContext, signs: SignLevel | None, magnitudes: Bytes) -> None:
        """Visit the phases of a band; its quantised values and their ``magnitudes`` are filled in."""
        coded, planes, values = Phases(band.shape), known.planes(band.details), self.quantised[band.box]
        groups = self._groups(band.details)
        if signs is not None:
            self.signed[band.level, band.details] = SignedBand(band.shape)
        for phase in coded.order():
            constants = self._constants(band, visitor.mean_code, phase)
            context = PhaseContext(phase, coded, planes.of(phase, coded.extents(phase)), constants, groups, signs, band.details)
            found = visitor.phase(context)
            where = phase_slices(phase)
            values[where] = found
            magnitudes[where] = np.minimum(np.abs(found), CONTEXT_CAP)
            coded.put(phase, magnitudes[where])
            if signs is not None:
                self.signed[band.level, band.details].put(where, found)

    def _groups(self, details: Axes) -> tuple[tuple[Offset, ...], ...]:
        """Neighbours that make up a feature each, for a band by the axes of its details."""
        if not self._oriented:
            return NEIGHBOUR_GROUPS
        return TURNED_GROUPS if is_turned(details) else ORIENTED_GROUPS

    def _constants(self, band: Band, mean_code: int, phase: int) -> Floats:
        """Features of a phase as a whole."""
        z_split, details = Z in self.schedule.split(band.level), band.details
        if not self._oriented:
            return features.constants(band.level, details, z_split, _MEAN_FEATURE * mean_code, phase)
        plain = features.constants(band.level, seen(details), z_split, _MEAN_FEATURE * mean_code, phase)
        return features.oriented_constants(plain, is_turned(details), self._predicted)

    def _finer_approximation(self, level: int) -> Floats:
        """The approximation before ``level``, in steps, from the one after it and the bands of the level."""
        shape = self.schedule.extents[level]
        joined = np.empty(shape, np.float32)
        joined[tuple(slice(0, n) for n in self.schedule.extents[level + 1])] = self._approximation
        for band in self._bands:
            if band.level == level:
                joined[band.box] = reconstruct(self.quantised[band.box], TYPICAL_VALUES)
        return inverse(joined, Schedule((self.schedule.split(level),), shape))


def walk(walks: Sequence[Walk], last: int = 0) -> None:
    """Visit every phase of every band of levels ``last`` and coarser, level by level, in each level group by group.

    So that what is coarse in all groups comes before what is fine in any.
    """
    deepest = max((len(one.schedule.levels) for one in walks), default=0)
    for level in reversed(range(last, deepest)):
        for one in walks:
            one.advance(level)


def reconstruct(quantised: Ints, centroids: Floats) -> Floats:
    """Values in steps, float32, from quantised ones.

    Parameters
    ----------
    quantised : int32 array
    centroids : float32 array (4,)
        What magnitudes 0 to 3 become, the first of them 0; others stay as they are.
    """
    table = np.concatenate([-centroids[:0:-1], centroids])
    library = loading.library()
    if library is not None and quantised.dtype == np.int32 and table.dtype == np.float32:
        return wavelet.reconstruct(library, quantised, table)
    values = quantised.astype(np.float32)
    small = np.abs(quantised) <= 3
    values[small] = table[quantised[small] + 3]
    return values
