"""Lower resolutions of a file, for viewers: lazy arrays that hold nothing of their own in the file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError, MissingExtraError
from microfield.format.grid import as_slice
from microfield.reading.averages import as_values, block_means
from microfield.reading.recent import Recent
from microfield.reading.selection import Selection

if TYPE_CHECKING:
    from microfield.reading.file import MicrofieldFile
    from microfield.reading.limits import Limits
    from microfield.reading.parts import Parts

SMALLEST = 512
"""Resolutions follow until the longer side of a plane is at most this many voxels."""

CUBE = math.sqrt(2)
"""Z is halved, too, where its voxels then are at most this many times as long as wide."""

KEPT_BYTES = 1 << 27
"""Coarse levels of parts that a resolution keeps for later reads (128 MiB)."""

KEPT_PARTS = 1024
"""The same as a number of parts."""

MOST_CHUNKS = 1 << 20
"""A dask array has at most so many chunks unless the user chooses them: the graph of one takes about a kilobyte."""

SMALLEST_CHUNK, LARGEST_CHUNK = 1 << 20, 1 << 27
"""Bytes of the values of a chunk that holds whole parts: several of them make one up to the first number (1 MiB), and none is made
of a part of more than the second (128 MiB)."""


def steps_of_levels(sizes: Mapping[str, int], voxel_size: Mapping[str, float]) -> list[dict[str, int]]:
    """Voxels of the image in one of every resolution: axis letter to number, the full resolution first.

    Every resolution halves Y and X of the one before, until the longer side of a plane is at most `SMALLEST`. Z is halved along
    with them as far as that makes voxels more like cubes, but never where the size of voxels is not known: a viewer shows single
    planes, and would show means of several.

    Parameters
    ----------
    sizes, voxel_size : mapping
        Axis letter to extent, and to physical step.
    """
    steps = [dict.fromkeys(sizes, 1)]
    known = all(voxel_size.get(a, 0) > 0 for a in "ZYX")
    while max(-(-sizes[a] // steps[-1][a]) for a in "YX") > SMALLEST:
        last = steps[-1]
        new = last | {a: 2 * last[a] for a in "YX"}
        if "Z" in sizes and known and sizes["Z"] > last["Z"]:
            width = max(voxel_size[a] * new[a] for a in "YX")
            if 2 * last["Z"] * voxel_size["Z"] <= CUBE * width:
                new["Z"] = 2 * last["Z"]
        steps.append(new)
    return steps


@dataclass(frozen=True)
class _Coarse:
    """About the means of all blocks of a part; None where the part has no quick way to them."""

    means: npt.NDArray[np.float64] | None

    @property
    def held(self) -> int:
        """Bytes of memory."""
        return 0 if self.means is None else self.means.nbytes


class Level:
    """One resolution of a file, a lazy array; made by `MicrofieldFile.levels`.

    ``level[key]`` takes integers, slices of any step and ``...``. At full resolution it is ``file[key]``. Lower resolutions hold
    means of blocks of voxels, rounded for integers: those of `field` come from its coarse levels alone where they can, as in
    ``preview(n, average=True)``; everything else is decoded for them. Coarse levels of parts are kept for later reads. Reads from
    several threads are safe; a pickle holds the file and the steps.

    Parameters
    ----------
    file : MicrofieldFile
    parts : Parts
        Those of the file.
    limits : Limits
        What one read may take.
    steps : mapping of str to int
        Axis letter to the voxels of the file in one voxel of this resolution.
    """

    def __init__(self, file: MicrofieldFile, parts: Parts, limits: Limits, steps: Mapping[str, int]) -> None:
        self.file, self.steps = file, dict(steps)
        self._parts, self._limits = parts, limits
        self._step = tuple(self.steps[axis] for axis in file.axes)
        self._coarse: Recent[int, _Coarse] = Recent(self._make, KEPT_PARTS, KEPT_BYTES)

    @property
    def axes(self) -> str:
        """One letter of ``TCZYXS`` per axis."""
        return self.file.axes

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of every axis."""
        return tuple(-(-n // step) for n, step in zip(self.file.shape, self._step, strict=True))

    @property
    def sizes(self) -> dict[str, int]:
        """Axis letter to extent."""
        return dict(zip(self.axes, self.shape, strict=True))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values."""
        return self.file.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._step)

    @property
    def size(self) -> int:
        """Number of array elements."""
        return math.prod(self.shape)

    @property
    def voxel_size(self) -> dict[str, float]:
        """Axis letter to physical step, where known."""
        return {axis: size * self.steps.get(axis, 1) for axis, size in self.file.voxel_size.items()}

    def __repr__(self) -> str:
        blocks = " x ".join(map(str, self._step))
        return f"<Level of {self.file.name}: {self.axes} {self.shape} {self.dtype.name}, means of {blocks} voxels>"

    def __len__(self) -> int:
        return self.shape[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.file, self.steps)

    def __getitem__(self, key: Any) -> Any:
        if max(self._step) == 1:
            return self.file[key]
        selection = Selection.from_index(key, self.shape)
        if selection.mask is not None:
            raise TypeError("a resolution is indexed with integers and slices; masks are for the file itself.")
        # All blocks between the first and the last one, of which the selection then takes what it wants.
        around = tuple(range(min(r[0], r[-1]), max(r[0], r[-1]) + 1) if len(r) else range(0) for r in selection.box)
        if not all(map(len, around)):
            return selection.squeeze(np.empty(selection.box_shape, self.dtype))
        needed = math.prod(map(len, around)) * (16 + self.dtype.itemsize)  # Sums and counts are 8 bytes each.
        self._limits.check(needed, self.file.name)
        values = as_values(block_means(self._parts, self._step, around, self._quick), self.dtype)
        chosen = tuple(as_slice(range(r.start - a.start, r.stop - a.start, r.step))
                       for r, a in zip(selection.box, around, strict=True))
        return selection.squeeze(values[chosen])

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("a resolution is decoded when read, so there is no array to share; drop copy=False.")
        return np.asarray(self[...]).astype(dtype or self.dtype, copy=False)

    def to_dask(self, chunks: Any = None) -> Any:
        """A lazy dask array; one YX plane (with its colour samples) per chunk unless ``chunks`` says otherwise."""
        return lazily(self, self.file.name, chunks)

    def _quick(self, part: int, steps: tuple[int, ...]) -> npt.NDArray[np.float64] | None:
        del steps  # They are always those of this resolution.
        return self._coarse.get(part).means

    def _make(self, part: int) -> _Coarse:
        means = self._parts.averaged(part, self._step)
        made = _Coarse(means)
        self._coarse.make_room(made.held)
        return made


def lazily(array: MicrofieldFile | Level, name: str, chunks: Any = None, tile: Sequence[int] | None = None) -> Any:
    """A dask array of a file or of one of its resolutions.

    Parameters
    ----------
    array : MicrofieldFile or Level
    name : str
        What messages call it.
    chunks : optional
        As dask takes it; by default those of `usual_chunks`.
    tile : sequence of int, optional
        Extents of a part, where there are several.

    Raises
    ------
    InputError
        There are too many chunks.
    MissingExtraError
        Dask is not installed.
    """
    try:
        import dask.array
    except ImportError:
        raise MissingExtraError("a dask array", "xarray") from None
    if chunks is None:
        chunks = usual_chunks(array.sizes, array.dtype.itemsize, tile)
        count = math.prod(-(-n // c) for n, c in zip(array.shape, chunks, strict=True))
        if count > MOST_CHUNKS:
            raise InputError(f"{name} has {count:,} planes, too many for a chunk each; give to_dask larger chunks=.")
    return dask.array.from_array(array, chunks=chunks, name=False, fancy=False, meta=np.empty((0,) * array.ndim, array.dtype))


def usual_chunks(sizes: Mapping[str, int], itemsize: int, tile: Sequence[int] | None = None) -> tuple[int, ...]:
    """Extents of a chunk: a plane or, where there are several parts, as many whole parts as it takes to make one worth a task.

    Parameters
    ----------
    sizes : mapping of str to int
        Axis letter to extent.
    itemsize : int
        Bytes of a value.
    tile : sequence of int, optional
        Extents of a part, where there are several.
    """
    plane = {axis: extent if axis in "YXS" else 1 for axis, extent in sizes.items()}
    if tile is None:
        return tuple(plane.values())
    chunk = dict(zip(sizes, tile, strict=True))
    if math.prod(chunk.values()) * itemsize > LARGEST_CHUNK:
        return tuple(min(plane[axis], chunk[axis]) for axis in sizes)
    for axis in reversed(list(sizes)):
        while chunk[axis] < sizes[axis] and math.prod(chunk.values()) * itemsize < SMALLEST_CHUNK:
            chunk[axis] = min(2 * chunk[axis], sizes[axis])
    return tuple(chunk.values())


def _again(file: MicrofieldFile, steps: Mapping[str, int]) -> Level:
    """The resolution of a pickle."""
    return next(level for level in file.levels() if level.steps == steps)
