"""What saliency does: PSNR inside and outside a mask at equal bytes, with the mask weighing nothing, 2 and 4 times as much.

All files are opened again and compared with the original. Prints the table of docs/methods/field.md.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from benchmarks.images import listed
from benchmarks.markdown import table
from microfield import Image
from microfield.reading.file import open_file
from microfield.writing.budget import Budget
from microfield.writing.compress import Settings, compress_to_bytes

IMAGES = {
    "fluo2d_nuclei_stardist": "2-D nuclei",
    "fluo3d_pollen_clean": "3-D pollen",
    "lightsheet_mesospim_nuclei_small": "light-sheet",
    "timelapse_membrane_12bit": "time-lapse",
    "multich_hela_16bit": "3 channels",
    "histology_ihc_rgb": "RGB",
}
RATIOS = (32.0, 128.0)
WEIGHTS = (2.0, 4.0)
DISC = 0.1
"""Share of a plane that the disc covers."""
OBJECTS = 0.15
"""Share of voxels that the objects cover: the brightest of every channel after smoothing by `SMOOTHED` voxels."""
SMOOTHED = 1.5
SQUARE = 16
"""Side of the squares of the random half."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Quality:
    """PSNR in dB inside and outside a mask."""

    inside: float
    outside: float


def masks(image: Image) -> dict[str, Mask]:
    """Masks of an image's shape by name; the disc and the squares are the same in all planes and channels."""
    height, width = (image.shape[image.axes.index(a)] for a in "YX")
    y, x = np.ogrid[:height, :width]
    disc = (y - height / 2) ** 2 + (x - width / 2) ** 2 < DISC * height * width / np.pi
    squares = np.random.default_rng(0).random((-(-height // SQUARE), -(-width // SQUARE))) < 0.5
    half = np.kron(squares, np.ones((SQUARE, SQUARE), np.bool_))[:height, :width]
    return {"disc": _in_all_planes(disc, image), "objects": _objects(image), "half": _in_all_planes(half, image)}


def _in_all_planes(plane: Mask, image: Image) -> Mask:
    """A plane (y, x) as an array of the image's shape."""
    sizes = dict(zip(image.axes, image.shape, strict=True))
    turned = plane if image.axes.index("Y") < image.axes.index("X") else plane.T
    return np.broadcast_to(turned.reshape([sizes[a] if a in "YX" else 1 for a in image.axes]), image.shape)


def _objects(image: Image) -> Mask:
    """The brightest voxels of every channel."""
    smooth = gaussian_filter(image.read().astype(np.float64), [SMOOTHED if a in "YX" else 0 for a in image.axes])
    return np.asarray(smooth > np.quantile(smooth, 1 - OBJECTS, axis=_not_channels(image), keepdims=True))


def _not_channels(image: Image) -> tuple[int, ...]:
    return tuple(i for i, a in enumerate(image.axes) if a not in "CS")


def measured(image: Image, data: bytes, mask: Mask) -> Quality:
    """PSNR of a file inside and outside a mask; errors count relative to the range of their channel."""
    original = image.read().astype(np.float64)
    span = np.ptp(original, axis=_not_channels(image), keepdims=True)
    square = ((np.asarray(open_file(data)[...]) - original) / span) ** 2
    return Quality(*(float(-10 * np.log10(square[where].mean())) for where in (mask, ~mask)))


def rows(image: Image, kind: str, ratio: float, settings: dict[str, Any]) -> list[list[str]]:
    """A row of the table for every mask."""
    budget, found = Budget("ratio", ratio), []
    plain = compress_to_bytes(image, budget, Settings(**settings))[0]
    for name, mask in masks(image).items():
        before = measured(image, plain, mask)
        cells = [kind, f"{ratio:g}", f"{name}, {mask.mean():.0%}", f"{before.inside:.2f} / {before.outside:.2f}"]
        for weight in WEIGHTS:
            salient = Settings(saliency=mask, saliency_weight=weight, **settings)
            after = measured(image, compress_to_bytes(image, budget, salient)[0], mask)
            cells.append(f"{after.inside - before.inside:+.2f} / {after.outside - before.outside:+.2f}")
        found.append(cells)
    return found


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the images of images.toml")
    parser.add_argument("--images", default=",".join(IMAGES), help="names of images")
    parser.add_argument("--effort", type=int, default=5)
    parser.add_argument("--emphasis", type=float, default=2.0, help="the option of `field`")
    arguments = parser.parse_args()
    settings = {"effort": arguments.effort, "options": {"emphasis": arguments.emphasis}}
    body = []
    for name in arguments.images.split(","):
        image = listed()[name].load(arguments.data)
        for ratio in RATIOS:
            body += rows(image, IMAGES.get(name, name), ratio, settings)
    head = ["image", "ratio", "mask", "without", *(f"weight {w:g}" for w in WEIGHTS)]
    print(table(head, body))


if __name__ == "__main__":
    main()
