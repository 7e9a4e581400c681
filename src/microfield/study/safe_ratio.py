"""The safe ratio of a method: the largest ratio that keeps a measure within its tolerance, with a confidence interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

FEW = 10
"""With fewer images or blocks a study is a demonstration."""
DRAWS = 2000
"""Samples of the bootstrap."""
COVERED = 0.95
"""What the interval covers."""


@dataclass(frozen=True)
class SafeRatio:
    """The safe ratio over images or blocks.

    Attributes
    ----------
    middle : median of the safe ratios of all; 1 where the smallest ratio that was tried is too much for most
    low, high : ends of the interval of the median that covers `COVERED` (bootstrap; B. Efron, Ann. Stat. 7, 1979); None for one
        image
    each : safe ratio of every image or block
    """

    middle: float
    low: float | None
    high: float | None
    each: tuple[float, ...]

    @property
    def n(self) -> int:
        """Images or blocks."""
        return len(self.each)

    @property
    def text(self) -> str:
        """The ratio with its interval, and over how many."""
        inside = "" if self.low is None or self.high is None else f"{self.low:.0f} to {self.high:.0f}, "
        return f"{self.middle:.0f} ({inside}n = {self.n})"


def safe_ratio(losses: Sequence[Mapping[float, float]], tolerance: float, seed: int = 0) -> SafeRatio:
    """The safe ratio from the losses of images or blocks.

    Parameters
    ----------
    losses : one mapping from ratio to loss per image or block
        Infinite where a copy was too bad for a number.
    tolerance : float
        The largest loss that is good enough.
    seed : int
        Of the bootstrap.
    """
    each = tuple(one_safe_ratio(curve, tolerance) for curve in losses)
    logs = np.log([*each])
    middle = float(np.exp(np.median(logs)))
    if len(each) < 2:
        return SafeRatio(middle, None, None, each)
    drawn = np.random.default_rng(seed).integers(0, len(each), (DRAWS, len(each)))
    ends = np.quantile(np.median(logs[drawn], axis=1), [(1 - COVERED) / 2, (1 + COVERED) / 2])
    return SafeRatio(middle, float(np.exp(ends[0])), float(np.exp(ends[1])), each)


def one_safe_ratio(losses: Mapping[float, float], tolerance: float) -> float:
    """The largest ratio below which every ratio that was tried is within the tolerance; 1 where the smallest one is not.

    Between the last ratio that is and the first that is not, the loss is taken to rise in a straight line over the logarithm of the
    ratio. Larger ratios than were tried are never claimed.
    """
    last: tuple[float, float] | None = None
    for ratio, loss in sorted(losses.items()):
        if loss <= tolerance:
            last = (ratio, loss)
            continue
        if last is None:
            return 1.0
        if not math.isfinite(loss):
            return last[0]
        share = (tolerance - last[1]) / (loss - last[1])
        return float(last[0] * (ratio / last[0]) ** share)
    return 1.0 if last is None else last[0]
