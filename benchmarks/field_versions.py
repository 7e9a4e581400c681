"""What a new bitstream version of `field` gains: real files at equal bytes, with networks that never saw the image.

``python -m benchmarks.field_versions --data DIR --rows FILE`` appends a row a run for the version that is installed; started once
in a checkout of either version, with the same file of rows, it prints BD-rates (bytes at equal PSNR) from the older to the newer.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.comparison import unseen
from benchmarks.markdown import table
from microfield import Image, open_image
from microfield.bench.bjontegaard import bd_rate
from microfield.methods import get_method
from microfield.reading.file import open_file
from microfield.writing.budget import Budget
from microfield.writing.compress import Settings, compress_to_bytes

IMAGES = ("ct_lung1", "mri_brain1", "labelfree_celegans_bf_gfp", "timelapse_hela_h2b", "histology_ihc_rgb", "em_celegans_volume",
          "fluo3d_nuclei_confocal", "fluo3d_pollen_clean", "lightsheet_lattice_raw", "fluo2d_protein_control",
          "brightfield_scratch_timelapse", "em_sstem_drosophila", "calcium_2p_sima", "fluo3d_hela_zstack")
"""Those of the study before, and the last four, which were in no table and in no training."""
RATIOS = (32, 128, 512)
MOST = {"Z": 20, "T": 8, "Y": 320, "X": 384}
"""Extents that are cut from the middle of an image."""

Row = dict[str, Any]


def cropped(path: Path) -> Image:
    """The middle of an image."""
    image = open_image(path)
    values = np.asarray(image.data[...])
    box = []
    for axis, size in zip(image.axes, values.shape, strict=True):
        most = min(MOST.get(axis, size), size)
        box.append(slice((size - most) // 2, (size - most) // 2 + most))
    return Image(np.ascontiguousarray(values[tuple(box)]), image.axes)


def measured(name: str, image: Image, ratio: int) -> Row:
    """A row: bytes, PSNR and seconds of a file."""
    begin = time.process_time()
    data, report = compress_to_bytes(image, Budget.of(ratio=ratio), Settings(method="field", options=unseen(name), not_labels=True))
    middle = time.process_time()
    open_file(data).asarray()
    return {"image": name, "ratio": ratio, "bytes": len(data), "psnr": report.psnr, "encode": round(middle - begin, 2),
            "decode": round(time.process_time() - middle, 3), "version": get_method("field").bitstream_version}


def summary(rows: list[Row]) -> str:
    """The table: BD-rate and times from the oldest version to the newest."""
    versions = sorted({row["version"] for row in rows})
    first, last = versions[0], versions[-1]
    lines, rates = [], []
    for name in dict.fromkeys(row["image"] for row in rows):
        mine = {v: sorted((row["bytes"], row["psnr"], row["encode"], row["decode"]) for row in rows
                          if (row["image"], row["version"]) == (name, v)) for v in (first, last)}
        if min(map(len, mine.values())) < len(RATIOS):
            continue
        rate = bd_rate([r[:2] for r in mine[first]], [r[:2] for r in mine[last]])
        rates += [] if rate is None else [rate]
        times = (sum(r[k] for r in mine[last]) / max(sum(r[k] for r in mine[first]), 1e-9) for k in (2, 3))
        gains = " / ".join(f"{b[1] - a[1]:+.2f}" for a, b in zip(*(reversed(mine[v]) for v in (first, last)), strict=True))
        lines.append([name, "" if rate is None else f"{rate:+.1f} %", gains, *(f"{t:.2f}" for t in times)])
    text = table(["image", f"BD-rate {first} to {last}", "dB at 32 / 128 / 512", "encode time", "decode time"], lines)
    return f"{text}\n\nmean {np.mean(rates):+.1f} %, worst {max(rates):+.1f} %" if rates else text


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the images")
    parser.add_argument("--rows", type=Path, required=True, help="file of rows, appended to")
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.rows.read_text("utf-8").splitlines()] if args.rows.exists() else []
    version = get_method("field").bitstream_version
    done = {(row["image"], row["ratio"]) for row in rows if row["version"] == version}
    for name in IMAGES:
        image = cropped(args.data / f"{name}.ome.tif")
        for ratio in RATIOS:
            if (name, ratio) not in done:
                rows.append(measured(name, image, ratio))
                with args.rows.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    print(summary(rows))


if __name__ == "__main__":
    main()
