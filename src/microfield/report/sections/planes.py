"""The section with whole planes: XY with the crops marked, side views of stacks, and positions over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.report.crop_choice import Crop, richest
from microfield.report.drawing.markup import escape, figure, section
from microfield.report.drawing.pictures import error_bytes, framed, picture, shrink, to_bytes
from microfield.report.evidence import Evidence
from microfield.report.pair import Pair, Region, View
from microfield.report.sections.crops import error_limit, folded, view_error, view_pixels

SIDES = {1: 512, 2: 384, 3: 320}
"""Number of views with pictures to the largest side of a picture of a plane in pixels; more views get `SMALL`."""
SMALL = 256
BAR_ASPECT = 2.5
"""Flatter pictures have no room for a scale bar; they are as wide as the one above them."""


@dataclass(frozen=True)
class Cut:
    """A plane through the image spanned by two of its axes.

    Attributes
    ----------
    rows, columns : the two axes, letters of ``TZYX``
    region : all of these two axes, and one position of the other two
    place : that position in words
    """

    rows: str
    columns: str
    region: Region
    place: str

    @property
    def name(self) -> str:
        """Axes of the picture, such as ``XZ``."""
        return self.columns + self.rows


def planes_section(evidence: Evidence) -> str:
    """Whole planes through the crop with the richest structure of every view."""
    pair, side = evidence.pair, SIDES.get(len(evidence.shown), SMALL)
    body = ""
    for view, crops in evidence.shown:
        at = richest(crops)
        if at is None:
            continue
        limit = error_limit(pair, view, crops)
        body += folded(evidence, view, "".join(_row(pair, view, cut, crops, limit, side) for cut in cuts(pair, at)))
    t, z = pair.extents[:2]
    planes = "side views (XZ, YZ)" if z > 1 else ""
    times = "positions over time (XT, YT), where motion and brightness become lines" if t > 1 else ""
    more = " and ".join(filter(None, (planes, times)))
    note = "The plane of the crop with the richest structure; numbers mark the crops above that lie in it"
    note += f". Below it {more} through the middle of that crop." if more else "."
    return section("views", "Whole planes", body, note)


def cuts(pair: Pair, at: Crop) -> list[Cut]:
    """Planes through the middle of a crop along every pair of axes worth showing."""
    y, x = (at.y.start + at.y.stop) // 2, (at.x.start + at.x.stop) // 2
    t, z, full = slice(at.t, at.t + 1), slice(at.z, at.z + 1), slice(None)
    row, column = slice(y, y + 1), slice(x, x + 1)
    named = [f"{axis.lower()} = {k}" for axis, k in (("T", at.t), ("Z", at.z)) if pair.original.sizes.get(axis, 1) > 1]
    found = [Cut("Y", "X", (t, z, full, full), ", ".join(named) or "the whole plane")]
    if pair.extents[1] > 1:
        found += [Cut("Z", "X", (t, full, row, full), f"y = {y}"), Cut("Z", "Y", (t, full, full, column), f"x = {x}")]
    if pair.extents[0] > 1:
        found += [Cut("T", "X", (full, z, row, full), f"y = {y}"), Cut("T", "Y", (full, z, full, column), f"x = {x}")]
    return found


def _row(pair: Pair, view: View, cut: Cut, crops: tuple[Crop, ...], limit: float, side: int) -> str:
    letters = ("TZYX".index(cut.rows), "TZYX".index(cut.columns))
    axis = cut.columns

    def flat(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        kept = [values.shape[i] for i in letters]
        return np.asarray(shrink(values.reshape(*kept, *values.shape[4:]), side))

    aspect = _aspect(pair, cut)
    marks = [_mark(pair, crop, i + 1) for i, crop in enumerate(crops) if cut.rows == "Y" and _lies_in(crop, cut)]
    cells = []
    for which in ("original", "reconstruction", "error"):
        alt = f"{which}, {view.name}, {cut.name} plane at {cut.place}"
        if which == "error":
            image = picture(error_bytes(flat(view_error(pair, view, cut.region)), limit), alt, diverging=True, aspect=aspect)
        else:
            pixels = flat(view_pixels(pair, view, which, cut.region))
            image = picture(to_bytes(pixels, (0.0, 1.0)), alt, aspect=aspect, kind=which)
        steps = pair.original.voxel_size if aspect <= BAR_ASPECT else {}
        frame = framed(image, steps, pair.original.units, axis, pair.extents[letters[1]], marks)
        cells.append(figure(frame, which))
    return f'<h4>{cut.name} <small>{escape(cut.place)}</small></h4><div class="three">{"".join(cells)}</div>'


def _aspect(pair: Pair, cut: Cut) -> float:
    """Width / height of a plane on the page: physical where both steps are lengths, and never a sliver."""
    height, width = (pair.extents["TZYX".index(axis)] for axis in (cut.rows, cut.columns))
    sizes = pair.original.voxel_size
    steps = [sizes.get(axis, 0.0) for axis in (cut.rows, cut.columns)]
    if cut.rows != "T" and all(np.isfinite(s) and s > 0 for s in steps):
        return float(np.clip(width * steps[1] / (height * steps[0]), 0.25, 8))
    return float(np.clip(width / height, 0.25, 8))


def _lies_in(crop: Crop, cut: Cut) -> bool:
    """Whether a crop is part of an XY plane."""
    return (crop.t, crop.z) == (cut.region[0].start, cut.region[1].start)


def _mark(pair: Pair, crop: Crop, index: int) -> str:
    """A numbered outline over an XY picture."""
    height, width = pair.extents[2:]
    box = (f"left: {100 * crop.x.start / width:.2f}%; top: {100 * crop.y.start / height:.2f}%; "
           f"width: {100 * crop.shape[1] / width:.2f}%; height: {100 * crop.shape[0] / height:.2f}%")
    return f'<span class="mark" style="{box}"><b>{index}</b></span>'
