"""A rotation of channels as a product of plane rotations (W. Givens, J. SIAM 6, 1958), one byte each."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

TANGENT_SCALE = 128
"""The tangent of half an angle is stored as a whole number of 1/128, so that sine and cosine are fractions."""
MOST_ROTATED = 8
"""More channels than this are not rotated."""


@dataclass(frozen=True)
class Rotation:
    """A rotation of n channels, perhaps with some of them turned over: an orthonormal transform.

    Attributes
    ----------
    angles : int8 array of shape (n (n - 1) / 2,)
        Tangent of half the angle in every plane, in 1 / `TANGENT_SCALE`; planes in the order (0, 1), (0, 2), ... (n - 2, n - 1).
    signs : int
        Bit k says that channel k of the result is multiplied by -1.
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
        """Multiply the channels whose sign bit is set by -1, in place."""
        for k in range(len(values)):
            if self.signs >> k & 1:
                np.negative(values[k], out=values[k])

    def _fractions(self) -> list[tuple[np.float32, np.float32]]:
        """Cosine and sine of every angle."""
        t = self.angles.astype(np.float64) / TANGENT_SCALE
        return list(zip(((1 - t * t) / (1 + t * t)).astype(np.float32), (2 * t / (1 + t * t)).astype(np.float32), strict=True))


def count(channels: int) -> int:
    """How many angles a rotation of so many channels has."""
    return channels * (channels - 1) // 2


def rotation_of(covariance: Doubles) -> Rotation:
    """The rotation to the principal axes of a covariance (n, n), largest variance first, as near as its bytes come.

    No channel is turned over: see `upright`.
    """
    _, vectors = np.linalg.eigh(covariance)
    rest = np.ascontiguousarray(vectors[:, ::-1].T)
    # An axis may come with either sign: the one that makes its largest entry positive, whatever the library gave.
    rest *= np.where(rest[np.arange(len(rest)), np.abs(rest).argmax(1)] < 0, -1, 1)[:, None]
    angles = []
    for i, j in _planes(len(rest)):
        angle = np.arctan2(rest[i, j], rest[i, i])
        if abs(angle) > np.pi / 2:
            angle -= np.copysign(np.pi, angle)
        code = int(np.clip(round(np.tan(angle / 2) * TANGENT_SCALE), -TANGENT_SCALE, TANGENT_SCALE - 1))
        angles.append(code)
        t = code / TANGENT_SCALE
        cosine, sine = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
        rest[:, i], rest[:, j] = cosine * rest[:, i] + sine * rest[:, j], cosine * rest[:, j] - sine * rest[:, i]
    return Rotation(np.array(angles, np.int8), 0)


def upright(rotation: Rotation, values: npt.NDArray[np.floating]) -> Rotation:
    """The same rotation with signs that make every result bright on dark: of positive skewness.

    Parameters
    ----------
    rotation : Rotation
    values : array (n, samples)
        A sample of the channels before they are rotated.
    """
    turned = np.array(values, np.float32)
    Rotation(rotation.angles, 0).forward(turned)
    centred = turned - turned.mean(axis=1, keepdims=True)
    over = np.flatnonzero((centred.astype(np.float64) ** 3).sum(axis=1) < 0)
    return Rotation(rotation.angles, sum(1 << int(k) for k in over))


def _planes(n: int) -> list[tuple[int, int]]:
    """Pairs of channels in the order of their angles."""
    return list(itertools.combinations(range(n), 2))


def _turn(values: Floats, i: int, j: int, cosine: np.float32, sine: np.float32) -> None:
    """Rotate channels i and j in place."""
    first, second = values[i] * cosine + values[j] * sine, values[j] * cosine - values[i] * sine
    values[i], values[j] = first, second
