"""What a label-free study says: every comparison by method and ratio, over the fields."""

from __future__ import annotations

import math
from collections.abc import Sequence

from microfield.study.labelfree import PAIRS, Row
from microfield.study.safe_ratio import FEW


def standing(rows: Sequence[Row]) -> str:
    """Over how many fields the figures are, and what that is worth."""
    n = len({row["image"] for row in rows if "message" not in row})
    return f"{'A demonstration: ' if n < FEW else ''}n = {n} field{'s' * (n != 1)}."


def cells(rows: Sequence[Row], measure: str = "pearson") -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: of every method and ratio the measure of every comparison, mean and deviation over the fields."""
    made = [row for row in rows if "message" not in row]
    body = []
    for method, ratio in dict.fromkeys((row["method"], row["ratio"]) for row in made):
        mine = [row for row in made if (row["method"], row["ratio"]) == (method, ratio)]
        body.append([method, f"{ratio:g}", f"{sum(r['bits_per_voxel'] for r in mine) / len(mine):.4f}",
                     *(_cell([row[name][measure] for row in mine]) for name in PAIRS), str(len(mine))])
    return ["method", "ratio", "bits per pixel", *PAIRS, "n"], body


def _cell(values: Sequence[float | None]) -> str:
    known = [v for v in values if v is not None]
    if not known:
        return "-"
    mean = sum(known) / len(known)
    if len(known) < 2:
        return f"{mean:.3f}"
    return f"{mean:.3f} ± {math.sqrt(sum((v - mean) ** 2 for v in known) / (len(known) - 1)):.3f}"


def text(rows: Sequence[Row]) -> str:
    """The study for the terminal."""
    head, body = cells(rows)
    widths = [max(len(row[i]) for row in (head, *body)) for i in range(len(head))]
    lines = ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in (head, *body)]
    failed = [row for row in rows if "message" in row]
    missing = dict.fromkeys(f"{row['image']} {row['method']} {row['ratio']:g}: {row['message']}" for row in failed)
    about = ("Pearson correlation on the part of each field that did not train. x bright field, x^ its copy, t fluorescence, f a "
             "predictor trained on x, g one trained on x^.")
    return "\n".join([standing(rows), about, "", *lines, *missing])
