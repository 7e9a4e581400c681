"""Writing OME-Zarr 0.5 (Zarr 3): the full resolution and a pyramid of smaller ones, plane by plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.display import ChannelDisplay
from microfield.errors import InputError, MissingExtraError
from microfield.io.annotations import annotation_of
from microfield.io.atomic import atomic_directory
from microfield.io.blocks import Output
from microfield.io.destination import is_node
from microfield.io.zarr import OWN_ATTRIBUTES

CHUNK = 1024
"""Longest side of a chunk in Y and X; the other axes have chunks of 1."""

SMALLEST = 512
"""Resolutions are added until the longer side of a plane is at most this many voxels."""

SAMPLE_NAMES = ("red", "green", "blue", "alpha")
SAMPLE_COLOURS = ("FF0000", "00FF00", "0000FF", "FFFFFF")
"""What viewers call colour samples and show them in, as RGB in hexadecimal."""

COLOURS = ("FFFFFF", "00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF")
"""What viewers show channels in, in turn: white, green, magenta, cyan, yellow, red, blue."""

TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}
"""OME-Zarr's type of every axis."""


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
    sizes = dict(zip(output.layout.axes, output.layout.shape, strict=True))
    samples = sizes.get("S", 1)
    if "S" in sizes:
        sizes["C"] = sizes.get("C", 1) * samples
    axes = "".join(a for a in "TCZYX" if a in sizes)
    shapes = _level_shapes(tuple(sizes[a] for a in axes))
    with atomic_directory(path, output.overwrite) as folder:
        levels = [
            zarr.create_array(
                store=str(folder / str(i)), shape=shape, dtype=output.layout.dtype, zarr_format=3,
                chunks=(*(1,) * (len(shape) - 2), min(CHUNK, shape[-2]), min(CHUNK, shape[-1])),
                dimension_names=[a.lower() for a in axes],
            )
            for i, shape in enumerate(shapes)
        ]  # fmt: skip
        ranges = _fill(levels, output, axes, samples)
        attributes: dict[str, Any] = {"ome": _metadata(path, output, axes, shapes, samples, ranges)}
        own: dict[str, Any] = {"source_metadata": output.metadata} if output.metadata else {}
        kept = annotation_of(output.display, output.layout.axes, ranges=False)
        own |= {"display": kept} if kept else {}
        if own:
            attributes[OWN_ATTRIBUTES] = own
        if gone := [i for i in range(len(shapes)) if not is_node(folder / str(i))]:  # Zarr makes folders of chunks anew.
            raise InputError(f"{path} was not written: the unfinished folder {folder / str(gone[0])} was deleted meanwhile; start "
                             "again.")
        zarr.create_group(store=str(folder), attributes=attributes, zarr_format=3)
    return ()


def _level_shapes(full: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Shapes of all resolutions, each half of the one before along Y and X, rounded up."""
    shapes = [full]
    while max(shapes[-1][-2:]) > SMALLEST:
        shapes.append((*full[:-2], -(-shapes[-1][-2] // 2), -(-shapes[-1][-1] // 2)))
    return shapes


def _fill(levels: list[Any], output: Output, axes: str, samples: int) -> dict[int, tuple[float, float]]:
    """Write every plane at every resolution; returns the smallest and largest value of every channel."""
    order = "".join(a for a in "TCZ" if a in output.layout.axes)
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
    """Means of 2 by 2 voxels of a plane (y, x), rounded for integers; an odd last row or column counts twice."""
    odd = [(0, n % 2) for n in plane.shape]
    even = np.pad(plane, odd, mode="edge") if any(n for _, n in odd) else plane
    kind = np.float64 if plane.dtype.itemsize > 2 else np.float32
    mean = (even[::2, ::2].astype(kind) + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
    return np.asarray(np.rint(mean) if plane.dtype.kind in "iu" else mean, dtype=plane.dtype)


def _metadata(
    path: Path, output: Output, axes: str, shapes: list[tuple[int, ...]], samples: int, ranges: dict[int, tuple[float, float]]
) -> dict[str, Any]:
    """The ``ome`` attributes: axes, scale of every resolution, and how viewers show the channels (see `_fill` for ``ranges``)."""
    described = []
    for axis in axes:
        entry = {"name": axis.lower(), "type": TYPES[axis]}
        if axis != "C" and axis in output.units:
            entry["unit"] = output.units[axis]
        described.append(entry)
    datasets = []
    for i in range(len(shapes)):
        scale = [float(output.voxel_size.get(a, 1.0)) * (2**i if a in "YX" else 1) for a in axes]
        datasets.append({"path": str(i), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    name = path.name.removesuffix(".zarr").removesuffix(".ome")
    ome: dict[str, Any] = {
        "version": "0.5",
        "multiscales": [{"name": name, "axes": described, "datasets": datasets, "type": "mean"}],
    }
    if "C" in axes or output.channel_names or output.display.channels:
        model = "greyscale" if output.display.mode == "grayscale" else "color"
        ome["omero"] = {"channels": _channels(output, samples, ranges), "rdefs": {"model": model}}
    return ome


def _channels(output: Output, samples: int, ranges: dict[int, tuple[float, float]]) -> list[dict[str, Any]]:
    """Name, colour and range of every channel, for viewers: those of the image, or usual ones where it has none."""
    channels = []
    names, displays = output.channel_names, output.display.channels
    for i, (low, high) in sorted(ranges.items()):
        channel, sample = divmod(i, samples)
        label = names[channel] if names else ""
        shown = displays[channel] if displays else ChannelDisplay()
        colour = COLOURS[channel % len(COLOURS)] if shown.colour is None else bytes(shown.colour).hex().upper()
        if samples > 1:
            tint = SAMPLE_NAMES[sample] if sample < len(SAMPLE_NAMES) else f"sample {sample}"
            label = f"{label} {tint}".strip()
            colour = SAMPLE_COLOURS[min(sample, 3)]
        start, end = shown.range or (low, high)
        window = {"min": min(low, start), "max": max(high, end), "start": start, "end": end}
        channels.append({"label": label, "color": colour, "active": not shown.hidden, "window": window})
    return channels
