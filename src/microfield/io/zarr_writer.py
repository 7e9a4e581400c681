"""Writing OME-Zarr 0.5 (Zarr 3): the full resolution and a pyramid of smaller ones, plane by plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError, MissingExtraError
from microfield.io.atomic import atomic_directory
from microfield.io.blocks import Output
from microfield.io.destination import is_node
from microfield.io.zarr_attributes import group_attributes, stored_sizes

CHUNK = 1024
"""Longest side of a chunk in Y and X; the other axes have chunks of 1."""

SMALLEST = 512
"""Resolutions are added until the longer side of a plane is at most this many voxels."""


def write(path: Path, output: Output) -> tuple[str, ...]:
    """Write an OME-Zarr 0.5 image.

    OME-Zarr orders the axes t, c, z, y, x and has none for colour. Axes are moved into this order, and colour samples become
    channels called red, green and blue (three for every channel, where the image has both). Each resolution averages 2 by 2 voxels
    of the one before. The metadata that makes the folder an image is written last, and the folder gets its name after that.

    Parameters
    ----------
    path : Path
        The folder to make; a Zarr store of that name is replaced.
    output : Output
        What to write.

    Returns
    -------
    tuple of str
        Empty: what OME-Zarr has no place for is kept in an attribute of its own.

    Raises
    ------
    InputError
        The folder around it does not exist, or the name is taken by something that is no Zarr store.
    MissingExtraError
        zarr is not installed.
    """
    try:
        import zarr
    except ImportError:
        raise MissingExtraError("Writing OME-Zarr", "zarr") from None
    sizes = stored_sizes(output)
    axes = "".join(sizes)
    shapes = level_shapes(tuple(sizes.values()))
    with atomic_directory(path, output.overwrite) as folder:
        levels = [
            zarr.create_array(
                store=str(folder / str(i)), shape=shape, dtype=output.layout.dtype, zarr_format=3,
                chunks=(*(1,) * (len(shape) - 2), min(CHUNK, shape[-2]), min(CHUNK, shape[-1])),
                dimension_names=[a.lower() for a in axes],
            )
            for i, shape in enumerate(shapes)
        ]  # fmt: skip
        ranges = _fill(levels, output, axes)
        attributes = group_attributes(path.name, output, axes, level_steps(len(shapes)), ranges)
        if gone := [i for i in range(len(shapes)) if not is_node(folder / str(i))]:  # Zarr makes folders of chunks anew.
            raise InputError(f"{path} was not written: the unfinished folder {folder / str(gone[0])} was deleted meanwhile; start "
                             "again.")
        zarr.create_group(store=str(folder), attributes=attributes, zarr_format=3)
    return ()


def level_shapes(full: tuple[int, ...], smallest: int = SMALLEST) -> list[tuple[int, ...]]:
    """Shapes of all resolutions, each half of the one before along Y and X, rounded up, until planes have ``smallest`` voxels."""
    shapes = [full]
    while max(shapes[-1][-2:]) > smallest:
        shapes.append((*full[:-2], -(-shapes[-1][-2] // 2), -(-shapes[-1][-1] // 2)))
    return shapes


def level_steps(count: int) -> list[dict[str, int]]:
    """Voxels of the image in one voxel of every resolution, by axis."""
    return [dict.fromkeys("YX", 2**i) for i in range(count)]


def _fill(levels: list[Any], output: Output, axes: str) -> dict[int, tuple[float, float]]:
    """Write every plane at every resolution; returns the smallest and largest value of every channel."""
    order = "".join(a for a in "TCZ" if a in output.layout.axes)
    samples = dict(zip(output.layout.axes, output.layout.shape, strict=True)).get("S", 1)
    ranges: dict[int, tuple[float, float]] = {}
    for at, plane in output.planes(order):
        place = dict(zip(order, at, strict=True))
        for sample in range(samples):
            values = plane[..., sample] if plane.ndim == 3 else plane
            channel = place.get("C", 0) * samples + sample
            where = tuple(channel if a == "C" else place[a] for a in axes[:-2])
            low, high = ranges.get(channel, (np.inf, -np.inf))
            ranges[channel] = (min(low, float(values.min())), max(high, float(values.max())))
            for i, level in enumerate(levels):
                values = halved(values) if i else values
                level[where] = values
    return ranges


def halved(plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Means of 2 by 2 voxels of planes (..., y, x), rounded for integers; an odd last row or column counts twice."""
    odd = [*[(0, 0)] * (plane.ndim - 2), *((0, n % 2) for n in plane.shape[-2:])]
    even = np.pad(plane, odd, mode="edge") if any(n for _, n in odd) else plane
    kind = np.float64 if plane.dtype.itemsize > 2 else np.float32
    upper, lower = even[..., ::2, :].astype(kind), even[..., 1::2, :]
    mean = (upper[..., ::2] + lower[..., ::2] + upper[..., 1::2] + lower[..., 1::2]) / 4
    return np.asarray(np.rint(mean) if plane.dtype.kind in "iu" else mean, dtype=plane.dtype)
