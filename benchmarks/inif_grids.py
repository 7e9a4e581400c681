"""`inif` with latent grids and without, beside `field`, HEVC and AV1: ``python -m benchmarks.inif_grids --data DIR``.

Crops of some 0.3 million voxels of varied images, 64 and 256 times smaller than the raw data; fits are stopped by the time that the
processor works, compiling included (cached code is not used). Rows are kept in inif_grids.jsonl and not measured again;
docs/studies/inif_grids.md is written from them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.comparison import unseen
from benchmarks.images import listed
from benchmarks.inif_grids_page import page
from microfield import Image
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes
from microfield.writing.settings import Settings

HERE = Path(__file__).parent
ROWS, PAGE = HERE / "inif_grids.jsonl", HERE.parent / "docs" / "studies" / "inif_grids.md"
IMAGES: dict[str, dict[str, int]] = {
    "fluo3d_pollen_clean": {"Z": 20, "Y": 128, "X": 128},
    "multich_hips_bbbc034": {"Y": 320, "X": 320},
    "em_sem_redcells": {"Y": 560, "X": 560},
    "mri_brain1": {"Z": 20, "Y": 128, "X": 128},
    "timelapse_2ch_mitosis": {"T": 12, "Y": 112, "X": 112},
    "spots2d_terra": {"Y": 560, "X": 560},
}
"""Images with the extents of the crop from their middle; all voxels along other axes."""
RATIOS = (64.0, 256.0)
METHODS: dict[str, tuple[str, dict[str, str]]] = {
    "field": ("field", {}), "hevc": ("hevc", {}), "av1": ("av1", {}),
    "inif without grids": ("inif", {"grids": "none"}), "inif": ("inif", {}),
}
"""What is compared, by what it is called: a method and its options."""
SEEDS = {"fluo3d_pollen_clean": (0, 1, 2), "em_sem_redcells": (0, 1, 2)}
"""Images whose fits at the lower ratio are made with several seeds; the others have seed 0."""


def crop(folder: Path, name: str) -> Image:
    """The middle of an image."""
    image = listed()[name].load(folder)
    box = []
    for axis, n in image.sizes.items():
        extent = min(n, IMAGES[name].get(axis, n))
        box.append(slice((n - extent) // 2, (n - extent) // 2 + extent))
    return Image(np.ascontiguousarray(image.read(tuple(box))), image.axes, name=image.name)


def cases() -> Iterator[tuple[str, float, str, int]]:
    """Image, ratio, what and seed of every file, the lower ratio first."""
    for ratio in RATIOS:
        for name in IMAGES:
            for what in METHODS:
                yield name, ratio, what, 0
    for name, seeds in SEEDS.items():
        for seed in seeds[1:]:
            for what, (method, _) in METHODS.items():
                if method == "inif":
                    yield name, RATIOS[0], what, seed


def measure(image: Image, case: tuple[str, float, str, int], seconds: float) -> dict[str, Any]:
    """The row of one file: bytes, PSNR in dB, and processor seconds."""
    name, ratio, what, seed = case
    method, options = METHODS[what]
    if method == "inif":
        settings = Settings(method=method, options=options, effort=9, time_limit=seconds, seed=seed)
    else:
        settings = Settings(method=method, options=unseen(name) if method == "field" else {})
    begin = time.process_time()
    with mock.patch("time.monotonic", time.process_time):
        data, report = compress_to_bytes(image, Budget("ratio", ratio), settings)
    return {"image": name, "ratio": ratio, "what": what, "seed": seed, "allowed": int(image.layout.nbytes / ratio),
            "bytes": len(data), "psnr": round(report.psnr, 3), "seconds": round(time.process_time() - begin, 1)}


def _made(case: tuple[str, float, str, int]) -> bool:
    """Whether the row of a file is there."""
    key = dict(zip(("image", "ratio", "what", "seed"), case, strict=True))
    return any(key.items() <= row.items() for row in rows())


def rows() -> list[dict[str, Any]]:
    """Finished files."""
    return [json.loads(line) for line in ROWS.read_text("utf-8").splitlines()] if ROWS.exists() else []


def main() -> int:
    """Measure what is missing and write the page; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder with the images of images.toml")
    parser.add_argument("--seconds", type=float, default=30.0, help="processor time of a fit")
    parser.add_argument("--images", default=",".join(IMAGES), help="only these")
    parser.add_argument("--most", type=int, default=1000, help="files that are made at most")
    parser.add_argument("--report-only", action="store_true")
    arguments = parser.parse_args()
    os.environ["MICROFIELD_NO_CACHE"] = "1"
    if not arguments.report_only:
        if arguments.data is None:
            parser.error("--data names the folder with the images")
        missing = [case for case in cases() if case[0] in arguments.images.split(",") and not _made(case)]
        for case in missing[: arguments.most]:
            if not _made(case):  # Meanwhile, by another process.
                row = measure(crop(arguments.data, case[0]), case, arguments.seconds)
                with ROWS.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(row) + "\n")
                print(row, flush=True)
    PAGE.write_text(page(rows(), arguments.seconds), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
