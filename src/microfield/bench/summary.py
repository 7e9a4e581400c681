"""What the rows of a bench say together: curves, Bjøntegaard differences, one line per method."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from microfield.bench.bjontegaard import bd_psnr, bd_rate, stretch
from microfield.bench.rows import Row

Curves = dict[str, list[tuple[float, float]]]
"""Method to points (bits per voxel, PSNR in dB)."""
BudgetKey = tuple[str, float]
"""Kind of a budget and what was asked, such as ``("ratio", 64.0)``."""

ANCHORS = ("av1", "hevc", "sperr", "inif")
"""Which method the others are compared with, unless told: the first of these that has rows."""
MIN_POINTS, SURE_POINTS = 3, 4
"""Points a curve must have to count in a mean of Bjøntegaard differences, and those below which the mean is marked."""


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


def budgets(rows: Iterable[Row]) -> list[BudgetKey]:
    """What was asked for, each once: ratios by size, then qualities."""
    found = {(row["budget"], float(row["asked"])) for row in rows}
    return sorted(found, key=lambda one: (one[0] != "ratio", one))


def asked(budget: str, value: float) -> str:
    """A budget in a few characters."""
    return f"{value:g}x" if budget == "ratio" else f"{value:g} dB"


def anchor_of(rows: Sequence[Row], asked: str | None = None) -> str | None:
    """The method that others are compared with; None where no row has one."""
    methods = unique(reached(rows), "method")
    candidates = (asked, *ANCHORS, *methods)
    return next((m for m in candidates if m in methods), None)


# -- one line per method ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One method over all images.

    Attributes
    ----------
    counts : status to number of runs
    bd_rate, bd_psnr : mean over images of the difference to the anchor, percent (geometric: half the bytes and twice the
        bytes cancel) and dB; None where no image has one. Only curves of `MIN_POINTS` points count, cut at wide gaps
        (`microfield.bench.bjontegaard.stretch`)
    bd_images : over how many images the means of BD-rate and BD-PSNR go
    rough : whether a curve of fewer than `SURE_POINTS` points is among them
    gain : mean difference of PSNR to the anchor in dB, over the images and ratios both reached; None without any
    used : median share of the byte budget
    encode_seconds, decode_seconds : medians
    """

    method: str
    counts: dict[str, int]
    bd_rate: float | None
    bd_psnr: float | None
    bd_images: tuple[int, int]
    rough: bool
    gain: float | None
    used: float | None
    encode_seconds: float | None
    decode_seconds: float | None


def lines(rows: Sequence[Row], anchor: str | None) -> list[Line]:
    """One line per method, best BD-PSNR first, then by the difference of PSNR at equal ratios."""
    images = unique(rows, "image")
    by_image = {image: curves(rows, image) for image in images}
    reference = {_case(r): r["psnr"] for r in reached(rows) if r["method"] == anchor}
    found = [
        _line(method, [r for r in rows if r["method"] == method], by_image, anchor, reference)
        for method in unique(rows, "method")
    ]
    return sorted(found, key=lambda line: tuple(-1e9 if v is None else v for v in (line.bd_psnr, line.gain)), reverse=True)


def _case(row: Row) -> tuple[Any, ...]:
    return row["image"], row["budget"], row["asked"]


def _line(method: str, rows: Sequence[Row], by_image: dict[str, Curves], anchor: str | None,
          reference: dict[tuple[Any, ...], float]) -> Line:
    pairs = [(stretch(c[anchor]), stretch(c[method])) for c in by_image.values() if anchor in c and method in c] if anchor else []
    compared = [
        (min(len(a), len(b)), bd_rate(a, b), bd_psnr(a, b)) for a, b in pairs if min(len(a), len(b)) >= MIN_POINTS
    ]
    rates = [rate for _, rate, _ in compared if rate is not None]
    gains = [gain for _, _, gain in compared if gain is not None]
    rough = any(n < SURE_POINTS and (rate is not None or gain is not None) for n, rate, gain in compared)
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    same = [r["psnr"] - reference[_case(r)] for r in reached(rows) if r["budget"] == "ratio" and _case(r) in reference]
    return Line(
        method, counts, _geometric(rates), _mean(gains), (len(rates), len(gains)), rough, _mean(same),
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


def show(value: float | None, spec: str) -> str:
    """A number, or a dash where there is none."""
    return "-" if value is None else format(value, spec)
