"""Time of compressions: small crops against a second, and calls with a time limit against their limit.

    python -m benchmarks.encode_time small --data FOLDER [--names TEXT ...]
    python -m benchmarks.encode_time limits --data FOLDER --names TEXT ... [--methods field hevc auto] [--seconds 2 4 8]

Both count processor time, which other programs on the machine change less than the time of day: the clock of the limits is replaced
by it. Prints a line a call.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np

from microfield.image import Image
from microfield.io import open_image
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes
from microfield.writing.settings import Settings

SMALL = {"T": 5, "Z": 20, "C": 3, "Y": 160, "X": 160}
"""Extents of small crops, at most; rows and columns are cut further until there are less than 0.2 million voxels."""
MOST = 200_000


def main() -> int:
    """Measure; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("small", "limits"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--names", nargs="*", default=[], help="only images whose name holds one of these")
    parser.add_argument("--methods", nargs="*", default=["field"])
    parser.add_argument("--seconds", nargs="*", type=float, default=[2.0, 4.0, 8.0])
    parser.add_argument("--ratio", type=float, default=50.0)
    arguments = parser.parse_args()
    for image in images(arguments.data, arguments.names):
        for method in arguments.methods:
            if arguments.what == "small":
                report(crop(image), method, arguments.ratio, None)
                continue
            for seconds in arguments.seconds:
                report(image, method, arguments.ratio, seconds)
    return 0


def images(folder: Path, names: list[str]) -> Iterator[Image]:
    """The images of a folder that are no labels."""
    for path in sorted(folder.glob("*.tif")):
        if not path.name.endswith(("_labels.ome.tif", "_mask.ome.tif")) and (not names or any(n in path.name for n in names)):
            yield open_image(path)


def crop(image: Image) -> Image:
    """The middle of an image, less than `MOST` voxels."""
    sizes = {axis: min(n, SMALL.get(axis, n)) for axis, n in image.sizes.items()}
    while np.prod(list(sizes.values())) > MOST:
        for axis in "YX":
            sizes[axis] = int(sizes[axis] * 0.9)
    box = tuple(slice((n - sizes[a]) // 2, (n - sizes[a]) // 2 + sizes[a]) for a, n in image.sizes.items())
    return Image(np.ascontiguousarray(image.read(box)), image.axes, name=image.name)


def report(image: Image, method: str, ratio: float, seconds: float | None) -> None:
    """Compress, and print what it took."""
    settings = Settings(method=method, time_limit=seconds, not_labels=True)
    with mock.patch("time.monotonic", time.process_time):
        begin = time.process_time()
        _, made = compress_to_bytes(image, Budget("ratio", ratio), settings)
        took = time.process_time() - begin
    limit = "" if seconds is None else f" of {seconds:g} s"
    print(f"{image.name:45} {image.layout.size / 1e6:6.2f} Mvoxel  {made.method:8} {took:5.2f} s{limit}  {made.psnr:6.2f} dB  "
          f"{made.used or 0:.1%} used{'  cut short' if made.cut_short else ''}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
