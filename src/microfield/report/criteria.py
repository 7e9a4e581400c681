"""The criteria of the verdict: what is measured for each use of an image, and how good it has to be.

Every threshold of the report stands in this module, with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from microfield.analysis.result import TRUTH_COUNTS, ChannelResult
from microfield.analysis.traces import CLEAR, LEAST_POINTS
from microfield.report.drawing.grade import Grade
from microfield.report.drawing.markup import limit, number, percent, percent_limit
from microfield.report.evidence import Evidence
from microfield.report.tile_errors import TILE, ChannelTiles

Measured = Iterator[tuple[str, float | None]]
"""Name of a view (or of a pair of channels) and its number; None where it could not be judged. Names may repeat. A criterion that
an image cannot meet or fail (colocalisation of one channel, traces without time) gives nothing."""

FEWEST_OBJECTS = 10
"""With fewer objects in the original a score says little: one object is more than a tenth of it."""
WORST_SHARE = 99
"""Percentile of the tiles by which structured errors are judged: the tiles above it are the worst hundredth of the image."""
INTENSITY_ERROR = 0.05
"""A region's intensity counts as changed when its mean moved by more than this share of its height above background."""
FOREGROUND = 0.1
"""Regions whose mean is below this share of the displayed range are background, of which nobody measures ratios."""
STANDARD_ERRORS = 3
"""A mean that moved by fewer standard errors may have moved by chance: noise that was lost moves means, too."""


