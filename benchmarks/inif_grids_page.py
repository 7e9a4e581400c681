"""docs/studies/inif_grids.md, from the rows of inif_grids.jsonl."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.markdown import table
from benchmarks.markdown import text as paragraphs

Row = dict[str, Any]

BEFORE, AFTER = "inif without grids", "inif"
TARGET = 1.0
"""The mean gain over the default before that was wanted, in dB."""


def page(rows: Sequence[Row], seconds: float) -> str:
    """The page, as Markdown."""
    ratios = sorted({row["ratio"] for row in rows})
    parts = [paragraphs(f"""
        # Latent grids in inif

        Written by `python -m benchmarks.inif_grids --data FOLDER` from the rows of `benchmarks/inif_grids.jsonl`.

        *inif without grids* (`--option grids=none`) is the default as it was before (commit 660db66, optimiser SOAP): a sine
        network of coordinates. *inif* sees a pyramid of latents as well, where a part has 2000 bytes. Both stop after {seconds:g} s
        of processor time with everything that belongs to it: reading, trials, compiling, coding. Crops of some 0.3 million voxels,
        none of which the settings were tuned on; PSNR in dB, seed 0. `field` uses networks that never saw the image.
    """)]
    for ratio in ratios:
        parts += [f"## {ratio:g} times smaller\n", _table([row for row in rows if row["ratio"] == ratio and row["seed"] == 0])]
    parts += [_spread(rows)]
    return "\n".join(part for part in parts if part).rstrip() + "\n"


def _table(rows: Sequence[Row]) -> str:
    """The figures of a ratio, and their means and worst cases."""
    names = list(dict.fromkeys(row["what"] for row in rows))
    images = list(dict.fromkeys(row["image"] for row in rows))
    found = {(row["image"], row["what"]): row for row in rows}
    body = []
    for image in images:
        gain = _difference(found, image, AFTER, BEFORE)
        cells = [f"{found[image, name]['psnr']:.2f}" if (image, name) in found else "" for name in names]
        body.append([image, str(found[image, names[0]]["allowed"]), *cells, "" if gain is None else f"{gain:+.2f}"])
    lines = []
    for other in [name for name in names if name != AFTER]:
        gains = [g for image in images if (g := _difference(found, image, AFTER, other)) is not None]
        if gains:
            lines.append(f"inif is {statistics.fmean(gains):+.2f} dB against {other} in the mean of {len(gains)} images (worst "
                         f"{min(gains):+.2f}, best {max(gains):+.2f}).")
            if other == BEFORE:
                met = "met" if statistics.fmean(gains) >= TARGET else "missed"
                lines.append(f"The target, {TARGET:+g} dB in the mean, is **{met}**.")
    return table(["image", "bytes allowed", *names, "gain of grids"], body) + "\n" + " ".join(lines) + "\n"


def _difference(found: dict[tuple[str, str], Row], image: str, one: str, other: str) -> float | None:
    """By how much one is above another, in dB; None where either is missing."""
    pair = found.get((image, one)), found.get((image, other))
    return pair[0]["psnr"] - pair[1]["psnr"] if pair[0] and pair[1] else None


def _spread(rows: Sequence[Row]) -> str:
    """What the seed changes."""
    lines = []
    groups: dict[tuple[str, float, str], dict[int, float]] = {}
    for row in rows:
        groups.setdefault((row["image"], row["ratio"], row["what"]), {})[row["seed"]] = row["psnr"]
    for (image, ratio, what), seeds in groups.items():
        if len(seeds) > 1:
            values = list(seeds.values())
            lines.append([image, f"{ratio:g}x", what, f"{len(values)}", f"{statistics.fmean(values):.2f}",
                          f"{min(values):.2f} to {max(values):.2f}"])
    return "## Seeds\n\n" + table(["image", "ratio", "", "seeds", "mean", "range"], lines) if lines else ""
