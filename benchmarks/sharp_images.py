"""What filter and codec priors of `field` give, above all on sharp images: PSNR in the same bytes.

Networks never saw the image. ``python -m benchmarks.sharp_images --data DIR`` appends a row a run to
benchmarks/sharp_images.jsonl, does not repeat those that are there, and prints the table of docs/methods/field.md. Images are cut
to the middle as in `benchmarks.field_versions`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.comparison import unseen
from benchmarks.field_versions import cropped
from benchmarks.markdown import table
from microfield import Image
from microfield.methods.field import filter_fit
from microfield.writing.budget import Budget
from microfield.writing.compress import Settings, compress_to_bytes

IMAGES = ("ct_lung1", "mri_brain1", "em_celegans_volume", "timelapse_hela_h2b", "timelapse_mitocheck_h2b",
          "labelfree_celegans_bf_gfp", "histology_ihc_rgb", "fluo2d_protein_control", "fluo3d_pollen_clean", "fluo3d_chromosomes")
RATIOS = (64, 256)
COLUMNS = ("field without filter", "field", "hevc", "av1", "prior=hevc", "prior=av1")
ROWS = Path(__file__).parent / "sharp_images.jsonl"

Row = dict[str, Any]


@contextmanager
def no_filters() -> Iterator[None]:
    """Encode without filters: no part is large enough for one."""
    before = filter_fit.LEAST_BYTES
    filter_fit.LEAST_BYTES = (1 << 60,) * 3
    try:
        yield
    finally:
        filter_fit.LEAST_BYTES = before


def measured(name: str, image: Image, ratio: int, column: str) -> Row:
    """A row: bytes and PSNR of a file."""
    method, options = column, dict[str, Any]()
    if column.startswith(("field", "prior")):
        method, options = "field", dict(unseen(name))
    if column.startswith("prior"):
        options["prior"] = column.removeprefix("prior=")
    settings = Settings(method=method, options=options, not_labels=True)
    if column.endswith("without filter"):
        with no_filters():
            data, report = compress_to_bytes(image, Budget.of(ratio=ratio), settings)
    else:
        data, report = compress_to_bytes(image, Budget.of(ratio=ratio), settings)
    return {"image": name, "ratio": ratio, "column": column, "bytes": len(data), "psnr": report.psnr}


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with NAME.ome.tif; without it the table is printed")
    parser.add_argument("--rows", type=Path, default=ROWS)
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.rows.read_text(encoding="utf-8").splitlines()] if given.rows.exists() else []
    done = {(row["image"], row["ratio"], row["column"]) for row in rows}
    for name in IMAGES if given.data else ():
        missing = [(r, c) for r in RATIOS for c in COLUMNS if (name, r, c) not in done]
        image = cropped(given.data / f"{name}.ome.tif") if missing else None
        for ratio, column in missing:
            assert image is not None
            rows.append(measured(name, image, ratio, column))
            with given.rows.open("a", encoding="utf-8") as out:
                out.write(json.dumps(rows[-1]) + "\n")
    found = {(row["image"], row["ratio"], row["column"]): f"{row['psnr']:.2f}" for row in rows}
    lines = [[name, str(ratio), *(found.get((name, ratio, column), "-") for column in COLUMNS)]
             for name in IMAGES for ratio in RATIOS]
    print(table(["image", "ratio", *COLUMNS], lines))


if __name__ == "__main__":
    main()
