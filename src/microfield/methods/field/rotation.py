"""A rotation of channels as a product of plane rotations (W. Givens, J. SIAM 6, 1958), one byte each."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Plane = tuple[int, int]
"""Numbers of two channels, which a plane rotation mixes."""

PRECISION = 7
"""The tangent of half an angle is stored as a whole number of 2**-7, so that sine and cosine are fractions; where only leading
axes are stored, of 2**-7 or less."""
FINEST = 14
"""No tangent is stored in less than 2**-14."""
WHOLE = 8
"""Up to so many channels are rotated to all of their principal axes, more to the leading ones only."""
MOST_ROTATED = 1024
"""More channels than this are not rotated."""


@dataclass(frozen=True)
class Rotation:
    """A rotation of n channels, perhaps with some of them turned over: an orthonormal transform.

    Attributes
    ----------
    angles : int16 array of shape (`count` of n and ``leading``,)
        Tangent of half the angle in every plane, in 2**-precision; planes in the order (0, 1), (0, 2), ... (n - 2, n - 1).
    signs : int
        Bit k says that channel k of the result is multiplied by -1.
    leading : int, optional
        Only so many channels of the result are principal axes: planes whose first channel is not below it are left out.
    precision : int
        `PRECISION` to `FINEST`.
    pairs : tuple of (int, int), optional
        The planes, where they are others than these.
    """

    angles: npt.NDArray[np.int16]
    signs: int
    leading: int | None = None
    precision: int = PRECISION
    pairs: tuple[Plane, ...] | None = None

    def forward(self, values: Floats) -> None:
        """Rotate an array of shape (n, ...) in place."""
        for (i, j), (cosine, sine) in zip(self._planes(len(values)), self._fractions(), strict=True):
            _turn(values, i, j, cosine, sine)
        self._turn_over(values)

    def inverse(self, values: Floats) -> None:
        """Undo `forward`, in place."""
        self._turn_over(values)
        pairs = list(zip(self._planes(len(values)), self._fractions(), strict=True))
        for (i, j), (cosine, sine) in reversed(pairs):
            _turn(values, i, j, cosine, -sine)

    def _planes(self, n: int) -> Sequence[Plane]:
        """Pairs of channels in the order of their angles."""
        return _planes(n, self.leading) if self.pairs is None else self.pairs

    def _turn_over(self, values: Floats) -> None:
        """Multiply the channels whose sign bit is set by -1, in place."""
        for k in range(len(values)):
            if self.signs >> k & 1:
                np.negative(values[k], out=values[k])

    def _fractions(self) -> list[tuple[np.float32, np.float32]]:
        """Cosine and sine of every angle."""
        t = self.angles.astype(np.float64) / 2**self.precision
        return list(zip(((1 - t * t) / (1 + t * t)).astype(np.float32), (2 * t / (1 + t * t)).astype(np.float32), strict=True))


def count(channels: int, leading: int | None = None) -> int:
    """How many angles a rotation of so many channels has, to all or to the leading principal axes."""
    rest = channels - min(leading or channels, channels)
    return (channels * (channels - 1) - rest * (rest - 1)) // 2


def rotation_of(covariance: Doubles, leading: int | None = None, precision: int = PRECISION) -> Rotation:
    """The rotation to the principal axes of a covariance (n, n), largest variance first, as near as its bytes come.

    To all axes, or to the ``leading`` ones: the other channels of the result are what is left of the given ones. No channel is
    turned over: see `upright`.
    """
    _, vectors = np.linalg.eigh(covariance)
    rest = np.ascontiguousarray(vectors[:, ::-1].T)
    # An axis may come with either sign: the one that makes its largest entry positive, whatever the library gave.
    rest *= np.where(rest[np.arange(len(rest)), np.abs(rest).argmax(1)] < 0, -1, 1)[:, None]
    angles, scale = [], 1 << precision
    for i, j in _planes(len(rest), leading):
        angle = np.arctan2(rest[i, j], rest[i, i])
        if abs(angle) > np.pi / 2:
            angle -= np.copysign(np.pi, angle)
        code = int(np.clip(round(np.tan(angle / 2) * scale), -scale, scale - 1))
        angles.append(code)
        t = code / scale
        cosine, sine = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
        rest[:, i], rest[:, j] = cosine * rest[:, i] + sine * rest[:, j], cosine * rest[:, j] - sine * rest[:, i]
    return Rotation(np.array(angles, np.int16), 0, leading, precision)


def of_alike(covariance: Doubles, least: float, precision: int = PRECISION) -> Rotation | None:
    """A rotation that mixes only channels that are alike: again and again the two of the largest correlation.

    After each plane rotation the channel of more variance stands for both, and the other is not rotated again (treelets:
    A. Lee, B. Nadler, L. Wasserman, Annals of Applied Statistics 2, 2008). Channels that have nothing in common stay as they are.

    Parameters
    ----------
    covariance : float64 array (n, n)
    least : float
        Channels of a smaller correlation (0 to 1) are not mixed.
    precision : int
        See `Rotation`.

    Returns
    -------
    Rotation or None
        None where no two channels are alike enough.
    """
    known, active = np.array(covariance), list(range(len(covariance)))
    pairs: list[Plane] = []
    angles, scale = [], 1 << precision
    while len(active) > 1:
        some = known[np.ix_(active, active)]
        deviations = np.sqrt(np.maximum(np.diag(some), 1e-300))
        alike = np.triu(np.abs(some) / np.outer(deviations, deviations), 1)
        at = int(alike.argmax())
        if alike.flat[at] < least:
            break
        i, j = active[at // len(active)], active[at % len(active)]
        angle = np.arctan2(2 * known[i, j], known[i, i] - known[j, j]) / 2
        code = int(np.clip(round(np.tan(angle / 2) * scale), -scale, scale - 1))
        pairs.append((i, j))
        angles.append(code)
        t = code / scale
        cosine, sine = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
        turn = np.array([[cosine, sine], [-sine, cosine]])
        known[[i, j]] = turn @ known[[i, j]]
        known[:, [i, j]] = known[:, [i, j]] @ turn.T
        active.remove(i if known[i, i] < known[j, j] else j)
    return Rotation(np.array(angles, np.int16), 0, None, precision, tuple(pairs)) if pairs else None


def upright(rotation: Rotation, values: npt.NDArray[np.floating]) -> Rotation:
    """The same rotation with signs that make every result bright on dark: of positive skewness.

    Parameters
    ----------
    rotation : Rotation
    values : array (n, samples)
        A sample of the channels before they are rotated.
    """
    turned = np.array(values, np.float32)
    replace(rotation, signs=0).forward(turned)
    centred = turned - turned.mean(axis=1, keepdims=True)
    over = np.flatnonzero((centred.astype(np.float64) ** 3).sum(axis=1) < 0)
    return replace(rotation, signs=sum(1 << int(k) for k in over))


def _planes(n: int, leading: int | None) -> list[Plane]:
    """Pairs of channels in the order of their angles."""
    return [(i, j) for i, j in itertools.combinations(range(n), 2) if leading is None or i < leading]


def _turn(values: Floats, i: int, j: int, cosine: np.float32, sine: np.float32) -> None:
    """Rotate channels i and j in place."""
    first, second = values[i] * cosine + values[j] * sine, values[j] * cosine - values[i] * sine
    values[i], values[j] = first, second
