"""Sections on the crops: original, reconstruction and error side by side, and line profiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from microfield.report.crop_choice import Crop, richest
from microfield.report.drawing.charts import Axes, Line, chart, span
from microfield.report.drawing.markup import escape, figure, number, section
from microfield.report.drawing.pictures import colour_scale, error_bytes, framed, picture, to_bytes
from microfield.report.evidence import Evidence
from microfield.report.pair import Pair, Region, View

Floats = npt.NDArray[np.float32]

ERROR_SIGMAS = 3.0
"""The colour scale of the error reaches at least so many noise sigmas, so that noise alone stays pale."""
SHOWN_ERRORS = 0.998
"""The colour scale reaches this quantile of the absolute errors in a crop; a few larger ones are clipped."""


def view_pixels(pair: Pair, view: View, which: str, region: Region) -> Floats:
    """The pixels of a view in a region, 0 for black and 1 for white.

    ``which`` is "original" or "reconstruction". The array has shape ``(T, Z, Y, X)``, and a last axis of 3 for colour.
    """
    layers = []
    for channel in view.channels:
        low, high = (0.0, 1.0) if pair.is_constant(channel) else pair.contrast(channel)
        layers.append((pair.read(which, channel, region) - low) / (high - low))
    return np.stack(layers, axis=-1) if view.is_colour else layers[0]


def view_error(pair: Pair, view: View, region: Region) -> npt.NDArray[np.float64]:
    """Reconstruction minus original in grey levels, shape ``(T, Z, Y, X)``; the mean over the samples of a colour view."""
    errors = [
        (pair.read("reconstruction", c, region) - pair.read("original", c, region)).astype(np.float64) * pair.levels(c)
        for c in view.channels
    ]
    return np.asarray(np.mean(errors, axis=0))


def error_limit(pair: Pair, view: View, crops: Sequence[Crop]) -> float:
    """End of the colour scale of the error in grey levels, above 0: what `SHOWN_ERRORS` of the pixels of every crop stay below.

    At least `ERROR_SIGMAS` noise sigmas, and 1 where there is neither error nor noise.
    """
    largest = [float(np.quantile(np.abs(view_error(pair, view, crop.region)), SHOWN_ERRORS)) for crop in crops]
    noise = float(np.mean([pair.statistics.noise[c] for c in view.channels]))
    return max(*largest, 0.0, ERROR_SIGMAS * noise) or 1.0


def crops_section(evidence: Evidence) -> str:
    """Original, reconstruction and error of every crop."""
    pair = evidence.pair
    body = ""
    for view, crops in evidence.shown:
        limit = error_limit(pair, view, crops)
        rows = "".join(_crop_row(pair, view, crop, i + 1, limit) for i, crop in enumerate(crops))
        body += folded(evidence, view, f'<div class="crops">{rows}</div>{colour_scale(f"{number(limit)} grey levels")}')
    note = ("Original and reconstruction share one contrast (0.1 to 99.9 percentile of the original). The error is "
            "reconstruction minus original: red is too bright, blue too dark, white is exact. Featureless grain in the error is "
            "lost noise; outlines and shapes in it are lost structure.")
    if len(evidence.shown) < len(pair.views):
        note += (f" {len(evidence.shown)} of {len(pair.views)} channels have pictures: the first, the one with the smallest "
                 "error and those with the largest.")
    return section("crops", "Close up", body, note)


def folded(evidence: Evidence, view: View, body: str) -> str:
    """The pictures of a view; of several views each under its name, to be unfolded, the first one unfolded already."""
    if len(evidence.pair.views) < 2:
        return body
    unfolded = " open" if view is evidence.shown[0][0] else ""
    return f'<details class="channel"{unfolded}><summary>{escape(view.name)}</summary>{body}</details>'


def _crop_row(pair: Pair, view: View, crop: Crop, index: int, limit: float) -> str:
    where = crop.where(pair)
    cells = []
    for which in ("original", "reconstruction"):
        shown = to_bytes(view_pixels(pair, view, which, crop.region)[0, 0], (0.0, 1.0))
        cells.append(figure(_framed(pair, picture(shown, f"{which}, {view.name}, {crop.reason}, {where}", kind=which), crop),
                            which))
    error = error_bytes(view_error(pair, view, crop.region)[0, 0], limit)
    cells.append(figure(_framed(pair, picture(error, f"signed error, {view.name}, {crop.reason}, {where}", diverging=True), crop),
                        "error"))
    head = f'<h4><b class="tag">{index}</b> {escape(crop.reason.capitalize())} <small>{escape(where)}</small></h4>'
    return f'{head}<div class="three">{"".join(cells)}</div>'


def _framed(pair: Pair, image: str, crop: Crop) -> str:
    return framed(image, pair.original.voxel_size, pair.original.units, "X", crop.shape[1])


def profiles_section(evidence: Evidence) -> str:
    """Grey values along a line through every view's richest crop."""
    pair = evidence.pair
    cells = [_profile(pair, view, crop) for view, crops in evidence.shown if (crop := richest(crops)) is not None]
    if not any(cells):
        return ""
    note = ("Grey values along the middle row of the crop with the richest structure. Where the curves part at peaks and edges, "
            "sizes and intensities measured there change; a smoother curve through the same peaks has lost noise only.")
    return section("profiles", "Line profiles", f'<div class="grid">{"".join(cells)}</div>', note)


def _profile(pair: Pair, view: View, crop: Crop) -> str:
    if crop.shape[1] < 2:
        return ""
    row = (crop.y.start + crop.y.stop) // 2
    region = (*crop.region[:2], slice(row, row + 1), crop.x)
    channel = view.channels[min(1, len(view.channels) - 1)]
    x = np.arange(crop.x.start, crop.x.stop)
    values = [
        pair.read(which, channel, region)[0, 0, 0].astype(np.float64) * pair.levels(channel) + pair.statistics.minimum[channel]
        for which in ("original", "reconstruction")
    ]
    lines = [Line(x, v, name, name) for v, name in zip(values, ("original", "reconstruction"), strict=True)]
    axes = Axes("x in pixels", "grey value", (float(x[0]), float(x[-1])), span(*values))
    title = f"{pair.names[channel]}, row y = {row}" if pair.layout.channels > 1 else f"row y = {row}"
    return figure(chart(lines, axes, f"Grey values of original and reconstruction along {title}"), escape(title))
