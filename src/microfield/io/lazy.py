"""Arrays that are read from their file when they are indexed. They can be pickled, and hold no file open between reads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError
from microfield.image import ArrayLike
from microfield.io.destination import is_node, reason

Key = tuple[int | slice, ...]
"""An index: one integer or slice per axis."""


def expand_key(key: Any, ndim: int) -> Key:
    """An index as one integer or slice per axis.

    Raises
    ------
    TypeError
        For arrays and masks: these readers take integers, slices and one Ellipsis.
    IndexError
        For more entries than axes.
    """
    entries = list(key) if isinstance(key, tuple) else [key]
    dots = [i for i, entry in enumerate(entries) if entry is Ellipsis]
    if len(dots) > 1:
        raise IndexError("an index takes one Ellipsis at most")
    at = dots[0] if dots else len(entries)
    missing = ndim - (len(entries) - len(dots))
    if missing < 0:
        raise IndexError(f"{len(entries)} indices for {ndim} axes")
    entries[at : at + 1] = [slice(None)] * missing
    full: list[int | slice] = []
    for entry in entries:
        if isinstance(entry, slice):
            full.append(entry)
        elif isinstance(entry, (int, np.integer)) and not isinstance(entry, bool):
            full.append(int(entry))
        else:
            raise TypeError(f"images are indexed with integers and slices, not {type(entry).__name__}")
    return tuple(full)


@dataclass(frozen=True)
class MappedArray:
    """An uncompressed array in a file. A read maps the file into memory, copies what is asked for, and closes it.

    Parameters
    ----------
    path : Path
        The file.
    shape : tuple of int
        Extent of every axis.
    dtype : dtype
        As stored, of either byte order.
    offset : int
        Byte where the array begins.
    order : {"C", "F"}
        Memory order.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int = 0
    order: str = "C"

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Values in native byte order, copied from the file."""
        full = expand_key(key, len(self.shape))
        self.check()
        try:
            mapped = np.memmap(self.path, self.dtype, "r", self.offset, self.shape, "F" if self.order == "F" else "C")
        except OSError as error:
            raise InputError(f"{self.path} cannot be read ({error.strerror or error}).") from error
        return np.array(mapped[full], dtype=self.dtype.newbyteorder("="))

    def check(self) -> None:
        """Refuse a file that is shorter than the array in it.

        Raises
        ------
        InputError
            The file is cut off or gone.
        """
        needed = self.offset + math.prod(self.shape) * self.dtype.itemsize
        found = self.path.stat().st_size if self.path.exists() else 0
        if found < needed:
            raise InputError(f"{self.path.name} is cut off: it has {found} of {needed} bytes; copy it again.")


@dataclass(frozen=True)
class LibraryArray:
    """A lazy array of the library that reads a file; subclasses put into words what it raises.

    Parameters
    ----------
    source : array of Zarr, Dask or alike
    path : Path
        The file or folder, absolute.
    """

    source: Any
    path: Path

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of every axis."""
        return tuple(int(n) for n in self.source.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        stored: np.dtype[Any] = np.dtype(self.source.dtype)
        return stored


@dataclass(frozen=True)
class StoredArray(LibraryArray):
    """A Zarr array that notices when its folder is gone.

    Zarr takes chunks that are not there for empty ones, so an array whose disk was pulled out reads as zeros.
    """

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Values of the part asked for.

        Raises
        ------
        InputError
            The folder is gone, or a chunk cannot be read.
        """
        try:
            values = np.asarray(self.source[key])
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"{self.path} cannot be read ({reason(error)}); it may be damaged.") from error
        if not is_node(self.path):
            raise InputError(f"{self.path} is gone or cannot be reached any more; try again when it is back.")
        return values


@dataclass(frozen=True)
class View:
    """A lazy array with some axes fixed at one position and its values converted on reading.

    Parameters
    ----------
    source : array-like
        What is read.
    fixed : tuple of (int or None)
        Per axis of the source: the position taken (the axis disappears), or None to keep the axis.
    dtype : dtype
        What the values are converted to.
    """

    source: ArrayLike
    fixed: tuple[int | None, ...]
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of the axes that are kept."""
        return tuple(int(n) for n, at in zip(self.source.shape, self.fixed, strict=True) if at is None)

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Values of the part asked for."""
        kept = iter(expand_key(key, len(self.shape)))
        full = tuple(next(kept) if at is None else at for at in self.fixed)
        return np.asarray(self.source[full]).astype(self.dtype, copy=False)
