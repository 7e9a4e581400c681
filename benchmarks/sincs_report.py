"""docs/studies/sincs.md, from the rows of `benchmarks.sincs`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.markdown import table, text

Row = dict[str, Any]
ROWS = Path(__file__).parent / "sincs.jsonl"
STUDIES = Path(__file__).parents[1] / "docs" / "studies"
PLOT = STUDIES / "plots" / "sincs-similarity.svg"
TASKS = ("transfer", "residual", "saliency", "similarity", "ancestor", "comparison")
PEERS = ("sincs", "inif", "field", "hevc", "av1")


def read(path: Path) -> list[Row]:
    """Rows that were measured."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def write(rows: Sequence[Row]) -> None:
    """Write the page and its plot."""
    found = [row for row in rows if "refused" not in row]
    of = {task: [row for row in found if row["task"] == task] for task in TASKS}
    parts = [text(INTRODUCTION), _claims(of)]
    parts += ["## Weight transfer\n", text(TRANSFER), _transfer(of["transfer"])]
    parts += ["## Differences of weights\n", text(RESIDUAL), _residual(of["residual"])]
    parts += ["## Saliency\n", text(SALIENCY), _saliency(of["saliency"])]
    parts += ["## Similarity of groups\n", text(SIMILARITY), _similarity(of["similarity"])]
    parts += ["## One ancestor for many images\n", text(ANCESTOR), _ancestor(of["ancestor"])]
    parts += ["## Against other methods\n", text(COMPARISON), _comparison(of["comparison"])]
    parts += [_not_reached([row for row in rows if "refused" in row]), text(OPEN)]
    (STUDIES / "sincs.md").write_text("\n".join(parts), encoding="utf-8")
    if of["similarity"]:
        _plot(of["similarity"])


INTRODUCTION = """
# SINCS, claim by claim

Written by `python -m benchmarks.sincs --data FOLDER` from the rows of `benchmarks/sincs.jsonl`.

SINCS (Ma et al., Communications Biology 7:1081, 2024) cuts a large image into groups that look alike, fits a network to each,
begins every fit at the weights of the group before it, and stores the first network and the differences of the others. What
method [`sincs`](../methods/sincs.md) makes of that was measured piece by piece, on pieces of real stacks: nuclei over time (8
time points of 128 x 128, 4 groups of 2), a stack of nuclei (16 planes of 96 x 96, 4 groups) with its planes dealt out in turn
or cut into blocks, and a two-photon calcium film (8 time points of 96 x 128, 4 groups). Everything is in sample: the fits know
nothing but the image. All fits are short, since the machine was shared by many; longer ones shift the figures.
"""

TRANSFER = """
Every group is fitted from random weights with 400 steps of SOAP over the whole schedule of learning rates. Then it is fitted
from the weights of the group before it, with 10, 20, 30, 40, 60, 80 and 100 % of these steps, until it is as good (the same
loss on the same points). *Never* means that not even 100 % were enough. The goal: at most 40 % on average over the groups after
the first. *start* is where on the falling schedule of rates the warm fit begins: at 0 it runs through all of it.
"""

RESIDUAL = """
Bytes of the weights of all groups as they are in the file, and coded each alone with the same quantiser and the same family of
tables. *pull* is the option that weighs bits in the fit. The goal: 25 % fewer.
"""

SALIENCY = """
Points of all fits drawn from the map of structure (`sampling=structure`, a quarter of them from everywhere) or
uniformly, in the same bytes and steps. Inside are the voxels of labelled nuclei, or, where there are no labels, those above
Otsu's threshold after smoothing by 2 voxels. The goal: at least 1 dB more inside.
"""

SIMILARITY = """
The paper tells how alike weights are by an Average Wilson Coefficient of histograms and by the Rayleigh entropy of clusters,
neither of which it defines fully. In their place stand the Jensen-Shannon distance (base 2, 64 bins) and the Wasserstein
distance (in units of the common standard deviation) between histograms, and the correlation of values place by place, which
histograms cannot see: between groups that follow one another and between all others, for weights after transfer, for weights of
fits from one and the same random initial network, and for the grey levels of the groups themselves.

![Distances of weights over distances of grey levels](plots/sincs-similarity.svg)
"""

ANCESTOR = """
Several images of one kind go into one folder, in files of the same size: each for itself, and with `ancestor=shared`, where the
first file leaves its network for the others; 100 times smaller, effort 0, one seed. *gain* is that of the files after the first,
whose quality does not change. Images that show the same place gain; other places are better off for themselves.
*ancestor* is the size of the file that they share, beside the size of one of theirs.
"""

COMPARISON = """
Files of the same size (`sincs` and `inif` at effort 1, one seed; `field` and the codecs at effort 5, `field` in bitstream
version 4 with networks that never saw the image).
*inside* is the PSNR of the structures as above; IoU, and the objects counted in the copy
and in the original, are those of the segmentation of `microfield compare`; *traces* is the median correlation of the mean grey
level of regions over time. Processor time is that of the whole call on a machine that others used, too. The images of more
than 50 MB are one real stack or film put together several times, each time turned, mirrored or in reverse order: as large as
the paper's data, but no more varied than the one.
"""

