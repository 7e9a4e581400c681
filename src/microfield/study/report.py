"""What a study says: the curve of every method, its safe ratio, and repeat errors beside them, as text and as a page."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from microfield.bench.page import table
from microfield.bench.rows import Row
from microfield.bench.summary_text import complaints
from microfield.study.plan import StudyPlan, curves, means, safe_ratios
from microfield.study.repeat import RepeatError
from microfield.study.safe_ratio import FEW

_STYLE = ("body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}table{border-collapse:collapse}"
          "td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #ccc}td:first-child,th:first-child{text-align:left}"
          ".wide{overflow-x:auto}strong{color:#a50}")


def heading(plan: StudyPlan) -> str:
    """What was asked, in a sentence."""
    unit = "share of the limits of the report" if plan.by_limits else "loss"
    return f"Task {plan.task}: {unit}, good enough up to {plan.allowed:g}."


def standing(plan: StudyPlan, rows: Sequence[Row]) -> str:
    """How many images or blocks the study rests on, and what that is worth."""
    n = max((found.n for found in safe_ratios(plan, rows).values()), default=0)
    what = "images" if len(plan.bench.images) > 1 else "blocks of one image" if n > 1 else "image"
    if n < FEW:
        return f"A demonstration: {n} {what}; a study needs {FEW} or more."
    return f"{n} {what}."


def columns(plan: StudyPlan) -> list[float]:
    """The ratios that were asked for, rising."""
    return sorted(budget.value for budget in plan.bench.budgets)


def cells(plan: StudyPlan, rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table: of every method its safe ratio, then the mean loss at every ratio with its deviation."""
    found = curves(plan, rows)
    body = []
    for method, safe in safe_ratios(plan, rows).items():
        body.append([method, safe.text, *(_cell(means(found[method], ratio)) for ratio in columns(plan))])
    return ["method", "safe ratio (95 % interval)", *(f"{ratio:g}x" for ratio in columns(plan))], body


def _cell(found: tuple[float, float | None, int] | None) -> str:
    if found is None:
        return "-"
    mean, spread, n = found
    shown = "lost" if math.isinf(mean) else f"{mean:.3g}" + ("" if spread is None else f" ± {spread:.2g}")
    return f"{shown} (n = {n})"


def repeat_cells(plan: StudyPlan, repeats: Sequence[RepeatError]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table of repeat errors: of every kind of pair mean, least and largest."""
    body = []
    for kind in dict.fromkeys(one.kind for one in repeats):
        losses = [one.used if plan.by_limits else one.loss for one in repeats if one.kind == kind]
        numbers = ["lost" if math.isinf(v) else f"{v:.3g}" for v in (sum(losses) / len(losses), min(losses), max(losses))]
        body.append([kind, *numbers, str(len(losses))])
    return ["two acquisitions", "mean", "least", "largest", "n"], body


REPEAT = ("What two acquisitions of the same thing differ by, in the same measure: where compression changes less, repeating the "
          "experiment would have changed more.")
SAFE = ("Safe ratio: the largest ratio up to which the measure stays within the tolerance, median with 95 % interval; 1 where the "
        "smallest ratio that was tried is too much. Larger ratios than were tried are never claimed.")


def text(plan: StudyPlan, rows: Sequence[Row], repeats: Sequence[RepeatError]) -> str:
    """The study for the terminal."""
    lines = [heading(plan), standing(plan, rows), "", *_aligned(*cells(plan, rows))]
    if repeats:
        lines += ["", REPEAT, *_aligned(*repeat_cells(plan, repeats))]
    return "\n".join([*lines, "", SAFE, *complaints(rows)])


def page(plan: StudyPlan, rows: Sequence[Row], repeats: Sequence[RepeatError]) -> str:
    """The study as a page."""
    few = standing(plan, rows)
    parts = [f"<h1>Which ratio is safe for {html.escape(plan.task)}?</h1><p>{html.escape(heading(plan))} "
             f"<strong>{html.escape(few)}</strong></p>", table(*cells(plan, rows)), f"<p>{html.escape(SAFE)}</p>"]
    if repeats:
        parts += [f"<h2>The yardstick: repeat error</h2><p>{html.escape(REPEAT)}</p>", table(*repeat_cells(plan, repeats))]
    if missing := complaints(rows):
        parts += ["<h2>Not measured</h2><ul>", *(f"<li>{html.escape(said)}</li>" for said in missing), "</ul>"]
    return ('<!doctype html><html lang="en"><head><meta charset="utf-8"><title>microfield study</title>'
            f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n")


def _aligned(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table for the terminal."""
    widths = [max(len(row[i]) for row in (head, *body)) for i in range(len(head))]
    return ["  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
            for row in (head, *body)]
