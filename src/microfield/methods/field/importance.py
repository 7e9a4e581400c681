"""Importance: the weights of voxels become weights of coefficients, which steer the quantiser; a decoder knows nothing of it.

A coefficient counts with the mean weight of the voxels that it changes, by the squares of how much it changes them. One step
along one axis is about a mean over three neighbours, the same for approximations and details. Coarse coefficients at the border
of what matters count more than that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.image import Layout
from microfield.methods.field.channels import Channels
from microfield.methods.field.groups import Groups, gathered
from microfield.methods.field.lifting import Floats, Schedule
from microfield.methods.field.schedules import OCTAVES

END = 1000.0
"""The finest quality."""
CENTRE = 0.6
"""Share of a coefficient's squared influence that falls on its own place, at one level along one axis; the rest is beside it."""
WIDENED = 0.5
"""Beyond the finest level means are moved so far towards the largest of what they are made of. Without it, small objects that
take nearly all bytes come out worse when they are marked: what is left out beside them reaches into them."""
LEAST = 2.0**-12
"""Squared errors count at least this share of what they count at most in a part, so that every quality can still be reached."""
STEEPEST = 10.0
"""Where weights cannot move the quality as far as they should, near the ends of the scale, it moves so many times faster."""


@dataclass(frozen=True)
class Importance:
    """What the weights of a part's voxels change.

    Attributes
    ----------
    weights : float32 array of the part's shape, optional
        As the user gave them, not negative; without them nothing changes.
    power : float
        A squared error counts its weight to this power. Above 0.
    """

    weights: npt.NDArray[np.float32] | None
    power: float

    @cached_property
    def largest(self) -> float:
        """The largest weight of the part; 1 without weights."""
        return 1.0 if self.weights is None else float(self.weights.max())

    @property
    def shift(self) -> float:
        """By how much the quality of the part exceeds that of a part of weight 1: an octave where errors count four times."""
        if not self.largest:
            return -END
        return float(np.clip(self.power * math.log2(self.largest) / 2 * END / OCTAVES, -END, END))

    def moved(self, quality: float) -> float:
        """The quality, 0 to `END`, that the part's quantiser step is made from; both ends of the scale stay where they are."""
        shifted, rest = quality + self.shift, END - quality
        if self.shift < 0:
            return max(shifted, quality / STEEPEST, END - rest * STEEPEST)
        return min(shifted, quality * STEEPEST, END - rest / STEEPEST)

    def back(self, moved: float) -> float:
        """The inverse of `moved` between the ends of the scale."""
        return min(END, max(0.0, moved - self.shift)) if self.largest else moved

    def of_channels(self, layout: Layout, channels: Channels) -> Floats | None:
        """What squared errors of decorrelated voxels count, at most 1, of shape (coded, frames, Y, X).

        A rotated channel counts with the mean of those it is made of, by the squares of its parts. None where all voxels of the
        part count the same.
        """
        if self.weights is None or self.weights.min() == self.largest:
            return None
        known = gathered(self.weights, layout)[channels.coded] * np.float32(1 / self.largest)
        np.maximum(known**np.float32(self.power), np.float32(LEAST), out=known)
        if channels.rotation is None:
            return known
        parts = np.eye(len(known), dtype=np.float32)
        channels.rotation.forward(parts)
        return np.tensordot(parts**2, known, 1)


def of_coefficients(weights: Floats, groups: Groups) -> list[Floats]:
    """What squared errors of the coefficients of every group count, from what those of voxels do: (channels, frames, Y, X)."""
    return [spread(piece, s) for piece, s in zip(groups.pieces(weights, spread), groups.order.schedules, strict=True)]


def spread(weights: Floats, schedule: Schedule) -> Floats:
    """Weights of the coefficients of an array, each at its coefficient's place, from those of its values."""
    out = np.array(weights, np.float32)
    for level in range(len(schedule.levels)):
        corner = tuple(slice(0, n) for n in schedule.extents[level])
        for axis in schedule.split(level):
            out[corner] = _means(out[corner], axis, WIDENED if level else 0.0)
    return out


def _means(weights: Floats, axis: int, widened: float) -> Floats:
    """Means over three neighbours along an axis, moved by a share ``widened`` towards their largest: even places first."""
    front = np.moveaxis(weights, axis, 0)
    padded = np.concatenate([front[1:2], front, front[-2:-1]])
    means = np.float32(CENTRE) * front + np.float32((1 - CENTRE) / 2) * (padded[:-2] + padded[2:])
    if widened:
        means += np.float32(widened) * (np.maximum(np.maximum(padded[:-2], padded[2:]), front) - means)
    return np.moveaxis(np.concatenate([means[0::2], means[1::2]]), 0, axis)


def square(values: npt.NDArray[Any], weights: Floats | None) -> float:
    """Sum of weighted squares, in double precision."""
    power = values**2 if weights is None else weights * values**2
    return float(power.sum(dtype=np.float64))