@dataclass(frozen=True)
class Criterion:
    """One number, and how good it has to be.

    Attributes
    ----------
    use : "look", "count", "spots" or "measure"
    name : what is measured, in the words of a biologist
    fine, care : worst numbers that are still graded "fine" and "with care"; with None every other number is "with care"
    rising : True where larger numbers are better
    reason : why these limits
    measure : gives the numbers of all views (or pairs of channels)
    show : a number as HTML
    show_limit : a limit as HTML
    silent : why an image it could apply to was not judged, as a clause
    """

    use: str
    name: str
    fine: float
    care: float | None
    rising: bool
    reason: str
    measure: Callable[[Evidence], Measured]
    show: Callable[[float | None], str]
    show_limit: Callable[[float], str]
    silent: str

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle names the criterion, since functions within functions cannot be in one."""
        return _named, (self.use, self.name)

    def grade(self, value: float | None) -> Grade:
        """Grade of a number; None is not judged."""
        if value is None:
            return Grade.NOT_JUDGED
        sign = 1 if self.rising else -1
        if sign * value >= sign * self.fine:
            return Grade.FINE
        return Grade.WITH_CARE if self.care is None or sign * value >= sign * self.care else Grade.NOT_ADVISED

    @property
    def limit(self) -> str:
        """The limits in words."""
        sign = "at least" if self.rising else "at most"
        return f"fine {sign} {self.show_limit(self.fine)}, with care " + (
            "otherwise" if self.care is None else f"{sign} {self.show_limit(self.care)}")


# -- what is measured -------------------------------------------------------------------------------------------------


def structured_error(channel: ChannelTiles, contrast: float) -> float:
    """Root of the structured error that the worst hundredth of the tiles (`WORST_SHARE`) exceeds, as a share of ``contrast``.

    ``contrast`` is the difference between the values shown as white and as black.
    """
    return float(np.percentile(np.sqrt(channel.structured), WORST_SHARE)) / contrast


def _structured(evidence: Evidence) -> Measured:
    """`structured_error` of every channel that varies."""
    pair = evidence.pair
    for view in pair.views:
        for c in view.channels:
            low, high = pair.contrast(c)
            yield view.name, None if pair.is_constant(c) else structured_error(evidence.tiles.channels[c], high - low)


def _detail(evidence: Evidence) -> Measured:
    """Share of the detail above the noise that survived, of every view it could be measured in."""
    for view, detail in zip(evidence.pair.views, evidence.details, strict=True):
        yield view.name, None if detail is None else detail.share


def intensity_changed(channel: ChannelTiles, contrast: tuple[float, float]) -> float | None:
    """Share of the foreground tiles whose mean moved by more than `INTENSITY_ERROR`; None without foreground.

    A move within `STANDARD_ERRORS` of the mean, as the errors within the tile give it, is not counted. ``contrast`` holds the
    values shown as black and as white (`Pair.contrast`).
    """
    low, high = contrast
    height = channel.mean_original - low
    foreground = height > FOREGROUND * (high - low)
    if not foreground.any():
        return None
    moved = np.abs(channel.mean_reconstruction - channel.mean_original)
    changed = (moved > INTENSITY_ERROR * height) & (moved > STANDARD_ERRORS * np.sqrt(channel.square) / TILE)
    return float(np.count_nonzero(changed & foreground) / np.count_nonzero(foreground))


def _intensity(evidence: Evidence) -> Measured:
    """`intensity_changed` of every channel that varies."""
    pair = evidence.pair
    for view in pair.views:
        for c in view.channels:
            changed = None if pair.is_constant(c) else intensity_changed(evidence.tiles.channels[c], pair.contrast(c))
            yield view.name, changed


def _objects(number_of: Callable[[ChannelResult], float | None], labels_decide: bool = True) -> Callable[[Evidence], Measured]:
    """A number of the analysis, for channels whose original has at least `FEWEST_OBJECTS`.

    With ``labels_decide`` it does not apply where labels are given and found in the original: then `_truth` judges.
    """

    def measure(evidence: Evidence) -> Measured:
        for view, channel in zip(evidence.pair.views, evidence.analysis.channels, strict=True):
            applies = channel.count_original >= FEWEST_OBJECTS and not (labels_decide and channel.meets_truth)
            yield view.name, number_of(channel) if applies else None

    return measure


def _error_alone(evidence: Evidence) -> Measured:
    """Error over noise of the channels of which only `intensity_changed` could be judged: they have too few objects."""
    intensities = list(_intensity(evidence))
    for view, channel in zip(evidence.pair.views, evidence.analysis.channels, strict=True):
        seen = any(name == view.name and changed is not None for name, changed in intensities)
        if seen and channel.count_original < FEWEST_OBJECTS:
            for c in view.channels:
                if (factor := evidence.comparison.channels[c].noise_factor) is not None:
                    yield view.name, factor


def _spots(evidence: Evidence) -> Measured:
    """In channels whose original has at least `FEWEST_OBJECTS` spots; `find_spots` takes neither noise nor grain for some."""
    for view, channel in zip(evidence.pair.views, evidence.analysis.channels, strict=True):
        yield view.name, channel.spot_f1 if (channel.spot_count_original or 0) >= FEWEST_OBJECTS else None


def _truth(evidence: Evidence) -> Measured:
    """Only where the labels are found in the original: what was never found cannot be lost."""
    for view, channel in zip(evidence.pair.views, evidence.analysis.channels, strict=True):
        before, after = channel.truth_f1_original, channel.truth_f1_reconstruction
        if channel.meets_truth and before is not None and after is not None:
            yield view.name, max(0.0, before - after)


def _traces(evidence: Evidence) -> Measured:
    """Only regions that change clearly over enough time points: the correlation of all others depends on their noise."""
    if evidence.pair.extents[0] == 1:
        return
    for view, channel in zip(evidence.pair.views, evidence.analysis.channels, strict=True):
        yield view.name, channel.trace_correlation_clear


def _colocalisation(evidence: Evidence) -> Measured:
    """Largest change of Pearson's or Manders' coefficients of every pair of channels."""
    for pair in evidence.analysis.colocalisation or ():
        changes = [abs(c) for c in (pair.pearson_change, pair.m1_change, pair.m2_change) if c is not None]
        yield f"{pair.first} with {pair.second}", max(changes, default=None)


CRITERIA = (
    Criterion(
        use="look", name="error that neighbouring pixels share, in the worst hundredth of the image",
        fine=0.02, care=0.06, rising=False,
        reason=(
            "In percent of the displayed black-to-white range. Noise differs from pixel to pixel and is not counted, so a smoother "
            "image is not punished for losing grain. The eye sees coarse patterns from about 1 % contrast "
            "(Campbell and Robson, J. Physiol. 197, 1968); twice that is rarely noticed in a textured image."
        ),
        measure=_structured, show=percent, show_limit=percent_limit,
        silent="the original has the same value everywhere",
    ),
    Criterion(
        use="look", name="finest detail on which both agree, of the detail that stands above the noise",
        fine=0.7, care=0.35, rising=True,
        reason=(
            "Frequency up to which the Fourier ring correlation stays at 0.5, over the frequency up to which the original's noise "
            "would allow it. At 0.7 only features less than one and a half times the smallest visible ones differ; at 0.35 those "
            "up to three times that size do. It asks whether detail agrees, not how sharp it is: a plain blur is told by the error "
            "above."
        ),
        measure=_detail, show=percent, show_limit=percent_limit,
        silent="its planes are too small, or have one value only",
    ),
    Criterion(
        use="count", name="objects found again (F1 at IoU 0.5)",
        fine=0.95, care=0.85, rising=True,
        reason=(
            "Both images are segmented alike; an object is found again when the two outlines share half of their union, as in the "
            "2018 Data Science Bowl (Caicedo et al., Nat. Methods 16, 2019). Fine is one lost or invented in twenty. In very noisy "
            "images the segmentation itself is unstable, so that a low score can come from noise alone: give labels, which decide "
            f"instead where the segmentation finds them in the original (F1 of at least {TRUTH_COUNTS})."
        ),
        measure=_objects(lambda c: c.object_f1), show=number, show_limit=limit,
        silent=f"fewer than {FEWEST_OBJECTS} objects were found in the original",
    ),
    Criterion(
        use="count", name="error of the count",
        fine=0.05, care=0.1, rising=False,
        reason=(
            "Difference of the numbers of objects, relative to the original. Differences between samples worth reporting are "
            "usually larger than one in ten."
        ),
        measure=_objects(lambda c: c.count_error), show=percent, show_limit=percent_limit,
        silent=f"fewer than {FEWEST_OBJECTS} objects were found in the original",
    ),
    Criterion(
        use="spots", name="spots found again (F1)",
        fine=0.9, care=0.75, rising=True,
        reason="Faint spots come and go with the noise of an image, so less is asked than of objects.",
        measure=_spots, show=number, show_limit=limit,
        silent=f"fewer than {FEWEST_OBJECTS} spots were found in the original",
    ),
    Criterion(
        use="count", name="loss of object F1 against the ground truth",
        fine=0.02, care=0.05, rising=False,
        reason=(
            "With labels given: how much worse a segmentation of the reconstruction agrees with them than one of the original. "
            "Two points are within what the choice of a threshold does. Only where the original itself reaches "
            f"{TRUTH_COUNTS}: what the segmentation does not find cannot be lost."
        ),
        measure=_truth, show=number, show_limit=limit,
        silent="the labels were not found in the original",
    ),
    Criterion(
        use="measure", name=f"regions whose intensity changed by more than {INTENSITY_ERROR:.0%}".replace("%", " %"),
        fine=0.02, care=0.1, rising=False,
        reason=(
            f"Means of {TILE} × {TILE} pixels above the background, beyond what lost noise explains. 5 % is about what lamp, "
            "detector and bleaching add between two recordings of one sample."
        ),
        measure=_intensity, show=percent, show_limit=percent_limit,
        silent="nothing stands out from the background",
    ),
    Criterion(
        use="measure", name="error of the area or volume of objects",
        fine=0.05, care=0.1, rising=False,
        reason=(
            "Mean over the objects found in both. A boundary off by half a pixel changes the area of an object 40 pixels wide "
            "by 5 %."
        ),
        measure=_objects(lambda c: c.area_error, labels_decide=False), show=percent, show_limit=percent_limit,
        silent=f"fewer than {FEWEST_OBJECTS} objects were found in the original",
    ),
    Criterion(
        use="measure", name="error in units of the noise, where there are too few objects to measure",
        fine=3, care=None, rising=False,
        reason=(
            "Root mean square error over the estimated noise of the original. A copy that lost the noise alone has 1; at 3 nine "
            "tenths of the squared error are structure. Means over regions hide that, and where there are objects their areas "
            "tell it."
        ),
        measure=_error_alone, show=number, show_limit=limit,
        silent="no noise can be estimated",
    ),
    Criterion(
        use="measure", name="correlation of region traces over time",
        fine=0.95, care=0.85, rising=True,
        reason=(
            "Mean over regions of the Pearson correlation of their mean intensities over time. At 0.95 nine tenths of the "
            f"variance of a trace are kept. Only regions count whose mean varies by at least {CLEAR:g} times what its noise "
            f"explains (below, a copy that lost the noise alone would already fail), and only from {LEAST_POINTS} time points on: "
            "fewer correlate by chance."
        ),
        measure=_traces, show=number, show_limit=limit,
        silent=f"no region changes clearly over at least {LEAST_POINTS} time points",
    ),
    Criterion(
        use="measure", name="change of a colocalisation coefficient",
        fine=0.03, care=0.1, rising=False,
        reason="Largest change of Pearson's or Manders' coefficients between two channels, on their scale from 0 to 1.",
        measure=_colocalisation, show=number, show_limit=limit,
        silent="no pair of channels has coefficients in both images",
    ),
)
"""Every criterion, in the order of the page."""


def _named(use: str, name: str) -> Criterion:
    return next(criterion for criterion in CRITERIA if (criterion.use, criterion.name) == (use, name))
