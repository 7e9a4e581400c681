"""The section of docs/results.md on `field`, the default method, against the best codec of every image and ratio."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from benchmarks.markdown import table, text
from microfield.bench.rows import Row
from microfield.bench.summary import unique

PEERS = ("hevc", "av1", "sperr", "jpegxl")
"""The codecs that `field` is measured against."""
CHOICES = ("field", "av1", "hevc")
"""What `auto` chooses from."""
RATIOS = (64.0, 128.0, 256.0, 512.0)
MOVING = ("3-D fluorescence", "light-sheet", "time-lapse", "5-D")
"""Kinds of images that are summed up as fluorescence stacks and time-lapses."""

Cell = dict[str, Row]
"""The runs of one image at one ratio, by method."""


def section(rows: Sequence[Row]) -> str:
    """Two tables and their explanation; empty without rows of `field`."""
    cells = _cells(rows)
    if not cells:
        return ""
    head = text("""
        ## `field` against the best codec

        PSNR difference in dB to the best of hevc, av1, sperr and jpegxl at the same byte limit, from real files of the same
        comparison; `field` with networks that never saw the image (`--option nets=a` or `b`; `all` where the image is in neither
        half of the training images). Beside it the same for SSIM, for PSNR on the 0.1-99.9 % range and for the IoU of the
        segmentation, each against the peer with the highest PSNR: a gain in PSNR must not be bought with those. *auto* is the best
        of field, av1 and hevc, which is what `--method auto` takes where it tries the whole image (up to 4 million voxels).
    """)
    return "\n".join([head, _summary(cells), "", _by_image(cells)])


def _cells(rows: Sequence[Row]) -> dict[tuple[str, float], Cell]:
    """(image, ratio) to its cell, where `field` and at least one peer reached the ratio."""
    cells: dict[tuple[str, float], Cell] = {}
    for row in rows:
        if row["status"] == "ok" and row["asked"] in RATIOS:
            cells.setdefault((row["image"], row["asked"]), {})[row["method"]] = row
    return {key: cell for key, cell in cells.items() if "field" in cell and any(p in cell for p in PEERS)}


def _best(cell: Cell, methods: Sequence[str]) -> Row:
    """The run of highest PSNR among those of some methods."""
    return max((cell[m] for m in methods if m in cell), key=lambda r: r["psnr"])


def _gain(cell: Cell, name: str) -> float | None:
    """By how much a measure of `field` exceeds that of the peer of highest PSNR; None where either was not measured."""
    mine, theirs = cell["field"].get(name), _best(cell, PEERS).get(name)
    return None if mine is None or theirs is None else mine - theirs


def _above(cell: Cell, method: str) -> float | None:
    """PSNR of `field` minus that of another method in dB; None where that did not reach the ratio."""
    return cell["field"]["psnr"] - cell[method]["psnr"] if method in cell else None


def _summary(cells: dict[tuple[str, float], Cell]) -> str:
    kinds = unique([cell["field"] for cell in cells.values()], "kind")
    moving = "**fluorescence stacks and time-lapses**"
    groups: list[tuple[str, Callable[[str], bool]]] = [(moving, lambda k: k in MOVING)]
    groups += [(kind, lambda k, kind=kind: k == kind) for kind in kinds]  # type: ignore[misc]
    groups.append(("**all**", lambda _: True))
    body: list[list[str]] = []
    for name, chosen in groups:
        mine = [c for c in cells.values() if chosen(c["field"]["kind"])]
        if not mine:
            continue
        gains = [g for c in mine if (g := _gain(c, "psnr")) is not None]
        auto = [_best(c, CHOICES)["psnr"] - _best(c, PEERS)["psnr"] for c in mine]
        body.append([
            name, str(len(mine)), f"{statistics.fmean(gains):+.2f}", f"{min(gains):+.2f}", _mean([_above(c, "hevc") for c in mine]),
            _mean([_above(c, "inif") for c in mine]), _mean([_gain(c, "psnr_robust") for c in mine]),
            _mean([_gain(c, "ssim") for c in mine], 4), _mean([_gain(c, "iou") for c in mine], 3),
            f"{statistics.fmean(auto):+.2f}", f"{min(auto):+.2f}",
        ])
    heads = ["kind", "cases", "best peer", "lowest", "hevc", "inif", "robust PSNR", "SSIM", "IoU", "auto", "auto, lowest"]
    return table(heads, body)


def _by_image(cells: dict[tuple[str, float], Cell]) -> str:
    images = unique([cell["field"] for cell in cells.values()], "image")
    body = []
    for image in images:
        mine = [cells.get((image, ratio)) for ratio in RATIOS]
        shown = [c for c in mine if c]
        body.append([
            image, *(_shown(c) for c in mine),
            _mean([_gain(c, "ssim") for c in shown], 4), _mean([_gain(c, "iou") for c in shown], 3),
        ])
    return "\n".join(["PSNR of `field` at each ratio, and its difference to the best peer, which is named.", "",
                      table(["image", *(f"{r:g}x" for r in RATIOS), "SSIM", "IoU"], body)])


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    return f"{cell['field']['psnr']:.2f} ({_gain(cell, 'psnr'):+.2f} {_best(cell, PEERS)['method']})"


def _mean(values: Sequence[float | None], digits: int = 2) -> str:
    known = [v for v in values if v is not None]
    return f"{statistics.fmean(known):+.{digits}f}" if known else "-"