OPEN = """
## What is not built, and what was tried

* The published code sets layers to zero after a transfer. With rectified sums no gradient reaches such layers, so
  `reset=published` draws them anew.
* Spreads of the models that follow single weights, rows or columns along a chain took 1 % more bytes than one spread per
  tensor.
* A file holds 5 to 6 bytes a group beside its weights.
"""


def _claims(of: dict[str, list[Row]]) -> str:
    """The table of claims: what was asked, and what was found."""
    lines = []
    if of["transfer"]:
        best = [_share(r) for r in of["transfer"] if r["start"] == 0.0] or [_share(r) for r in of["transfer"]]
        slices = [_share(r) for r in of["transfer"] if "slices" in r["image"]]
        lines.append(["weights of a neighbour save steps", "at most 40 % of the steps",
                      f"{np.mean(best):.0%} ({np.mean(slices):.0%} where slices are dealt out in turn)"])
    if of["residual"]:
        saved = [1 - r["bytes"] / r["alone"] for r in of["residual"] if r["pull"] == 1.0]
        lines.append(["differences take fewer bytes", "at least 25 % fewer",
                      f"{np.mean(saved):.0%} ({min(saved):.0%} to {max(saved):.0%})"])
    if of["saliency"]:
        gains = [g for g, _ in _gains(of["saliency"]).values()]
        lines.append(["points drawn by structure serve structure", "at least 1 dB inside",
                      f"{np.mean(gains):+.2f} dB ({min(gains):+.2f} to {max(gains):+.2f})"])
    faster = _faster(of["comparison"])
    if faster:
        lines.append(["encoding is faster than one network", "3 times at the same quality", faster])
    return table(["claim", "goal", "found"], lines)


def _share(row: Row) -> float:
    """Share of the steps of a row; 1 where not even all were enough."""
    return 1.0 if row["share"] is None else float(row["share"])


def _transfer(rows: list[Row]) -> str:
    lines = []
    for image in dict.fromkeys(r["image"] for r in rows):
        for start in sorted({r["start"] for r in rows}):
            mine = [r for r in rows if r["image"] == image and r["start"] == start]
            if mine:
                per_seed = [np.mean([_share(r) for r in mine if r["seed"] == s]) for s in sorted({r["seed"] for r in mine})]
                half = [r["warm"]["0.4"] / r["cold"] for r in mine if "0.4" in r["warm"]]
                lines.append([image, f"{start:g}", f"{np.mean(per_seed):.0%}", f"{min(per_seed):.0%} to {max(per_seed):.0%}",
                              f"{sum(r['share'] is None for r in mine)} of {len(mine)}",
                              f"{10 * np.log10(np.mean(half)):+.2f} dB" if half else ""])
    head = ["groups", "start", "steps, mean (never counts as 100 %)", "seeds", "never", "error at 40 % against the cold fit's"]
    return table(head, lines)


def _residual(rows: list[Row]) -> str:
    lines = []
    for image in dict.fromkeys(r["image"] for r in rows):
        for pull in sorted({r["pull"] for r in rows}):
            mine = [r for r in rows if r["image"] == image and r["pull"] == pull]
            saved = [1 - r["bytes"] / r["alone"] for r in mine]
            lines.append([image, f"{pull:g}", f"{np.mean(saved):.0%}", f"{min(saved):.0%} to {max(saved):.0%}",
                          f"{np.mean([r['psnr'] for r in mine]):.2f} dB"])
    return table(["groups", "pull", "fewer bytes", "seeds", "PSNR in the same bytes"], lines)


def _gains(rows: list[Row]) -> dict[tuple[str, int], tuple[float, float]]:
    """Gain in dB inside and outside, by image and seed."""
    found = {}
    for row in rows:
        if row["sampling"] == "structure":
            name = row["image"], row["seed"]
            plain = next((r for r in rows if r["sampling"] == "uniform" and (r["image"], r["seed"]) == name), None)
            if plain:
                found[name] = row["inside"] - plain["inside"], row["outside"] - plain["outside"]
    return found


def _saliency(rows: list[Row]) -> str:
    lines, gains = [], _gains(rows)
    for image in dict.fromkeys(r["image"] for r in rows):
        inside, outside = zip(*(g for (name, _), g in gains.items() if name == image), strict=True)
        share = next(r["share"] for r in rows if r["image"] == image)
        lines.append([image, f"{share:.0%}", f"{np.mean(inside):+.2f} dB", f"{min(inside):+.2f} to {max(inside):+.2f}",
                      f"{np.mean(outside):+.2f} dB"])
    return table(["groups", "inside", "gain inside", "seeds", "outside"], lines)


