"""Pictures for the page of a bench: the same place of an image as every method gives it, at equal bytes."""

from __future__ import annotations

import base64
import html
import io
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.bench import summary
from microfield.bench.rows import Row
from microfield.errors import MicrofieldError
from microfield.io import open_image
from microfield.reading.file import open_file

SIDE = 128
"""Pixels of a side of a picture."""
MOST = 8
"""Methods that are shown, the best ones first."""
DECODED = 1 << 23
"""Larger images are left out: every file would have to be decoded."""

Plane = npt.NDArray[Any]


def pictures(rows: Sequence[Row], out: Path) -> str:
    """A row of pictures for one image, as HTML: the original, where its file is still there, and every method at the size asked of
    most of them (the smallest files of these); empty where there is nothing to show.

    Parameters
    ----------
    rows : rows of one image
    out : folder of the bench, which holds the compressed files
    """
    done = [row for row in summary.reached(rows) if row["budget"] == "ratio" and row.get("file") and (out / row["file"]).is_file()]
    if not done or int(np.prod(done[0]["shape"])) > DECODED:
        return ""
    counts = {size: len({r["method"] for r in done if r["asked"] == size}) for size in {r["asked"] for r in done}}
    size = max(counts, key=lambda asked: (counts[asked], asked))
    best: dict[str, Row] = {}
    for row in sorted((r for r in done if r["asked"] == size), key=lambda r: -r["psnr"]):
        best.setdefault(row["method"], row)
    try:
        found = _cut(list(best.values())[:MOST], out)
    except ImportError:
        return ""  # Pillow comes with an extra of the package.
    cells = "".join(f"<figure>{image}<figcaption>{caption}</figcaption></figure>" for image, caption in found)
    said = f"The same place at {size:g}x, one contrast for all:"
    return f'<p class="faint">{said}</p><div class="pictures">{cells}</div>' if cells else ""


def _cut(rows: Sequence[Row], out: Path) -> list[tuple[str, str]]:
    """Pictures and captions of the original and of the files of some rows, at the place of the richest structure."""
    planes: list[tuple[Plane, str]] = []
    original = _original(rows[0])
    if original is not None:
        planes.append((original, "original"))
    for row in rows:
        plane = _decoded(out / row["file"])
        if plane is not None:
            planes.append((plane, f"<b>{html.escape(row['method'])}</b> {row['psnr']:.1f} dB, {row['bytes']:,} bytes"))
    if not planes:
        return []
    first = planes[0][0]
    y, x = _richest(first)
    low, high = np.percentile(first, (0.1, 99.9))
    scale = 255 / (high - low) if high > low else 1.0
    return [(_img(np.clip((p[y : y + SIDE, x : x + SIDE] - low) * scale, 0, 255).astype(np.uint8), words), words)
            for p, words in planes if p.shape == first.shape]


def _original(row: Row) -> Plane | None:
    """The plane of the original, from the file that the command of a row names; None where that is not there any more."""
    words = shlex.split(row.get("command") or "")
    if len(words) < 3 or not Path(words[2]).exists():
        return None
    try:
        image = open_image(words[2], axes=row.get("axes_given"))
        return _plane(image.read, image.axes, image.shape) if image.axes == row["axes"] else None
    except (MicrofieldError, OSError):
        return None


def _decoded(path: Path) -> Plane | None:
    """The plane of a compressed file; None where it cannot be read."""
    try:
        with open_file(path) as f:
            return _plane(lambda box: np.asarray(f[box]), f.axes, f.shape)
    except (MicrofieldError, OSError):
        return None


def _plane(read: Callable[[tuple[slice, ...]], Plane], axes: str, shape: Sequence[int]) -> Plane:
    """The middle plane of the first channel, of shape ``(Y, X)``."""
    box = tuple(slice(0, n) if a in "YX" else slice(0, 1) if a in "CS" else slice(n // 2, n // 2 + 1)
                for a, n in zip(axes, shape, strict=True))
    values = np.asarray(read(box), np.float64)
    flat = values.reshape([n for a, n in zip(axes, values.shape, strict=True) if a in "YX"])
    return flat if axes.index("Y") < axes.index("X") else flat.T


def _richest(plane: Plane) -> tuple[int, int]:
    """The corner of the window that varies most, of those half a window apart."""
    rows, columns = (range(0, max(1, n - SIDE + 1), SIDE // 2) for n in plane.shape)
    corners = [(y, x) for y in rows for x in columns]
    return max(corners, key=lambda at: float(plane[at[0] : at[0] + SIDE, at[1] : at[1] + SIDE].std()))


def _img(values: npt.NDArray[np.uint8], words: str) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(values)).save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    alt = html.escape(words.replace("<b>", "").replace("</b>", ""), quote=True)
    return f'<img src="data:image/png;base64,{data}" alt="{alt}">'
