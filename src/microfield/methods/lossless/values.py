"""Values of any type as planes of unsigned whole numbers of the same size, and back, bit for bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.image import Layout

Unsigned = npt.NDArray[Any]
"""uint8, uint16, uint32 or uint64; of planes: shape (planes, Y, X)."""

EXACT_INTEGERS = {4: 2**24, 8: 2**53}
"""Bytes of a float to the magnitude up to which it holds every whole number."""


def order(layout: Layout) -> tuple[int, ...]:
    """Axes of the array in the order of planes: channels and colour samples first, then all others, Y and X last."""
    axes = layout.axes
    return tuple(sorted(range(len(axes)), key=lambda i: ("CSTZYX".index(axes[i]))))


def planes_shape(layout: Layout) -> tuple[int, int, int]:
    """Planes, rows and columns; planes are all combinations of the other axes."""
    *others, y, x = (layout.shape[i] for i in order(layout))
    return math.prod(others), y, x


def to_planes(block: npt.NDArray[Any], layout: Layout) -> Unsigned:
    """A block as planes of unsigned numbers that are in the order of the values."""
    planes = block.transpose(order(layout)).reshape(planes_shape(layout))
    return _unsigned(planes)


def from_planes(planes: Unsigned, layout: Layout) -> npt.NDArray[Any]:
    """The inverse of `to_planes`."""
    turned = order(layout)
    values = _signed(planes, layout.dtype).reshape([layout.shape[i] for i in turned])
    return np.ascontiguousarray(values.transpose(np.argsort(turned)))


def are_integers(planes: npt.NDArray[Any]) -> bool:
    """Whether floats are whole numbers small enough to be held exactly, and none of them is -0."""
    if planes.dtype.kind != "f":
        return False
    most = EXACT_INTEGERS[planes.dtype.itemsize]
    with np.errstate(invalid="ignore"):
        small = np.abs(planes) <= most
    return bool(small.all() and (planes == np.rint(planes)).all() and not np.signbit(planes[planes == 0]).any())


def integers_to_planes(block: npt.NDArray[Any], layout: Layout) -> Unsigned:
    """Floats that `are_integers` as planes of unsigned numbers."""
    return _unsigned(block.transpose(order(layout)).reshape(planes_shape(layout)).astype(f"i{layout.dtype.itemsize}"))


def integers_from_planes(planes: Unsigned, layout: Layout) -> npt.NDArray[Any]:
    """The inverse of `integers_to_planes`."""
    whole = Layout(layout.shape, layout.axes, np.dtype(f"i{layout.dtype.itemsize}"))
    return from_planes(planes, whole).astype(layout.dtype)


def _unsigned(values: npt.NDArray[Any]) -> Unsigned:
    """Numbers of the same size in the order of the values; -0 comes before 0, and NaN lie beyond infinity."""
    size = values.dtype.itemsize
    bits = np.ascontiguousarray(values).view(f"u{size}")
    top = bits.dtype.type(1 << (8 * size - 1))
    if values.dtype.kind == "u":
        return bits
    if values.dtype.kind == "i":
        return np.asarray(bits ^ top)
    return np.where(bits & top, ~bits, bits | top)


def _signed(numbers: Unsigned, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The inverse of `_unsigned`."""
    top = numbers.dtype.type(1 << (8 * dtype.itemsize - 1))
    if dtype.kind == "i":
        numbers = numbers ^ top
    elif dtype.kind == "f":
        numbers = np.where(numbers & top, numbers ^ top, ~numbers)
    return numbers.view(dtype.newbyteorder("=") if dtype.byteorder not in "=|" else dtype)
