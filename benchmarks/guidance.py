"""What guidance does: segmentations and PSNR of copies made with and without it, at equal ratio. Prints the tables of docs/studies.

The judges are not differentiable and share no code with the guidance: `microfield.analysis`, whose filters are others, and whose
thresholds are Otsu's (lines, nuclei) or 6 standard deviations of the noise (spots), found on each image by itself ("own"), or found
on the original and used on both ("fixed"). Files are opened again. Rows are kept in a file, and those that are there are not
measured again.
"""

from __future__ import annotations

import argparse
import json
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.images import Listed
from benchmarks.markdown import table
from microfield import Image, open_image
from microfield.analysis.filters import ridge_response, smooth, spot_response
from microfield.analysis.segmentation import (
    RIDGE_SCALES,
    SEGMENTERS,
    SMOOTHING,
    SPOT_SIGMA,
    agreement,
    otsu_threshold,
    spot_threshold,
)
from microfield.reading.file import open_file
from microfield.writing.budget import Budget
from microfield.writing.compress import Settings, compress_to_bytes

Array = npt.NDArray[Any]

SEGMENTER = {"filament": "filament", "spots": "spots", "nuclei": "otsu"}
"""The segmenter of `microfield.analysis` that judges a recipe."""


@dataclass(frozen=True)
class Row:
    """One image, compressed by one method without and with guidance; pairs are (without, with)."""

    image: str
    recipe: str
    method: str
    ratio: float
    effort: int
    nbytes: tuple[int, int]
    psnr: tuple[float, float]
    own: tuple[float, float]
    fixed: tuple[float, float]
    seconds: tuple[float, float]

    @classmethod
    def of(cls, values: dict[str, Any]) -> Row:
        """A row from the JSON that keeps it."""
        known: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(**known)

    @property
    def key(self) -> tuple[Any, ...]:
        """What is not measured twice."""
        return self.image, self.recipe, self.method, self.ratio, self.effort


@dataclass(frozen=True)
class Case:
    """An image, or a channel of one, and its recipe."""

    listed: Listed
    channel: int | None
    recipe: str

    @property
    def name(self) -> str:
        """As it is shown."""
        return self.listed.name + ("" if self.channel is None else f", channel {self.channel}")

    def load(self, folder: Path) -> Image:
        """Open the image after checking its checksum."""
        self.listed.check(folder)
        return open_image(folder / self.listed.file, channel=self.channel)


def cases() -> list[Case]:
    """Those of guidance.toml."""
    found = tomllib.loads((Path(__file__).parent / "guidance.toml").read_text(encoding="utf-8"))["image"]
    return [Case(Listed(e["file"], e["recipe"], e["source"], e["licence"], e["sha256"]), e.get("channel"), e["recipe"])
            for e in found]


def fields(image: Image, values: Array) -> list[Array]:
    """The planes or volumes of an array of the image's shape, each for itself."""
    order = [i for i, a in enumerate(image.axes) if a not in "ZYX"] + [i for i, a in enumerate(image.axes) if a in "ZYX"]
    spatial = [n for a, n in zip(image.axes, image.shape, strict=True) if a in "ZYX" and (a != "Z" or n > 1)]
    return list(values.transpose(order).reshape(-1, *spatial))


def pooled(masks: Sequence[tuple[Array, Array]]) -> float:
    """IoU over all fields."""
    both, first, second = (sum(int(np.count_nonzero(f(a, b))) for a, b in masks)
                           for f in (np.logical_and, lambda a, b: a, lambda a, b: b))
    return agreement(both, first, second)[0]


def own(image: Image, original: Array, copy: Array, recipe: str) -> float:
    """IoU of the segmentations of two images, thresholds found on each."""
    segment = SEGMENTERS[SEGMENTER[recipe]]
    return pooled([(segment(a), segment(b)) for a, b in zip(fields(image, original), fields(image, copy), strict=True)])


