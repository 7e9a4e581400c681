"""What the encoder measures of a part's channels before it codes: rotation, dark levels, where the search for a quality begins."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from microfield.methods.field import importance
from microfield.methods.field.channels import Channels, Doubles, dark_codes
from microfield.methods.field.head import packed_rotation
from microfield.methods.field.lifting import Floats, forward
from microfield.methods.field.rotation import MOST_ROTATED, PRECISION, WHOLE, Rotation, of_alike, rotation_of, upright
from microfield.methods.field.schedules import NAMES, OCTAVES, schedule

Scalar = TypeVar("Scalar", bound=np.generic)

PIECE = (32, 160, 160)
"""Depth, height and width of the piece, at most."""
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
