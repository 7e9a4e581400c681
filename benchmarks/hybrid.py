"""What `hybrid` gains over its prior alone at the same bytes: measured, kept in `hybrid.jsonl`, written to docs/studies/hybrid.md.

    python -m benchmarks.hybrid --data FOLDER [--priors hevc,av1,field] [--tasks gain,network,spots] [--report-only]

Each image is compressed by `hybrid` at a ratio, then by its prior alone to the size of that file. Networks that ship are those that
never saw the image. Rows that are there are not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from benchmarks.comparison import unseen
from benchmarks.hybrid_report import page
from benchmarks.images import listed
from microfield import Image, open_image
from microfield.analysis.spots import find_spots
from microfield.errors import BudgetError, MicrofieldError
from microfield.reading.file import open_file
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes
from microfield.writing.settings import Settings

HERE = Path(__file__).parent
ROWS, PAGE = HERE / "hybrid.jsonl", HERE.parent / "docs" / "studies" / "hybrid.md"
IMAGES = (
    "fluo3d_nuclei_confocal", "fluo3d_pollen_clean", "lightsheet_lattice_raw", "fluo2d_protein_control", "spots2d_terra",
    "multich_hela_16bit", "multiplex_imc_e34", "timelapse_hela_h2b", "fluo2d_t_golgi_float", "5d_celldivision",
    "labelfree_celegans_bf_gfp", "histology_ihc_rgb", "em_celegans_volume", "ct_lung1", "mri_brain1",
)
"""One or two of every kind."""
RATIOS = (32.0, 128.0, 512.0)
NETWORK_IMAGES = ("spots2d_terra", "multiplex_imc_e34", "fluo2d_t_golgi_float", "5d_celldivision", "histology_ihc_rgb")
"""Images whose residual a network codes, too: the smaller ones."""
NETWORK_RATIO = 128.0
PUNCTATE = ("spots2d_terra", "spots3d_16bit")
"""Images of spots; the second is no image of the standing comparison."""
SPOT_RATIOS = (32.0, 128.0, 512.0)
MOST_VOXELS = 1_500_000
"""Larger images are cut to the middle of Y and X, so that all is measured in an hour on two cores."""


class Case(NamedTuple):
    """A file to make: what for, of which image, how small, with which prior, and the further options of `hybrid`."""

    task: str
    image: str
    ratio: float
    prior: str
    options: tuple[tuple[str, str], ...] = ()


def cases(tasks: list[str], priors: list[str]) -> Iterator[Case]:
    """All files to make, those of one task together."""
    if "gain" in tasks:
        yield from (Case("gain", image, ratio, prior) for prior in priors for image in IMAGES for ratio in RATIOS)
    if "spots" in tasks:
        for image in PUNCTATE:
            for ratio in SPOT_RATIOS:
                yield Case("spots", image, ratio, "hevc")
                yield Case("spots", image, ratio, "hevc", (("keep", "spots"),))
                yield Case("spots", image, ratio, "hevc", (("keep", "spots"), ("units", "64")))
    if "network" in tasks:
        for image in NETWORK_IMAGES:
            yield Case("network", image, NETWORK_RATIO, "hevc", (("residual", "inif"),))


def main() -> int:
    """Measure what is not there yet, and write the page; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder with the images of images.toml")
    parser.add_argument("--priors", type=lambda text: text.split(","), default=["hevc", "av1", "field"])
    parser.add_argument("--tasks", type=lambda text: text.split(","), default=["gain", "spots", "network"])
    parser.add_argument("--report-only", action="store_true")
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in ROWS.read_text("utf-8").splitlines()] if ROWS.exists() else []
    if not arguments.report_only:
        if arguments.data is None:
            parser.error("--data names the folder with the images")
        there = {_key(row) for row in rows}
        for case in cases(arguments.tasks, arguments.priors):
            if _key(case._asdict()) in there:
                continue
            rows.append(measured(arguments.data, case))
            with ROWS.open("a", encoding="utf-8") as out:
                out.write(json.dumps(rows[-1]) + "\n")
            print(_line(rows[-1]), flush=True)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(rows, {name: image.kind for name, image in listed().items()}), encoding="utf-8")
    return 0


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["task"], row["image"], row["ratio"], row["prior"], tuple(tuple(pair) for pair in row["options"])


def _line(row: dict[str, Any]) -> str:
    if "refused" in row:
        return f"{row['image']:28} {row['ratio']:5.0f} {row['prior']:5} {row['refused']}"
    gain, seconds = row["psnr"] - row["psnr_prior"], f"{row['seconds_prior']:.1f} -> {row['seconds']:.1f} s"
    return (f"{row['task']} {row['image']:28} {row['ratio']:5.0f} {row['prior']:5} {dict(row['options'])} {row['bytes']} bytes "
            f"{row['psnr_prior']:.3f} dB {gain:+.3f} dB  {seconds}  {row.get('spots', '')}")


def measured(data: Path, case: Case) -> dict[str, Any]:
    """One row: the file of `hybrid`, and the prior alone in as many bytes."""
    image = listed()[case.image].load(data) if case.image in listed() else open_image(data / f"{case.image}.ome.tif")
    image, nets = middle(image), unseen(case.image)
    row: dict[str, Any] = case._asdict()
    try:
        hybrid = _made(image, Budget("ratio", case.ratio), "hybrid", {"prior": case.prior, **nets, **dict(case.options)})
        alone = _made(image, Budget("max_bytes", hybrid["bytes"]), case.prior, nets if case.prior == "field" else {})
    except MicrofieldError as refused:
        return {**row, "refused": str(refused)}
    row |= {"bytes": hybrid["bytes"], "psnr": hybrid["psnr"], "seconds": hybrid["seconds"], "corrected": hybrid["corrected"]}
    row |= {"bytes_prior": alone["bytes"], "psnr_prior": alone["psnr"], "seconds_prior": alone["seconds"]}
    if case.task == "network":
        with mock.patch("microfield.methods.hybrid.shared_bytes._alone", side_effect=BudgetError("left out")):
            options = {"prior": case.prior, **dict(case.options)}
            row["together"] = _made(image, Budget("ratio", case.ratio), "hybrid", options)["psnr"]
    if case.image in PUNCTATE:
        row["spots"] = [spots(image.read()), spots(alone["values"]), spots(hybrid["values"])]
    return row


def middle(image: Image) -> Image:
    """The middle of an image along Y and X, of at most `MOST_VOXELS` voxels."""
    factor = min(1.0, (MOST_VOXELS / image.layout.size) ** 0.5)
    extents = {axis: int(n * factor) if axis in "YX" else n for axis, n in image.sizes.items()}
    box = tuple(slice((n - extents[a]) // 2, (n - extents[a]) // 2 + extents[a]) for a, n in image.sizes.items())
    return Image(np.ascontiguousarray(image.read(box)), image.axes, name=image.name)


def _made(image: Image, budget: Budget, method: str, options: dict[str, str]) -> dict[str, Any]:
    """Bytes, PSNR, processor seconds and values of a file."""
    begin = time.process_time()
    data, report = compress_to_bytes(image, budget, Settings(method=method, options=options))
    seconds = time.process_time() - begin
    return {"bytes": len(data), "psnr": round(report.psnr, 4), "seconds": round(seconds, 2),
            "corrected": round(report.scores.get("corrected", 0.0), 4), "values": open_file(data).asarray()}


def spots(planes: np.ndarray[Any, Any]) -> int:
    """Number of spots over all planes."""
    return sum(len(find_spots(plane)) for plane in planes.reshape(-1, *planes.shape[-2:]))


if __name__ == "__main__":
    sys.exit(main())
