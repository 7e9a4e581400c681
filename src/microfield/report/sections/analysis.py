"""Sections on what the analysis finds in both images: objects, changes over time, colocalisation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.analysis.result import ChannelResult
from microfield.analysis.segmentation import SEGMENTERS
from microfield.analysis.subset import grey, is_bright_field, white_level
from microfield.analysis.traces import CLEAR, LEAST_POINTS
from microfield.report.crop_choice import Crop, richest
from microfield.report.drawing.charts import Axes, Line, chart, span
from microfield.report.drawing.markup import by_channel, escape, figure, number, percent, section, table, whole
from microfield.report.drawing.pictures import OVERLAY, framed, overlay, picture, shrink, to_bytes
from microfield.report.evidence import Evidence
from microfield.report.pair import Pair, View

OVERLAY_SIDE, SMALL_SIDE = 512, 384
"""Largest side of an overlay in pixels: of a single one, and of each where there are several."""
OVERLAY_RANGE = (0.001, 0.999)
"""Quantiles of a plane that are black and white under its overlay."""
Show = Callable[[Any], str]

VOLUME = 1 << 22
"""Stacks up to so many voxels are segmented as volumes for the overlay, larger ones by the plane shown."""

METHODS = {
    "otsu": "objects brighter than one threshold (Otsu)",
    "local": "objects brighter than their surroundings",
    "filament": "lines and membranes (Hessian ridges)",
    "spots": "spots (Laplacian of Gaussian)",
}


def objects_section(evidence: Evidence) -> str:
    """Overlay of the segmentations, and what was found in each."""
    views = evidence.pair.views
    cells = []
    for view, crops in evidence.shown:
        at, channel = richest(crops), evidence.analysis.channels[views.index(view)]
        if at is not None and not all(evidence.pair.is_constant(c) for c in view.channels):
            cells.append(_overlay(evidence.pair, view, at, channel, len(evidence.shown)))
    notes = " ".join(escape(n[0].upper() + n[1:]) for n in evidence.analysis.notes)
    note = ("Both images are segmented with one method, chosen on the original, and a threshold found on each by itself, as in "
            f"a usual pipeline. {notes}")
    missed = evidence.analysis.truth_missed()
    note += f" {escape(missed[0].upper() + missed[1:])}" if missed else ""
    keys = "".join(
        f'<span class="swatch"><i style="background: rgb{colour}"></i>{name}</span>' for name, colour in
        zip(("in both", "only in the original (lost)", "only in the reconstruction (invented)"), OVERLAY.values(), strict=True)
    )
    pictures = f'<p>{keys}</p><div class="grid pictures">{"".join(cells)}</div>' if cells else ""
    tables = _channel_table(evidence.analysis.channels, OBJECTS, "Objects and spots found in original and reconstruction")
    return section("segmentation", "Objects", pictures + tables, note)


def _overlay(pair: Pair, view: View, crop: Crop, channel: ChannelResult, shown: int) -> str:
    fields, at, volume = _fields(pair, view, crop)
    steps = [pair.original.voxel_size.get(axis, 0.0) for axis in "ZYX"]
    known = tuple(s for s in steps[-fields[0].ndim :] if math.isfinite(s) and s > 0)
    spacing = known if len(known) == fields[0].ndim else None
    masks = [SEGMENTERS[channel.segmenter](f, spacing) for f in fields]
    a, b = (m[at] if volume else m for m in masks)
    low, high = np.quantile(fields[0][at] if volume else fields[0], OVERLAY_RANGE)
    plane = fields[0][at] if volume else fields[0]
    back = to_bytes(plane, (float(low), float(high) if high > low else float(low) + 1))
    coloured = overlay(back, a, b)
    image = _shrunk(coloured, OVERLAY_SIDE if shown == 1 else SMALL_SIDE)
    alt = f"Segmentation of {view.name}: agreement and differences of original and reconstruction"
    frame = framed(picture(image, alt), pair.original.voxel_size, pair.original.units, "X", pair.extents[3])
    union = int(np.count_nonzero(a | b))
    here = f"IoU {number(np.count_nonzero(a & b) / union)} in this plane" if union else "nothing found in this plane"
    names = (("t", "T", crop.t), ("z", "Z", crop.z))
    place = ", ".join(f"{k} = {v}" for k, axis, v in names if pair.original.sizes.get(axis, 1) > 1)
    title = ", ".join(filter(None, (view.name if len(pair.views) > 1 else "", place, describe(channel.segmenter))))
    whole_plane = figure(frame, f"{escape(title)}; {here}")
    if shown > 1:
        return whole_plane
    close = framed(picture(coloured[crop.y, crop.x], f"{alt}, close up"), pair.original.voxel_size, pair.original.units, "X",
                   crop.shape[1])
    return whole_plane + figure(close, f"The crop with the richest structure, {escape(crop.where(pair))}")


def describe(segmenter: str) -> str:
    """A segmenter in words, from its key in `SEGMENTERS`."""
    method, _, dark = segmenter.partition("-")
    words = METHODS.get(method, method)
    return words.replace("brighter", "darker").replace("lines", "dark lines").replace("spots (", "dark spots (") if dark else words


def _fields(pair: Pair, view: View, crop: Crop) -> tuple[list[npt.NDArray[Any]], int, bool]:
    """Original and reconstruction as the segmenters take them, the plane to show, and whether they are volumes."""
    t, (_, depth, height, width) = slice(crop.t, crop.t + 1), pair.extents
    volume = depth > 1 and depth * height * width <= VOLUME and not view.is_colour
    z = slice(None) if volume else slice(crop.z, crop.z + 1)
    region = (t, z, slice(None), slice(None))
    if not view.is_colour:
        both = [pair.read(which, view.channels[0], region)[0] for which in ("original", "reconstruction")]
        return (both if volume else [v[0] for v in both]), crop.z, volume
    colours = []
    for which in ("original", "reconstruction"):
        samples = [pair.read(which, c, region)[0, 0] * pair.levels(c) + pair.statistics.minimum[c] for c in view.channels]
        colours.append(np.stack(samples, axis=-1))
    stained, white = is_bright_field(colours[0]), white_level(colours[0])
    return [grey(c, stained, white) for c in colours], 0, False


def _shrunk(image: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    return np.asarray(np.rint(shrink(image, side)), np.uint8)


OBJECTS: tuple[tuple[str, str, Show, str], ...] = (
    ("Objects in the original", "count_original", whole, "Connected pieces of the mask, touching round objects split."),
    ("Objects in the reconstruction", "count_reconstruction", whole, "The same, with the reconstruction's own threshold."),
    ("Objects found again, F1", "object_f1", number, "Share of objects that overlap by half or more; 1 for all."),
    ("Size error", "area_error", percent, "Mean difference of area or volume of the objects found in both."),
    ("Shift (pixels)", "distance_error", number, "Mean distance between the centres of the objects found in both."),
    ("Mask IoU", "iou", number, "Segmented pixels in both, over those in either."),
    ("Mask Dice", "dice", number, "The same, weighing agreement double; 1 for equal masks."),
    ("Spots in the original", "spot_count_original", whole, "Bright points a few pixels wide, texture included."),
    ("Spots in the reconstruction", "spot_count_reconstruction", whole,
     "Fewer where fine texture or noise is gone; more where coding left specks, or where less noise lets faint ones through."),
    ("Spots found again, F1", "spot_f1", number, "Share of spots found in both within two pixels."),
    ("Original against the labels, F1", "truth_f1_original", number, "How well this simple segmentation meets the labels given."),
    ("Reconstruction against the labels, F1", "truth_f1_reconstruction", number, "The same; a drop is damage done by compression."),
    ("Original against the labels, IoU", "truth_iou_original", number, "Overlap of the masks."),
    ("Reconstruction against the labels, IoU", "truth_iou_reconstruction", number, "The same for the reconstruction."),
)
"""Heading, attribute of `ChannelResult`, how it is shown and what it means."""
TIME: tuple[tuple[str, str, Show, str], ...] = (
    ("Regions followed", "regions", whole, "Objects of the mean over time, or the labels given."),
    ("Time points compared", "time_points", whole, f"Traces are judged from {LEAST_POINTS} on; fewer correlate by chance."),
    ("Regions that change clearly", "regions_clear", whole,
     f"Their mean varies by at least {CLEAR:g} times what its noise explains; the verdict rests on these."),
    ("Trace correlation of these", "trace_correlation_clear", number, "The mean over the regions that change clearly."),
    ("Trace correlation", "trace_correlation", number, "Mean over regions of the correlation of their mean intensity over time."),
    ("Trace correlation, lowest tenth", "trace_correlation_low", number, "Nine regions of ten are above this."),
    ("Counts over time, correlation", "count_over_time_correlation", number, "Whether the counts rise and fall alike."),
    ("Counts over time, largest difference", "count_over_time_difference", percent, "The worst time point, relative to its count."),
)


def _channel_table(channels: tuple[ChannelResult, ...], kinds: tuple[tuple[str, str, Show, str], ...], caption: str) -> str:
    names = [f"{escape(c.name)}" for c in channels]
    measures = [
        (heading, [show(getattr(c, key)) for c in channels], meaning) for heading, key, show, meaning in kinds
        if any(getattr(c, key) is not None for c in channels)
    ]
    return by_channel(names, measures, caption)


def time_section(evidence: Evidence) -> str:
    """Mean intensity of the richest crop over time, and the correlation of all regions' traces."""
    pair = evidence.pair
    if pair.extents[0] < 2:
        return ""
    charts = [_trace(pair, view, crop) for view, crops in evidence.shown if (crop := richest(crops)) is not None]
    body = f'<div class="grid">{"".join(charts)}</div>'
    if any(c.regions for c in evidence.analysis.channels):
        body += _channel_table(evidence.analysis.channels, TIME, "Traces of regions and counts over time")
        body += _traces_not_judged(evidence)
    note = ("Mean grey value over the crop with the richest structure, at every time point. The table follows all segmented "
            "regions, or the labels given: how well each region's mean intensity over time agrees.")
    return section("time", "Over time", body, note)


