"""The user's own analysis as a task: a function of an array that returns numbers or a mask."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.analysis.objects import Matching, match, pool
from microfield.analysis.segmentation import agreement
from microfield.errors import InputError
from microfield.image import Image
from microfield.tasks.base import Goal, Outcome, Task

Function = Callable[[npt.NDArray[Any]], Any]
Result = dict[str, float] | npt.NDArray[Any]
"""What a function found: numbers by name, a mask (booleans), or object numbers."""

FEWEST_AXES = 2
"""Booleans and whole numbers in arrays of so many axes or more are masks and object numbers; anything else is numbers."""


@dataclass(frozen=True)
class FunctionTask(Task):
    """A function of the user's.

    A result of numbers (one, a sequence or a mapping by name) may change by the tolerance, relative to the number found in the
    original; the number that changes most counts. Of a mask the intersection over union with that of the original may fall short of
    1 by the tolerance, of object numbers the F1 of the objects matched at an overlap of 0.5.

    Attributes
    ----------
    name : what messages and files call it
    function : callable (array of the image's shape and dtype) -> numbers, mask or object numbers
    tolerance : float
    """

    name: str
    function: Function
    tolerance: float
    version: str = ""

    @classmethod
    def of(cls, name: str, function: Function, tolerance: float) -> FunctionTask:
        """The task of a function; its version are eight digits that change with the function's source text, where there is any."""
        try:
            version = blake2b(inspect.getsource(function).encode(), digest_size=4).hexdigest()
        except (OSError, TypeError):
            version = ""
        return cls(name, function, tolerance, version)

    def goal(self, original: Image) -> Goal:
        """Ready where the function finds something in the original, and the same again when it is asked again."""
        goal = FunctionGoal(self, original.name, self._result(original.read(), original.name))
        again = goal.judge(original.read())
        if not again.kept:
            raise InputError(f"{self.name} gives different results for the same image ({again}); fix its random seed.")
        return goal

    def _result(self, values: npt.NDArray[Any], image: str) -> Result:
        """What the function finds, checked; ``image`` names it in messages."""
        try:
            found = self.function(values)
        except Exception as error:
            raise InputError(f"{self.name} failed on {image}: {type(error).__name__}: {error}") from error
        return checked(found, self.name, image)


@dataclass(frozen=True)
class FunctionGoal(Goal):
    """A function of the user's with what it found in the original."""

    task: FunctionTask
    image: str
    before: Result

    def judge(self, copy: Any) -> Outcome:
        """How much the function's result changed."""
        name, tolerance = self.task.name, self.task.tolerance
        after = self.task._result(np.asarray(copy[...]), f"a copy of {self.image}")
        if isinstance(self.before, dict) and isinstance(after, dict):
            if self.before.keys() != after.keys():
                raise InputError(f"{name} gives {len(self.before)} numbers for {self.image} and {len(after)} or others for a copy; "
                                 "it must give the same ones for every image, such as a count or a mean.")
            change, which = max((_change(self.before[key], after[key]), key) for key in self.before)
            return Outcome(f"relative change of {which}", change, tolerance)
        if isinstance(self.before, dict) or isinstance(after, dict) or self.before.shape != after.shape:
            raise InputError(f"{name} gives a result of another kind or shape for a copy of {self.image} than for the image.")
        if self.before.dtype == np.bool_:
            both = int(np.count_nonzero(self.before & after))
            iou, _ = agreement(both, int(np.count_nonzero(self.before)), int(np.count_nonzero(after)))
            return Outcome("overlap of the masks (IoU)", iou, 1 - tolerance, True)
        return Outcome("objects found again (F1 at IoU 0.5)", _matched(self.before, after).f1, 1 - tolerance, True)


def checked(found: Any, name: str, image: str) -> Result:
    """The result of a function as numbers by name, a mask, or object numbers.

    Raises
    ------
    InputError
        It is none of these, holds NaN or infinity, or is a mask that marks nothing.
    """
    if isinstance(found, Mapping):
        named = {str(key): _number(value, name, image) for key, value in found.items()}
        if not named:
            raise InputError(f"{name} returns nothing for {image}; it must return numbers or a mask.")
        return named
    try:
        values = np.asarray(found)
    except ValueError:
        values = np.asarray(found, object)
    if values.dtype.kind in "biu" and values.ndim >= FEWEST_AXES:
        if not values.any():
            raise InputError(f"{name} finds nothing in {image}: its mask marks no pixel.")
        return values
    if values.dtype.kind not in "biuf" or not values.size:
        what = "nothing" if found is None or not values.size else type(found).__name__
        raise InputError(f"{name} returns {what} for {image}; it must return numbers or a mask.")
    if values.ndim == 0:
        return {"the number": _number(values, name, image)}
    return {f"number {index + 1}": _number(value, name, image) for index, value in enumerate(values.reshape(-1))}


def _number(value: Any, name: str, image: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name} returns {type(value).__name__} for {image} where a number belongs.") from None
    if not math.isfinite(number):
        raise InputError(f"{name} returns {number} for {image}; it must return finite numbers.")
    return number


def _change(before: float, after: float) -> float:
    """The change relative to the original's number; infinite where that is 0 and the other is not."""
    if before == after:
        return 0.0
    return abs(after - before) / abs(before) if before else math.inf


def _matched(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> Matching:
    """The objects of planes or volumes matched; further axes in front are taken one by one."""
    if before.ndim <= 3:
        return match(before, after)
    return pool(_matched(a, b) for a, b in zip(before, after, strict=True))
