"""Bjøntegaard differences: one number for how far apart two rate-distortion curves are.

After G. Bjøntegaard, "Calculation of average PSNR differences between RD-curves", ITU-T VCEG-M33, 2001: the mean distance
between two curves over the interval they share, rates on a logarithmic scale. Instead of one cubic through four points, the
curves are interpolated piecewise by monotone cubics (PCHIP; F. N. Fritsch and J. Butland, SIAM J. Sci. Stat. Comput. 5,
1984), as the later common test conditions of the video groups do: no overshoot, and any number of points from two on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError, MissingExtraError

Floats = npt.NDArray[np.float64]
Curve = Sequence[tuple[float, float]]
"""Points (rate, quality): rate in any unit above 0 (bytes, bits per voxel), quality in dB."""

MIN_OVERLAP = 0.05
"""The interval that two curves share must be at least this share of the shorter one's; a mean over less says nothing."""
MAX_GAP = 8.0
"""Largest factor between the rates of neighbouring points across which a curve is interpolated; see `stretch`."""
_SLACK = 1.05
"""Tolerance of `MAX_GAP`: files rarely use their budget to the byte, so ratios of 64 and 512 are not exactly 8 apart."""


def bd_rate(anchor: Curve, test: Curve) -> float | None:
    """How many percent more bytes ``test`` needs than ``anchor`` for the same quality; negative means fewer.

    Parameters
    ----------
    anchor, test : sequence of (rate, dB)
        At least two points each (four are usual). Points with infinite quality, and those that give no more quality than
        a cheaper point of the same curve, are left out: without them quality rises with rate, so the curve has an inverse.

    Returns
    -------
    float or None
        None where a curve has fewer than two such points or the curves share no interval of quality.

    Raises
    ------
    InputError
        If a rate is not positive.
    """
    difference = _mean_difference(*(tuple(reversed(_rising(curve))) for curve in (anchor, test)))
    return None if difference is None else 100 * (10**difference - 1)


def bd_psnr(anchor: Curve, test: Curve) -> float | None:
    """How many dB ``test`` lies above ``anchor`` at the same rate; see `bd_rate` for parameters and errors."""
    return _mean_difference(_rising(anchor), _rising(test))


def stretch(curve: Curve, gap: float = MAX_GAP) -> list[tuple[float, float]]:
    """The part of a curve that differences can be trusted on: its points up to where neighbours lie too far apart.

    Between two distant points the interpolation is a guess that would outweigh all measured points. A curve is therefore
    cut wherever the rate grows by more than ``gap`` from one point to the next, and the piece with most points is taken
    (of equal ones the cheapest). Points that `bd_rate` leaves out are left out here, too.

    Parameters
    ----------
    curve : sequence of (rate, dB)
    gap : float, over 1
        Largest factor between neighbouring rates, with 5 % of slack.

    Returns
    -------
    list of (rate, dB)
        By rising rate; empty for a curve without finite points.

    Raises
    ------
    InputError
        If a rate is not positive.
    """
    pieces: list[list[tuple[float, float]]] = []
    for point in _kept(curve):
        if pieces and point[0] <= gap * _SLACK * pieces[-1][-1][0]:
            pieces[-1].append(point)
        else:
            pieces.append([point])
    return max(pieces, key=len, default=[])


def _kept(curve: Curve) -> list[tuple[float, float]]:
    """The points that are better than every cheaper one, by rising rate."""
    kept: list[tuple[float, float]] = []
    for rate, quality in sorted(curve, key=lambda point: (point[0], -point[1])):
        if not rate > 0:
            raise InputError(f"a rate of {rate:g} has no logarithm; rates are positive numbers of bytes or bits.")
        if math.isfinite(quality) and (not kept or quality > kept[-1][1]):
            kept.append((rate, quality))
    return kept


def _rising(curve: Curve) -> tuple[Floats, Floats]:
    """log10 of the rates and the qualities of the points that are better than every cheaper one."""
    kept = _kept(curve)
    x, y = (np.array([point[i] for point in kept], np.float64) for i in (0, 1))
    return np.log10(x), y


def _mean_difference(anchor: tuple[Any, ...], test: tuple[Any, ...]) -> float | None:
    """Mean of test - anchor over the common interval of their abscissae; both are (rising x, y)."""
    (x0, y0), (x1, y1) = anchor, test
    if len(x0) < 2 or len(x1) < 2:
        return None
    low, high = max(x0[0], x1[0]), min(x0[-1], x1[-1])
    if high - low < MIN_OVERLAP * min(x0[-1] - x0[0], x1[-1] - x1[0]) or high <= low:
        return None
    return float((_integral(x1, y1, low, high) - _integral(x0, y0, low, high)) / (high - low))


def _integral(x: Floats, y: Floats, low: float, high: float) -> float:
    """Integral from low to high of the monotone cubic through points of rising x."""
    try:
        from scipy.interpolate import PchipInterpolator
    except ImportError:
        raise MissingExtraError("the BD rate", "bench") from None
    return float(PchipInterpolator(x, y).integrate(low, high))
