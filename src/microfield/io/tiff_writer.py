"""Writing OME-TIFF: plane by plane, Deflate, readable by everything that reads TIFF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from microfield.io.atomic import atomic_path
from microfield.io.blocks import Job
from microfield.io.tiff_metadata import SOURCE_NAMESPACE
from microfield.io.units import SYMBOLS

BIG_BYTES = 2**32 - 2**25
"""Above this many raw bytes the 64-bit TIFF is written; the 32 MiB are for directories and the description."""


def write(path: Path, job: Job) -> None:
    """Write an OME-TIFF.

    OME wants Y and X last (S behind them for colour), with T, C and Z before in any order; an image whose axes stand
    otherwise is written with these three moved, which its axes in the file say. Axes of size 1 do not come back when the
    file is read: OME does not tell them from absent ones.

    Parameters
    ----------
    path : Path
        The file to write or replace.
    job : Job
        What to write.

    Raises
    ------
    InputError
        The folder does not exist.
    """
    layout = job.layout
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
    with atomic_path(path) as temporary:
        tifffile.imwrite(
            temporary,
            (_stored(plane, samples) for _, plane in job.planes(order)),
            shape=tuple(sizes[a] for a in axes),
            dtype=layout.dtype,
            ome=True,
            bigtiff=layout.nbytes > BIG_BYTES,
            compression="zlib",
            compressionargs={"level": 6},
            metadata=_description(job, axes),
            software="microfield",
            **options,
        )


def _stored(plane: np.ndarray[Any, Any], samples: int) -> np.ndarray[Any, Any]:
    """A plane as the page that holds it: one sample has no axis of its own."""
    return np.ascontiguousarray(plane if samples > 1 else plane.reshape(plane.shape[:2]))


def _description(job: Job, axes: str) -> dict[str, Any]:
    """What goes into the OME-XML."""
    described: dict[str, Any] = {"axes": axes}
    for axis in "ZYX":
        if axis in job.voxel_size:
            # A size without a unit would be read as micrometers.
            symbol = SYMBOLS.get(job.units.get(axis, ""), "reference frame")
            described |= {f"PhysicalSize{axis}": float(job.voxel_size[axis]), f"PhysicalSize{axis}Unit": symbol}
    if "T" in job.voxel_size and job.units.get("T") in SYMBOLS:
        described |= {"TimeIncrement": float(job.voxel_size["T"]), "TimeIncrementUnit": SYMBOLS[job.units["T"]]}
    if job.channel_names and "C" in axes:
        described["Channel"] = {"Name": list(job.channel_names)}
    if job.metadata:
        described["CommentAnnotation"] = {"Namespace": SOURCE_NAMESPACE, "Value": job.metadata}
    return described
