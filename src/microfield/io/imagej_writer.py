"""Writing the TIFF hyperstacks of ImageJ and Fiji: with lookup tables, display ranges, labels of slices and value calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from microfield.display import Display, rearranged
from microfield.errors import InputError
from microfield.io.atomic import atomic_path
from microfield.io.blocks import Output
from microfield.io.imagej import POLYNOMIALS, shift_of, shifted
from microfield.units import to_standard

TYPES = ("uint8", "uint16", "int16", "float32")
"""Types of values that ImageJ opens."""

MOST_BYTES = 2**32 - 2**25
"""Raw bytes that a file of ImageJ's kind can hold, with room for everything else."""


def write(path: Path, output: Output) -> tuple[str, ...]:
    """Write a hyperstack, uncompressed, so that ImageJ opens it as fast and as large as it can.

    Its axes are T, Z, C, Y and X in this order, and those of an image in another one are moved. Where there are no labels of
    planes, the names of the channels become those.

    Parameters
    ----------
    path : Path
        The file to write or replace.
    output : Output
        What to write.

    Returns
    -------
    tuple of str
        What ImageJ has no place for, in words.

    Raises
    ------
    InputError
        ImageJ does not open images of this type or size.
    """
    layout = output.layout
    sizes = dict(zip(layout.axes, layout.shape, strict=True))
    _check(path, output, sizes)
    order = "".join(a for a in "TZC" if a in sizes)
    axes = order + "YX" + ("S" if "S" in sizes else "")
    moved = {a: sizes[a] for a in axes}
    display = output.display
    labels = rearranged(display.plane_labels, "".join(a for a in layout.axes if a in order), moved) if display.plane_labels else ()
    metadata, lost = _display(display, layout.dtype)
    if not labels and output.channel_names:
        labels = rearranged(output.channel_names, "C", moved)
    elif output.channel_names:
        lost.append("channel names")
    options, unsized = _sizes(output)
    metadata |= options.pop("metadata") | {"axes": axes} | ({"Labels": list(labels)} if labels else {})
    metadata |= {"Info": output.metadata} if output.metadata else {}
    colours = display.channels[0].table if len(display.channels) == 1 and layout.dtype == np.uint8 else None
    if colours is not None:  # Of an 8-bit image ImageJ keeps the table where TIFF has it.
        options["colormap"] = np.frombuffer(colours, np.uint8).reshape(3, 256).astype(np.uint16) * 257
        metadata.pop("LUTs", None)
    planes = (np.ascontiguousarray(plane) for _, plane in output.planes(order))
    with atomic_path(path, output.overwrite) as temporary:
        tifffile.imwrite(temporary, planes, shape=tuple(moved.values()), dtype=layout.dtype, imagej=True, metadata=metadata,
                         **options)
    return (*unsized, *lost, *output.acquisition.facts())


def _check(path: Path, output: Output, sizes: dict[str, int]) -> None:
    """Refuse what ImageJ does not open."""
    layout, other = output.layout, f"write {path.name[: -len(''.join(path.suffixes[-2:]))]}.ome.tif instead"
    if layout.dtype.name not in TYPES:
        raise InputError(f"ImageJ opens {', '.join(TYPES)} values, not {layout.dtype.name}; {other}.")
    if "S" in sizes and (sizes["S"] != 3 or layout.dtype != np.uint8 or "C" in sizes):
        raise InputError(f"ImageJ opens colour of three 8-bit samples and no channels besides; {other}.")
    if layout.nbytes > MOST_BYTES:
        raise InputError(f"{path.name} would take {layout.nbytes} bytes, more than the 4 GiB that ImageJ opens; select less, or "
                         f"{other}.")


def _sizes(output: Output) -> tuple[dict[str, Any], list[str]]:
    """Options and metadata for the steps along the axes, in micrometers and seconds, and what of them has no unit."""
    steps = {a: to_standard(v, output.units.get(a, ""), a) for a, v in output.voxel_size.items()}
    known = {a: step[0] for a, step in steps.items() if step is not None}
    metadata: dict[str, Any] = {"unit": "um"} if {"X", "Y", "Z"} & set(known) else {}
    metadata |= {key: known[a] for key, a in (("spacing", "Z"), ("finterval", "T")) if a in known}
    options: dict[str, Any] = {"metadata": metadata}
    if {"X", "Y"} <= set(known):
        options["resolution"] = (1 / known["X"], 1 / known["Y"])
    lost = [f"the step along {a}, which has no unit" for a, step in steps.items() if step is None]
    if len({"X", "Y"} & set(known)) == 1:
        lost.append("the pixel size, which is known along one axis only")
    return options, lost


def _display(display: Display, dtype: np.dtype[Any]) -> tuple[dict[str, Any], list[str]]:
    """Metadata for how the image is meant to be seen, and what of it ImageJ has no place for."""
    channels, metadata, lost = display.channels, dict[str, Any](), list[str]()
    if any(c.colour is not None or c.table is not None for c in channels):
        metadata["LUTs"] = [c.entries for c in channels]
    shift = shift_of(dtype)
    ranges = [(c.range[0] + shift, c.range[1] + shift) for c in channels if c.range is not None]
    if len(ranges) == len(channels) == 1:
        metadata |= {"min": ranges[0][0], "max": ranges[0][1]}
    elif ranges and len(ranges) == len(channels):
        metadata["Ranges"] = tuple(v for limits in ranges for v in limits)
    elif ranges:
        lost.append("display ranges, which are not known for every channel")
    if len(channels) > 1:
        metadata["mode"] = display.mode or ("composite" if "LUTs" in metadata else "grayscale")
    if any(c.hidden for c in channels):
        lost.append("hidden channels")
    known = display.calibration
    if known is not None:
        function = next((number for number, count in POLYNOMIALS.items() if count == len(known.coefficients)), None)
        if function is None or dtype.kind == "f":
            lost.append("value calibration")
        else:
            metadata |= {"cf": function, "vunit": known.unit}
            metadata |= {f"c{i}": c for i, c in enumerate(shifted(known, -shift).coefficients)}
    return metadata, lost
