"""Bands seen along their details, as contexts are from bitstream version 5 on: the picture so far, its slopes with their direction.

A band with details along y, but not along x, is *turned*: it is seen with y and x exchanged, so that a network need not learn both.
A coefficient with details along an axis lies between two values of the picture, and slopes along that axis are those between them.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from microfield.methods.field.features import PICTURE_BITS, brightness, logarithm
from microfield.methods.field.lifting import Axes, Floats
from microfield.methods.field.phases import Bytes

Values = npt.NDArray[np.int32]

Z, Y, X = 1, 2, 3
PICTURE_UNITS = 4
"""The picture is rounded to so many parts of a quantiser step."""
LARGEST_VALUE = 1 << 19
"""Cut of the picture in these units: sums over a block stay below 2**24."""
PAD = 3
"""Values that the picture is continued by at its borders along y and x; along z it is one before and two behind."""


def is_turned(details: Axes) -> bool:
    """Whether a band with details along these axes (1, 2, 3 are z, y, x) is seen with y and x exchanged."""
    return Y in details and X not in details


def seen(details: Axes) -> Axes:
    """The axes of details as they are seen: those of a turned band with y and x exchanged."""
    return exchanged(details) if is_turned(details) else details


def exchanged(axes: Axes) -> Axes:
    """Axes with y and x exchanged, in ascending order."""
    return tuple(sorted({Y: X, X: Y}.get(axis, axis) for axis in axes))


class OrientedPicture:
    """The picture so far in whole numbers, and the planes of features that are made of it when a band first asks for them.

    Parameters
    ----------
    approximation : float32 array (batch, z, y, x)
        Of the level to be coded, in quantiser steps.
    gain : float
        By how much it is larger than the voxels.
    """

    def __init__(self, approximation: Floats, gain: float) -> None:
        self._approximation, self._gain = approximation, gain
        self._planes: dict[tuple[object, ...], Bytes] = {}

    @cached_property
    def padded(self) -> Values:
        """The picture with its borders repeated, int32 (batch, z + 3, y + 2 PAD, x + 2 PAD)."""
        values = np.clip(np.rint(self._approximation * np.float32(PICTURE_UNITS)), -LARGEST_VALUE, LARGEST_VALUE).astype(np.int32)
        return np.pad(values, [(0, 0), (1, 2), (PAD, PAD), (PAD, PAD)], mode="edge")

    def planes(self, details: Axes) -> list[Bytes]:
        """Features of a band, as it is seen, with details along these axes.

        Brightness; slope and curvature along z, y, x; the third difference along x; the differences along both diagonals; and
        summed over 3 x 3 places, the differences along x, along y and along both diagonals.
        """
        y, x = (X, Y) if is_turned(details) else (Y, X)
        found = [self._plane("brightness")]
        for axis in (Z, y, x):
            found += [self._plane(kind, axis, axis in details) for kind in ("slope", "curvature")]
        found.append(self._plane("third", x))
        found += [self._plane("diagonal", rising) for rising in (False, True)]
        found += [self._plane("lively", axis) for axis in (x, y)]
        found += [self._plane("lively diagonal", rising) for rising in (False, True)]
        return found

    def _plane(self, kind: str, *which: int | bool) -> Bytes:
        """A plane by its kind, made once."""
        key = (kind, *which)
        if key not in self._planes:
            self._planes[key] = self._made(kind, *which)
        return self._planes[key]

    def _made(self, kind: str, *which: int | bool) -> Bytes:
        if kind == "brightness":
            return brightness(self._approximation, self._gain)
        if kind == "diagonal":
            return _logarithm(self._diagonal(bool(which[0])))
        if kind == "lively":
            axis = int(which[0])
            return logarithm(self._block(np.abs(self._at(axis, 1, 1) - self._at(axis, 0, 1))), PICTURE_BITS)
        if kind == "lively diagonal":
            return logarithm(self._block(np.abs(self._diagonal(bool(which[0]), 1))), PICTURE_BITS)
        axis, at = int(which[0]), self._at
        if kind == "third":
            return _logarithm(at(axis, 2) - at(axis, -1) + 3 * (at(axis, 0) - at(axis, 1)))
        between = bool(which[1])
        if kind == "slope":
            return _logarithm(at(axis, 1) - at(axis, 0 if between else -1))
        if between:
            return _logarithm(at(axis, 2) - at(axis, 1) - at(axis, 0) + at(axis, -1))
        return _logarithm(at(axis, 1) + at(axis, -1) - 2 * at(axis, 0))

    def _at(self, axis: int, shift: int, wider: int = 0) -> Values:
        """The picture moved along an axis, with so many places more at all borders of y and x."""
        shifts = [0, 0, 0, 0]
        shifts[axis] = shift
        return self._moved(shifts[1], shifts[2], shifts[3], wider)

    def _moved(self, z: int, y: int, x: int, wider: int = 0) -> Values:
        _, nz, ny, nx = self._approximation.shape
        return self.padded[:, 1 + z : 1 + z + nz, PAD - wider + y : PAD + wider + y + ny, PAD - wider + x : PAD + wider + x + nx]

    def _diagonal(self, rising: bool, wider: int = 0) -> Values:
        """Differences along a diagonal: from (0, 0) to (1, 1), or rising, from (0, 1) to (1, 0) in (y, x)."""
        if rising:
            return self._moved(0, 1, 0, wider) - self._moved(0, 0, 1, wider)
        return self._moved(0, 1, 1, wider) - self._moved(0, 0, 0, wider)

    @staticmethod
    def _block(values: Values) -> Values:
        """Sums over 3 x 3 places along y and x, of an array with one place more at all its borders."""
        rows = values[:, :, :-2] + values[:, :, 1:-1] + values[:, :, 2:]
        return np.asarray(rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:])


def _logarithm(differences: Values) -> Bytes:
    return logarithm(np.abs(differences), PICTURE_BITS)