def _traces_not_judged(evidence: Evidence) -> str:
    """Why the verdict leaves traces out, where it does so in every channel."""
    channels = evidence.analysis.channels
    if any(c.trace_correlation_clear is not None for c in channels):
        return ""
    points = max(c.time_points or 0 for c in channels)
    why = (f"with {points} time points they would correlate by chance ({LEAST_POINTS} are needed)" if points < LEAST_POINTS else
           "no region of the original changes by clearly more than its noise, and lost noise is no lost signal")
    return f'<p class="note">Traces are not judged here: {why}.</p>'


def _trace(pair: Pair, view: View, crop: Crop) -> str:
    channel = view.channels[min(1, len(view.channels) - 1)]
    region = (slice(None), slice(crop.z, crop.z + 1), crop.y, crop.x)
    means = [
        pair.read(which, channel, region).mean(axis=(1, 2, 3), dtype=np.float64) * pair.levels(channel)
        + pair.statistics.minimum[channel]
        for which in ("original", "reconstruction")
    ]
    x = np.arange(len(means[0]))
    lines = [Line(x, m, name, name) for m, name in zip(means, ("original", "reconstruction"), strict=True)]
    axes = Axes("time point", "mean grey value", (0, len(x) - 1), span(*means, margin=0.15))
    return figure(chart(lines, axes, f"Mean grey value of a crop of {pair.names[channel]} over time"), escape(pair.names[channel]))


def colocalisation_section(evidence: Evidence) -> str:
    """Pearson and Manders coefficients of every pair of channels in both images."""
    pairs = evidence.analysis.colocalisation
    if not pairs:
        return ""
    rows = []
    for pair in pairs:
        cells = [f"{escape(pair.first)} – {escape(pair.second)}"]
        for key in ("pearson", "m1", "m2"):
            before, after = getattr(pair.original, key), getattr(pair.reconstruction, key)
            cells += [number(before), number(after)]
        rows.append(cells)
    head = ["Channels"]
    for name in ("Pearson", "Manders M1", "Manders M2"):
        head += [f"{name}, original", "reconstruction"]
    note = ("Pearson: how far two channels rise and fall together. Manders M1 (M2): share of the first (second) channel's signal "
            "that lies where the other has signal. Lost noise can raise them: noise of two channels is unrelated.")
    body = table(head, rows, "Colocalisation of channel pairs in both images", "plain")
    return section("colocalisation", "Colocalisation", body, note)
