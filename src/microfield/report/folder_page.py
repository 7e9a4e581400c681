"""The summary page of a folder: a row an image with its picture, size, quality and verdicts."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from microfield.report.drawing.composite import channel_colours, composite, stretched
from microfield.report.drawing.grade import Grade, badge
from microfield.report.drawing.markup import escape, number, size
from microfield.report.drawing.pictures import shrink
from microfield.report.verdict import USES

THUMBNAIL = 160
"""Most pixels of a side of a picture in the page."""
MOST_CHANNELS = 6
"""Of more channels the first ones are shown."""


@dataclass(frozen=True)
class Entry:
    """One row.

    Attributes
    ----------
    name : of the source
    output : path of the file, seen from the page
    status, message : as in the summary
    file_bytes, ratio, psnr : None where unknown; ``psnr`` is None for an exact copy, too
    grades : use to its grade in words; empty where the image was not judged
    why : what the grades rest on
    picture : a ``data:`` address of the thumbnail, or empty
    """

    name: str
    output: str
    status: str
    message: str = ""
    file_bytes: float | None = None
    ratio: float | None = None
    psnr: float | None = None
    grades: dict[str, str] | None = None
    why: str = ""
    picture: str = ""


def thumbnail(file: Any) -> str:
    """The middle plane of a microfield file as the ``data:`` address of a small JPEG picture, its channels in their colours.

    Raises
    ------
    ImportError
        Pillow is missing.
    """
    from PIL import Image as Picture

    sizes = file.sizes
    key = tuple(slice(n // 2, n // 2 + 1) if a in "TZ" else slice(0, MOST_CHANNELS if a == "C" else n) for a, n in sizes.items())
    plane = np.asarray(file[key])
    order = [list(sizes).index(a) for a in "TZCYXS" if a in sizes]
    plane = plane.transpose(order)
    plane = plane.reshape([n for n, a in zip(plane.shape, (a for a in "TZCYXS" if a in sizes), strict=True) if a not in "TZ"])
    made = _colour(plane, sizes) if sizes.get("S", 0) in (3, 4) else _channels(plane, file.display, sizes, file.channel_names)
    buffer = io.BytesIO()
    Picture.fromarray(np.ascontiguousarray(made)).save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _colour(plane: npt.NDArray[Any], sizes: dict[str, int]) -> npt.NDArray[np.uint8]:
    """A plane of red, green and blue (the first element of axis C)."""
    colour = (plane[0] if "C" in sizes else plane)[..., :3]
    return np.asarray(255 * stretched(shrink(colour, THUMBNAIL), 0, 100) + 0.5, np.uint8)


def _channels(plane: npt.NDArray[Any], display: Any, sizes: dict[str, int], names: Sequence[str]) -> npt.NDArray[np.uint8]:
    """A plane of shape ``(C, Y, X)`` or ``(Y, X)``, or with samples, which count as channels."""
    if "S" in sizes:
        plane = np.moveaxis(plane, -1, 0).reshape(-1, *plane.shape[-3:-1])[:MOST_CHANNELS]
    layers = plane if plane.ndim == 3 else plane[None]
    shown = [stretched(shrink(layer, THUMBNAIL)) for layer in layers]
    return composite(shown, channel_colours(display, len(shown), names))


def earlier_pictures(page: str) -> dict[str, str]:
    """Output to picture, of a page that an earlier call has written."""
    return dict(re.findall(r'<tr data-output="([^"]*)">\s*<td[^>]*><img src="(data:image/jpeg;base64,[^"]*)"', page))


def folder_page(entries: Sequence[Entry], title: str) -> str:
    """The page as HTML; it needs nothing else, and its links lead to the files beside it."""
    from microfield import __version__

    style = files("microfield.report").joinpath("style.css").read_text(encoding="utf-8")
    rows = "".join(_row(entry) for entry in entries)
    head = "".join(f"<th>{name}</th>" for name in ("", "Image", "Size", "Ratio", "PSNR", *(u.capitalize() for u in USES)))
    done = [e for e in entries if e.file_bytes]
    total = sum(e.file_bytes or 0 for e in done)
    raw = sum((e.file_bytes or 0) * (e.ratio or 0) for e in done)
    facts = (f"{len(done)} files, {size(total)} instead of {size(raw)} raw ({number(raw / total)}×)." if total else "No files.")
    questions = "".join(f"<div><dt>{use.capitalize()}</dt><dd>{escape(question)}</dd></div>" for use, question in USES.items())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)} – microfield summary</title><style>{style}</style></head><body><main>"
        f'<header class="top"><p class="kicker">Summary of a folder</p><h1>{escape(title)}</h1></header>'
        f'<p class="note">{facts} Each copy was compared with its original when it was made. Green is said only of what was '
        "judged; grey could not be judged on that image. Rest on a verdict, or open its row, to see why. A page on one image: "
        "<code>microfield compare ORIGINAL FILE.mfield --report page.html</code>.</p>"
        f'<div class="scroll" tabindex="0"><table class="folder"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        f'<h2>What the verdicts ask</h2><dl class="meanings">{questions}'
        "<div><dt>PSNR</dt><dd>Size of the error against the range of the image, in decibels: the higher the better. 6 dB more is "
        "half the error. Noise that was lost counts as error, too.</dd></div>"
        "<div><dt>Ratio</dt><dd>Bytes of the raw array over bytes of the file.</dd></div></dl>"
        f"<footer><p>Written by microfield {__version__}. This page is complete in itself and loads nothing from elsewhere.</p>"
        "</footer>"
        "</main></body></html>\n"
    )


def _row(entry: Entry) -> str:
    """One image."""
    image = f'<img src="{entry.picture}" alt="{escape(entry.name)}, the copy" loading="lazy">' if entry.picture else ""
    name, link = escape(entry.name), escape(quote(os.fsencode(entry.output)))
    linked = f'<a href="{link}">{name}</a>' if entry.file_bytes else name
    note = ""
    if entry.status not in ("done", "skipped") or not entry.file_bytes:
        note = f"<small>{escape(entry.status)}: {escape(entry.message)}</small>"
    elif entry.why:
        clauses = "".join(f"<li>{escape(part)}</li>" for part in entry.why.split(" | "))
        note = f"<details><summary>why</summary><ul>{clauses}</ul></details>"
    psnr = "" if not entry.file_bytes else "exact copy" if entry.psnr is None else f"{entry.psnr:.1f} dB"
    cells = [size(entry.file_bytes) if entry.file_bytes else "", f"{number(entry.ratio)}×" if entry.ratio else "", psnr]
    cells += [_grade((entry.grades or {}).get(use, ""), entry) for use in USES]
    return (f'<tr data-output="{escape(entry.output)}"><td class="thumb">{image}</td><th scope="row">{linked}{note}</th>'
            + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")


def _grade(words: str, entry: Entry) -> str:
    """A grade in words as a badge; nothing where the image was not judged."""
    known = {grade.words: grade for grade in Grade}
    return f'<span title="{escape(entry.why)}">{badge(known[words])}</span>' if words in known else ""
