"""The section with a table of every metric per channel and a line on what each means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microfield.report.drawing.markup import by_channel, escape, number, percent, section
from microfield.report.evidence import Evidence

METRICS: tuple[tuple[str, str, Callable[[Any], str], str], ...] = (
    ("psnr", "PSNR (dB)", number, "Size of the error against the range from darkest to brightest; 6 dB more is half the error."),
    ("psnr_robust", "PSNR, 0.1–99.9 %", number, "The same on a range that a single hot pixel cannot stretch."),
    ("ssim", "SSIM", number, "Likeness of local patterns, 1 for equal. Lost noise lowers it just as lost structure does."),
    ("ssim_3d", "SSIM 3-D", number, "The same with neighbouring planes of the stack."),
    ("ms_ssim", "MS-SSIM", number, "SSIM at several magnifications; coarse structure counts more than grain."),
    ("nrmse", "NRMSE", percent, "Typical error in percent of the range."),
    ("noise_factor", "Error / noise", number, "Typical error in units of the image's noise; 1 is as large as the noise."),
    ("max_error", "Largest error", number, "The worst pixel, in grey levels."),
    ("pearson", "Pearson", number, "Correlation of all pixels, 1 for equal up to brightness and contrast."),
    ("frc_cutoff", "FRC cutoff", percent,
     "Finest detail on which both agree, in percent of the finest that pixels can hold. A plain blur hardly lowers it."),
    ("histogram_distance", "Histogram shift", percent, "How far grey values moved on the whole, in percent of the range."),
    ("blocking", "Blocking", number, "Edges of coding blocks that the original does not have; 0 for none."),
)
"""Attribute of `ChannelComparison` and `Comparison`, heading, how it is shown and what it means."""


def metrics_section(evidence: Evidence) -> str:
    """All metrics of all channels, and of the whole image where it has several."""
    comparison = evidence.comparison
    shown = [*comparison.channels, comparison] if len(comparison.channels) > 1 else [*comparison.channels]
    names = [*(escape(c.name) for c in comparison.channels), "all"][: len(shown)]
    measures = [
        (heading, [show(getattr(c, key)) for c in shown], meaning) for key, heading, show, meaning in METRICS
        if any(getattr(c, key) is not None for c in shown)
    ]
    return section("metrics", "All metrics", by_channel(names, measures, "Metrics by channel"))
