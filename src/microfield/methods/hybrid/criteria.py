"""How it is judged whether a unit keeps the corrected or the plain result: `psnr`, `ssim`, `spots`, or a function of the user's.

The criterion serves the encoder only; a file holds what was chosen.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError, UsageError
from microfield.methods.hybrid.units import CHANNEL, SLICE, Bits, Units

Array = npt.NDArray[Any]
Doubles = npt.NDArray[np.float64]
Score = Callable[[Array, Array], float]

BUILT_IN = ("psnr", "ssim", "spots")
LEAST_SIDE = 3
"""Planes with fewer rows or columns than this are judged by their squared error: there is no structure or spot in them."""


class Criterion:
    """How alike grey levels of shape (channels, frames, Y, X) are to the original; this one by the squared error."""

    by_error = True
    """Whether nothing but the squared error counts."""

    def of_units(self, original: Array, other: Array, units: Units) -> Doubles:
        """The score of every unit, higher for the better: float64 of shape (units,)."""
        return -_errors(original, other, units)

    def of_all(self, original: Array, other: Array) -> float:
        """The score of the whole part."""
        return -float(_errors(original, other, Units(CHANNEL, original.shape)).sum())

    def kept(self, original: Array, corrected: Array, plain: Array, units: Units) -> Bits:
        """Which units keep the corrected result; the squared error decides where scores are equal."""
        here, there = (self.of_units(original, other, units) for other in (corrected, plain))
        less = _errors(original, corrected, units) <= _errors(original, plain, units)
        return np.asarray(np.where(here == there, less, here > there), np.bool_)


class PlaneScore(Criterion):
    """Mean over planes of a function of (original, other) planes, cut to the unit."""

    by_error = False

    def __init__(self, score: Score) -> None:
        self.score = score

    def of_units(self, original: Array, other: Array, units: Units) -> Doubles:
        """The score of every unit; 0, which leaves the choice to the squared error, where there is nothing to see."""
        return np.asarray([self._mean(original[box], other[box]) for box in units.boxes()], np.float64)

    def of_all(self, original: Array, other: Array) -> float:
        """The mean over all planes."""
        return math.fsum(self._mean(a, b) for a, b in zip(original, other, strict=True)) / len(original)

    def _mean(self, original: Array, other: Array) -> float:
        if min(original.shape[1:]) < LEAST_SIDE or original.min() == original.max():
            return 0.0
        return math.fsum(self.score(a, b) for a, b in zip(original, other, strict=True)) / len(original)


class SpotCount(Criterion):
    """Minus the difference of the numbers of spots, found in whole planes and counted where they lie."""

    by_error = False

    def of_units(self, original: Array, other: Array, units: Units) -> Doubles:
        """Minus the difference of the numbers of spots in every unit."""
        return -np.abs(_spots(original, units) - _spots(other, units))

    def of_all(self, original: Array, other: Array) -> float:
        """The sum over all planes."""
        return float(self.of_units(original, other, Units(SLICE, original.shape)).sum())


def criterion(name: str) -> Criterion:
    """The criterion of a name.

    Raises
    ------
    UsageError
        The name is neither that of a criterion nor MODULE:FUNC, or there is no such function.
    """
    if name == "psnr":
        return Criterion()
    if name == "spots":
        return SpotCount()
    return PlaneScore(_ssim if name == "ssim" else _function(name))


def _errors(original: Array, other: Array, units: Units) -> Doubles:
    """Sum of squared errors in every unit."""
    return np.asarray([np.sum((other[box].astype(np.float64) - original[box]) ** 2) for box in units.boxes()], np.float64)


def _ssim(original: Array, other: Array) -> float:
    """Structural similarity of a plane, on the range of the original there."""
    from microfield.metrics.similarity import ssim

    span = float(original.max()) - float(original.min())
    return float(ssim(original, other, "YX", span)[0]) if span else 0.0


def _spots(channels: Array, units: Units) -> Doubles:
    """Number of spots in every unit, float64 of shape (units,), in C order of the grid."""
    from microfield.analysis.spots import find_spots

    counts = np.zeros(units.grid)
    for channel, frames in enumerate(channels):
        for frame, plane in enumerate(frames):
            if min(plane.shape) >= LEAST_SIDE:
                rows, columns = (find_spots(plane) // units.edge).astype(int).T
                np.add.at(counts, (channel, min(frame, counts.shape[1] - 1), rows, columns), 1)
    return counts.reshape(-1)


def _function(name: str) -> Score:
    """The user's function of a plane."""
    function = _imported(name)
    return lambda original, other: _called(function, name, original, other)


def _called(function: Callable[[Array, Array], Any], name: str, original: Array, other: Array) -> float:
    """What the user's function says of a plane, as a number.

    Raises
    ------
    InputError
        It raises, or returns what is no finite number.
    """
    try:
        found = function(original, other)
    except Exception as error:
        raise InputError(f"the criterion {name} failed on a plane of shape {original.shape} ({type(error).__name__}: {error}); "
                         f"it must return one number for (original, reconstruction).") from error
    number = np.asarray(found)
    if number.shape or number.dtype.kind not in "fiub":
        got = f"an array of shape {number.shape}" if number.shape else f"a {type(found).__name__}"
        raise InputError(f"the criterion {name} must return one number for (original, reconstruction), higher for the better "
                         f"reconstruction; it returned {got}.")
    if not math.isfinite(float(number)):
        raise InputError(f"the criterion {name} returned {float(number)} for a plane of shape {original.shape}; "
                         f"it must return a finite number, higher for the better reconstruction.")
    return float(number)


def _imported(name: str) -> Callable[[Array, Array], Any]:
    """The function that MODULE:FUNC names."""
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise UsageError(f"option keep={name!r} of method 'hybrid' must be one of {', '.join(BUILT_IN)}, or MODULE:FUNC, a "
                         f"function of your own that takes (original, reconstruction) and returns a number, higher for the better.")
    try:
        found = vars(importlib.import_module(module)).get(attribute)
    except ImportError as error:
        raise UsageError(f"option keep={name!r} of method 'hybrid': the module {module!r} cannot be imported ({error}); install "
                         f"it, or name its folder in PYTHONPATH.") from error
    if not callable(found):
        raise UsageError(f"option keep={name!r} of method 'hybrid': the module {module!r} has no function {attribute!r}.")
    function: Callable[[Array, Array], Any] = found
    return function
