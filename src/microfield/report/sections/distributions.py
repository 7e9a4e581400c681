"""Sections with distributions over the whole image: errors against noise, grey values, and agreement by spatial frequency."""

from __future__ import annotations

import math

import numpy as np

from microfield.report.detail import THRESHOLD, Detail
from microfield.report.drawing.charts import Axes, Line, chart
from microfield.report.drawing.markup import escape, figure, number, percent, section, unit_symbol
from microfield.report.evidence import Evidence
from microfield.report.pair import View
from microfield.report.tile_errors import SIGMAS


def noise_section(evidence: Evidence) -> str:
    """Histogram of the error in units of the noise, with a normal distribution of the noise beside it."""
    cells = [_noise(evidence, view) for view, _ in evidence.shown]
    if not any(cells):
        return section("noise", "Error and noise", "<p>No noise is visible in this image to compare the error with.</p>")
    note = ("Noise here is the noise of the original, estimated from its finest grain; the dashed curve is how it is spread. "
            "An error as wide as the noise is what removing the noise leaves; wider than that, signal was lost. The axis holds "
            "about 99.9 % of the errors; its ends collect the rest.")
    return section("noise", "Error and noise", f'<div class="grid">{"".join(cells)}</div>', note)


def _noise(evidence: Evidence, view: View) -> str:
    pair = evidence.pair
    channel = max(view.channels, key=lambda c: evidence.comparison.channels[c].noise_factor or 0)
    found = evidence.tiles.channels[channel]
    if found.errors is None:
        return ""
    width, centres = found.errors.width / pair.noise(channel), found.errors.centres / pair.noise(channel)
    density = found.error_counts / found.error_counts.sum() / width
    reach = max(float(centres[-1] + width / 2), float(width / 2 - centres[0]))
    fine = np.linspace(-SIGMAS, SIGMAS, 121)
    normal = np.exp(-(fine**2) / 2) / math.sqrt(2 * math.pi)
    inner = float(density[1:-1].max()) if len(density) > 2 else 1.0
    axes = Axes("error / noise sigma", "density", (-reach, reach), (0, max(0.45, inner * 1.08)))
    lines = [Line(centres, density, "error", "reconstruction", filled=True), Line(fine, normal, "noise", "reference")]
    worst = evidence.comparison.channels[channel].noise_factor
    inside = float(density[np.abs(centres) <= 2].sum() * width)
    caption = (f"{prefix(evidence, view)}root mean square error {number(worst)} noise sigmas; "
               f"{percent(inside)} of the errors within ±2")
    return figure(chart(lines, axes, f"Histogram of the error of {view.name} in units of the noise"), caption)


def prefix(evidence: Evidence, view: View) -> str:
    """The view's name before a caption, where there are several."""
    return f"{escape(view.name)}: " if len(evidence.pair.views) > 1 else ""


def grey_section(evidence: Evidence) -> str:
    """Histograms of the grey values of both images."""
    cells = [_grey(evidence, view) for view, _ in evidence.shown]
    note = ("How often each grey value occurs, on a logarithmic scale. Lossy compression narrows peaks (less noise) and can cut "
            "off the brightest values; thresholds and saturation counts depend on those.")
    return section("histograms", "Grey values", f'<div class="grid">{"".join(cells)}</div>', note) if any(cells) else ""


def _grey(evidence: Evidence, view: View) -> str:
    pair, channel = evidence.pair, view.channels[min(1, len(view.channels) - 1)]
    if pair.is_constant(channel):
        return ""
    found = evidence.tiles.channels[channel]
    if found.greys.count < 2:
        return ""
    x = np.array([pair.grey(channel, float(v)) for v in found.greys.centres])
    shares = [c / c.sum() for c in (found.grey_original, found.grey_reconstruction)]
    top = max(float(s.max()) for s in shares) * 1.5
    least = max(min(float(s[s > 0].min()) for s in shares), top * 1e-6)
    bottom = 10 ** math.floor(math.log10(least))
    axes = Axes("grey value", "share of pixels", (float(x[0]), float(x[-1])), (bottom, top), logarithmic=True)
    names = ("original", "reconstruction")
    caption = "0.1 to 99.9 percentile of the original; the ends collect the rest"
    if pair.layout.channels > 1:
        caption = f"{escape(pair.names[channel])}: {caption}"
    lines = [Line(x, s, name, name, filled=name == "original") for s, name in zip(shares, names, strict=True)]
    return figure(chart(lines, axes, f"Histogram of the grey values of {pair.names[channel]}"), caption)


def detail_section(evidence: Evidence) -> str:
    """Fourier ring correlation of every view that has pictures."""
    shown = [view for view, _ in evidence.shown]
    pairs = [(v, d) for v, d in zip(evidence.pair.views, evidence.details, strict=True) if d is not None and v in shown]
    if not pairs:
        return ""
    note = ("Fourier ring correlation: how far original and reconstruction agree at every fineness of detail, from coarse (left) "
            "to single pixels (right). Losing noise lowers this curve, too: the dashed curve is that of a copy that lost all the "
            "noise and nothing else. Where the solid curve runs below it, detail was lost or altered; where it runs above, the "
            "copy kept part of the noise as well. This is no measure of sharpness: a plain blur weakens fine detail without "
            "making it disagree and hardly lowers the curve.")
    cells = "".join(_detail(evidence, view, detail) for view, detail in pairs)
    return section("detail", "Fineness of detail", f'<div class="grid">{cells}</div>', note)


def _detail(evidence: Evidence, view: View, detail: Detail) -> str:
    axes = Axes("cycles per pixel", "correlation", (0, 0.5), (0, 1.03))
    lines = [Line(detail.frequency, detail.possible, "without the noise, all else kept", "reference"),
             Line(detail.frequency, detail.correlation, "this copy", "reconstruction")]
    step = evidence.pair.original.voxel_size.get("X")
    unit = unit_symbol(evidence.pair.original.units.get("X", ""))
    finest = f"{number(1 / detail.kept)} pixels" if detail.kept > 0 else "nothing"
    if step and step > 0 and math.isfinite(step) and detail.kept > 0:
        finest += f" ({number(step / detail.kept)} {unit})"
    caption = f"{prefix(evidence, view)}agrees down to a period of {finest}; {percent(detail.share)} of what noise allows"
    return figure(chart(lines, axes, f"Fourier ring correlation of {view.name}", [(THRESHOLD, f"threshold {THRESHOLD}")]), caption)
