"""Writing OME-TIFF: plane by plane, Deflate, readable by everything that reads TIFF."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from microfield.io.annotations import annotation_of
from microfield.io.atomic import atomic_path
from microfield.io.blocks import Output
from microfield.io.ome import DISPLAY_NAMESPACE, SOURCE_NAMESPACE, colour_number
from microfield.io.ome_acquisition import with_acquisition
from microfield.units import SYMBOLS

BIG_BYTES = 2**32 - 2**25
"""An image of more raw bytes becomes a 64-bit TIFF: offsets of 32 bits reach 4 GiB, 32 MiB of which are left for all else."""


def write(path: Path, output: Output) -> tuple[str, ...]:
    """Write an OME-TIFF.

    OME has T, C and Z in any order, then Y, X and, for colour, S. Axes of an image in another order are moved, and the file says
    where they are. Axes of extent 1 do not come back when the file is read, since OME cannot tell them from absent ones.

    Parameters
    ----------
    path : Path
        The file to write or replace.
    output : Output
        What to write.

    Returns
    -------
    tuple of str
        What OME has no place for and no annotation keeps, in words.

    Raises
    ------
    InputError
        The folder does not exist.
    """
    layout = output.layout
    sizes = dict(zip(layout.axes, layout.shape, strict=True))
    order = "".join(a for a in layout.axes if a not in "YXS")
    samples = sizes.get("S", 1)
    axes = order + "YX" + ("S" if samples > 1 else "")
    options: dict[str, Any] = {}
    if samples > 1:
        options |= {"photometric": "rgb" if samples in (3, 4) else "minisblack", "planarconfig": "contig"}
        extra = samples - (3 if samples in (3, 4) else 1)
        options["extrasamples"] = ("unspecified",) * extra if extra else None
    else:
        options["photometric"] = "minisblack"
    with atomic_path(path, output.overwrite) as temporary:
        tifffile.imwrite(
            temporary,
            (_stored(plane, samples) for _, plane in output.planes(order)),
            shape=tuple(sizes[a] for a in axes),
            dtype=layout.dtype,
            ome=True,
            bigtiff=layout.nbytes > BIG_BYTES,
            compression="zlib",
            compressionargs={"level": 6},
            metadata=_description(output, axes),
            software="microfield",
            **options,
        )
        if output.acquisition.lens or output.acquisition.position:
            text = tifffile.tiffcomment(temporary)
            assert isinstance(text, str)
            tifffile.tiffcomment(temporary, with_acquisition(text, output.acquisition).encode())
    timed = "T" not in output.voxel_size or output.units.get("T") in SYMBOLS
    return () if timed else ("the time increment, which has no unit",)


def _stored(plane: np.ndarray[Any, Any], samples: int) -> np.ndarray[Any, Any]:
    """A plane as the page that holds it: one sample has no axis of its own."""
    return np.ascontiguousarray(plane if samples > 1 else plane.reshape(plane.shape[:2]))


def _description(output: Output, axes: str) -> dict[str, Any]:
    """What goes into the OME-XML, as tifffile takes it."""
    described: dict[str, Any] = {"axes": axes}
    for axis in "ZYX":
        if axis in output.voxel_size:
            # Readers take a size without a unit for micrometers, so a size of unknown unit says so.
            symbol = SYMBOLS.get(output.units.get(axis, ""), "reference frame")
            described |= {f"PhysicalSize{axis}": float(output.voxel_size[axis]), f"PhysicalSize{axis}Unit": symbol}
    if "T" in output.voxel_size and output.units.get("T") in SYMBOLS:
        described |= {"TimeIncrement": float(output.voxel_size["T"]), "TimeIncrementUnit": SYMBOLS[output.units["T"]]}
    if output.acquisition.date:
        described["AcquisitionDate"] = _plain(output.acquisition.date)
    channels = _channels(output)
    if any(channels):
        described["Channel"] = channels
    kept = annotation_of(output.display, output.layout.axes, ranges=True)
    if kept:
        values = {name: json.dumps(value, ensure_ascii=False) for name, value in kept.items()}
        described["MapAnnotation"] = {"Namespace": DISPLAY_NAMESPACE, "Value": values}
    if output.metadata:
        described["CommentAnnotation"] = {"Namespace": SOURCE_NAMESPACE, "Value": _plain(output.metadata)}
    return described


def _channels(output: Output) -> list[dict[str, Any]]:
    """Name and colour of every channel, as far as they are known."""
    count = dict(zip(output.layout.axes, output.layout.shape, strict=True)).get("C", 1)
    channels: list[dict[str, Any]] = [{} for _ in range(count)]
    for channel, name in zip(channels, output.channel_names, strict=False):
        channel["Name"] = _plain(name)
    for channel, shown in zip(channels, output.display.channels, strict=False):
        if shown.colour is not None:
            channel["Color"] = colour_number(shown.colour)
    return channels


def _plain(text: str) -> str:
    """A text with spaces for the control characters that XML cannot hold."""
    return "".join(c if c >= " " or c in "\t\n\r" else " " for c in text)
