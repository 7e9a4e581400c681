"""The section of docs/results.md on every image: its plot, the command that repeats its rows, and a table of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from benchmarks.comparison import MEASURES
from benchmarks.images import listed
from benchmarks.markdown import table
from microfield.bench.page import drawing
from microfield.bench.repeat_command import command
from microfield.bench.rows import Row
from microfield.bench.summary import show, unique


def section(rows: Sequence[Row]) -> str:
    """All images: the plot of the first one of every kind, and everything else in parts to unfold."""
    parts = ["## Every image", "", "Rate-distortion curves of the first image of every kind; all others are below.", "",
             _gallery(rows), ""]
    for kind in unique(rows, "kind"):
        parts += [f"### {kind}", ""]
        parts += [_details(image, [r for r in rows if r["image"] == image])
                  for image in unique([r for r in rows if r["kind"] == kind], "image")]
    return "\n".join(parts)


def _gallery(rows: Sequence[Row]) -> str:
    firsts = [unique([r for r in rows if r["kind"] == kind], "image")[0] for kind in unique(rows, "kind")]
    return "\n".join(f'<img src="plots/{name}.svg" width="420" alt="rate-distortion curves of {name}">' for name in firsts)


def _details(image: str, rows: Sequence[Row]) -> str:
    known = next((r for r in rows if r.get("shape")), rows[0])
    about = f"{known['axes']} {'x'.join(map(str, known['shape']))} {known['dtype']}" if known.get("shape") else ""
    return "\n".join([
        f"<details><summary><b>{image}</b> {about}</summary>", "",
        f'<img src="plots/{image}.svg" width="560" alt="rate-distortion curves of {image}">', "",
        f"`{command_of(rows[0])}` (with the method and the ratio of the row)", "",
        table(["ratio", "method", "bytes", "used", "PSNR dB", "SSIM", "IoU", "F1", "encode s", "decode s"], _body(rows)),
        *_reasons(rows), "</details>", "",
    ])


def _body(rows: Sequence[Row]) -> list[list[str]]:
    """One line per successful run, ratio by ratio, the best PSNR first and in bold; an exact copy, which has none, is best."""
    body = []
    for ratio in sorted(unique(rows, "asked")):
        runs = sorted((r for r in rows if r["asked"] == ratio and r["status"] == "ok"),
                      key=lambda r: math.inf if r.get("psnr") is None else r["psnr"], reverse=True)
        for place, r in enumerate(runs):
            psnr = "exact" if r.get("psnr") is None else f"{r['psnr']:.2f}"
            body.append([
                f"{ratio:g}x", r["method"], str(r["bytes"]), f"{r['used']:.1%}", f"**{psnr}**" if place == 0 else psnr,
                show(r.get("ssim"), ".3f"), show(r.get("iou"), ".3f"), show(r.get("object_f1"), ".2f"),
                f"{r['encode_seconds']:.2f}", f"{r['decode_seconds']:.2f}",
            ])
    return body


def _reasons(rows: Sequence[Row]) -> list[str]:
    """Why runs are missing: one line per method and reason, with the ratios it applies to."""
    found: dict[tuple[str, str], list[str]] = {}
    for r in rows:
        if r["status"] != "ok":
            # Of a size that cannot be met the message names the smallest possible one; the asked one differs by ratio.
            reason = r["message"].partition(": ")[2] if r["status"] == "unreachable" and ": " in r["message"] else r["message"]
            found.setdefault((r["method"], f"{r['status']}: {reason}"), []).append(f"{r['asked']:g}x")
    return [f"* `{method}` {', '.join(ratios)} {reason}" for (method, reason), ratios in found.items()] + ([""] if found else [])


def command_of(row: Row) -> str:
    """The command that repeats a row, with DATA for the folder of the images."""
    image = listed()[row["image"]]
    labels = f"DATA/{image.labels}" if image.labels else ""
    return command({"options": {}, **row}, f"DATA/{image.file}", labels, row.get("measures") or MEASURES)


def write_plots(folder: Path, rows: Sequence[Row]) -> None:
    """One SVG file per image; files of images that are no longer compared are removed."""
    folder.mkdir(exist_ok=True)
    images = unique(rows, "image")
    methods = unique(rows, "method")
    for image in images:
        text = drawing(rows, image, methods, standalone=True)
        (folder / f"{image}.svg").write_text(text + "\n", encoding="utf-8", newline="\n")
    for old in folder.glob("*.svg"):
        if old.stem not in images:
            old.unlink()
