"""What the encoder tries before it codes: rotations of the channels, and transforms, on a piece of the part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from microfield.methods.field import coefficients
from microfield.methods.field.align import estimate
from microfield.methods.field.channels import Channels, dark_codes
from microfield.methods.field.groups import Groups, times_of
from microfield.methods.field.lifting import Floats, forward
from microfield.methods.field.network import ContextNet
from microfield.methods.field.rotation import MOST, rotation_of, upright
from microfield.methods.field.schedules import NAMES, OCTAVES, schedule

PIECE = (32, 160, 160)
"""Depth, height and width of the piece."""
MOST_CHANNELS = 2
"""Of the piece."""
ROLLED = 0.995
"""Planes are rolled where the cost falls below this share."""
BITS_EACH = 4.0
"""About so many bits are spent for every coefficient that is not zero."""
WORTH = 0.02
"""The least share of the bits that a rotation must save."""


def piece(values: npt.NDArray[np.generic], depth: int = PIECE[0]) -> npt.NDArray[np.generic]:
    """The middle of an array of shape (channels, frames, Y, X)."""
    limits = (depth, *PIECE[1:])
    starts = [max(0, n - most) // 2 for n, most in zip(values.shape[1:], limits, strict=True)]
    return values[:, *(slice(s, s + most) for s, most in zip(starts, limits, strict=True))]


def with_rotation(known: Channels, channels: npt.NDArray[np.generic], step: float) -> Channels:
    """The same channels, rotated where that saves bits at a quantiser step.

    Parameters
    ----------
    known : Channels without rotation and dark levels
    channels : grey levels of shape (channels, frames, Y, X)
    """
    n = int(known.coded.sum())
    if not 2 <= n <= MOST:
        return known
    values = known.forward(piece(channels, 8))
    plan = schedule("STD", (1, *values.shape[1:]))
    details = np.stack([forward(v[None], plan).reshape(-1) for v in values])
    strong = details[:, (np.abs(details) > step).any(axis=0)].astype(np.float64)
    if strong.shape[1] < 16 * n:
        return known
    flat = values.reshape(n, -1)
    best, least = None, (1 - WORTH) * _bits(details, step)
    for covariance in (strong @ strong.T, np.cov(flat.astype(np.float64))):
        rotation = rotation_of(covariance)
        turned = details.copy()
        rotation.forward(turned)
        bits = _bits(turned, step) + 8 * (len(rotation.angles) + 1)
        if bits < least:
            best, least = rotation, bits
    return known if best is None else replace(known, rotation=upright(best, flat[:, :: max(1, flat.shape[1] >> 16)]))


def _bits(details: Floats, step: float) -> float:
    """About the bits that coefficients take: half the logarithm of their power above the quantiser's."""
    return 0.5 * float(np.log2(1 + (details / np.float32(step)) ** 2).sum(dtype=np.float64))


def with_darks(known: Channels, channels: npt.NDArray[np.generic]) -> Channels:
    """The same channels with dark levels, from a sample of the planes."""
    frames = channels.shape[1]
    sample = channels[:, :: max(1, frames // 16)]
    values = replace(known, darks=np.zeros_like(known.gains)).forward(sample)
    return replace(known, darks=dark_codes(values, known.reach))


def quality_for(values: Floats, bits: float) -> float:
    """The quality 0..1000 at which values of shape (channels, frames, Y, X) take about so many bits each."""
    plan = schedule("STD", (1, *values.shape[1:]))
    every = max(1, values.size >> 20) | 1
    magnitudes = np.abs(np.concatenate([forward(v[None], plan).reshape(-1)[::every] for v in values]))
    count = min(len(magnitudes) - 1, max(1, round(len(magnitudes) * bits / BITS_EACH)))
    step = max(float(np.partition(magnitudes, -count - 1)[-count - 1]) / 0.62, 2.0**-16)
    return float(np.clip((1 - math.log2(step)) * 1000 / OCTAVES, 0, 1000))


def arrangement(values: Floats, groups: Groups, step: float, contexts: ContextNet, names: Sequence[str] = NAMES) -> Groups:
    """The same groups with the transform, and the planes rolled if that helps, that code a piece of the values best at a step.

    Parameters
    ----------
    values : float32 array of shape (channels, frames, Y, X)
    """
    if max(groups.extents[:2]) == 1:
        return groups
    best = groups
    if groups.volume[1] > 1 and len(names) > 1:
        costs = [_cost(values, replace(groups, transform=name), step, contexts) for name in names]
        best = replace(groups, transform=names[int(np.argmin(costs))])
        if groups.times:
            apart = replace(best, times=0)
            best = min((best, apart), key=lambda g: _cost(values, g, step, contexts))
    shifts = estimate(_one_by_plane(values, groups))
    if shifts is not None:
        rolled = replace(best, shifts=shifts)
        straight, moved = (_cost(values, g, step, contexts) for g in (best, rolled))
        if moved < ROLLED * straight:
            return arrangement_of_rolled(values, rolled, step, contexts, names)
    return best


def arrangement_of_rolled(values: Floats, groups: Groups, step: float, contexts: ContextNet, names: Sequence[str]) -> Groups:
    """The best transform for planes that are rolled."""
    candidates = [replace(groups, transform=name) for name in (names if groups.volume[1] > 1 else names[:1])]
    return min(candidates, key=lambda g: _cost(values, g, step, contexts))


def _one_by_plane(values: Floats, groups: Groups) -> Floats:
    """What planes are compared by: (T, or Z where there is no T; y; x), channels added, Z averaged where there is T."""
    t, z, y, x = groups.extents
    total = values.sum(axis=0)
    return np.asarray(total.reshape(t, z, y, x).mean(axis=1) if t > 1 else total.reshape(z, y, x))


def _cost(values: Floats, groups: Groups, step: float, contexts: ContextNet) -> float:
    """Squared error and bits, at the slope of the step, of a piece of the values."""
    t, z, y, x = groups.extents
    some = values[: MOST_CHANNELS].reshape(-1, t, z, y, x)
    limits = (max(4, PIECE[0] // z) if z > 1 and t > 1 else PIECE[0], PIECE[0], *PIECE[1:])
    window = [slice(max(0, n - most) // 2, max(0, n - most) // 2 + most) for n, most in zip(groups.extents, limits, strict=True)]
    extents = (min(t, limits[0]), min(z, limits[1]), min(y, limits[2]), min(x, limits[3]))
    frames = np.arange(t * z).reshape(t, z)[window[0], window[1]].reshape(-1)
    taken = np.ascontiguousarray(groups.rolled(some.reshape(len(some), t * z, y, x), frames)[:, :, *window[2:]])
    small = Groups(len(some), extents, groups.transform, min(groups.times, times_of(extents)))
    pieces = small.forward(taken)
    coded = coefficients.encode(pieces, small.plan, step, contexts)
    # The transform is close to orthonormal: errors of coefficients are errors of voxels.
    error = sum(float(((a - b) ** 2).sum(dtype=np.float64)) for a, b in zip(pieces, coded.values, strict=True))
    return error + 0.1 * step**2 * 8 * len(coded.data)
