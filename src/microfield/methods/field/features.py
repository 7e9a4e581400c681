"""What the context network is told about a coefficient before it is decoded: features, whole numbers from 0 to 255.

All come from what is decoded already: neighbours in earlier phases, the parent band one level coarser, bands of the same
level ("siblings"), the picture so far (the approximation of the same level), and the reference, a group coded before
(another channel). A *plane* holds one feature of every coefficient of a band or phase. Everything is integer arithmetic, or
float32 operations whose results IEEE 754 fixes, so features are the same on every machine. The logarithm is piecewise
linear: exponent and leading bits of a float.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from microfield.kernel import loading, wavelet
from microfield.methods.field.phases import (
    CONTEXT_CAP,
    NEIGHBOUR_GROUPS,
    ORIENTED_GROUPS,
    PHASE_ORDER,
    Bytes,
    Offset,
    Phases,
    Shape,
    phase_slices,
)

Floats = npt.NDArray[np.float32]

PARENTS, SIBLINGS, REFERENCE = 3, 7, 2
"""Numbers of planes by what they tell of: the next coarser level, bands of the same level, the reference."""
LEVELS = 5
"""Levels that the network tells apart; coarser ones count as the last of them."""
_DETAILS = LEVELS
_Z_SPLIT = _DETAILS + 3
_MEAN = _Z_SPLIT + 1
_PHASE = _MEAN + 1
_TURNED = _PHASE + len(PHASE_ORDER)
_PREDICTED = _TURNED + 1


@dataclass(frozen=True)
class FeatureSet:
    """What a context network is told: planes of neighbours, of `PARENTS`, `SIBLINGS`, the picture and `REFERENCE`; and constants.

    Attributes
    ----------
    oriented : bool
        Whether bands are seen along their details, see `oriented`.
    neighbours : int
        Planes of neighbours in the band.
    picture : int
        Planes of the picture so far.
    constants : int
        Features of a whole phase: level (one-hot), details along z, y, x, whether z is split, mean, phase (one-hot); where bands
        are seen along their details also whether the band is turned and whether the group is what a prediction left.
    """

    oriented: bool
    neighbours: int
    picture: int
    constants: int

    @property
    def planes(self) -> int:
        """Number of planes: features that differ from coefficient to coefficient."""
        return self.neighbours + PARENTS + SIBLINGS + self.picture + REFERENCE

    @property
    def of_picture(self) -> slice:
        """Where the planes of the picture lie among all."""
        first = self.neighbours + PARENTS + SIBLINGS
        return slice(first, first + self.picture)


PLAIN = FeatureSet(False, len(NEIGHBOUR_GROUPS), 7, _TURNED)
"""Of bitstream versions 1 to 4."""
ORIENTED = FeatureSet(True, len(ORIENTED_GROUPS), 14, _PREDICTED + 1)
"""Of version 5."""
FEATURE_ONE = 32
"""The feature that stands for 1.0 in the network: features are thirty-seconds."""

FEATURE_BITS, PICTURE_BITS = 5, 4
"""Logarithms are in units of 2**-5; those of the picture, whose values are larger, in 2**-4."""
_LARGEST_FEATURE = 255
_MANTISSA_BITS, _EXPONENT_BIAS = 23, 127
"""Of float32."""
_LARGEST_BRIGHTNESS, _LARGEST_SLOPE_VALUE = 1 << 22, 1 << 21
"""Cuts of the picture, in quantiser steps, that keep sums below 2**24."""


def logarithm(values: npt.NDArray[np.integer], bits: int = FEATURE_BITS) -> Bytes:
    """Piecewise linear log2(1 + values) in units of ``2**-bits``, cut at 255; ``values`` from 0 to below 2**24."""
    library = loading.library()
    if library is not None and values.dtype == np.int32:
        return wavelet.logarithm(library, values, bits)
    return float_logarithm((values + 1).astype(np.float32), bits)


def float_logarithm(values: Floats, bits: int) -> Bytes:
    """Piecewise linear log2 of values >= 1 in units of ``2**-bits``, cut at 255."""
    exponent = values.view(np.int32) >> (_MANTISSA_BITS - bits)
    return np.asarray(np.minimum(exponent - (_EXPONENT_BIAS << bits), _LARGEST_FEATURE), np.uint8)


@lru_cache
def _table(size: int, numerator: int, denominator: int) -> Bytes:
    """Feature of 1 + numerator * index / denominator, for indices below ``size``."""
    return float_logarithm((1 + np.arange(size) * numerator / denominator).astype(np.float32), FEATURE_BITS)


def scaled(sums: npt.NDArray[np.integer], numerator: int, denominator: int, largest: int) -> Bytes:
    """The feature log2(1 + sums * numerator / denominator), by table, of sums that are at most ``largest``."""
    return np.take(_table(largest + 1, numerator, denominator), sums)


def same_place(magnitudes: Bytes) -> Bytes:
    """Plane of the magnitudes (batch, z, y, x), at most `CONTEXT_CAP`, at the very same place."""
    return scaled(magnitudes, 2, 1, CONTEXT_CAP)


def cross(magnitudes: Bytes) -> Bytes:
    """Plane of the magnitudes at a place (twice) and its six face neighbours."""
    return scaled(faces(magnitudes), 1, 2, 8 * CONTEXT_CAP)


def block(magnitudes: Bytes, bands: int = 1) -> Bytes:
    """Plane of the magnitudes in a block of 3 x 3 x 3; ``bands`` is how many bands' magnitudes were added up."""
    return scaled(spread(magnitudes), 2, 9, 27 * bands * CONTEXT_CAP)


