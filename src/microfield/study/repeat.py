"""Repeat error: how much a measure differs between two acquisitions of the same thing, the yardstick for what compression does.

Three kinds of pairs, the best that an image offers first: a second exposure that the user names; the image and its next time point,
which also holds what moved; the two halves of a chessboard, whose noise is independent. The pixels that a half lacks are the means
of their four neighbours, which lowers noise and resolution, so that the halves differ by less than two exposures would.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError
from microfield.image import Image
from microfield.tasks.choose import task_of

EXPOSURE, NEIGHBOUR, HALVES = "second exposure", "next time point", "halves of a chessboard"


@dataclass(frozen=True)
class Pair:
    """Two acquisitions of the same thing.

    Attributes
    ----------
    kind : how they came about, one of `EXPOSURE`, `NEIGHBOUR`, `HALVES`
    first : Image
    second : array of its shape and dtype
    """

    kind: str
    first: Image
    second: npt.NDArray[Any]


@dataclass(frozen=True)
class RepeatError:
    """What a task measured between two acquisitions.

    Attributes
    ----------
    image : name
    kind : of the pair
    loss, used : as of an outcome (`microfield.tasks.base.Outcome`); infinite where the second one gives no number
    """

    image: str
    kind: str
    loss: float
    used: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; infinite numbers are None."""
        return {"image": self.image, "kind": self.kind, "loss": self.loss if math.isfinite(self.loss) else None,
                "tolerance_used": self.used if math.isfinite(self.used) else None}


def repeat_errors(task: str, image: Image, second: Image | None = None) -> list[RepeatError]:
    """What a task measures between two acquisitions, for every kind of pair that the image offers and the task can be judged on.

    Raises
    ------
    InputError
        The second exposure is not of the image's shape.
    """
    found = []
    for pair in pairs(image, second):
        try:
            outcome = task_of(task, called="task").goal(pair.first).judge(pair.second)
        except InputError:
            continue
        found.append(RepeatError(image.name, pair.kind, outcome.loss, outcome.used))
    return found


def pairs(image: Image, second: Image | None = None) -> Iterator[Pair]:
    """Pairs of acquisitions of the same thing, the best first.

    Raises
    ------
    InputError
        The second exposure is not of the image's shape.
    """
    values = image.read()
    if second is not None:
        if second.shape != image.shape:
            raise InputError(f"the second exposure {second.name} has shape {second.shape}, and {image.name} {image.shape}; both "
                             "must show the same field.")
        yield Pair(EXPOSURE, image, second.read().astype(image.dtype))
    if image.sizes.get("T", 1) > 1:
        axis = image.axes.index("T")
        early, late = (np.take(values, np.arange(k, values.shape[axis] - 1 + k), axis) for k in (0, 1))
        yield Pair(NEIGHBOUR, replace(image, data=early), late)
    if min(image.sizes["Y"], image.sizes["X"]) > 2:
        first, other = halves(values, image.axes)
        yield Pair(HALVES, replace(image, data=first), other)


def halves(values: npt.NDArray[Any], axes: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The two halves of a chessboard in every plane, each filled up with the means of the four neighbours, of the same dtype."""
    y, x = axes.index("Y"), axes.index("X")
    grey = values.astype(np.float64)
    around = sum(_moved(grey, axis, step) for axis in (y, x) for step in (-1, 1)) / 4
    shape = [1] * values.ndim
    rows, columns = shape.copy(), shape.copy()
    rows[y], columns[x] = values.shape[y], values.shape[x]
    even = (np.arange(values.shape[y]).reshape(rows) + np.arange(values.shape[x]).reshape(columns)) % 2 == 0
    found = (np.where(even, grey, around), np.where(even, around, grey))
    if values.dtype.kind in "iu":
        found = (np.rint(found[0]), np.rint(found[1]))
    return found[0].astype(values.dtype), found[1].astype(values.dtype)


def _moved(values: npt.NDArray[np.float64], axis: int, step: int) -> npt.NDArray[np.float64]:
    """Every voxel's neighbour along an axis; at the edge the one on the other side."""
    n = values.shape[axis]
    index = np.arange(n) + step
    index = np.where(index < 0, 1, np.where(index >= n, n - 2, index))
    return np.asarray(np.take(values, index, axis))
