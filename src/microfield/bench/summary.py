"""The rows of a bench summed up: rate-distortion curves, Bjøntegaard differences, one line per method."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from microfield.bench.bjontegaard import Curve, bd_psnr, bd_rate, stretch
from microfield.bench.rows import Row

Curves = dict[str, list[tuple[float, float]]]
"""Method to its points (bits per voxel, PSNR in dB), by rising rate."""
BudgetKey = tuple[str, float]
"""Kind of a budget and what was asked, such as ``("ratio", 64.0)``."""

ANCHORS = ("av1", "hevc", "sperr", "inif")
"""The method that others are compared with by default: the first of these that has rows."""
MIN_POINTS, SURE_POINTS = 3, 4
"""A curve needs so many points to count in a mean of Bjøntegaard differences, and so many for the mean to be unmarked."""


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
    """The budgets of the rows, each once: ratios first, all by rising value."""
    found = {(row["budget"], float(row["asked"])) for row in rows}
    return sorted(found, key=lambda one: (one[0] != "ratio", one))


def asked(budget: str, value: float) -> str:
    """A budget in a few characters, such as ``64x`` or ``40 dB``."""
    return f"{value:g}x" if budget == "ratio" else f"{value:g} dB"


def anchor_of(rows: Sequence[Row], asked: str | None = None) -> str | None:
    """The method that others are compared with: ``asked`` where it has rows, else by `ANCHORS`; None without any row."""
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
    used : median share of the byte budget that files use; None where no budget was in bytes
    encode_seconds, decode_seconds : medians; None without any successful run
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
    return sorted(found, key=lambda line: tuple(-math.inf if v is None else v for v in (line.bd_psnr, line.gain)), reverse=True)


def _case(row: Row) -> tuple[Any, ...]:
    """What was asked of every method: image and budget."""
    return row["image"], row["budget"], row["asked"]


def _line(method: str, rows: Sequence[Row], by_image: dict[str, Curves], anchor: str | None,
          reference: dict[tuple[Any, ...], float]) -> Line:
    """The line of one method from its rows; ``reference`` holds the anchor's PSNR in every case."""
    differences = [_difference(c[anchor], c[method]) for c in by_image.values() if anchor in c and method in c] if anchor else []
    compared = [d for d in differences if d.points >= MIN_POINTS]
    rates = [d.rate for d in compared if d.rate is not None]
    gains = [d.psnr for d in compared if d.psnr is not None]
    same = [r["psnr"] - reference[_case(r)] for r in reached(rows) if r["budget"] == "ratio" and _case(r) in reference]
    done = [row for row in rows if row["status"] == "ok"]
    return Line(
        method=method, counts=dict(Counter(row["status"] for row in rows)), bd_rate=_geometric(rates), bd_psnr=_mean(gains),
        bd_images=(len(rates), len(gains)),
        rough=any(d.points < SURE_POINTS and (d.rate is not None or d.psnr is not None) for d in compared),
        gain=_mean(same), used=_median([row.get("used") for row in done]),
        encode_seconds=_median([row.get("encode_seconds") for row in done]),
        decode_seconds=_median([row.get("decode_seconds") for row in done]),
    )


class _Difference(NamedTuple):
    """Bjøntegaard differences of one image in percent and dB, and how many points the shorter curve has."""

    points: int
    rate: float | None
    psnr: float | None


def _difference(anchor: Curve, test: Curve) -> _Difference:
    a, b = stretch(anchor), stretch(test)
    return _Difference(min(len(a), len(b)), bd_rate(a, b), bd_psnr(a, b))


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _geometric(percents: Sequence[float]) -> float | None:
    """Geometric mean of changes in percent; None without any."""
    return 100 * math.expm1(statistics.fmean(math.log1p(p / 100) for p in percents)) if percents else None


def _median(values: Sequence[float | None]) -> float | None:
    present = [v for v in values if v is not None]
    return statistics.median(present) if present else None


def show(value: float | None, spec: str) -> str:
    """A number, or a dash where there is none."""
    return "-" if value is None else format(value, spec)
