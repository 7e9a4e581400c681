"""The summary of a batch: a CSV file beside the compressed files, one row an input."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

SUMMARY_FILE = "microfield-summary.csv"
"""What ``--out-dir`` writes beside the files: one row an input."""

COLUMNS = ("input", "output", "status", "method", "raw_bytes", "file_bytes", "ratio", "source_bytes", "psnr", "noise_factor",
           "used", "parts", "seconds", "psnr_inside", "psnr_outside", "axes", "axes_guessed")
"""Columns of the summary: where the image came from and went, and fields of `Report`."""


def write_summary(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the summary; rows of earlier calls stay where this call made no file of the same name."""
    earlier: list[dict[str, Any]] = []
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            earlier = list(csv.DictReader(file))
    # What was skipped keeps the row of the call that made it.
    made = {row["output"] for row in rows if not row["status"].startswith("skipped")}
    kept = [row for row in earlier if row.get("output") not in made]
    known = {row.get("output") for row in kept}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows([*kept, *(row for row in rows if row["output"] not in known)])
