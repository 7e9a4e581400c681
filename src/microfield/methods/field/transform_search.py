"""What the encoder measures and tries before it codes: dark levels, rotation, schedule and alignment, the first quality.

Trials are made on a piece from the middle of the part.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from microfield.deadline import Deadline
from microfield.methods.field import coefficients, importance
from microfield.methods.field.align import estimate
from microfield.methods.field.channels import Channels, Doubles, dark_codes
from microfield.methods.field.groups import Groups, most_times
from microfield.methods.field.head import packed_rotation
from microfield.methods.field.lifting import Floats, forward
from microfield.methods.field.network import ContextNet
from microfield.methods.field.quantise import Worth
from microfield.methods.field.rotation import MOST_ROTATED, PRECISION, WHOLE, Rotation, of_alike, rotation_of, upright
from microfield.methods.field.schedules import NAMES, OCTAVES, schedule
from microfield.methods.field.structure import Lattice, cheapest, price

Scalar = TypeVar("Scalar", bound=np.generic)

PIECE = (32, 160, 160)
"""Depth, height and width of the piece, at most."""
PIECE_CHANNELS = 2
"""Channels of the window, at most."""
WINDOW, LEAST_WINDOW = 1 << 20, 1 << 18
"""Voxels of a channel of the window that arrangements are tried on, about: a quarter of them, but at most and at least so many."""
WIDEST, NARROWEST = 160, 64
"""Most and fewest rows and columns of the window."""
FEWEST_TIMES = 4
"""With fewer time points of volumes T is split as usual, or not at all."""
LONGEST = 1024
"""Most time points and planes of the window."""
CODED = 3
"""So many schedules are coded to choose from: that of the least estimate, and the best of those with a name."""
SMALL, CODED_OF_SMALL = 1 << 18, 2
"""In windows of at most so many coefficients only so many are coded: there a trial takes as long as coding."""
ROLLED_COST = 0.995
"""Planes are rolled where the cost falls below this share of the cost without."""
BITS_A_SIGNIFICANT_COEFFICIENT = 4.0
"""Bits spent for every coefficient that is not 0, about: those for the zeros around it included."""
ROTATION_WORTH = 0.02
"""The least share of the bits that a rotation must save."""
ROTATION_DEPTH = 8
"""Planes that a rotation is judged by, where the channels are few."""
ROTATION_VALUES = 1 << 23
"""Values of all channels that it is judged by, at most about."""
LEADING = (4, 16)
"""To so many principal axes more than `WHOLE` channels may be rotated."""
ALIKE = (0.99, 0.9, 0.6, 0.3)
"""From which correlation on more than `WHOLE` channels may be mixed by pairs."""
PRECISIONS = (PRECISION, 10)
"""Precisions that are tried for these."""
FEWEST_STRONG = 16
"""A rotation is not tried with fewer coefficients above a step, and judged by at least this times the channels."""
DARK_PLANES = 16
"""Planes that the dark levels are measured on, about."""
TRIAL_RDO = 0.1
"""Squared steps of error that a bit is worth in trials, as by default."""
DEAD_ZONE = 0.62
"""Magnitudes below this share of a step become 0, about."""


def piece(values: npt.NDArray[Scalar], depth: int = PIECE[0], side: int = PIECE[1]) -> npt.NDArray[Scalar]:
    """The middle of an array of shape (channels, frames, Y, X), at most ``depth`` frames of ``side`` rows and columns."""
    limits = (depth, side, side)
    starts = [max(0, n - most) // 2 for n, most in zip(values.shape[1:], limits, strict=True)]
    return values[:, *(slice(s, s + most) for s, most in zip(starts, limits, strict=True))]


def with_rotation(known: Channels, channels: npt.NDArray[np.generic], step: float) -> Channels:
    """The same channels, with a rotation where that saves at least `ROTATION_WORTH` of the bits at a quantiser step.

    Parameters
    ----------
    known : Channels
        Without rotation and dark levels.
    channels : array (channels, frames, Y, X)
        Grey levels.
    step : float
        Quantiser step.
    """
    n = int(known.coded.sum())
    if not 2 <= n <= MOST_ROTATED:
        return known
    values = known.forward(_sample(channels))
    standard = schedule(NAMES[0], (1, *values.shape[1:]))
    details = np.stack([forward(v[None], standard).reshape(-1) for v in values])
    largest = np.abs(details).max(axis=0)
    if np.count_nonzero(largest > step) < FEWEST_STRONG:
        return known
    enough = max(0, largest.size - FEWEST_STRONG * n)
    strong = details[:, largest >= min(step, float(np.partition(largest, enough)[enough]))].astype(np.float64)
    flat = values.reshape(n, -1)
    share = flat[0].size / channels[0].size
    least = (1 - ROTATION_WORTH) * _bits(details, step)
    best: Rotation | None = None
    for rotation in _rotations((strong @ strong.T, np.cov(flat.astype(np.float64)))):
        turned = details.copy()
        rotation.forward(turned)
        bits = _bits(turned, step) + share * 8 * len(packed_rotation(rotation, n))
        if bits < least:
            best, least = rotation, bits
    return known if best is None else replace(known, rotation=upright(best, flat[:, :: max(1, flat.shape[1] >> 16)]))


def _rotations(covariances: tuple[Doubles, ...]) -> Iterator[Rotation]:
    """Rotations to try: to all principal axes for few channels, for many to the leading ones, or of those alike only."""
    n = len(covariances[0])
    for covariance in covariances:
        if n <= WHOLE:
            yield rotation_of(covariance)
            continue
        for leading, precision in itertools.product(LEADING, PRECISIONS):
            if leading < n:
                yield rotation_of(covariance, leading, precision)
        found = (of_alike(covariance, least, precision) for least, precision in itertools.product(ALIKE, PRECISIONS))
        yield from filter(None, found)


def _sample(channels: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """What a rotation is judged by: a piece of few planes, smaller where there are many channels."""
    few = piece(channels, min(ROTATION_DEPTH, max(1, 2 * ROTATION_DEPTH * WHOLE // len(channels))))
    side = max(48, math.isqrt(ROTATION_VALUES // (len(channels) * few.shape[1])))
    return piece(few, few.shape[1], side)


def _bits(details: Floats, step: float) -> float:
    """An estimate of the bits that coefficients take: half the binary logarithm of 1 + their power in squared steps."""
    return 0.5 * float(np.log2(1 + (details / np.float32(step)) ** 2).sum(dtype=np.float64))


def with_darks(known: Channels, channels: npt.NDArray[np.generic]) -> Channels:
    """The same channels with dark levels, measured on a sample of the planes of ``channels`` (channels, frames, Y, X)."""
    frames = channels.shape[1]
    sample = channels[:, :: max(1, frames // DARK_PLANES)]
    values = replace(known, darks=np.zeros_like(known.gains)).forward(sample)
    return replace(known, darks=dark_codes(values, known.reach))


def quality_for(values: Floats, bits: float, weights: Floats | None = None) -> float:
    """A guess of the quality at which values take so many bits each.

    Parameters
    ----------
    values : float32 array (channels, frames, Y, X)
    bits : float
        Per value.
    weights : float32 array (channels, frames, Y, X), optional
        Weights of the values' squared errors.

    Returns
    -------
    quality : float, 0 to 1000
    """
    standard = schedule(NAMES[0], (1, *values.shape[1:]))
    # Odd, so that it does not keep to the same columns of an image whose width is a power of two.
    stride = max(1, values.size >> 20) | 1
    magnitudes = np.abs(np.concatenate([forward(v[None], standard).reshape(-1)[::stride] for v in values]))
    if weights is not None:
        magnitudes *= np.sqrt(np.concatenate([importance.spread(w[None], standard).reshape(-1)[::stride] for w in weights]))
    count = min(len(magnitudes) - 1, max(1, round(len(magnitudes) * bits / BITS_A_SIGNIFICANT_COEFFICIENT)))
    step = max(float(np.partition(magnitudes, -count - 1)[-count - 1]) / DEAD_ZONE, 2.0**-16)
    return float(np.clip((1 - math.log2(step)) * 1000 / OCTAVES, 0, 1000))


@dataclass(frozen=True)
class Trial:
    """What arrangements are tried with.

    Attributes
    ----------
    step : float
        Quantiser step.
    contexts : ContextNet
    weights : float32 array (channels, frames, Y, X), optional
        Weights of the values' squared errors; all 1 without it.
    deadline : Deadline
        No trial begins after it.
    """

    step: float
    contexts: ContextNet
    weights: Floats | None = None
    deadline: Deadline = field(default_factory=Deadline)


@dataclass(frozen=True)
class Window:
    """The piece of the values that arrangements are tried on: all of T and Z, as far as that is bounded, and some of Y and X.

    Attributes
    ----------
    box : slices of T, Z, Y, X
    """

    box: tuple[slice, slice, slice, slice]

    @classmethod
    def of(cls, extents: tuple[int, int, int, int], corner: bool = False) -> Window:
        """A window in the middle of extents of T, Z, Y, X; or with the first rows and columns."""
        t, z = (min(n, LONGEST) for n in extents[:2])
        voxels = max(1, min(WINDOW, max(LEAST_WINDOW, math.prod(extents) // 4)))
        side = min(WIDEST, max(NARROWEST, math.isqrt(voxels // (t * z))))
        sizes = (t, z, *(min(n, side) for n in extents[2:]))
        starts = [0 if corner and axis > 1 else (n - size) // 2 for axis, (n, size) in enumerate(zip(extents, sizes, strict=True))]
        t_box, z_box, y_box, x_box = (slice(a, a + n) for a, n in zip(starts, sizes, strict=True))
        return cls((t_box, z_box, y_box, x_box))

    @property
    def extents(self) -> tuple[int, int, int, int]:
        """Of T, Z, Y, X."""
        t, z, y, x = (s.stop - s.start for s in self.box)
        return t, z, y, x

    def cut(self, values: Floats, groups: Groups) -> Floats:
        """The values in the window, of shape (channels, frames, y, x), their planes rolled as those of ``groups``."""
        t, z = groups.extents[:2]
        frames = np.arange(t * z).reshape(t, z)[self.box[:2]].reshape(-1)
        return np.ascontiguousarray(groups.rolled(values[:PIECE_CHANNELS], frames)[:, :, self.box[2], self.box[3]])


def arrangement(values: Floats, groups: Groups, trial: Trial) -> Groups:
    """The same groups with the schedule, the axis of time, and the planes rolled or not, that code a window at the least cost.

    What was tried when the deadline of the trial passes is what is chosen from.

    Parameters
    ----------
    values : float32 array (channels, frames, Y, X)
    groups : Groups
        What is used where there is nothing to try.
    trial : Trial
    """
    if max(groups.extents[:2]) == 1:
        return groups
    window = Window.of(groups.extents)
    best, least = _along_one_axis(values, groups, trial, window)
    for other in _other_times(groups, best):
        if trial.deadline.passed:
            return best
        found, cost = other, math.inf
        if other.along_time:
            found, cost = _along_one_axis(values, other, trial, window)
        else:
            cost = _cost(values, other, trial, window)
        if cost < least:
            best, least = found, cost
    return best if trial.deadline.passed else _aligned(values, best, least, trial)


def _other_times(groups: Groups, best: Groups) -> list[Groups]:
    """Other ways to see time points of volumes: apart, split until one is left, and as the axis of the wavelet."""
    most = most_times(groups.extents)
    if not most:
        return []
    if groups.extents[0] < FEWEST_TIMES:
        return [replace(best, times=0)]
    splits = sorted({0, most} - {best.times})
    return [*(replace(best, times=n) for n in splits), replace(groups, times=0, along_time=True)]


def _along_one_axis(values: Floats, groups: Groups, trial: Trial, window: Window) -> tuple[Groups, float]:
    """The groups with the schedule of the least cost, and the cost: the best by an estimate are coded."""
    small = _small(values, groups, window)
    if trial.deadline.passed:
        return groups, math.inf
    if small.volume[1] == 1:
        return groups, _cost(values, groups, trial, window)
    volumes = small.volumes(window.cut(values, groups))
    lattice = Lattice(np.ascontiguousarray(volumes.reshape(-1, *volumes.shape[2:])), trial.step)
    prices = {name: price(lattice, schedule(name, lattice.shape)) for name in NAMES}
    prices[cheapest(lattice)] = -math.inf
    candidates = sorted(prices, key=lambda name: prices[name])[: CODED if small.size > SMALL else CODED_OF_SMALL]
    best, least = groups, math.inf
    for name in candidates:
        if trial.deadline.passed:
            break
        found = replace(groups, transform=name)
        cost = _cost(values, found, trial, window)
        if cost < least:
            best, least = found, cost
    return best, least


def _aligned(values: Floats, groups: Groups, straight: float, trial: Trial) -> Groups:
    """The groups with their planes rolled, and a schedule for that, where it pays; what is rolled in at the border is charged.

    ``straight`` is the cost of the groups as they are.
    """
    shifts = estimate(_one_by_plane(values, groups))
    if shifts is None:
        return groups
    rolled, moved = _along_one_axis(values, replace(groups, shifts=shifts), trial, Window.of(groups.extents))
    if trial.deadline.passed:
        return groups
    split = schedule(rolled.transform, rolled.volume)
    if not rolled.times and not any(1 in split.split(k) for k in range(len(split.levels))):
        return groups
    corner = Window.of(groups.extents, corner=True)
    share = min(1.0, float((np.abs(shifts) / np.array(groups.extents[2:])).sum(axis=1).mean()))
    as_they_are, rolled_in = ((1 - share) * cost + share * _cost(values, g, trial, corner)
                              for g, cost in ((groups, straight), (rolled, moved)))
    return rolled if rolled_in < ROLLED_COST * as_they_are else groups


def _one_by_plane(values: Floats, groups: Groups) -> Floats:
    """One picture per plane to align by, float32 (planes, y, x): channels are added; where planes are those of T, Z is averaged."""
    t, z, y, x = groups.extents
    total = values.sum(axis=0)
    return np.asarray(total.reshape(t, z, y, x).mean(axis=1) if t > 1 else total.reshape(z, y, x))


def _small(values: Floats, groups: Groups, window: Window) -> Groups:
    """The groups of a window; its planes are rolled already."""
    return replace(groups, channels=min(len(values), PIECE_CHANNELS), extents=window.extents, shifts=None,
                   times=min(groups.times, most_times(window.extents)))


def _cost(values: Floats, groups: Groups, trial: Trial, window: Window) -> float:
    """What the quantiser minimises, for a window of the values: squared error plus bits times what a bit is worth."""
    small, taken = _small(values, groups, window), window.cut(values, groups)
    pieces = small.forward(taken)
    shares = None if trial.weights is None else window.cut(trial.weights, groups)
    weights = None if shares is None else importance.of_coefficients(shares, small)
    coded = coefficients.encode(pieces, small.order, trial.step, trial.contexts, Worth(TRIAL_RDO, weights))
    taken -= small.frames(small.inverse(coded.values))
    return importance.square(taken, shares) + TRIAL_RDO * trial.step**2 * 8 * len(coded.data)
