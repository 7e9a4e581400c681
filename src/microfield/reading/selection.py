"""Selection: which voxels to decode, with the meaning NumPy gives the same key."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError, UsageError
from microfield.format.grid import Box, as_slice


@dataclass(frozen=True, eq=False)
class Selection:
    """Which voxels of an array to decode.

    Attributes
    ----------
    box : tuple of range
        One range per array axis, ascending or descending; every index lies inside the array. For a mask: everything.
    squeezed : tuple of int
        Array axes that were indexed with an integer and are absent from the result.
    mask : bool array of the array's shape, optional
        Where present, the result is 1-D: the voxels where it is true, in C order.
    notes : tuple of str
        Sentences on what was asked for and is not there, where the selection was a text.
    """

    box: Box
    squeezed: tuple[int, ...] = ()
    mask: npt.NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()

    @property
    def box_shape(self) -> tuple[int, ...]:
        """Extents of the box, squeezed axes included with extent 1."""
        return tuple(len(r) for r in self.box)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        if self.mask is not None:
            return (int(np.count_nonzero(self.mask)),)
        return tuple(len(r) for axis, r in enumerate(self.box) if axis not in self.squeezed)

    @property
    def size(self) -> int:
        """Number of voxels in the result."""
        return math.prod(self.shape)

    def kept_axes(self, axes: str) -> str:
        """Axis letters of the result of a selection without mask, given the letters of the array."""
        return "".join(letter for i, letter in enumerate(axes) if i not in self.squeezed)

    def squeeze(self, values: npt.NDArray[Any]) -> Any:
        """The values of the box without the squeezed axes; a NumPy scalar where none is left, as in NumPy."""
        return values.reshape(self.shape)[()]

    def apply(self, array: npt.NDArray[Any]) -> Any:
        """What NumPy indexing of a whole ``array`` gives: the reference every lazy read must equal."""
        if self.mask is not None:
            return array[self.mask]
        return self.squeeze(array[tuple(as_slice(r) for r in self.box)])

    @classmethod
    def from_index(cls, key: Any, shape: Sequence[int]) -> Selection:
        """Normalise what stands between square brackets.

        Parameters
        ----------
        key : int, slice, Ellipsis, a tuple of these, or a bool array
            Integers count from the end where negative; a bool array must have the full ``shape``.
        shape : sequence of int
            Shape of the array that is indexed.

        Raises
        ------
        IndexError
            An integer is out of bounds, there are too many indices, or a mask has another shape.
        TypeError
            The key has lists, integer arrays or anything else that is not listed above.
        """
        items = key if isinstance(key, tuple) else (key,)
        if any(_is_bool(item) for item in items):
            return cls._from_mask(items, tuple(shape))
        box: list[range] = []
        squeezed: list[int] = []
        for axis, (item, extent) in enumerate(zip(_expand(items, len(shape)), shape, strict=True)):
            if isinstance(item, slice):
                box.append(range(*item.indices(extent)))
            else:
                index = _integer(item, axis, extent)
                box.append(range(index, index + 1))
                squeezed.append(axis)
        return cls(tuple(box), tuple(squeezed))

    @classmethod
    def _from_mask(cls, items: tuple[Any, ...], shape: tuple[int, ...]) -> Selection:
        masks = [item for item in items if item is not Ellipsis]
        if len(masks) != 1 or len(items) > 2 or isinstance(masks[0], (bool, np.bool_)):
            raise TypeError("a boolean mask must be an array of the full shape and the only index.")
        return cls(tuple(range(n) for n in shape), mask=check_mask(masks[0], shape))

    @classmethod
    def parse(cls, text: str, axes: str, shape: Sequence[int]) -> Selection:
        """Read a selection as the command line takes it: ``"t=0,c=1,z=10:20,y=::4,x=::4"``.

        Axes that are not named are taken whole; letters may be of either case.

        Raises
        ------
        InputError
            An axis is unknown or named twice, or what follows ``=`` is no integer inside the axis and no slice.
        """
        key: dict[int, int | slice] = {}
        notes: list[str] = []
        for item in text.split(","):
            letter, _, value = (part.strip() for part in item.partition("="))
            axis = axes.find(letter.upper()) if len(letter) == 1 else -1
            if axis < 0:
                raise UsageError(f"selection {item.strip()!r} names no axis of the image, whose axes are {axes}; "
                                 f"write for example {axes[-1].lower()}=0:10.")
            if axis in key:
                raise UsageError(f"selection {text!r} names axis {axes[axis]} twice; the image's axes are {axes}.")
            one = key[axis] = _parse_item(item.strip(), value, axes, shape[axis])
            ends = () if isinstance(one, int) else (one.start, one.stop)
            if any(end is not None and abs(end) > shape[axis] for end in ends):
                notes.append(f"{item.strip()} goes beyond the image, which ends at {shape[axis]} along {axes[axis]}.")
        found = cls.from_index(tuple(key.get(axis, slice(None)) for axis in range(len(shape))), shape)
        return replace(found, notes=tuple(notes))


def check_mask(mask: Any, shape: Sequence[int]) -> npt.NDArray[np.bool_]:
    """A boolean array of exactly ``shape``.

    Raises
    ------
    TypeError
        The values are not boolean.
    IndexError
        The shape differs.
    """
    values = np.asarray(mask)
    if values.dtype != np.bool_:
        raise TypeError(f"a mask must be boolean, not {values.dtype.name}; compare it first, for example mask > 0.")
    if values.shape != tuple(shape):
        raise IndexError(f"the mask has shape {values.shape}, but the image has shape {tuple(shape)}.")
    return values


def check_points(points: npt.ArrayLike, shape: Sequence[int]) -> npt.NDArray[np.int64]:
    """Integer points, each inside an array of ``shape``, as an int64 array of shape (n, ndim).

    Raises
    ------
    TypeError
        The points are not integers.
    InputError
        The points are not an array of shape (n, ndim).
    IndexError
        A point is negative or out of bounds.
    """
    given = np.asarray(points)
    if given.dtype.kind not in "iu":
        raise TypeError(f"points must be integers, not {given.dtype.name}; round them first.")
    if given.ndim != 2 or given.shape[1] != len(shape):
        raise InputError(f"points must have shape (n, {len(shape)}), one column per axis, not {given.shape}.")
    bounds = np.array(shape, dtype=np.int64)
    outside = (given < 0) | (given >= bounds)
    if outside.any():
        row, axis = (int(i) for i in np.argwhere(outside)[0])
        raise IndexError(f"point {row} has index {given[row, axis]} on axis {axis}, whose size is {shape[axis]}; "
                         "points count from 0 and are never negative.")
    return given.astype(np.int64, copy=False)


def _is_bool(item: Any) -> bool:
    return isinstance(item, bool) or getattr(item, "dtype", None) == np.bool_


def _expand(items: tuple[Any, ...], ndim: int) -> tuple[Any, ...]:
    """The key with exactly one item per axis."""
    ellipses = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(ellipses) > 1:
        raise IndexError("an index can only have a single ellipsis ('...').")
    missing = ndim - (len(items) - len(ellipses))
    if missing < 0:
        raise IndexError(f"too many indices: the image has {ndim} axes, but {ndim - missing} were indexed.")
    at = ellipses[0] if ellipses else len(items)
    return items[:at] + (slice(None),) * missing + items[at + 1:]


def _integer(item: Any, axis: int, extent: int) -> int:
    try:
        index = operator.index(item)
    except TypeError:
        raise TypeError(f"axis {axis} cannot be indexed with {type(item).__name__}: use integers, slices, '...' or one "
                        "boolean mask of the full shape, and at(points) for single voxels.") from None
    if not -extent <= index < extent:
        raise IndexError(f"index {index} is out of bounds for axis {axis} with size {extent}.")
    return index % extent


def _parse_item(item: str, value: str, axes: str, extent: int) -> int | slice:
    try:
        numbers = [int(n) if n.strip() else None for n in value.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) == 1 and numbers[0] is not None:
        if not -extent <= numbers[0] < extent:
            raise UsageError(f"selection {item!r} lies outside the image (axes {axes}): that axis has size {extent}.")
        return numbers[0]
    if len(numbers) not in (2, 3) or numbers[2:] == [0]:
        raise UsageError(f"selection {item!r} is neither a number nor start:stop:step with a step other than 0, "
                         f"for one of the image's axes {axes}.")
    return slice(*numbers)
