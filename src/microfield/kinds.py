"""Types of values that no file holds, kept as types that hold the same values: booleans, half floats, 64-bit integers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError

EXACT_FLOATS = 1 << 53
"""Every whole number up to this size is a float64."""

READ = 1 << 22
"""Array elements that are looked at at once, about."""


@dataclass(frozen=True)
class Kept:
    """How the values of an array are kept.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the values as they are kept, in native byte order.
    note : str
        What the user should know; empty where the type stays as it is.
    """

    dtype: np.dtype[Any]
    note: str = ""


@dataclass(frozen=True)
class Converted:
    """An array whose values are converted when they are read."""

    data: Any
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of every axis."""
        return tuple(int(n) for n in self.data.shape)

    def __getitem__(self, key: Any, /) -> npt.NDArray[Any]:
        return np.asarray(self.data[key]).astype(self.dtype)


def kept(data: Any, name: str) -> Kept:
    """How the values of an array-like are kept; those of 64-bit integers are all looked at.

    Raises
    ------
    InputError
        64-bit integers are too large for every type that is kept.
    """
    stored = np.dtype(data.dtype).newbyteorder("=")
    if stored.name == "bool":
        return Kept(np.dtype(np.uint8), f"the values of {name} are booleans, which are kept as 0 and 1 (uint8).")
    if stored.name == "float16":
        return Kept(np.dtype(np.float32), f"the values of {name} are float16 and kept as float32: sizes and ratios count 4 bytes a "
                                          "value, twice what the source takes.")
    if stored.name not in ("int64", "uint64"):
        return Kept(stored)
    low, high = _ends(data)
    fitting = [np.dtype(kind) for kind in (np.int32, np.uint32) if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max]
    if not fitting and max(-low, high) > EXACT_FLOATS:
        raise InputError(f"{name} holds {stored.name} values from {low} to {high}, which no type that microfield keeps holds "
                         "exactly; subtract an offset, or divide them, first.")
    dtype = fitting[0] if fitting else np.dtype(np.float64)
    counted = "" if dtype.itemsize == stored.itemsize else f": sizes and ratios count {dtype.itemsize} bytes a value"
    return Kept(dtype, f"the values of {name} are {stored.name} and kept, each exactly, as {dtype.name}{counted}.")


def _ends(data: Any) -> tuple[int, int]:
    """Smallest and largest value of an array of integers, read in slabs; 0 and 0 of an empty one."""
    low, high, shape = 0, 0, tuple(int(n) for n in data.shape)
    if 0 in shape:
        return low, high
    rows = max(1, READ // math.prod(shape[1:])) if shape else 1
    for start in range(0, shape[0] if shape else 1, rows):
        slab = np.asarray(data[start : start + rows] if shape else data)
        low, high = (int(slab.min()), int(slab.max())) if start == 0 else (min(low, int(slab.min())), max(high, int(slab.max())))
    return low, high
