"""Every image with time points of a folder, by `field` and the codecs that predict or transform along time, at equal bytes.

Rows are appended to a file, one a run, and are not repeated when the program is started again, unless the method writes another
bitstream version by now; the last row of a run counts. Prints the table of
docs/methods/field.md: BD-rates (bytes at equal PSNR, below 0 means that `field` needs fewer) against each codec, and the best one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.comparison import unseen
from benchmarks.markdown import table
from microfield import Image, open_image
from microfield.bench.bjontegaard import bd_rate
from microfield.errors import MicrofieldError
from microfield.methods import get_method
from microfield.writing.budget import Budget
from microfield.writing.compress import Settings, compress_to_bytes

METHODS = ("field", "hevc", "av1", "sperr")
RATIOS = (64, 128, 256, 512)
ROWS = Path(__file__).parent / "time_lapse.jsonl"

OLD = 4
"""Bitstream version of `field` in rows that do not say one."""

Row = dict[str, Any]


def series(data: Path) -> dict[str, Image]:
    """Images with time points and no labels, the smallest first."""
    found = {}
    for path in sorted(data.glob("*.ome.tif")):
        name = path.name.removesuffix(".ome.tif")
        image = open_image(path)
        if "T" in image.axes and not name.endswith(("_labels", "_mask")):
            found[name] = image
    return dict(sorted(found.items(), key=lambda item: int(np.prod(item[1].shape))))


def runs(name: str, image: Image, done: set[tuple[str, str, int, int]]) -> Iterator[Row]:
    """What is not done yet for an image, measured."""
    missing = [(m, r) for m in METHODS for r in RATIOS if (name, m, r, get_method(m).bitstream_version) not in done]
    whole = Image(image.read(), image.axes) if missing else image
    for method, ratio in missing:
        settings = Settings(method=method, options=unseen(name) if method == "field" else {}, not_labels=True)
        row: Row = {"image": name, "method": method, "ratio": ratio, "version": get_method(method).bitstream_version}
        try:
            data, report = compress_to_bytes(whole, Budget.of(ratio=ratio), settings)
            row |= {"bytes": len(data), "psnr": report.psnr, "seconds": round(report.seconds, 2)}
        except MicrofieldError as error:
            row["reason"] = str(error)
        yield row


def read(rows: Path) -> list[Row]:
    """Rows that were measured."""
    return [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()] if rows.exists() else []


def summary(rows: list[Row]) -> str:
    """The table: BD-rates of `field` per image, and PSNR at all ratios."""
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
    versions: dict[str, set[int]] = {}
    for row in {(row["image"], row["method"], row["ratio"]): row for row in rows}.values():
        if "psnr" in row:
            if row["method"] == "field":
                versions.setdefault(row["image"], set()).add(row.get("version", OLD))
            curves.setdefault(row["image"], {}).setdefault(row["method"], []).append((row["bytes"], row["psnr"]))
    lines, worst = [], []
    for name, methods in curves.items():
        rates = [bd_rate(sorted(methods.get(m, [])), sorted(methods.get("field", []))) for m in METHODS[1:]]
        known = [rate for rate in rates if rate is not None]
        worst += [max(known)] if known else []
        psnr = " / ".join(f"{p:.2f}" for _, p in sorted(methods.get("field", []), reverse=True))
        version = " and ".join(map(str, sorted(versions.get(name, ()))))
        shown = [*rates, max(known) if known else None]
        lines.append([name, version, *("" if rate is None else f"{rate:+.0f} %" for rate in shown), psnr])
    head = ["image", "bitstream", *(f"against {m}" for m in METHODS[1:]), "best peer", "field, dB at 64 / 128 / 256 / 512"]
    text = table(head, lines)
    if not worst:
        return text
    found = f"mean {np.mean(worst):+.0f} %, median {np.median(worst):+.0f} %, worst {max(worst):+.0f} %"
    return f"{text}\n\nAgainst the best peer of each image: {found}."


def main() -> None:
    """Parse the command line, measure what is missing, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with NAME.ome.tif")
    parser.add_argument("--rows", type=Path, default=ROWS, help="where rows are kept")
    parser.add_argument("--first", default="", help="names of images that are measured before the others")
    arguments = parser.parse_args()
    done = {(row["image"], row["method"], row["ratio"], row.get("version", OLD if row["method"] == "field" else 1))
            for row in read(arguments.rows)}
    found = series(arguments.data)
    first = [name for name in arguments.first.split(",") if name]
    for name in [*first, *(name for name in found if name not in first)]:
        image = found[name]
        for row in runs(name, image, done):
            with arguments.rows.open("a", encoding="utf-8") as out:
                out.write(json.dumps(row) + "\n")
            print(row, flush=True)
    print(summary(read(arguments.rows)))


if __name__ == "__main__":
    main()
