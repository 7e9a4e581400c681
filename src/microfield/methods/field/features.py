"""What the context model knows about a coefficient before it is decoded: features as whole numbers 0 to 255.

All come from what is decoded already: neighbours in earlier phases, the parent band one level coarser, bands of the same
level ("siblings"), the picture so far (the approximation of the same level), and the group coded before (another channel).
Everything is integer arithmetic, or float32 operations whose results IEEE 754 fixes, so features are the same on every
machine. The logarithm is piecewise linear: exponent and leading bits of a float.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from microfield.methods.field.phases import GROUPS, LARGEST, ORDER, Bytes, Phases, Shape, steps

Floats = npt.NDArray[np.float32]

PARENTS, SIBLINGS, PICTURE, REFERENCE = 3, 7, 7, 2
PLANES = len(GROUPS) + PARENTS + SIBLINGS + PICTURE + REFERENCE
"""Features that differ from coefficient to coefficient."""
LEVELS = 5
CONSTANTS = LEVELS + 3 + 1 + 1 + 8
"""Features of a whole phase: level (one-hot), details along z, y, x, z split here, mean magnitude of the band, phase (one-hot)."""
ONE = 32
"""The value that stands for 1.0: features hold thirty-seconds."""


def logarithm(values: npt.NDArray[np.integer], bits: int = 5) -> Bytes:
    """Piecewise linear log2(1 + values) in units of ``2**-bits``, cut at 255; ``values`` from 0 to below 2**24."""
    exponent = (values + 1).astype(np.float32).view(np.int32) >> (23 - bits)
    return np.asarray(np.minimum(exponent - (127 << bits), 255), np.uint8)


@lru_cache
def _table(size: int, numerator: int, denominator: int) -> Bytes:
    """Feature of 1 + numerator * index / denominator, for indices below ``size``."""
    ratio = (1 + np.arange(size) * numerator / denominator).astype(np.float32)
    return np.asarray(np.minimum((ratio.view(np.int32) >> 18) - (127 << 5), 255), np.uint8)


def scaled(sums: npt.NDArray[np.integer], numerator: int, denominator: int, largest: int) -> Bytes:
    """`logarithm` of sums (at most ``largest``) times a fraction, by table."""
    return np.take(_table(largest + 1, numerator, denominator), sums)


def spread(magnitudes: Bytes) -> npt.NDArray[np.uint16]:
    """Sums over 3 x 3 x 3 neighbours, edges repeated; shape as given (batch, z, y, x)."""
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
    """Twice the centre plus the six face neighbours (none past the border)."""
    out = magnitudes * np.uint8(2)
    for axis in (1, 2, 3):
        front, source = np.moveaxis(out, axis, 0), np.moveaxis(magnitudes, axis, 0)
        front[1:] += source[:-1]
        front[:-1] += source[1:]
    return out


def picture(approximation: Floats, gain: float) -> list[Bytes]:
    """Seven planes from the picture so far, in steps: brightness, and slope and curvature along z, y, x."""
    values = np.clip(np.rint(approximation), -(1 << 21), 1 << 21).astype(np.int32)
    bright = np.clip(np.rint(approximation * np.float32(1 / gain)), 0, 1 << 22).astype(np.int32)
    planes = [logarithm(bright, 4)]
    for axis in (1, 2, 3):
        n = values.shape[axis]
        if n == 1:
            planes += [np.zeros(values.shape, np.uint8)] * 2
            continue
        up = np.take(values, np.minimum(np.arange(n) + 1, n - 1), axis)
        down = np.take(values, np.maximum(np.arange(n) - 1, 0), axis)
        planes += [logarithm(np.abs(up - down), 4), logarithm(np.abs(up + down - 2 * values), 4)]
    return planes


def fit(plane: Bytes, extents: Shape) -> Bytes:
    """A plane cropped, or grown by repeating its edge, to the extents of a phase."""
    if not plane.size:
        return np.zeros(extents, np.uint8)
    for axis, n in enumerate(extents):
        if plane.shape[axis] > n:
            plane = plane[(slice(None),) * axis + (slice(0, n),)]
        elif plane.shape[axis] < n:
            plane = np.take(plane, np.minimum(np.arange(n), plane.shape[axis] - 1), axis)
    return plane


@dataclass(frozen=True)
class Static:
    """Planes that a whole band is coded with.

    Attributes
    ----------
    planes : planes of features, None where there is nothing to know
    halved : for every plane the axes (of 1, 2, 3) along which it has half the band's resolution already
    """

    planes: Sequence[Bytes | None]
    halved: Sequence[tuple[int, ...]]

    def of(self, phase: int, extents: Shape) -> list[Bytes | None]:
        """The planes of one phase."""
        out: list[Bytes | None] = []
        for plane, halved in zip(self.planes, self.halved, strict=True):
            if plane is None:
                out.append(None)
                continue
            cut = tuple(slice(None) if axis in halved else s for axis, s in enumerate(steps(phase)))
            out.append(fit(plane[cut], extents))
        return out


def rows_of(extents: Shape, columns: int = 1 << 14) -> list[slice]:
    """A phase cut along y into slabs of about ``columns`` coefficients."""
    per_row = max(1, extents[0] * extents[1] * extents[3])
    rows = max(1, columns // per_row)
    return [slice(y, min(y + rows, extents[2])) for y in range(0, extents[2], rows)]


def matrix(band: Phases, static: Sequence[Bytes | None], phase: int, rows: slice) -> Floats:
    """Features of a slab of a phase: float32 of shape (PLANES, coefficients), in raster order (batch, z, y, x)."""
    extents = band.extents(phase)
    n = extents[0] * extents[1] * (rows.stop - rows.start) * extents[3]
    out = np.empty((PLANES, n), np.float32)
    for k, (total, count) in enumerate(band.sums(phase, rows)):
        if count:
            out[k] = scaled(total.reshape(-1), 2, count, 8 * LARGEST)
        else:
            out[k] = 0
    for k, plane in enumerate(static, len(GROUPS)):
        out[k] = 0 if plane is None else plane[:, :, rows].reshape(-1)
    return out


def constants(level: int, details: tuple[int, ...], z_split: bool, mean: int, phase: int) -> Floats:
    """Features of a phase as a whole: float32 of shape (CONSTANTS,)."""
    out = np.zeros(CONSTANTS, np.float32)
    out[min(level, LEVELS - 1)] = ONE
    for axis in details:
        out[LEVELS + axis - 1] = ONE
    out[LEVELS + 3] = ONE * z_split
    out[LEVELS + 4] = mean
    out[LEVELS + 5 + phase] = ONE
    return out


def sibling_slot(details: tuple[int, ...]) -> int:
    """Number 0 to 6 of a set of detail axes (of 1, 2, 3)."""
    return sum(1 << (axis - 1) for axis in details) - 1


assert len(ORDER) == 8
