"""The label-free study of docs/studies/zhou.md: both label-free fields, nine methods, four ratios, each field split."""

from __future__ import annotations

import argparse
from pathlib import Path

from microfield.progress import ProgressLine
from microfield.study.labelfree import LabelFreePlan, run

FIELDS = ("labelfree_celegans_bf_gfp", "labelfree_celegans_3ch")
METHODS = ("jpegxl", "jpeg2000", "hevc", "av1", "sperr", "avif", "jpegxr", "downsample", "field")
RATIOS = (16.0, 64.0, 256.0, 1024.0)
STEPS = 180
ROWS = Path(__file__).parent / "labelfree"


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of images")
    parser.add_argument("--out", type=Path, default=ROWS, help="folder of the rows")
    parser.add_argument("--fields", default=",".join(FIELDS))
    arguments = parser.parse_args()
    images = tuple(arguments.data / f"{name}.ome.tif" for name in arguments.fields.split(","))
    plan = LabelFreePlan(images, {m: {} for m in METHODS}, RATIOS, arguments.out, steps=STEPS, effort=1)
    run(plan, ProgressLine("labelfree", log=True))


if __name__ == "__main__":
    main()
