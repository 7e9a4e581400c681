"""docs/studies/learning-rates.md and its figure, from the rows of learning_rates.jsonl."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.markdown import table
from benchmarks.markdown import text as paragraphs
from microfield.models import index
from microfield.nn.learned import Learned

Row = dict[str, Any]

FIGURE = "plots/learning-rates.svg"
COLOURS = {"adam": "#c2571a", "adamax": "#8a6fb3", "soap": "#2a7ab0", "learned": "#1d7a3d"}
NAMES = {"adam": "Adam", "adamax": "Adamax", "soap": "SOAP", "learned": "inif, learned"}
PANEL, GAP, LEFT, TOP = (250, 170), 46, 44, 26
"""Width and height of a panel of the figure, the room between panels, and that left of and above the first one."""

WITHIN, AT_WORST, OFF, COST = 0.1, 0.5, 2.0, 1.5
"""Targets: the learned optimiser is so near the best rate in the median and at worst, and Adam a decade off loses so much, in dB;
times of a step of Adam that a step may take.
"""

FILES, COSTS = (Path(__file__).parent / name for name in ("inif_optimisers.jsonl", "optimiser_cost.json"))
"""Rows of inif_optimisers.py and optimiser_cost.py."""


INTRODUCTION = paragraphs(f"""
    # Learning rates

    How much does the learning rate of a fit matter, and does the learned optimiser spare the search? As in figures 2b, 3b and 4b of
    the INIF paper (Dai et al. 2024), SIREN is fitted with Adam, Adamax and SOAP at rates from 1e-4 to 0.3, and `inif` with the
    learned optimiser (`--option optimizer=learned`), which is given no rate: the same network (4 sine layers of 32 units, float32
    weights), the same start, 960 steps of 1024 points, on a crop of some 65,000 to 100,000 voxels. `inif` also learns the frequency
    of its sines. PSNR is over all voxels of the crop. The images are new to the learned optimiser.
    `python -m benchmarks.learning_rates --data DIR` measures and writes this page.

    ![PSNR by learning rate]({FIGURE})

    Every point is the mean of three seeds, the bar their range; the band is the range of the learned optimiser.

    ## At the best rate

    Mean over three seeds with half their range and, in brackets, the best rate of every optimiser, found by trying all of them.
    *Learned - best* is against the best optimiser at its best rate. *A decade off* is what Adam loses at a tenth of its best rate
    and at ten times it (one figure where the other lies outside the rates measured).
""")


def write(page: Path, rows: Sequence[Row]) -> None:
    """Write the page and, beside it, the figure."""
    page.parent.mkdir(parents=True, exist_ok=True)
    (page.parent / FIGURE).parent.mkdir(exist_ok=True)
    (page.parent / FIGURE).write_text(figure(rows), encoding="utf-8")
    files = [json.loads(line) for line in FILES.read_text("utf-8").splitlines()] if FILES.exists() else []
    costs = json.loads(COSTS.read_text("utf-8")) if COSTS.exists() else []
    page.write_text(text(rows, files, costs), encoding="utf-8")


def psnr(rows: Sequence[Row], image: str, optimiser: str) -> dict[float, list[float]]:
    """Rate to the PSNR of all seeds, rates ascending."""
    found: dict[float, list[float]] = {}
    for row in sorted(rows, key=lambda r: (r["rate"], r["seed"])):
        if row["image"] == image and row["optimiser"] == optimiser:
            found.setdefault(row["rate"], []).append(row["psnr"])
    return found


def names(rows: Sequence[Row], key: str) -> list[str]:
    """Values of a key, each once, in the order of the rows."""
    return list(dict.fromkeys(row[key] for row in rows))


def best_rate(curve: dict[float, list[float]]) -> float:
    """The rate of the highest mean over seeds."""
    return max(curve, key=lambda rate: statistics.fmean(curve[rate]))


def decade_off(curve: dict[float, list[float]]) -> list[float]:
    """What is lost, in dB of the mean over seeds, a decade below and above the best rate, where these were measured."""
    best = best_rate(curve)
    near = [rate for rate in curve if abs(abs(math.log10(rate / best)) - 1) < 0.05]
    return [statistics.fmean(curve[best]) - statistics.fmean(curve[rate]) for rate in near]


@dataclass(frozen=True)
class Comparison:
    """What the fits of one image say, in dB.

    ``tops`` are the best rate and the PSNR of every seed there, by optimiser; ``lead`` is that of the learned optimiser over the
    best of the others; ``lost`` is what Adam loses a decade off its best rate.
    """

    tops: dict[str, tuple[float, list[float]]]
    lead: float
    lost: list[float]

    @classmethod
    def of(cls, rows: Sequence[Row], image: str) -> Comparison:
        """Compare the optimisers on an image."""
        curves = {name: psnr(rows, image, name) for name in COLOURS}
        tops = {name: (best_rate(curve), curve[best_rate(curve)]) for name, curve in curves.items()}
        best = max(statistics.fmean(seeds) for name, (_, seeds) in tops.items() if name != "learned")
        return cls(tops, statistics.fmean(tops["learned"][1]) - best, decade_off(curves["adam"]))

    def cells(self) -> list[str]:
        """The image's line in the table."""
        tuned = [f"{_spread(self.tops[name][1])} ({self.tops[name][0]:.0e})" for name in COLOURS if name != "learned"]
        return [*tuned, _spread(self.tops["learned"][1]), f"{self.lead:+.2f}", ", ".join(f"{x:.1f}" for x in self.lost)]