def spread(magnitudes: Bytes) -> npt.NDArray[np.uint16]:
    """Sums over blocks of 3 x 3 x 3, edges repeated: uint16 of the shape of the magnitudes (batch, z, y, x)."""
    out = magnitudes.astype(np.uint16)
    for axis in (1, 2, 3):
        n = out.shape[axis]
        if n == 1:
            out *= 3
            continue
        front = np.moveaxis(out, axis, 0)
        total = front.copy()
        total[1:] += front[:-1]
        total[:-1] += front[1:]
        total[0] += front[0]
        total[-1] += front[-1]
        out = np.moveaxis(total, 0, axis)
    return np.ascontiguousarray(out)


def faces(magnitudes: Bytes) -> Bytes:
    """Twice the magnitude at a place plus those of its six face neighbours, 0 past the border; uint8, shape as given."""
    out = magnitudes * np.uint8(2)
    for axis in (1, 2, 3):
        front, source = np.moveaxis(out, axis, 0), np.moveaxis(magnitudes, axis, 0)
        front[1:] += source[:-1]
        front[:-1] += source[1:]
    return out


def picture(approximation: Floats, gain: float) -> list[Bytes]:
    """Planes of the picture so far: brightness, and slope and curvature along z, y, x, all on a logarithmic scale.

    Parameters
    ----------
    approximation : float32 array (batch, z, y, x)
        Of the level to be coded, in quantiser steps.
    gain : float
        By how much it is larger than the voxels; brightness is that of voxels.
    """
    values = np.clip(np.rint(approximation), -_LARGEST_SLOPE_VALUE, _LARGEST_SLOPE_VALUE).astype(np.int32)
    planes = [brightness(approximation, gain)]
    for axis in (1, 2, 3):
        n = values.shape[axis]
        if n == 1:
            planes += [np.zeros(values.shape, np.uint8)] * 2
            continue
        up = np.take(values, np.minimum(np.arange(n) + 1, n - 1), axis)
        down = np.take(values, np.maximum(np.arange(n) - 1, 0), axis)
        planes += [logarithm(np.abs(up - down), PICTURE_BITS), logarithm(np.abs(up + down - 2 * values), PICTURE_BITS)]
    return planes


def brightness(approximation: Floats, gain: float) -> Bytes:
    """Plane of the brightness of voxels, logarithmic, of an approximation in quantiser steps that is larger by a gain."""
    bright = np.clip(np.rint(approximation * np.float32(1 / gain)), 0, _LARGEST_BRIGHTNESS).astype(np.int32)
    return logarithm(bright, PICTURE_BITS)


def fit(plane: Bytes, extents: Shape) -> Bytes:
    """A plane cropped, or grown by repeating its last coefficients, to the extents of a phase; zeros for an empty plane."""
    if plane.shape == extents:
        return plane
    if not plane.size:
        return np.zeros(extents, np.uint8)
    for axis, n in enumerate(extents):
        if plane.shape[axis] > n:
            plane = plane[(slice(None),) * axis + (slice(0, n),)]
        elif plane.shape[axis] < n:
            plane = np.take(plane, np.minimum(np.arange(n), plane.shape[axis] - 1), axis)
    return plane


