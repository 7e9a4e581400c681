"""What repetition costs: images repeated along T, Z or C, moved, and mixed, at equal bytes, by method.

Everything is made by code from a few real images. Repeated images get the bytes that the image has alone; a good method then
reaches the same PSNR. Rows are appended to benchmarks/redundancy.jsonl, and not repeated when the program is started again.
Prints the table of docs/methods/field.md.
"""

from __future__ import annotations

import argparse
import json
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
from microfield.methods import get_method
from microfield.writing.budget import Budget
from microfield.writing.compress import Settings, compress_to_bytes

PLANE, VOLUME, CHANNELS = "fluo2d_nuclei_stardist", "mri_brain1", "multich_hela_16bit"
"""Images that everything is made from."""
ROWS = Path(__file__).parent / "redundancy.jsonl"
TWO = "timelapse_2ch_mitosis"
"""A film of two channels, whose frames are put in turn as those of label and control experiments are."""
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
    left, right = wide[:SIDE, : SIDE // 2].astype(float), wide[:SIDE, SIDE // 2 : SIDE].astype(float)
    halves = ([shift(half, (0, by * t), order=3, mode="nearest") for half, by in ((left, -1.5), (right, 1.5))]
              for t in range(FRAMES))
    apart = [np.concatenate(pair, axis=1) for pair in halves]
    yield _film("two halves that move apart by 1.5 pixels a frame each", apart, wide)


def alternating(film: Array) -> Iterator[Case]:
    """Films whose frames come from two channels in turn, and a film with one odd frame, from one of shape (T, C, Y, X)."""
    one, other = film[:FRAMES, 0], film[:FRAMES, 1]
    mixed = np.stack([one, other], axis=1).reshape(-1, *one.shape[1:])
    yield Case("label and control frames in turn", mixed, "TYX", int(mixed.nbytes / RATIO))
    yield Case("the same, label frames first", np.concatenate([one, other]), "TYX", int(mixed.nbytes / RATIO))
    odd = np.concatenate([one[: FRAMES // 2], other[:1], one[FRAMES // 2 :]])
    yield Case("one odd frame", odd, "TYX", int(odd.nbytes / RATIO))
    yield Case("the same without it", one, "TYX", int(odd.nbytes / RATIO))


def _film(name: str, frames: list[npt.NDArray[np.float64]], like: Array) -> Case:
    """A film of frames, in the type of the plane that they were made from."""
    limits = np.iinfo(like.dtype)
    film = np.clip(np.rint(np.stack(frames)), limits.min, limits.max).astype(like.dtype)
    return Case(name, film, "TYX", int(film.nbytes / RATIO))


def row(case: Case, method: str, effort: int, path: Path) -> dict[str, Any]:
    """A case with a method, measured unless the file of rows has it; PSNR None where the method cannot code the image."""
    named = {"image": case.name, "bytes": case.nbytes, "method": method, "version": get_method(method).bitstream_version,
             "effort": effort}
    for known in read(path):
        if known.items() >= named.items():
            return known
    try:
        settings = Settings(method=method, effort=effort, not_labels=True)
        psnr = compress_to_bytes(Image(case.array, case.axes), Budget("max_bytes", case.nbytes), settings)[1].psnr
    except MicrofieldError:
        psnr = None
    with path.open("a", encoding="utf-8") as out:
        out.write(json.dumps(named | {"psnr": psnr}) + "\n")
    return named | {"psnr": psnr}


def read(path: Path) -> list[dict[str, Any]]:
    """Rows that were measured."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the images of images.toml")
    parser.add_argument("--methods", default="field,hevc,av1")
    parser.add_argument("--effort", type=int, default=5)
    parser.add_argument("--only", default="", help="cases whose names hold this text")
    parser.add_argument("--rows", type=Path, default=ROWS)
    arguments = parser.parse_args()
    methods = arguments.methods.split(",")

    def loaded(name: str) -> npt.NDArray[Any]:
        values: npt.NDArray[Any] = listed()[name].load(arguments.data).read()
        return values

    plane, volume, channels = loaded(PLANE), loaded(VOLUME), loaded(CHANNELS)
    middle = slice(32, 32 + SIDE)
    cases = [*repeated(plane[middle, middle], volume[:, middle, middle], channels[:, middle, middle]), *moving(plane),
             *alternating(loaded(TWO))]
    lines = []
    for case in cases:
        if arguments.only in case.name:
            found = [row(case, method, arguments.effort, arguments.rows)["psnr"] for method in methods]
            lines.append([case.name, str(case.nbytes), *("cannot" if p is None else f"{p:.2f}" for p in found)])
    print(table(["image", "bytes", *methods], lines))


if __name__ == "__main__":
    main()