def text(rows: Sequence[Row], files: Sequence[Row], costs: Sequence[Row]) -> str:
    """The page, as Markdown."""
    compared = {image: Comparison.of(rows, image) for image in names(rows, "image")}
    parts = [INTRODUCTION, table(["image", "Adam", "Adamax", "SOAP", "learned", "learned - best", "Adam a decade off"],
                                 [[image, *one.cells()] for image, one in compared.items()]),
             _verdict(list(compared.values())), _files(files), _costs(costs), _training()]
    return "\n".join(part for part in parts if part).rstrip() + "\n"


def _verdict(compared: Sequence[Comparison]) -> str:
    """Whether the targets are met."""
    median, worst = statistics.median(one.lead for one in compared), min(one.lead for one in compared)
    lost = [x for one in compared for x in one.lost]
    met = "met" if median >= -WITHIN and worst >= -AT_WORST else "missed"
    return paragraphs(f"""
        The learned optimiser is {_apart(median)} the best hand-tuned rate of the best optimiser in the median over images, and
        {_apart(worst)} it at worst; the targets, {WITHIN} and {AT_WORST} dB behind at most, are **{met}**. Adam a decade off loses
        {statistics.median(lost):.1f} dB in the median ({min(lost):.1f} to {max(lost):.1f}); the paper's picture, more than
        {OFF:g} dB, holds in {sum(x > OFF for x in lost)} of {len(lost)} cases.

        Our fit keeps the best weights it has seen and halves the rate where a fit diverges, so no curve collapses at high rates as
        those of the paper do.
    """)


def _files(rows: Sequence[Row]) -> str:
    """The section on files of `inif`: PSNR by optimiser and effort, mean over the seeds that every optimiser was given."""
    every = names(rows, "optimiser")
    made: dict[tuple[str, float, int], dict[str, dict[int, float]]] = {}
    for row in rows:
        made.setdefault((row["image"], row["ratio"], row["effort"]), {}).setdefault(row["optimiser"], {})[row["seed"]] = row["psnr"]
    settings = list(dict.fromkeys((row["ratio"], row["effort"]) for row in rows))
    cells, sentences = {}, []
    for where, seen in made.items():
        common = set.intersection(*(set(seen.get(name, {})) for name in every))
        if common:
            cells[where] = {name: statistics.fmean(seen[name][seed] for seed in common) for name in every}
    for ratio, effort in settings:
        leads = [found["learned"] - found["soap"] for (_, r, e), found in cells.items() if (r, e) == (ratio, effort)]
        if leads:
            mean = statistics.fmean(leads)
            spread = f" (from {min(leads):+.2f} to {max(leads):+.2f})" if len(leads) > 1 else ""
            of = f"in the mean of {len(leads)} images" if len(leads) > 1 else "on one image"
            sentences.append(f"At {ratio:g} times and effort {effort} the learned optimiser is {mean:+.2f} dB against SOAP "
                             f"{of}{spread}.")
    if not sentences:
        return ""
    columns = [(*setting, name) for setting in settings for name in every]
    body = [[image, *(f"{cells[image, r, e][name]:.2f}" if (image, r, e) in cells else "" for r, e, name in columns)]
            for image in names(rows, "image")]
    return "\n".join([
        paragraphs("""
            ## In files

            Whole files of `inif` without latent grids on the same crops, 64 times smaller than the raw data (networks of 1,000 to
            4,000 weights) and 8 times (8,000 to 30,000), and at effort 5 of the whole image, with everything that belongs to them:
            trials (at 64 times), learned frequency, rounded and coded weights. PSNR in dB of the decoded files, by ratio and
            effort, mean over seeds where there are two. `python -m benchmarks.inif_optimisers --data DIR` makes them.
        """),
        table(["image", *(f"{name}, {ratio:g}x, effort {effort}" for ratio, effort, name in columns)], body),
        " ".join(sentences), "",
    ])


