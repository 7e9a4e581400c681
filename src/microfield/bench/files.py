"""The files that a bench makes of its recorded rows, for people and other programs: CSV, Parquet and a page."""

from __future__ import annotations

from pathlib import Path

from microfield.bench import rows
from microfield.bench.page import page
from microfield.bench.pictures import pictures
from microfield.bench.summary import unique


def write_table(out: Path) -> None:
    """Write ``rows.csv`` alone."""
    recorded = rows.load(out / "rows.jsonl")
    if recorded:
        rows.write_csv(out / "rows.csv", recorded)


def write_all(out: Path, anchor: str | None = None) -> list[str]:
    """Write ``rows.csv``, ``rows.parquet`` and ``index.html`` from all rows recorded in a bench's folder.

    Returns
    -------
    list of str
        One sentence for every file that was left out.
    """
    recorded = rows.load(out / "rows.jsonl")
    if not recorded:
        return []
    rows.write_csv(out / "rows.csv", recorded)
    notes = []
    if not rows.write_parquet(out / "rows.parquet", recorded):
        notes.append("no Parquet was written: that needs an optional part, pip install 'microfield[bench]'.")
    mine = {image: [row for row in recorded if row["image"] == image] for image in unique(recorded, "image")}
    shown = {image: pictures(of, out) for image, of in mine.items()}
    rows.replace_text(out / "index.html", page(recorded, anchor, shown))
    return notes
