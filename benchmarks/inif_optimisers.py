"""`inif` with SOAP and with the learned optimiser at equal bytes and effort: ``python -m benchmarks.inif_optimisers --data DIR``.

Real files of the crops of learning_rates.py and of the whole images, decoded and compared: what decides which optimiser is the
default. Every file is a row of inif_optimisers.jsonl; finished ones are not repeated. The page is docs/studies/learning-rates.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.images import listed
from benchmarks.learning_rates import IMAGES, block_of
from microfield.image import Image
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes
from microfield.writing.settings import Settings

ROWS = Path(__file__).parent / "inif_optimisers.jsonl"
SETTINGS = {(64.0, 2): (0, 1), (64.0, 4): (0, 1), (8.0, 2): (0,), (64.0, 5): (0,)}
"""Ratio and effort to the seeds: networks of 1,000 to 4,000 weights, of 8,000 to 30,000, and of 27,000 to 170,000."""
WHOLE = 5
"""At this effort, the usual one, whole images are compressed, at lower ones crops."""
OPTIMISERS = ("soap", "learned")


def cases() -> Iterator[dict[str, Any]]:
    """All files of the comparison, one setting after the other."""
    for (ratio, effort), seeds in SETTINGS.items():
        for seed in seeds:
            for image in IMAGES:
                for name in OPTIMISERS:
                    yield {"ratio": ratio, "image": image, "optimiser": name, "effort": effort, "seed": seed}


def measure(folder: Path, case: dict[str, Any]) -> dict[str, Any]:
    """The row of one file: its bytes, PSNR in dB, and seconds that passed and that the processor worked."""
    if case["effort"] == WHOLE:
        image = listed()[case["image"]].load(folder)
    else:
        block = block_of(folder, case["image"])
        image = Image(block, "ZYX"[-block.ndim :])
    options = {"optimiser": case["optimiser"], "grids": "none", **at(case["ratio"])}
    settings = Settings(method="inif", options=options, effort=case["effort"], seed=case["seed"])
    begin = time.process_time()
    data, report = compress_to_bytes(image, Budget("ratio", case["ratio"]), settings)
    return {**case, "bytes": len(data), "psnr": round(report.psnr, 4), "seconds": round(report.seconds, 1),
            "processor": round(time.process_time() - begin, 1)}


def at(ratio: float) -> dict[str, float]:
    """Further options: large networks begin at one frequency, without trials, to save time."""
    return {"frequency": 0.08} if ratio < 64 else {}


def rows() -> list[dict[str, Any]]:
    """Finished files."""
    return [json.loads(line) for line in ROWS.read_text("utf-8").splitlines()] if ROWS.exists() else []


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the images of images.toml")
    parser.add_argument("--optimisers", default=",".join(OPTIMISERS), help="only these")
    parser.add_argument("--efforts", default="2,4,5", help="only these")
    parser.add_argument("--images", default=",".join(IMAGES), help="only these")
    parser.add_argument("--again", default="", help="an optimiser whose files are made anew")
    arguments = parser.parse_args()
    done = [row for row in rows() if row["optimiser"] != arguments.again]
    asked = {"optimiser": arguments.optimisers, "effort": arguments.efforts, "image": arguments.images}
    for case in cases():
        wanted = all(str(case[key]) in only.split(",") for key, only in asked.items())
        if wanted and not any(case.items() <= row.items() for row in done):
            done.append(measure(arguments.data, case))
            ROWS.write_text("".join(json.dumps(row) + "\n" for row in done), encoding="utf-8")
            print(done[-1], flush=True)


if __name__ == "__main__":
    main()
