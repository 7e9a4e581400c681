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

Array = npt.NDArray[Any]
Better = Callable[[Array, Array, Array], bool]
Score = Callable[[Array, Array], float]

BUILT_IN = ("psnr", "ssim", "spots")
LEAST_SIDE = 3
"""Planes with fewer rows or columns than this are judged by their squared error: there is no structure or spot in them."""


def criterion(name: str) -> Better:
    """The criterion of a name, which compares (original, corrected, plain) grey levels of shape (frames, Y, X).

    A score that does not tell the two apart leaves the choice to the squared error.

    Raises
    ------
    UsageError
        The name is neither that of a criterion nor MODULE:FUNC, or there is no such function.
    """
    if name == "psnr":
        return less_error
    score = {"ssim": _ssim, "spots": _spots}.get(name) or _function(name)

    def better(original: Array, corrected: Array, plain: Array) -> bool:
        if min(original.shape[1:]) < LEAST_SIDE or original.min() == original.max():
            return less_error(original, corrected, plain)
        here, there = score(original, corrected), score(original, plain)
        return less_error(original, corrected, plain) if here == there else here > there

    return better


def less_error(original: Array, corrected: Array, plain: Array) -> bool:
    """Whether the corrected result has the smaller squared error; where both are the same, it counts as kept."""
    return _error(original, corrected) <= _error(original, plain)


def _error(original: Array, other: Array) -> float:
    return float(np.sum((other.astype(np.float64) - original) ** 2))


def _ssim(original: Array, other: Array) -> float:
    """Mean structural similarity over the planes, on the range of the original there."""
    from microfield.metrics.similarity import ssim

    return float(ssim(original, other, "ZYX", float(original.max()) - float(original.min()))[0])


def _spots(original: Array, other: Array) -> float:
    """Minus the difference of the numbers of spots, over all planes."""
    from microfield.analysis.spots import find_spots

    return -float(sum(abs(len(find_spots(a)) - len(find_spots(b))) for a, b in zip(original, other, strict=True)))


def _function(name: str) -> Score:
    """The user's function as a mean over planes."""
    function = _imported(name)

    def score(original: Array, other: Array) -> float:
        return math.fsum(_called(function, name, a, b) for a, b in zip(original, other, strict=True)) / len(original)

    return score


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
