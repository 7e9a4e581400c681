"""What the sign network is told about a coefficient that is not zero: whole numbers with a sign, and others without.

Those with a sign turn over when the whole image is turned over: the picture around the coefficient, seen along the details of its
band and relative to how lively it is there, and neighbours, siblings, parents and the reference on a logarithmic scale (Deever and
Hemami, "Efficient sign coding and estimation of zero-quantized coefficients in embedded wavelet image codecs", IEEE Transactions on
Image Processing 12, 2003, predict signs from such neighbours). Everything is as exact as in `features`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microfield.methods.field.features import ORIENTED, PICTURE_BITS, float_logarithm, logarithm
from microfield.methods.field.lifting import Axes, Floats, Schedule
from microfield.methods.field.oriented import PAD, OrientedPicture, Values, X, Y, exchanged, is_turned, seen
from microfield.methods.field.phases import CONTEXT_CAP, PHASE_ORDER, Offset, Shape, turned

Ints = npt.NDArray[np.int32]
Places = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]
"""Coordinates batch, z, y, x of coefficients of a band, each of shape (n,)."""

PATCH: tuple[Offset, ...] = tuple((0, y, x) for y in range(-1, 3) for x in range(-2, 4))
"""Where the picture is looked at, as offsets (z, y, x); the coefficient lies between the values along its details."""
BESIDE: tuple[Offset, ...] = tuple((z, 0, x) for z in (-1, 1) for x in (0, 1))
"""The same in the planes beside."""
NEIGHBOURS: tuple[Offset, ...] = (
    *((z, y, x) for z in (-1, 0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1) if (z, y, x) != (0, 0, 0)),
    *((0, y, x) for y in (-2, -1, 1, 2) for x in (-2, -1, 1, 2) if abs(y) != abs(x)),
)
"""Neighbours in the band; those that are not coded yet count as 0."""
AROUND: tuple[Offset, ...] = tuple((0, y, x) for y in (-1, 0, 1) for x in (-1, 0, 1))
HERE: tuple[Offset, ...] = ((0, 0, 0),)
CROSS: tuple[Offset, ...] = ((0, 0, 0), (0, 0, -1), (0, 0, 1), (0, -1, 0), (0, 1, 0))
IN_PLANE: tuple[Axes, ...] = ((3,), (2,), (2, 3))
OUT_OF_PLANE: tuple[Axes, ...] = ((1,), (1, 3), (1, 2), (1, 2, 3))
"""Bands by their details, as they are seen."""

FACES = tuple(i for i, offset in enumerate(NEIGHBOURS) if sum(map(abs, offset)) == 1)
"""Which of the neighbours share a face."""
SIGNED = (len(PATCH) + len(BESIDE) + len(NEIGHBOURS) + len(IN_PLANE) * len(AROUND) + len(OUT_OF_PLANE)
          + len(AROUND) + len(IN_PLANE) + len(CROSS))
"""Number of inputs with a sign."""
SUMS = 5
UNSIGNED = ORIENTED.constants + 2 + SUMS
"""Number of inputs without: the constants of the phase, magnitude, liveliness, and sums of the inputs with a sign."""

LARGEST_INPUT = 255
_PATCH_ONE = 48
"""Input for a value of the picture that differs as much as those around it do on average."""
_QUIET = 2
"""Added to that average, in units of the picture."""
_LARGEST_SUM = (1 << 24) - 2
_PAD = (1, 2, 2)
"""Zeros around a band along z, y, x."""
_LOGARITHMS = logarithm(np.arange(CONTEXT_CAP + 1)).astype(np.int16)


class SignedBand:
    """The values of a band, as far as they are coded, on a logarithmic scale, with zeros around them.

    Parameters
    ----------
    shape : tuple of int
        Shape (batch, z, y, x) of the band.
    """

    def __init__(self, shape: Shape) -> None:
        self._values = np.zeros((shape[0], *(n + 2 * pad for n, pad in zip(shape[1:], _PAD, strict=True))), np.int16)
        inner = (slice(None), *(slice(pad, pad + n) for n, pad in zip(shape[1:], _PAD, strict=True)))
        self._inner = self._values[inner]

    def put(self, where: tuple[slice, ...], values: Ints) -> None:
        """Keep the values of a phase."""
        logarithms = np.take(_LOGARITHMS, np.minimum(np.abs(values), CONTEXT_CAP))
        self._inner[where] = np.where(values < 0, -logarithms, logarithms)

    def around(self, places: Places, offsets: Sequence[Offset]) -> Ints:
        """Values at offsets from places, int32 (offsets, n); a place may lie one beyond the end of the band."""
        return _gathered(self._values, places, offsets, _PAD)


SignedBands = dict[tuple[int, Axes], SignedBand]
"""The bands of a group that are coded and hold anything, by level and axes of details."""


def _gathered(padded: npt.NDArray[np.integer], places: Places, offsets: Sequence[Offset], pad: Sequence[int]) -> Ints:
    """Values of a padded array (batch, z, y, x) at offsets from places, int32 (offsets, n)."""
    _, nz, ny, nx = padded.shape
    b, z, y, x = places
    base = ((b * nz + z + pad[0]) * ny + y + pad[1]) * nx + x + pad[2]
    steps = np.array([(dz * ny + dy) * nx + dx for dz, dy, dx in offsets], np.intp)
    return np.asarray(np.take(padded.reshape(-1), base + steps[:, None]), np.int32)


@dataclass(frozen=True)
class SignLevel:
    """What is known around the bands of a level.

    Attributes
    ----------
    schedule : Schedule
    level : int
    picture : OrientedPicture
    bands : mapping
        `SignedBands` of the group; those of the level are added as they are coded.
    reference : mapping, optional
        Those of the group's reference.
    """

    schedule: Schedule
    level: int
    picture: OrientedPicture
    bands: Mapping[tuple[int, Axes], SignedBand]
    reference: Mapping[tuple[int, Axes], SignedBand] | None

    @property
    def coarser(self) -> int:
        """The nearest coarser level that splits anything; the number of levels without one."""
        found = self.level + 1
        while found < len(self.schedule.levels) and not self.schedule.split(found):
            found += 1
        return found

    def inputs(self, details: Axes, places: Places, magnitudes: Ints, constants: Floats) -> tuple[Floats, Floats]:
        """Inputs of coefficients of a band: float32 (SIGNED, n) and (UNSIGNED, n).

        Parameters
        ----------
        details : axes of the band's details
        places : where they lie
        magnitudes : int32 array (n,), at least 1
        constants : float32 array (ORIENTED.constants,)
            Features of their phase.
        """
        patch, lively = self._patch(details, places)
        own = self._of(self.level, details, places, NEIGHBOURS, is_turned(details))
        siblings = self._siblings(details, places)
        parents, others = self._parents(details, places)
        reference = np.zeros((len(CROSS), len(magnitudes)), np.int32)
        if self.reference is not None and (self.level, details) in self.reference:
            reference = self.reference[self.level, details].around(places, _offsets(CROSS, is_turned(details)))
        signed = np.concatenate([patch, own, siblings, parents, others, reference]).astype(np.float32)
        sums = [np.abs(part).sum(axis=0) >> shift for part, shift in
                ((own[list(FACES)], 1), (own, 2), (parents, 1), (siblings, 2), (reference, 1))]
        unsigned = np.empty((UNSIGNED, len(magnitudes)), np.float32)
        unsigned[: len(constants)] = constants[:, None]
        unsigned[len(constants)] = np.take(_LOGARITHMS, np.minimum(magnitudes, CONTEXT_CAP))
        unsigned[len(constants) + 1] = lively
        unsigned[len(constants) + 2 :] = np.minimum(sums, LARGEST_INPUT)
        return signed, unsigned

    def _patch(self, details: Axes, places: Places) -> tuple[Ints, npt.NDArray[np.uint8]]:
        """The picture around coefficients, relative to its liveliness there; and that on a logarithmic scale."""
        turn, along = is_turned(details), seen(details)
        values = _gathered(self.picture.padded, places, _offsets((*PATCH, *BESIDE), turn), (1, PAD, PAD))
        middle = [PATCH.index((0, y, x)) for y in range(1 + (Y in along)) for x in range(1 + (X in along))]
        values = len(middle) * values - values[middle].sum(axis=0)
        total: Values = np.abs(values[: len(PATCH)]).sum(axis=0)
        scaled = values.astype(np.float32) * np.float32(_PATCH_ONE * len(PATCH))
        scaled /= (total + _QUIET * len(PATCH) * len(middle)).astype(np.float32)
        found = np.clip(np.rint(scaled), -LARGEST_INPUT, LARGEST_INPUT).astype(np.int32)
        lively = float_logarithm((np.minimum(total, _LARGEST_SUM) + 1).astype(np.float32), PICTURE_BITS)
        return found, lively

    def _of(self, level: int, details: Axes, places: Places, offsets: Sequence[Offset], turn: bool) -> Ints:
        """Values of a band, zeros where it holds nothing or is not coded yet."""
        band = self.bands.get((level, details))
        if band is None:
            return np.zeros((len(offsets), len(places[0])), np.int32)
        return band.around(places, _offsets(offsets, turn))

    def _siblings(self, details: Axes, places: Places) -> Ints:
        turn, found = is_turned(details), []
        for name in (*IN_PLANE, *OUT_OF_PLANE):
            real, offsets = exchanged(name) if turn else name, AROUND if name in IN_PLANE else HERE
            if real == details:
                found.append(np.zeros((len(offsets), len(places[0])), np.int32))
            else:
                found.append(self._of(self.level, real, places, offsets, turn))
        return np.concatenate(found)

    def _parents(self, details: Axes, places: Places) -> tuple[Ints, Ints]:
        """Values around the same place in the parent band, and at it in the bands of its level with details in the plane."""
        turn, n, level = is_turned(details), len(places[0]), self.coarser
        if level == len(self.schedule.levels):
            return np.zeros((len(AROUND), n), np.int32), np.zeros((len(IN_PLANE), n), np.int32)
        halved = self.schedule.split(level)
        b, *rest = places
        z, y, x = (place >> 1 if axis in halved else place for axis, place in enumerate(rest, 1))
        there = (b, z, y, x)
        parent = tuple(axis for axis in details if axis in halved)
        names = [exchanged(name) if turn else name for name in IN_PLANE]
        return self._of(level, parent, there, AROUND, turn), np.concatenate([self._of(level, k, there, HERE, turn) for k in names])


def _offsets(offsets: Sequence[Offset], turn: bool) -> Sequence[Offset]:
    return [turned(offset) for offset in offsets] if turn else offsets


def places_of(phase: int, rows: slice, shape: Shape, where: npt.NDArray[np.intp]) -> Places:
    """Coordinates in the band of coefficients of a slab of a phase.

    Parameters
    ----------
    phase : index into `PHASE_ORDER`
    rows : of the slab, along the phase's y axis
    shape : shape (batch, z, y, x) of the phase
    where : numbers (n,) of the coefficients in raster order of the slab
    """
    b, z, y, x = np.unravel_index(where, (*shape[:2], rows.stop - rows.start, shape[3]))
    pz, py, px = PHASE_ORDER[phase]
    return b, 2 * z + pz, 2 * (y + rows.start) + py, 2 * x + px
