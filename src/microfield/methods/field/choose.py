"""What the encoder tries before it codes: rotations of the channels, and transforms, on a piece of the part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from microfield.methods.field import coefficients
from microfield.methods.field.channels import Channels, dark_codes
from microfield.methods.field.groups import Groups
from microfield.methods.field.network import ContextNet
from microfield.methods.field.rotation import MOST, Rotation, rotation_of, upright
from microfield.methods.field.schedules import NAMES, schedule
from microfield.transforms.lifting import Floats, forward

PIECE = (48, 192, 192)
"""Depth, height and width of the piece."""
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


def transform(values: Floats, groups: Groups, step: float, contexts: ContextNet, names: Sequence[str] = NAMES) -> str:
    """The name of the transform that codes a piece of the values best at a step: least error + bits at the slope of the step.

    Parameters
    ----------
    values : float32 array of shape (channels, frames, Y, X)
    """
    if groups.volume[1] == 1:
        return names[0]
    batch, depth = groups.volume[:2]
    shape = (len(values) * batch, depth, *values.shape[2:])
    tried = piece(values.reshape(shape)[: len(values) * batch : max(1, batch // 2)][:3])
    found = []
    for name in names:
        s = schedule(name, (1, *tried.shape[1:]))
        groups_of = [forward(v[None], s) for v in tried]
        plan = coefficients.Plan((s,) * len(tried), (None,) * len(tried))
        coded = coefficients.encode(groups_of, plan, step, contexts)
        # The transform is close to orthonormal: errors of coefficients are errors of voxels.
        error = sum(float(((a - b) ** 2).sum(dtype=np.float64)) for a, b in zip(groups_of, coded.values, strict=True))
        found.append(error + 0.1 * step**2 * 8 * len(coded.data))
    return names[int(np.argmin(found))]
