"""What the compiled kernel saves: `field` with it and with NumPy alone, beside hevc and av1, in one run.

    python -m benchmarks.kernel_speed --data FOLDER [--names NAME ...] [--out benchmarks/kernel_speed.jsonl]
    python -m benchmarks.kernel_speed --table

Counts processor time, of this process and those it starts, which other programs on the machine change less than the time of day.
Rows are appended as they are made, and what is there is not measured again; ``--table`` prints them as a table.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import resource
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np

from microfield.image import Image
from microfield.io import open_image
from microfield.kernel import loading
from microfield.reading.file import open_file
from microfield.threads import single_threaded_blas
from microfield.writing.budget import Budget
from microfield.writing.compress import compress_to_bytes
from microfield.writing.settings import Settings

ROWS = Path(__file__).parent / "kernel_speed.jsonl"
RATIO = 128.0
NAMES = ("mri_brain1", "fluo3d_nuclei_confocal", "ct_lung1", "fluo2d_protein_control", "timelapse_hela_h2b",
         "lightsheet_lattice_raw")
"""A clean and a noisy stack, CT, a plane, a film, a light-sheet volume."""
LARGEST = {"T": 8, "Z": 24, "Y": 384, "X": 384}
"""Extents that are measured, at most: the middle of the image."""
SECONDS = 0.5
"""Decoding is repeated for so long."""
WAYS = (("kernel", "field", 5), ("kernel", "field", 0), ("numpy", "field", 5), ("numpy", "field", 0), ("codec", "hevc", 5),
        ("codec", "av1", 5))
"""What computes, method, effort."""


def middle(image: Image) -> Image:
    """The middle of an image, of at most the extents `LARGEST`."""
    sizes = {axis: min(n, LARGEST.get(axis, n)) for axis, n in image.sizes.items()}
    box = tuple(slice((n - sizes[a]) // 2, (n - sizes[a]) // 2 + sizes[a]) for a, n in image.sizes.items())
    return Image(np.ascontiguousarray(image.read(box)), image.axes, name=image.name)


def processor_time() -> float:
    """Seconds of this process and of those that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measured(image: Image, way: str, method: str, effort: int) -> dict[str, Any]:
    """One row: seconds of encoding, and of decoding, which is repeated until it took a while."""
    with loading.without() if way == "numpy" else contextlib.nullcontext():
        begin = processor_time()
        data, report = compress_to_bytes(image, Budget("ratio", RATIO), Settings(method=method, effort=effort, not_labels=True))
        encoded = processor_time() - begin
        begin, decoded = processor_time(), 0
        while processor_time() - begin < SECONDS or not decoded:
            values = open_file(data)[:]
            decoded += 1
        seconds = (processor_time() - begin) / decoded
    return {"image": image.name, "way": way, "method": method, "effort": effort, "voxels": image.layout.size, "bytes": len(data),
            "psnr": report.psnr, "encode": encoded, "decode": seconds, "sentence": loading.sentence(),
            "file": hashlib.sha256(data).hexdigest()[:8], "values": hashlib.sha256(values.tobytes()).hexdigest()[:8]}


def table(rows: list[dict[str, Any]]) -> str:
    """Means over the images as a table, and a sentence on equality."""
    images = sorted({row["image"] for row in rows})
    lines = ["| | encode | decode |", "|---|---:|---:|"]
    for way, method, effort in WAYS:
        found = [row for row in rows if (row["way"], row["method"], row["effort"]) == (way, method, effort)]
        if not found:
            continue
        name = f"`{method}`, effort {effort}" + {"kernel": ", compiled kernel", "numpy": ", NumPy alone", "codec": ""}[way]
        cells = []
        for what in ("encode", "decode"):
            speeds = [row["voxels"] / row[what] / 1e6 for row in found]
            cells.append(f"{statistics.geometric_mean(speeds):.2f} ({min(speeds):.2f} to {max(speeds):.2f})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    same = all(len({(row["file"], row["values"]) for row in rows if row["image"] == image and row["method"] == "field"
                    and row["effort"] == effort}) <= 1 for image in images for effort in (0, 5))
    lines += ["", f"Megavoxels per second of processor time: geometric mean over {len(images)} images, least and most. "
              f"Files and values with and without the kernel are {'equal' if same else 'DIFFERENT'}."]
    return "\n".join(lines)


def main() -> int:
    """Measure or print; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--names", nargs="*", default=list(NAMES))
    parser.add_argument("--out", type=Path, default=ROWS)
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in arguments.out.read_text("utf-8").splitlines()] if arguments.out.exists() else []
    if arguments.table:
        print(table(rows))
        return 0
    if arguments.data is None:
        parser.error("--data names the folder of the images")
    done = {(row["image"], row["way"], row["method"], row["effort"]) for row in rows}
    for name in arguments.names:
        image = middle(open_image(arguments.data / f"{name}.ome.tif"))
        # Imports and tables are no part of an image's time.
        small = Image(np.eye(64, dtype=np.uint8), "YX")
        for _, method, _ in WAYS:
            open_file(compress_to_bytes(small, Budget("ratio", 8.0), Settings(method=method))[0])[:]
        for way in WAYS:
            if (image.name, *way) in done:
                continue
            # Threads of the BLAS that wait for work would count as work.
            with single_threaded_blas():
                row = measured(image, *way)
            print(f"{image.name:32} {row['method']:6} {row['way']:7} effort {row['effort']}  {row['psnr']:6.2f} dB  "
                  f"encode {row['encode']:6.2f} s  decode {row['decode']:6.2f} s", flush=True)
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
