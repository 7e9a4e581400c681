"""What the encoder measures and tries before it codes: dark levels, rotation, schedule and alignment, the first quality.

Trials are made on a piece from the middle of the part.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from microfield.deadline import Deadline
from microfield.methods.field import coefficients, importance
from microfield.methods.field.align import estimate
from microfield.methods.field.channels import Channels, dark_codes
from microfield.methods.field.groups import Groups, times_of
from microfield.methods.field.lifting import Floats, forward
from microfield.methods.field.network import ContextNet
from microfield.methods.field.quantise import Worth
from microfield.methods.field.rotation import MOST_ROTATED, rotation_of, upright
from microfield.methods.field.schedules import NAMES, OCTAVES, schedule

Scalar = TypeVar("Scalar", bound=np.generic)

PIECE = (32, 160, 160)
"""Depth, height and width of the piece, at most."""
PIECE_CHANNELS = 2
"""Channels of the piece, at most."""
FEWEST_TIMES = 4
"""Time points of the piece at least, where there are T and Z."""
ROLLED_COST = 0.995
"""Planes are rolled where the cost falls below this share of the cost without."""
BITS_A_SIGNIFICANT_COEFFICIENT = 4.0
"""Bits spent for every coefficient that is not 0, about: those for the zeros around it included."""
ROTATION_WORTH = 0.02
"""The least share of the bits that a rotation must save."""
ROTATION_DEPTH = 8
"""Planes that a rotation is judged by."""
FEWEST_STRONG = 16
"""A rotation is not tried with fewer coefficients above a step than this times the channels."""
DARK_PLANES = 16
"""Planes that the dark levels are measured on, about."""
TRIAL_RDO = 0.1
"""Squared steps of error that a bit is worth in trials, as by default."""
SMALL = 1 << 18
"""In parts of at most so many coefficients only promising schedules are tried: there a trial takes as long as coding."""
PROMISING = 1.04
"""A schedule is promising where it leaves at most this many times as many significant coefficients as the best one."""
MOST_PROMISING = 3
"""So many schedules are promising, at most."""
DEAD_ZONE = 0.62
"""Magnitudes below this share of a step become 0, about."""


def piece(values: npt.NDArray[Scalar], depth: int = PIECE[0]) -> npt.NDArray[Scalar]:
    """The middle of an array of shape (channels, frames, Y, X), at most ``depth`` frames of the size of `PIECE`."""
    limits = (depth, *PIECE[1:])
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
    values = known.forward(piece(channels, ROTATION_DEPTH))
    standard = schedule(NAMES[0], (1, *values.shape[1:]))
    details = np.stack([forward(v[None], standard).reshape(-1) for v in values])
    strong = details[:, (np.abs(details) > step).any(axis=0)].astype(np.float64)
    if strong.shape[1] < FEWEST_STRONG * n:
        return known
    flat = values.reshape(n, -1)
    best, least = None, (1 - ROTATION_WORTH) * _bits(details, step)
    for covariance in (strong @ strong.T, np.cov(flat.astype(np.float64))):
        rotation = rotation_of(covariance)
        turned = details.copy()
        rotation.forward(turned)
        bits = _bits(turned, step) + 8 * (len(rotation.angles) + 1)
        if bits < least:
            best, least = rotation, bits
    return known if best is None else replace(known, rotation=upright(best, flat[:, :: max(1, flat.shape[1] >> 16)]))


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


def arrangement(values: Floats, groups: Groups, trial: Trial, names: Sequence[str] = NAMES) -> Groups:
    """The same groups with the schedule, and the planes rolled or not, that code a piece of the values at the least cost.

    What was tried when the deadline of the trial passes is what is chosen from.

    Parameters
    ----------
    values : float32 array (channels, frames, Y, X)
    groups : Groups
        What is used where there is nothing to try.
    trial : Trial
    names : sequence of str
        Schedules to try.
    """
    if max(groups.extents[:2]) == 1:
        return groups
    cost = _Costs(values, trial)
    best = cost.best(groups, names)
    if groups.volume[1] > 1 and groups.times and len(names) > 1:
        best = cost.least([best, replace(best, times=0)])
    if trial.deadline.passed:
        return best
    shifts = estimate(_one_by_plane(values, groups))
    if shifts is not None:
        rolled = replace(best, shifts=shifts)
        if cost.of(rolled) < ROLLED_COST * cost.of(best):
            return cost.best(rolled, names)
    return best


class _Costs:
    """Costs of arrangements, each found once."""

    def __init__(self, values: Floats, trial: Trial) -> None:
        self.values, self.trial = values, trial
        self._known: dict[tuple[str, int, bool], float] = {}

    def of(self, groups: Groups) -> float:
        """`_cost` of an arrangement; all that are asked for have the same shifts, or none."""
        key = groups.transform, groups.times, groups.shifts is None
        if key not in self._known:
            self._known[key] = _cost(self.values, groups, self.trial)
        return self._known[key]

    def least(self, candidates: Sequence[Groups]) -> Groups:
        """The one of least cost among those that there is time for; the first of all where there is none."""
        tried: list[Groups] = []
        for groups in candidates:
            if self.trial.deadline.passed:
                break
            self.of(groups)
            tried.append(groups)
        return min(tried, key=self.of, default=candidates[0])

    def best(self, groups: Groups, names: Sequence[str]) -> Groups:
        """The same groups with the schedule of the least cost."""
        if groups.volume[1] == 1 or len(names) == 1:
            return groups
        candidates = [replace(groups, transform=name) for name in names]
        if groups.size <= SMALL:
            candidates = _promising(self.values, candidates, self.trial.step)
        return self.least(candidates)


def _promising(values: Floats, candidates: Sequence[Groups], step: float) -> list[Groups]:
    """Those that leave few coefficients beyond a quantiser step, which the costs follow closely."""
    counts = [sum(int(np.count_nonzero(np.abs(group) > DEAD_ZONE * step)) for group in groups.forward(values))
              for groups in candidates]
    most = min(PROMISING * min(counts), sorted(counts)[min(MOST_PROMISING, len(counts)) - 1])
    return [groups for groups, count in zip(candidates, counts, strict=True) if count <= most]


def _one_by_plane(values: Floats, groups: Groups) -> Floats:
    """One picture per plane to align by, float32 (planes, y, x): channels are added; where planes are those of T, Z is averaged."""
    t, z, y, x = groups.extents
    total = values.sum(axis=0)
    return np.asarray(total.reshape(t, z, y, x).mean(axis=1) if t > 1 else total.reshape(z, y, x))


def _cost(values: Floats, groups: Groups, trial: Trial) -> float:
    """What the quantiser minimises, for a piece of the values: squared error plus bits times what a bit is worth."""
    t, z, y, x = groups.extents
    times = max(FEWEST_TIMES, PIECE[0] // z) if z > 1 and t > 1 else PIECE[0]
    limits = (times, *PIECE)
    window = [slice(max(0, n - most) // 2, max(0, n - most) // 2 + most) for n, most in zip(groups.extents, limits, strict=True)]
    extents = (min(t, limits[0]), min(z, limits[1]), min(y, limits[2]), min(x, limits[3]))
    frames = np.arange(t * z).reshape(t, z)[window[0], window[1]].reshape(-1)

    def taken(whole: Floats) -> Floats:
        return np.ascontiguousarray(groups.rolled(whole[:PIECE_CHANNELS], frames)[:, :, *window[2:]])

    small = Groups(min(len(values), PIECE_CHANNELS), extents, groups.transform, min(groups.times, times_of(extents)))
    pieces = small.forward(taken(values))
    weights = None if trial.weights is None else importance.of_coefficients(taken(trial.weights), small)
    coded = coefficients.encode(pieces, small.order, trial.step, trial.contexts, Worth(TRIAL_RDO, weights))
    # The transform is close to orthonormal: errors of coefficients are errors of voxels.
    errors = (a - b for a, b in zip(pieces, coded.values, strict=True))
    error = sum(importance.square(e, w) for e, w in zip(errors, weights or itertools.repeat(None, len(pieces)), strict=True))
    return error + TRIAL_RDO * trial.step**2 * 8 * len(coded.data)