def _ancestor(rows: list[Row]) -> str:
    lines = []
    for image in dict.fromkeys(r["image"] for r in rows):
        mine = [r for r in rows if r["image"] == image]
        gains = [r["shared"] - r["alone"] for r in mine if r["number"]]
        lines.append([image, f"{len(mine)}", f"{np.mean([r['alone'] for r in mine]):.2f} dB", f"{np.mean(gains):+.2f} dB",
                      f"{min(gains):+.2f} to {max(gains):+.2f}", f"{mine[0]['ancestor']} of {mine[0]['bytes']} bytes"])
    return table(["images", "files", "each for itself", "gain", "least and most", "ancestor"], lines)


def _similarity(rows: list[Row]) -> str:
    lines = []
    names = {"transferred": "weights after transfer", "random": "weights from random ones", "image": "grey levels"}
    for row in rows:
        cells = [row["image"], names[row["kind"]]]
        for measure in ("js", "wasserstein", "correlation"):
            matrix = np.asarray(row[measure])
            apart = np.abs(np.subtract.outer(np.arange(len(matrix)), np.arange(len(matrix))))
            cells.append(f"{matrix[apart == 1].mean():.3f} / {matrix[apart > 1].mean():.3f}")
        lines.append(cells)
    return table(["groups", "of", "Jensen-Shannon, neighbours / others", "Wasserstein", "correlation"], lines)


def _comparison(rows: list[Row]) -> str:
    lines = []
    for image in dict.fromkeys(r["image"] for r in rows):
        for ratio in sorted({r["ratio"] for r in rows if r["image"] == image}):
            mine = {r["method"]: r for r in rows if r["image"] == image and r["ratio"] == ratio}
            for method in (m for m in PEERS if m in mine):
                r = mine[method]
                trace = "" if r["trace"] is None else f"{r['trace']:.3f}"
                lines.append([image, f"{ratio}", method, f"{r['psnr']:.2f}", f"{r['inside']:.2f}", f"{r['iou']:.3f}",
                              f"{r['count']} of {r['count_original']}", trace, f"{r['processor']:.0f} s"])
    return table(["image", "ratio", "method", "PSNR", "inside", "IoU", "objects", "traces", "processor"], lines)


def section(rows: Sequence[Row]) -> str:
    """The comparison as a section of docs/results.md."""
    found = [row for row in rows if row["task"] == "comparison" and "refused" not in row]
    return "\n".join(["# `sincs` at 500, 700 and 2000 times\n", text(COMPARISON), _comparison(found)])


def _faster(rows: list[Row]) -> str:
    """How much processor time inif takes for one of sincs, and how much better it then is."""
    pairs = [(r, s) for r in rows for s in rows
             if (r["method"], s["method"]) == ("inif", "sincs") and (r["image"], r["ratio"]) == (s["image"], s["ratio"])]
    if not pairs:
        return ""
    times = [a["processor"] / b["processor"] for a, b in pairs]
    ahead = [a["psnr"] - b["psnr"] for a, b in pairs]
    return (f"inif takes {np.mean(times):.1f} times as long at the same effort ({min(times):.1f} to {max(times):.1f}) and is "
            f"{np.mean(ahead):+.2f} dB better ({min(ahead):+.2f} to {max(ahead):+.2f})")


def _not_reached(rows: list[Row]) -> str:
    if not rows:
        return ""
    lines = [f"* {r['image']}, {r.get('method', r['task'])}, {r.get('ratio', '')}x: {r['refused']}\n" for r in rows]
    return "## Not reached\n\n" + "".join(lines)


def _plot(rows: list[Row]) -> None:
    """Distances of weights over distances of images, a point per pair of groups: fits from random weights, and after transfer."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams |= {"svg.hashsalt": "sincs", "svg.fonttype": "none"}
    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3.6), layout="constrained", sharex=True, sharey=True)
    for place, kind, title in zip(axes, ("random", "transferred"), ("fits from random weights", "after transfer"), strict=True):
        for image, marker in zip(dict.fromkeys(r["image"] for r in rows), "osD^", strict=False):
            of = {r["kind"]: np.asarray(r["js"]) for r in rows if r["image"] == image}
            weights, images = of[kind], of["image"]
            a, b = np.triu_indices(len(weights), 1)
            line = place.plot(images[a, b], weights[a, b], marker, fillstyle="none", label=image)[0]
            near = b - a == 1
            place.plot(images[a, b][near], weights[a, b][near], marker, color=line.get_color())
        place.set_title(title)
        place.set_xlabel("Jensen-Shannon distance of grey levels")
    axes[0].set_ylabel("Jensen-Shannon distance of weights")
    axes[0].set_ylim(bottom=0)
    axes[1].legend(fontsize=8, title="filled: neighbours", title_fontsize=8)
    figure.savefig(PLOT, metadata={"Date": None})
    pyplot.close(figure)