SLAB_COEFFICIENTS = 1 << 14
"""Coefficients whose features are computed at once, about."""


@dataclass(frozen=True)
class BandPlanes:
    """The planes that are known before a band is coded: all but those of its own neighbours.

    Attributes
    ----------
    planes : sequence of uint8 arrays (batch, z, y, x)
        In the order of the features; None where nothing is known, which stands for zeros.
    halved : sequence of tuples of int
        For every plane the axes (of 1, 2, 3) along which it has half the band's resolution already.
    """

    planes: Sequence[Bytes | None]
    halved: Sequence[tuple[int, ...]]

    def of(self, phase: int, extents: Shape) -> list[Bytes | None]:
        """The planes of one phase, each of the phase's extents."""
        slices = phase_slices(phase)
        cuts = {halved: tuple(slice(None) if axis in halved else s for axis, s in enumerate(slices)) for halved in set(self.halved)}
        return [None if plane is None else fit(plane[cuts[halved]], extents)
                for plane, halved in zip(self.planes, self.halved, strict=True)]


def rows_of(extents: Shape) -> list[slice]:
    """A phase cut along y into slabs of about `SLAB_COEFFICIENTS` coefficients each: the rows of every slab."""
    per_row = max(1, extents[0] * extents[1] * extents[3])
    rows = max(1, SLAB_COEFFICIENTS // per_row)
    return [slice(y, min(y + rows, extents[2])) for y in range(0, extents[2], rows)]


def matrix(band: Phases, planes: Sequence[Bytes | None], phase: int, rows: slice, groups: tuple[tuple[Offset, ...], ...]) -> Floats:
    """Features of a slab of a phase: float32 of shape (planes, coefficients), in raster order (batch, z, y, x).

    Parameters
    ----------
    band : magnitudes of the phases before
    planes : what `BandPlanes.of` gave for the phase
    phase : index into `PHASE_ORDER`
    rows : of the slab, along the phase's y axis
    groups : offsets of the neighbours that make up a plane each
    """
    extents = band.extents(phase)
    n = extents[0] * extents[1] * (rows.stop - rows.start) * extents[3]
    out = np.empty((len(groups) + len(planes), n), np.float32)
    for k, (total, count) in enumerate(band.sums(phase, rows, groups)):
        if count:
            out[k] = np.take(neighbour_table(count), total.reshape(-1))
        else:
            out[k] = 0
    for k, plane in enumerate(planes, len(groups)):
        out[k] = 0 if plane is None else plane[:, :, rows].reshape(-1)
    return out


def neighbour_table(count: int) -> Bytes:
    """The feature of every sum of the magnitudes of ``count`` neighbours, 1 to 8."""
    return _table(8 * CONTEXT_CAP + 1, 2, count)


def constants(level: int, details: tuple[int, ...], z_split: bool, mean: int, phase: int) -> Floats:
    """Features of a phase as a whole, as `PLAIN` networks have them: float32 of shape (PLAIN.constants,).

    Parameters
    ----------
    level : 0 is the finest
    details : axes (of 1, 2, 3, that is z, y, x) along which the band holds details
    z_split : whether the level splits z
    mean : the feature of the band's mean magnitude, 0 to 255
    phase : index into `PHASE_ORDER`
    """
    out = np.zeros(PLAIN.constants, np.float32)
    out[min(level, LEVELS - 1)] = FEATURE_ONE
    for axis in details:
        out[_DETAILS + axis - 1] = FEATURE_ONE
    out[_Z_SPLIT] = FEATURE_ONE * z_split
    out[_MEAN] = mean
    out[_PHASE + phase] = FEATURE_ONE
    return out


def oriented_constants(plain: Floats, turned: bool, predicted: bool) -> Floats:
    """Those of `ORIENTED` networks: float32 of shape (ORIENTED.constants,).

    Parameters
    ----------
    plain : float32 array (PLAIN.constants,)
        `constants` of the band as it is seen.
    turned : whether that is with y and x exchanged
    predicted : whether the group is what a prediction left
    """
    return np.concatenate([plain, np.array([FEATURE_ONE * turned, FEATURE_ONE * predicted], np.float32)])


def sibling_slot(details: tuple[int, ...]) -> int:
    """Number 0 to 6 among the siblings of the band with details along these axes (of 1, 2, 3)."""
    return sum(1 << (axis - 1) for axis in details) - 1