def _costs(rows: Sequence[Row]) -> str:
    """The section on the cost of a step."""
    if not rows:
        return ""
    body = [[f"{row['width']}", f"{row['batch']}", f"{row['adam']:.1f} ms", f"{row['soap'] / row['adam']:.2f}",
             f"{row['learned'] / row['adam']:.2f}"] for row in rows]
    return "\n".join([
        paragraphs(f"""
            ## Cost of a step

            Four sine layers, points of a step as `inif` draws them for such a network, least processor time of a core. SOAP and the
            learned optimiser in times of Adam; the target is {COST} at most. `python -m benchmarks.optimiser_cost` measures.
        """),
        table(["width", "points", "Adam", "SOAP", "learned"], body),
    ])


def _training() -> str:
    """The section on how the shipped weights were trained."""
    trained = index()["optimiser"][Learned().name]["trained"]
    body = [[f"{row[0]:.0f}", *(f"{x:+.2f}" for x in row[2:])] for row in _few(trained["curve"])]
    return "\n".join([
        paragraphs(f"""
            ## How the learned optimiser was trained

            In {trained["updates"]} updates ({trained["seconds"] / 60:.0f} minutes at the lowest priority on one core of a busy
            machine) on tiles of {len(trained["images"])} images of half "a", by `python -m microfield.training.optimiser`. Gain
            over SOAP at its standard rate on new tiles of these images, in dB, noisy since the tiles are others every time:
        """),
        table(["updates", *(f"{n} steps" for n in trained["judged_steps"])], body),
    ])


def _few(rows: Sequence[Sequence[float]], most: int = 8) -> list[Sequence[float]]:
    """Some of the rows, evenly, the last among them."""
    step = max(1, -(-len(rows) // most))
    return list(rows[::-1][::step][::-1])


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.2f} ± {(max(values) - min(values)) / 2:.2f}"


def _apart(lead: float) -> str:
    return f"{abs(lead):.2f} dB {'ahead of' if lead > 0 else 'behind'}"


# -- figure -----------------------------------------------------------------------------------------------------------


def figure(rows: Sequence[Row]) -> str:
    """Small charts side by side, one per image, as SVG."""
    images = names(rows, "image")
    width = LEFT + 3 * (PANEL[0] + GAP)
    lines = -(-len(images) // 3)
    height = TOP + lines * (PANEL[1] + GAP) + 14
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
             f'<rect width="{width}" height="{height}" fill="white"/>']
    for k, image in enumerate(images):
        x, y = LEFT + (k % 3) * (PANEL[0] + GAP), TOP + (k // 3) * (PANEL[1] + GAP)
        parts.append(f'<g transform="translate({x} {y})">{_panel(rows, image)}</g>')
    for k, (name, colour) in enumerate(COLOURS.items()):
        parts.append(f'<text x="{LEFT + 130 * k}" y="{height - 6}" fill="{colour}">{NAMES[name]}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(rows: Sequence[Row], image: str) -> str:
    """The chart of one image, its upper left corner at 0, 0."""
    curves = {name: psnr(rows, image, name) for name in COLOURS}
    values = [v for curve in curves.values() for seeds in curve.values() for v in seeds]
    rates = sorted({rate for name in COLOURS if name != "learned" for rate in curves[name]})
    low, high = math.floor(min(values)), math.ceil(max(values))

    def across(rate: float) -> float:
        return PANEL[0] * (math.log10(rate) - math.log10(rates[0])) / (math.log10(rates[-1]) - math.log10(rates[0]))

    def down(value: float) -> float:
        return PANEL[1] * (high - value) / (high - low)

    parts = [f'<rect width="{PANEL[0]}" height="{PANEL[1]}" fill="none" stroke="#999"/><text x="0" y="-6">{image}</text>']
    for rate in rates[::2]:
        parts.append(f'<text x="{across(rate):.1f}" y="{PANEL[1] + 14}" text-anchor="middle">{rate:.0e}</text>')
    for value in (low, high):
        parts.append(f'<text x="-4" y="{down(value) + 4:.1f}" text-anchor="end">{value}</text>')
    for name, curve in curves.items():
        if name == "learned":
            seeds = next(iter(curve.values()))
            top, bottom = down(max(seeds)), down(min(seeds))
            parts.append(f'<rect x="0" width="{PANEL[0]}" y="{top:.1f}" height="{bottom - top + 1:.1f}" fill="{COLOURS[name]}" '
                         'fill-opacity="0.6"/>')
            continue
        points = " ".join(f"{across(rate):.1f},{down(statistics.fmean(seeds)):.1f}" for rate, seeds in curve.items())
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[name]}" stroke-width="1.5"/>')
        parts += [f'<line x1="{across(rate):.1f}" x2="{across(rate):.1f}" y1="{down(max(s)):.1f}" y2="{down(min(s)):.1f}" '
                  f'stroke="{COLOURS[name]}"/>' for rate, s in curve.items()]
    return "".join(parts)
