"""Which method for my kind of image: the advice at the top of docs/results.md, from the rows of the comparison."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.markdown import table, text
from microfield.bench.rows import Row
from microfield.bench.summary import reached, unique

LEVEL = 0.1
"""Methods whose PSNR differs by less than this, in dB, are called level."""
MEASURES = {"ssim": ("SSIM", 0.005), "iou": ("segmentation overlap (IoU)", 0.01), "object_f1": ("counted objects (F1)", 0.01)}
"""Other measures than PSNR: field of a row to its name, and by how much another method must lead there to be named."""


@dataclass(frozen=True)
class Place:
    """A method in the ranking of one kind of image at one ratio; PSNR in dB and `MEASURES` are means over its images."""

    method: str
    psnr: float
    means: dict[str, float]


def sections(rows: Sequence[Row]) -> list[str]:
    """The advice in sentences and as a table, where other measures disagree, and which ratios cannot be reached."""
    return [_words(rows), _table(rows), _other_measures(rows), _unreachable(rows)]


def places(rows: Sequence[Row], kind: str, ratio: float) -> list[Place]:
    """Methods that met a ratio on every image of a kind, best mean PSNR first."""
    mine = [r for r in rows if r["kind"] == kind and r["asked"] == ratio]
    images = set(unique(mine, "image"))
    found = []
    for method in unique(mine, "method"):
        runs = [r for r in reached(mine) if r["method"] == method]
        if {r["image"] for r in runs} == images:
            found.append(Place(method, statistics.fmean(r["psnr"] for r in runs), _means(runs)))
    return sorted(found, key=lambda p: -p.psnr)


def _means(runs: Sequence[Row]) -> dict[str, float]:
    """Means of the other measures over the images that have them."""
    known = {name: [r[name] for r in runs if r.get(name) is not None] for name in MEASURES}
    return {name: statistics.fmean(values) for name, values in known.items() if values}


def deficits(rows: Sequence[Row]) -> dict[str, list[float]]:
    """Method to how many dB its PSNR lies below the best one, for every image and ratio it reached."""
    best: dict[tuple[str, float], float] = {}
    for r in reached(rows):
        best[r["image"], r["asked"]] = max(best.get((r["image"], r["asked"]), r["psnr"]), r["psnr"])
    found: dict[str, list[float]] = {m: [] for m in unique(rows, "method")}
    for r in reached(rows):
        found[r["method"]].append(best[r["image"], r["asked"]] - r["psnr"])
    return found


def _words(rows: Sequence[Row]) -> str:
    behind = deficits(rows)
    cases = len({(r["image"], r["asked"]) for r in reached(rows)})
    wins = sorted(((sum(d == 0 for d in ds), m) for m, ds in behind.items()), reverse=True)
    # A method for everything must reach nearly everything; among those, the least behind the best on average.
    most = max(len(ds) for ds in behind.values())
    safe = min((statistics.fmean(ds), m) for m, ds in behind.items() if len(ds) >= 0.97 * most)
    first = ", ".join(f"`{m}` in {n / cases:.0%}" for n, m in wins[:4] if n)
    images, methods = len(unique(rows, "image")), len(unique(rows, "method"))
    return text(f"""
        ## Which method for my kind of image?

        {images} images, {methods} methods, ratios {_ratios(rows)}: {cases} cases. The highest PSNR has {first}.

        * **If you want one method for everything: `{safe[1]}`.** On average {safe[0]:.2f} dB below the best one of each case, and
          it reached the asked size in {len(behind[safe[1]])} of {cases} cases.
        * Look up your kind of image below. Each cell names the method with the highest PSNR (mean over the images of the kind,
          among the methods that reach this ratio on all of them), its lead over the next one, and what SSIM and the segmentation
          of the decoded image say (IoU with the segmentation of the original; 1 is the same).
        * A lead under {LEVEL} dB is no reason to choose: pick by speed, or by how voxels can be read (networks such as `inif` read
          any voxel alone; the others decode a whole plane, stack or image at once).
        * Where IoU is below about 0.9, objects change: keep an original for counting and measuring.
    """)


def _ratios(rows: Sequence[Row]) -> str:
    values = sorted(unique(rows, "asked"))
    return f"{values[0]:g} to {values[-1]:g}" if len(values) > 1 else f"{values[0]:g}"


def _table(rows: Sequence[Row]) -> str:
    ratios = sorted(unique(rows, "asked"))
    body = []
    for kind in unique(rows, "kind"):
        n = len({r["image"] for r in rows if r["kind"] == kind})
        body.append([f"**{kind}** ({n})", *(_cell(rows, kind, ratio) for ratio in ratios)])
    return table(["kind (images)", *(f"{r:g}x" for r in ratios)], body)


def _cell(rows: Sequence[Row], kind: str, ratio: float) -> str:
    found = places(rows, kind, ratio)
    if not found:
        some = unique([r for r in reached(rows) if r["kind"] == kind and r["asked"] == ratio], "method")
        return f"none on all images; on some: {', '.join(some)}" if some else "none reaches it"
    best = found[0]
    lead = "only one that reaches it" if len(found) == 1 else _lead(best, found[1])
    said = [f"{word} {best.means[name]:.2f}" for name, word in (("ssim", "SSIM"), ("iou", "IoU")) if name in best.means]
    return f"**{best.method}** {best.psnr:.1f} dB<br>{lead}<br>{', '.join(said)}"


def _lead(best: Place, second: Place) -> str:
    gain = best.psnr - second.psnr
    return f"level with {second.method}" if gain < LEVEL else f"+{gain:.1f} over {second.method}"


def _other_measures(rows: Sequence[Row]) -> str:
    """Where another measure would choose another method than PSNR does."""
    lines = []
    for name, (words, margin) in MEASURES.items():
        found, cells = [], 0
        for kind in unique(rows, "kind"):
            for ratio in sorted(unique(rows, "asked")):
                placed = [p for p in places(rows, kind, ratio) if name in p.means]
                if len(placed) < 2:
                    continue
                cells += 1
                top = max(placed, key=lambda p: p.means[name])
                if top.means[name] > placed[0].means[name] + margin:
                    found.append(f"{kind} {ratio:g}x: {top.method} ({top.means[name]:.2f}, {placed[0].method} "
                                 f"{placed[0].means[name]:.2f})")
        if cells:
            lines.append(f"* {words}: in {len(found)} of {cells} cells{': ' + '; '.join(found) if found else ''}.")
    head = "**Where another measure chooses another method** (by a margin that matters):"
    return "\n".join([head, "", *lines, ""]) if lines else ""


def _unreachable(rows: Sequence[Row]) -> str:
    ratios = sorted(unique(rows, "asked"))
    body = []
    for method in unique(rows, "method"):
        cells = []
        for ratio in ratios:
            runs = [r for r in rows if r["method"] == method and r["asked"] == ratio]
            met = sum(r["status"] == "ok" for r in runs)
            cells.append("all" if met == len(runs) else f"{met} of {len(runs)}")
        if any(cell != "all" for cell in cells):
            body.append([method, *cells])
    if not body:
        return ""
    return "\n".join([
        "**Ratios that cannot be reached**: on how many images a method met the size asked; methods not listed always did.", "",
        table(["method", *(f"{r:g}x" for r in ratios)], body),
    ])
