"""What the rows of a bench say together: curves, Bjøntegaard differences, one line per method."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from microfield.study.bd import bd_psnr, bd_rate
from microfield.study.rows import Row

Curves = dict[str, list[tuple[float, float]]]
"""Method to points (bits per voxel, PSNR in dB)."""

ANCHORS = ("av1", "hevc", "sperr", "inif")
"""Which method the others are compared with, unless told: the first of these that has rows."""


def reached(rows: Iterable[Row]) -> list[Row]:
    """Rows of runs that met their budget and have a finite PSNR."""
    return [row for row in rows if row["status"] == "ok" and row.get("psnr") is not None]


def curves(rows: Iterable[Row], image: str) -> Curves:
    """The rate-distortion curves of one image."""
    found: Curves = {}
    for row in reached(rows):
        if row["image"] == image:
            found.setdefault(row["method"], []).append((row["bits_per_voxel"], row["psnr"]))
    return {method: sorted(points) for method, points in found.items()}


def unique(rows: Iterable[Row], name: str) -> list[Any]:
    """The values of a field, each once, in the order they appear."""
    return list(dict.fromkeys(row[name] for row in rows))


def anchor_of(rows: Sequence[Row], asked: str | None = None) -> str | None:
    """The method that others are compared with; None where no row has one."""
    methods = unique(reached(rows), "method")
    candidates = (asked, *ANCHORS, *methods)
    return next((m for m in candidates if m in methods), None)


@dataclass(frozen=True)
class Line:
    """One method over all images.

    Attributes
    ----------
    counts : status to number of runs
    bd_rate, bd_psnr : mean over images of the difference to the anchor, percent (geometric: half the bytes and twice the
        bytes cancel) and dB; None where no image has one
    bd_images : over how many images the means of BD-rate and BD-PSNR go
    used : median share of the byte budget
    encode_seconds, decode_seconds : medians
    """

    method: str
    counts: dict[str, int]
    bd_rate: float | None
    bd_psnr: float | None
    bd_images: tuple[int, int]
    used: float | None
    encode_seconds: float | None
    decode_seconds: float | None


def lines(rows: Sequence[Row], anchor: str | None) -> list[Line]:
    """One line per method, best BD-PSNR first."""
    images = unique(rows, "image")
    by_image = {image: curves(rows, image) for image in images}
    found = [_line(method, [r for r in rows if r["method"] == method], by_image, anchor) for method in unique(rows, "method")]
    return sorted(found, key=lambda line: -1e9 if line.bd_psnr is None else line.bd_psnr, reverse=True)


def _line(method: str, rows: Sequence[Row], by_image: dict[str, Curves], anchor: str | None) -> Line:
    pairs = [(c[anchor], c[method]) for c in by_image.values() if anchor in c and method in c] if anchor else []
    rates = [d for a, b in pairs if (d := bd_rate(a, b)) is not None]
    gains = [d for a, b in pairs if (d := bd_psnr(a, b)) is not None]
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    return Line(
        method, counts, _geometric(rates), _mean(gains), (len(rates), len(gains)),
        *(_median([row.get(name) for row in rows if row["status"] == "ok"]) for name in
          ("used", "encode_seconds", "decode_seconds")),
    )


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _geometric(percents: Sequence[float]) -> float | None:
    return 100 * math.expm1(statistics.fmean(math.log1p(p / 100) for p in percents)) if percents else None


def _median(values: Sequence[float | None]) -> float | None:
    present = [v for v in values if v is not None]
    return statistics.median(present) if present else None


def text(found: Sequence[Line], anchor: str | None) -> str:
    """The lines as an aligned table for a terminal."""
    head = ["method", "ok", "unreachable", "refused", "failed", f"BD-rate % vs {anchor}", "BD-PSNR dB", "used", "encode s",
            "decode s"]
    body = [head] + [
        [line.method, *(str(line.counts.get(s, 0)) for s in ("ok", "unreachable", "refused", "failed")),
         show(line.bd_rate, "+.1f"), show(line.bd_psnr, "+.2f"), show(line.used, ".1%"), show(line.encode_seconds, ".2f"),
         show(line.decode_seconds, ".2f")]
        for line in found
    ]
    widths = [max(len(cells[i]) for cells in body) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True)))
        for cells in body
    )


def show(value: float | None, spec: str) -> str:
    """A number, or a dash where there is none."""
    return "-" if value is None else format(value, spec)
