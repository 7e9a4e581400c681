"""What repetition costs: images repeated along T, Z or C, moved, and mixed, at equal bytes, by method.

Everything is made by code from a few real images. Repeated images get the bytes that the image has alone; a good method then
reaches the same PSNR. Prints the table of docs/methods/field.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import shift, zoom

from benchmarks.images import listed
from benchmarks.markdown import table
from microfield import Image
from microfield.errors import MicrofieldError
from microfield.writing.budget import Budget
from microfield.writing.compress import Settings, compress_to_bytes

PLANE, VOLUME, CHANNELS = "fluo2d_nuclei_stardist", "mri_brain1", "multich_hela_16bit"
"""Images that everything is made from."""
SIDE = 192
"""Rows and columns of what is made."""
RATIO = 64.0
"""Compression ratio of an image alone, whose bytes its repetitions get; moving images have it as they are."""
FRAMES = 24
"""Time points of moving images."""

TIMES = {"YX": (("Z", 64), ("T", 64), ("C", 16)), "ZYX": (("T", 10), ("C", 4)), "CYX": (("T", 16),)}
"""Along which axis images with these axes are repeated, and how often."""

Array = npt.NDArray[Any]


class Case(NamedTuple):
    """An image and the bytes that it gets."""

    name: str
    array: Array
    axes: str
    nbytes: int


def repeated(plane: Array, volume: Array, channels: Array) -> Iterator[Case]:
    """Images alone and repeated."""
    for base, axes, name in ((plane, "YX", "a plane"), (volume, "ZYX", "a volume"), (channels, "CYX", "3 channels")):
        nbytes = int(base.nbytes / RATIO)
        yield Case(f"{name}", base, axes, nbytes)
        for axis, n in TIMES[axes]:
            yield Case(f"{name}, {n} times along {axis}", np.repeat(base[None], n, axis=0), axis + axes, nbytes)
    many = np.concatenate([channels, channels.max() - channels, channels, channels])
    yield Case("3 channels, copied and inverted to 12", many, "CYX", int(channels.nbytes / RATIO))


def moving(wide: Array) -> Iterator[Case]:
    """Films of a plane that moves."""
    for name, step in (("pan of 3 pixels a frame", 3.0), ("pan of 2.5 pixels a frame", 2.5)):
        frames = [shift(wide.astype(float), (0, -step * t), order=3, mode="nearest")[:SIDE, :SIDE] for t in range(FRAMES)]
        yield _film(name, frames, wide)
    zoomed = [zoom(wide[:SIDE, :SIDE].astype(float), 1.01**t, order=3)[:SIDE, :SIDE] for t in range(FRAMES)]
    yield _film("zoom of 1 % a frame", zoomed, wide)


def _film(name: str, frames: list[npt.NDArray[np.float64]], like: Array) -> Case:
    """A film of frames, in the type of the plane that they were made from."""
    limits = np.iinfo(like.dtype)
    film = np.clip(np.rint(np.stack(frames)), limits.min, limits.max).astype(like.dtype)
    return Case(name, film, "TYX", int(film.nbytes / RATIO))


def row(case: Case, methods: list[str], effort: int) -> list[str]:
    """PSNR of a case by method."""
    cells = [case.name, str(case.nbytes)]
    for method in methods:
        settings = Settings(method=method, effort=effort, not_labels=True)
        try:
            report = compress_to_bytes(Image(case.array, case.axes), Budget("max_bytes", case.nbytes), settings)[1]
            cells.append(f"{report.psnr:.2f}")
        except MicrofieldError:
            cells.append("cannot")
    return cells


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the images of images.toml")
    parser.add_argument("--methods", default="field,hevc,av1")
    parser.add_argument("--effort", type=int, default=5)
    arguments = parser.parse_args()
    methods = arguments.methods.split(",")

    def loaded(name: str) -> npt.NDArray[Any]:
        values: npt.NDArray[Any] = listed()[name].load(arguments.data).read()
        return values

    plane, volume, channels = loaded(PLANE), loaded(VOLUME), loaded(CHANNELS)
    middle = slice(32, 32 + SIDE)
    cases = [*repeated(plane[middle, middle], volume[:, middle, middle], channels[:, middle, middle]), *moving(plane)]
    print(table(["image", "bytes", *methods], [row(case, methods, arguments.effort) for case in cases]))


if __name__ == "__main__":
    main()
