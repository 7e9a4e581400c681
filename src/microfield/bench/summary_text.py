"""The summary of a bench as text: the table of methods, remarks on it, and why some runs have no numbers."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Sequence

from microfield.bench.bjontegaard import MAX_GAP
from microfield.bench.rows import Row, exact
from microfield.bench.summary import MIN_POINTS, SURE_POINTS, BudgetKey, Line, asked, budgets, lines, show, unique

STATUSES = ("ok", "unreachable", "refused", "failed")
"""How a run can end, in the order of the columns."""


def mean_of(rows: Sequence[Row], method: str, budget: BudgetKey, name: str, spec: str) -> str:
    """Mean of a field over the images, for a method at a budget; "(2 of 3)" where other methods have it on more images.

    "exact" where every run that met its budget gave an exact copy, which has no PSNR.
    """
    runs = [r for r in rows if (r["budget"], r["asked"]) == budget]
    having = [r for r in runs if r["status"] == "ok" and r.get(name) is not None]
    images = len(unique(having, "image"))
    values = [r[name] for r in having if r["method"] == method]
    if not values:
        return "exact" if name == "psnr" and any(exact(r) for r in runs if r["method"] == method) else "-"
    return f"{statistics.fmean(values):{spec}}" + ("" if len(values) == images else f" ({len(values)} of {images})")


def methods_table(rows: Sequence[Row], anchor: str | None) -> tuple[list[str], list[list[str]]]:
    """Heading and cells of the table of methods; columns that would hold only dashes are left out.

    Mean PSNR at every ratio, mean ratio at every PSNR asked for; then the Bjøntegaard differences to the anchor, or where
    no curve is long enough for any, the difference of PSNR at equal ratios.
    """
    found = lines(rows, anchor)
    present = [s for s in STATUSES if s == "ok" or any(line.counts.get(s) for line in found)]
    columns = [
        (f"{asked(*b)}, dB", b, "psnr", ".2f") if b[0] == "ratio" else (f"ratio at {asked(*b)}", b, "ratio", ".1f")
        for b in budgets(rows)
    ]
    head = ["method", *present, *(c[0] for c in columns), *_difference_head(found, anchor), "used", "encode s", "decode s"]
    body = [
        [line.method, *(str(line.counts.get(s, 0)) for s in present),
         *(mean_of(rows, line.method, b, name, spec) for _, b, name, spec in columns), *_differences(line, found, anchor),
         show(line.used, ".1%"), show(line.encode_seconds, ".2f"), show(line.decode_seconds, ".2f")]
        for line in found
    ]
    return head, body


def has_bd(found: Sequence[Line], anchor: str | None) -> bool:
    """Whether any method but the anchor has a Bjøntegaard difference."""
    return any(line.method != anchor and (line.bd_rate is not None or line.bd_psnr is not None) for line in found)


def _difference_head(found: Sequence[Line], anchor: str | None) -> list[str]:
    if has_bd(found, anchor):
        return [f"BD-rate % vs {anchor}", "BD-PSNR dB"]
    return [f"dB vs {anchor}"] if any(line.method != anchor and line.gain is not None for line in found) else []


def _differences(line: Line, found: Sequence[Line], anchor: str | None) -> list[str]:
    cells = list(bd_cells(line, ".1f", ".2f")) if has_bd(found, anchor) else [show(line.gain, "+.2f")]
    return ["reference" if line.method == anchor else cell for cell in cells[:len(_difference_head(found, anchor))]]


def bd_cells(line: Line, rate_spec: str, psnr_spec: str) -> tuple[str, str]:
    """BD-rate and BD-PSNR with their sign, the number of images in brackets, and ``~`` before what rests on few points."""
    mark = "~" if line.rough else ""
    rate, gain = (
        "-" if value is None else f"{mark}{value:+{spec}} ({n})"
        for value, spec, n in zip((line.bd_rate, line.bd_psnr), (rate_spec, psnr_spec), line.bd_images, strict=True)
    )
    return rate, gain


def remarks(rows: Sequence[Row], anchor: str | None) -> list[str]:
    """Remarks on the table of methods: what its columns mean and how far to trust them, a sentence or two each."""
    found = lines(rows, anchor)
    said = []
    if has_bd(found, anchor):
        said.append(
            f"BD-rate: how many percent more bytes than {anchor} for the same PSNR (negative is better), geometric mean over "
            f"the images in brackets. BD-PSNR: how many dB above {anchor} at the same bytes, mean over images. Only curves of "
            f"{MIN_POINTS} points or more count, cut where neighbouring rates are more than {MAX_GAP:g}x apart."
        )
        if any(line.rough for line in found if line.method != anchor):
            said.append(f"~: curves of fewer than {SURE_POINTS} points are among these; take the value as a rough one.")
    elif _difference_head(found, anchor):
        said.append(f"dB vs {anchor}: mean difference of PSNR over the images and ratios both reached; for BD-rates give "
                    f"{MIN_POINTS} ratios or more, at most {MAX_GAP:g}x apart.")
    return said


def text(rows: Sequence[Row], anchor: str | None) -> str:
    """The table of methods and its remarks, aligned for a terminal."""
    head, body = methods_table(rows, anchor)
    table = [head, *body]
    widths = [max(len(cells[i]) for cells in table) for i in range(len(head))]
    aligned = [
        "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True)))
        for cells in table
    ]
    return "\n".join([*aligned, *(line for said in remarks(rows, anchor) for line in textwrap.wrap(said, 110))])


def complaints(rows: Sequence[Row]) -> list[str]:
    """Why runs have no numbers: a sentence per image where all its runs say the same, else one per method and reason."""
    said = []
    for image in unique(rows, "image"):
        mine = [r for r in rows if r["image"] == image]
        groups: dict[tuple[str, ...], list[Row]] = {}
        for r in (r for r in mine if r["status"] != "ok"):
            groups.setdefault((r["status"], r["message"], r["method"], r["budget"]), []).append(r)
        if len(mine) > 1 and len({key[:2] for key in groups}) == 1 and all(r["status"] != "ok" for r in mine):
            said.append(f"{mine[0]['status']}: {image}, all {len(mine)} runs: {mine[0]['message']}")
            continue
        for (status, message, method, budget), runs in groups.items():
            said.append(f"{status}: {image} {method} {budget} {_values(runs)}: {message}")
    return said


def _values(runs: Sequence[Row]) -> str:
    return ", ".join(f"{r['asked']:g}" for r in runs)


def no_curve(rows: Sequence[Row]) -> str:
    """Why an image has no point to draw, given its rows: exact copies, the reason of refusal, or no budget reached."""
    ok = [r for r in rows if r["status"] == "ok"]
    if ok:
        if not all(map(exact, ok)):
            return "no PSNR was measured"
        return "exact copy in every run" if len(ok) == len(rows) else f"exact copy in {len(ok)} of {len(rows)} runs"
    reasons = list(dict.fromkeys(f"{r['status']}: {r['message']}" for r in rows if r["status"] != "unreachable"))
    if not reasons:
        return "no run reached its budget"
    return reasons[0] + (f" ({len(reasons) - 1} more reasons are listed below)" if len(reasons) > 1 else "")