def fixed(image: Image, original: Array, copy: Array, recipe: str) -> float:
    """The same with the thresholds of the original."""
    response, threshold = RESPONSES[recipe]
    masks = []
    for a, b in zip(fields(image, original), fields(image, copy), strict=True):
        low, span = float(a.min()), float(np.ptp(a)) or 1.0
        first, second = (response(((v.astype(np.float64) - low) / span).astype(np.float32)) for v in (a, b))
        limit = threshold(first)
        masks.append((first > limit, second > limit))
    return pooled(masks)


RESPONSES: dict[str, tuple[Callable[[Array], Array], Callable[[Array], float]]] = {
    "filament": (lambda f: np.maximum.reduce([ridge_response(f, s) for s in RIDGE_SCALES]), otsu_threshold),
    "spots": (lambda f: spot_response(f, SPOT_SIGMA), spot_threshold),
    "nuclei": (lambda f: smooth(f, SMOOTHING), otsu_threshold),
}


def measured(case: Case, image: Image, method: str, ratio: float, effort: int) -> Row:
    """Compress an image twice and judge both copies."""
    original, pairs = image.read(), []
    for guide in (None, case.recipe):
        begin = time.monotonic()
        data, report = compress_to_bytes(image, Budget("ratio", ratio), Settings(method=method, guide=guide, effort=effort))
        seconds = time.monotonic() - begin
        copy = np.asarray(open_file(data)[...])
        pairs.append((len(data), float(report.psnr), own(image, original, copy, case.recipe),
                      fixed(image, original, copy, case.recipe), seconds))
    nbytes, psnr, by_own, by_fixed, seconds_of = zip(*pairs, strict=True)
    return Row(case.name, case.recipe, method, ratio, effort, nbytes, psnr, by_own, by_fixed, seconds_of)


def shown(rows: Sequence[Row]) -> str:
    """Two tables: every row, and the means and worst cases of recipes."""
    head = ["image", "recipe", "PSNR dB", "guided", "IoU", "guided", "IoU, fixed threshold", "guided", "s", "guided"]
    body = [[r.image, r.recipe, f"{r.psnr[0]:.2f}", f"{r.psnr[1] - r.psnr[0]:+.2f}", f"{r.own[0]:.3f}",
             f"{r.own[1] - r.own[0]:+.3f}", f"{r.fixed[0]:.3f}", f"{r.fixed[1] - r.fixed[0]:+.3f}", f"{r.seconds[0]:.1f}",
             f"{r.seconds[1]:.1f}"] for r in rows]
    means = []
    for recipe in (*SEGMENTER, "all"):
        some = [r for r in rows if recipe in (r.recipe, "all")]
        if some:
            d, o, f = (np.asarray([getattr(r, k)[1] - getattr(r, k)[0] for r in some]) for k in ("psnr", "own", "fixed"))
            means.append([recipe, str(len(some)), f"{d.mean():+.2f} ({d.min():+.2f})", f"{o.mean():+.3f} ({o.min():+.3f})",
                          f"{f.mean():+.3f} ({f.min():+.3f})"])
    summary = ["recipe", "images", "PSNR dB: mean (worst)", "IoU: mean (worst)", "IoU, fixed threshold: mean (worst)"]
    return table(summary, means) + "\n" + table(head, body)


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the images of guidance.toml")
    parser.add_argument("--method", default="field")
    parser.add_argument("--ratio", type=float, default=256.0)
    parser.add_argument("--effort", type=int, default=5)
    parser.add_argument("--images", default="", help="part of the names of the images to take; all without")
    parser.add_argument("--rows", type=Path, default=Path("guidance.jsonl"), help="where rows are kept")
    arguments = parser.parse_args()
    known = []
    if arguments.rows.exists():
        lines = arguments.rows.read_text(encoding="utf-8").splitlines()
        known = [Row.of(json.loads(line)) for line in lines]
    there, rows = {row.key: row for row in known}, []
    for case in cases():
        if not any(part in case.name for part in arguments.images.split(",")):
            continue
        key = (case.name, case.recipe, arguments.method, arguments.ratio, arguments.effort)
        if key not in there:
            there[key] = measured(case, case.load(arguments.data), arguments.method, arguments.ratio, arguments.effort)
            with arguments.rows.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(there[key])) + "\n")
        rows.append(there[key])
    print(shown(rows))


if __name__ == "__main__":
    main()
