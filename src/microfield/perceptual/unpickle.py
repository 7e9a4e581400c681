"""A reader of pickles that hold numpy arrays in plain containers, and nothing else.

A pickle is a program: it may import and call anything. This reader maps the three names that pickled arrays use to classes of its
own, which do no more than keep what they are given, and refuses every other name. So nothing of a pickle is ever executed, not even
numpy's own code for pickles.
"""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError

KINDS = ("f2", "f4", "f8")
"""Types of values that are read."""


class Dtype:
    """Stands for `numpy.dtype`: keeps the type's name and byte order."""

    __slots__ = ("kind", "order")

    def __init__(self, kind: Any, *_: Any) -> None:
        self.kind, self.order = kind, "<"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def known(self) -> np.dtype[Any]:
        """The numpy type; ValueError where it is none of `KINDS`, little-endian or big-endian."""
        if self.kind not in KINDS or self.order not in ("<", ">"):
            raise ValueError(f"values of type {self.order}{self.kind}")
        return np.dtype(f"{self.order}{self.kind}")


class Array:
    """Stands for the function that makes an empty array, and for the array: keeps its state, checked."""

    __slots__ = ("values",)

    def __init__(self, *_: Any) -> None:
        self.values: npt.NDArray[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, columns_first, data = state
        if type(shape) is not tuple or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError("the shape of an array is no tuple of whole numbers")
        if type(dtype) is not Dtype or type(data) is not bytes:
            raise ValueError("an array is not stored as bytes of one type")
        kind = dtype.known()
        if len(data) != math.prod(shape) * kind.itemsize:
            raise ValueError("an array does not hold as many bytes as its shape says")
        self.values = np.frombuffer(data, kind).reshape(shape, order="F" if columns_first else "C")


class ArrayType:
    """Stands for `numpy.ndarray`, which is only named."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise ValueError("an array has a state of its own")


_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): Array, ("numpy._core.multiarray", "_reconstruct"): Array,
    ("numpy", "ndarray"): ArrayType, ("numpy", "dtype"): Dtype,
}
"""All that a pickle may name."""


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """What a name stands for; UnpicklingError where it is none of an array's."""
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _NAMES[module, name]


def reason(error: Exception) -> str:
    """An exception's message as a part of a sentence."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def read_arrays(data: bytes, name: str) -> dict[str, Any]:
    """A pickled dict whose values are float arrays or such dicts; `array_at` takes arrays out of it.

    Parameters
    ----------
    data : bytes
    name : str
        What messages call the file.

    Raises
    ------
    InputError
        The pickle is damaged or holds anything else.
    """
    try:
        found = _Reader(io.BytesIO(data)).load()
    except Exception as error:  # A hostile pickle can make the reader raise almost anything; nothing of it has been executed.
        raise InputError(f"{name} is no pickle of numpy arrays ({reason(error)}).") from None
    if type(found) is not dict:
        raise InputError(f"{name} is no pickle of numpy arrays (it holds no dict).")
    return found


def array_at(tree: dict[str, Any], path: tuple[str, ...], name: str) -> npt.NDArray[np.float32]:
    """The array at these keys of nested dicts, float32.

    Raises
    ------
    InputError
        There is none, or it holds NaN or infinity.
    """
    found: Any = tree
    for key in path:
        found = found.get(key) if type(found) is dict else None
    if type(found) is not Array or found.values is None:
        raise InputError(f"{name} holds no array {'/'.join(path)}.")
    if not np.isfinite(found.values).all():
        raise InputError(f"the array {'/'.join(path)} in {name} holds NaN or infinity.")
    return np.ascontiguousarray(found.values, np.float32)
