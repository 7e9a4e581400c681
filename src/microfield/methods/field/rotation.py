"""A rotation of channels as a product of plane rotations (W. Givens, J. SIAM 6, 1958), one byte each."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

HALF = 128
"""The tangent of half an angle is stored as a whole number over this, so that sine and cosine are fractions."""
MOST = 8
"""Channels beyond this count are not rotated."""


@dataclass(frozen=True)
class Rotation:
    """An orthonormal transform of n channels.

    Attributes
    ----------
    angles : int8 array of shape (n (n - 1) / 2,)
        Tangent of half the angle in every plane, in order (0, 1), (0, 2), ... (n - 2, n - 1).
    signs : int
        Bit k: channel k of the result is turned over.
    """

    angles: npt.NDArray[np.int8]
    signs: int

    def forward(self, values: Floats) -> None:
        """Rotate an array of shape (n, ...) in place."""
        for (i, j), (cosine, sine) in zip(_planes(len(values)), self._fractions(), strict=True):
            _turn(values, i, j, cosine, sine)
        self._turn_over(values)

    def inverse(self, values: Floats) -> None:
        """Undo `forward`, in place."""
        self._turn_over(values)
        pairs = list(zip(_planes(len(values)), self._fractions(), strict=True))
        for (i, j), (cosine, sine) in reversed(pairs):
            _turn(values, i, j, cosine, -sine)

    def _turn_over(self, values: Floats) -> None:
        for k in range(len(values)):
            if self.signs >> k & 1:
                np.negative(values[k], out=values[k])

    def _fractions(self) -> list[tuple[np.float32, np.float32]]:
        t = self.angles.astype(np.float64) / HALF
        return list(zip(((1 - t * t) / (1 + t * t)).astype(np.float32), (2 * t / (1 + t * t)).astype(np.float32), strict=True))


def count(channels: int) -> int:
    """How many angles a rotation of so many channels has."""
    return channels * (channels - 1) // 2


def rotation_of(covariance: Doubles) -> Rotation:
    """The rotation to principal axes, largest variance first, as near as its bytes come; signs are left alone."""
    _, vectors = np.linalg.eigh(covariance)
    rest = np.ascontiguousarray(vectors[:, ::-1].T)
    # The same axes whatever sign and order the library gave them: as little turning as there can be.
    rest *= np.where(rest[np.arange(len(rest)), np.abs(rest).argmax(1)] < 0, -1, 1)[:, None]
    angles = []
    for i, j in _planes(len(rest)):
        angle = np.arctan2(rest[i, j], rest[i, i])
        if abs(angle) > np.pi / 2:
            angle -= np.copysign(np.pi, angle)
        code = int(np.clip(round(np.tan(angle / 2) * HALF), -HALF, HALF - 1))
        angles.append(code)
        t = code / HALF
        cosine, sine = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
        rest[:, i], rest[:, j] = cosine * rest[:, i] + sine * rest[:, j], cosine * rest[:, j] - sine * rest[:, i]
    return Rotation(np.array(angles, np.int8), 0)


def upright(rotation: Rotation, values: npt.NDArray[np.floating]) -> Rotation:
    """The same rotation with signs that make every result bright on dark, judged by values of shape (n, samples)."""
    turned = np.array(values, np.float32)
    Rotation(rotation.angles, 0).forward(turned)
    centred = turned - turned.mean(axis=1, keepdims=True)
    over = np.flatnonzero((centred.astype(np.float64) ** 3).sum(axis=1) < 0)
    return Rotation(rotation.angles, sum(1 << int(k) for k in over))


def _planes(n: int) -> list[tuple[int, int]]:
    return list(itertools.combinations(range(n), 2))


def _turn(values: Floats, i: int, j: int, cosine: np.float32, sine: np.float32) -> None:
    first, second = values[i] * cosine + values[j] * sine, values[j] * cosine - values[i] * sine
    values[i], values[j] = first, second
