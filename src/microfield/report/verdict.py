"""What the reconstruction is good enough for. Every threshold of the report stands in this module, with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from microfield.analysis.result import TRUTH_COUNTS
from microfield.analysis.traces import CLEAR, LEAST_POINTS
from microfield.report.drawing.markup import limit, number, percent, percent_limit
from microfield.report.evidence import Evidence
from microfield.report.tile_errors import TILE, ChannelSurvey

Measured = Iterator[tuple[str, float | None]]
"""Name of the view (or pair of channels) and the number; None where it does not apply. A view may come several times."""

FEWEST_OBJECTS = 10
"""With fewer objects in the original a score says little: one object is more than a tenth of it."""
WORST_SHARE = 99
"""Percentile of the tiles by which structured errors are judged: the worst hundredth of the image."""
INTENSITY_ERROR = 0.05
"""A region's intensity counts as changed when its mean moved by more than this share of its height above background."""
FOREGROUND = 0.1
"""Regions whose mean is below this share of the displayed range are background, of which nobody measures ratios."""


class Grade(IntEnum):
    """Better grades are larger; what was not judged does not count."""

    NOT_ADVISED = 0
    WITH_CARE = 1
    FINE = 2
    NOT_JUDGED = 3

    @property
    def words(self) -> str:
        """The grade as the page says it."""
        return self.name.replace("_", " ").lower()


@dataclass(frozen=True)
class Criterion:
    """One number, and how good it has to be.

    Attributes
    ----------
    use : "look", "count" or "measure"
    name : what is measured, in words of a biologist
    fine, care : limits of "fine" and of "with care"
    rising : True where larger is better
    reason : why these limits
    measure : evidence to one number per channel
    show, show_limit : number and limits to HTML
    """

    use: str
    name: str
    fine: float
    care: float
    rising: bool
    reason: str
    measure: Callable[[Evidence], Measured]
    show: Callable[[float | None], str]
    show_limit: Callable[[float], str]

    def grade(self, value: float | None) -> Grade:
        """Grade of a number."""
        if value is None or np.isnan(value):
            return Grade.NOT_JUDGED
        if self.rising:
            return Grade.FINE if value >= self.fine else Grade.WITH_CARE if value >= self.care else Grade.NOT_ADVISED
        return Grade.FINE if value <= self.fine else Grade.WITH_CARE if value <= self.care else Grade.NOT_ADVISED

    @property
    def limit(self) -> str:
        """The limits in words."""
        sign = "at least" if self.rising else "at most"
        return f"fine {sign} {self.show_limit(self.fine)}, with care {sign} {self.show_limit(self.care)}"


@dataclass(frozen=True)
class Finding:
    """A criterion's result: the worst number, where it was found, and the grade of every channel."""

    criterion: Criterion
    value: float | None
    where: str
    grade: Grade
    by_name: dict[str, Grade]


@dataclass(frozen=True)
class Verdict:
    """A use, its grade (the worst of its findings) and the findings; ``exact`` copies are fine whatever can be measured."""

    use: str
    question: str
    grade: Grade
    findings: tuple[Finding, ...]
    exact: bool = False


USES = {
    "look": "Can I look at it? Morphology, figures, finding the interesting places.",
    "count": "Can I count in it? Segmenting, counting and matching objects and spots.",
    "measure": "Can I measure in it? Intensities, sizes, traces over time, colocalisation.",
}


def judge_uses(evidence: Evidence) -> tuple[Verdict, ...]:
    """The verdict for every use."""
    verdicts = []
    for use, question in USES.items():
        findings = tuple(_finding(c, evidence) for c in CRITERIA if c.use == use)
        judged = [f.grade for f in findings if f.grade != Grade.NOT_JUDGED]
        exact = evidence.is_exact()
        grade = Grade.FINE if exact else min(judged, default=Grade.NOT_JUDGED)
        verdicts.append(Verdict(use, question, grade, findings, exact))
    return tuple(verdicts)


def _finding(criterion: Criterion, evidence: Evidence) -> Finding:
    measured = [(name, value) for name, value in criterion.measure(evidence) if value is not None and not np.isnan(value)]
    grades: dict[str, Grade] = {}
    for name, value in measured:
        grades[name] = min(grades.get(name, Grade.NOT_JUDGED), criterion.grade(value))
    if not measured:
        return Finding(criterion, None, "", Grade.NOT_JUDGED, {})
    worst = (min if criterion.rising else max)(measured, key=lambda pair: pair[1])
    return Finding(criterion, worst[1], worst[0] if len(evidence.pair.views) > 1 else "", criterion.grade(worst[1]), grades)


# -- what is measured -------------------------------------------------------------------------------------------------


def structured_error(channel: ChannelSurvey, contrast: float) -> float:
    """Root of the structured error in the worst hundredth of the tiles, as a share of the displayed range."""
    return float(np.percentile(np.sqrt(channel.structured), WORST_SHARE)) / contrast


def _structured(evidence: Evidence) -> Measured:
    pair = evidence.pair
    for view in pair.views:
        for c in view.channels:
            low, high = pair.contrast(c)
            yield view.name, None if pair.is_constant(c) else structured_error(evidence.survey.channels[c], high - low)


def _detail(evidence: Evidence) -> Measured:
    for view, detail in zip(evidence.pair.views, evidence.details, strict=True):
        yield view.name, None if detail is None else detail.share


def intensity_changed(channel: ChannelSurvey, contrast: tuple[float, float]) -> float | None:
    """Share of the foreground tiles whose mean moved by more than `INTENSITY_ERROR`; None without foreground.

    A move within three standard errors of the mean, as the tile's own errors give it, is not counted: noise that was
    lost moves means, too.
    """
    low, high = contrast
    height = channel.mean_original - low
    foreground = height > FOREGROUND * (high - low)
    if not foreground.any():
        return None
    moved = np.abs(channel.mean_reconstruction - channel.mean_original)
    changed = (moved > INTENSITY_ERROR * height) & (moved > 3 * np.sqrt(channel.square) / TILE)
    return float(np.count_nonzero(changed & foreground) / np.count_nonzero(foreground))


def _intensity(evidence: Evidence) -> Measured:
    pair = evidence.pair
    for view in pair.views:
        for c in view.channels:
            changed = None if pair.is_constant(c) else intensity_changed(evidence.survey.channels[c], pair.contrast(c))
            yield view.name, changed


def _objects(name: str, scale: Callable[[float], float] = float, yields: bool = True) -> Callable[[Evidence], Measured]:
    """A number of the downstream analysis, where the original has objects enough; ``yields`` to labels that are found."""

    def measure(evidence: Evidence) -> Measured:
        for view, channel in zip(evidence.pair.views, evidence.downstream.channels, strict=True):
            value, enough = getattr(channel, name), channel.count_original >= FEWEST_OBJECTS
            labels_decide = yields and bool(channel.meets_truth)
            yield view.name, scale(value) if value is not None and enough and not labels_decide else None

    return measure


def _spots(evidence: Evidence) -> Measured:
    """Only where spots are what the image shows; texture in larger objects gives spots that nobody counts."""
    for view, channel in zip(evidence.pair.views, evidence.downstream.channels, strict=True):
        wanted = channel.segmenter.startswith("spots") and (channel.spot_count_original or 0) >= FEWEST_OBJECTS
        yield view.name, channel.spot_f1 if wanted else None


def _truth(evidence: Evidence) -> Measured:
    """Only where the labels are found in the original: what was never found cannot be lost."""
    for view, channel in zip(evidence.pair.views, evidence.downstream.channels, strict=True):
        before, after = channel.truth_f1_original, channel.truth_f1_reconstruction
        known = before is not None and after is not None and channel.meets_truth
        yield view.name, max(0.0, before - after) if known and before is not None and after is not None else None


def _traces(evidence: Evidence) -> Measured:
    """Only regions that change clearly, which takes time points enough: the rest correlates as its noise happens to."""
    for view, channel in zip(evidence.pair.views, evidence.downstream.channels, strict=True):
        yield view.name, channel.trace_correlation_clear


def _colocalisation(evidence: Evidence) -> Measured:
    for pair in evidence.downstream.colocalisation or ():
        changes = [abs(c) for c in (pair.pearson_change, pair.m1_change, pair.m2_change) if c is not None]
        yield f"{pair.first} with {pair.second}", max(changes, default=None)


CRITERIA = (
    Criterion(
        "look", "error that neighbouring pixels share, in the worst hundredth of the image", 0.02, 0.06, False,
        "In percent of the displayed black-to-white range. Noise differs from pixel to pixel and is not counted, so a smoother "
        "image is not punished for losing grain. The eye sees coarse patterns from about 1 % contrast "
        "(Campbell and Robson, J. Physiol. 197, 1968); twice that is rarely noticed in a textured image.",
        _structured, percent, percent_limit,
    ),
    Criterion(
        "look", "finest detail on which both agree, of the detail that stands above the noise", 0.7, 0.35, True,
        "Frequency up to which the Fourier ring correlation stays at 0.5, over the frequency up to which the original's noise "
        "would allow it. At 0.7 only features less than one and a half times the smallest visible ones differ; at 0.35 those up "
        "to three times that size do. It asks whether detail agrees, not how sharp it is: a plain blur is told by the error above.",
        _detail, percent, percent_limit,
    ),
    Criterion(
        "count", "objects found again (F1 at IoU 0.5)", 0.95, 0.85, True,
        "Both images are segmented alike; an object is found again when the two outlines share half of their union, as in the "
        "2018 Data Science Bowl (Caicedo et al., Nat. Methods 16, 2019). Fine is one lost or invented in twenty. In very noisy "
        "images the segmentation itself is unstable, so that a low score can come from noise alone: give labels, which decide "
        f"instead where the segmentation finds them in the original (F1 of at least {TRUTH_COUNTS}).",
        _objects("object_f1"), number, limit,
    ),
    Criterion(
        "count", "error of the count", 0.05, 0.1, False,
        "Difference of the numbers of objects, relative to the original. Differences between samples worth reporting are "
        "usually larger than one in ten.",
        _objects("count_error", abs), percent, percent_limit,
    ),
    Criterion(
        "count", "spots found again (F1)", 0.9, 0.75, True,
        "Faint spots come and go with the noise of an image, so less is asked than of objects.",
        _spots, number, limit,
    ),
    Criterion(
        "count", "loss of object F1 against the ground truth", 0.02, 0.05, False,
        "With labels given: how much worse a segmentation of the reconstruction agrees with them than one of the original. "
        "Two points are within what the choice of a threshold does. Only where the original itself reaches "
        f"{TRUTH_COUNTS}: what the segmentation does not find cannot be lost.",
        _truth, number, limit,
    ),
    Criterion(
        "measure", f"regions whose intensity changed by more than {INTENSITY_ERROR:.0%}".replace("%", " %"), 0.02, 0.1, False,
        f"Means of {TILE} × {TILE} pixels above the background, beyond what lost noise explains. 5 % is about what lamp, "
        "detector and bleaching add between two recordings of one sample.",
        _intensity, percent, percent_limit,
    ),
    Criterion(
        "measure", "error of the area or volume of objects", 0.05, 0.1, False,
        "Mean over the objects found in both. A boundary off by half a pixel changes the area of an object 40 pixels wide by 5 %.",
        _objects("area_error", abs, yields=False), percent, percent_limit,
    ),
    Criterion(
        "measure", "correlation of region traces over time", 0.95, 0.85, True,
        "Mean over regions of the Pearson correlation of their mean intensities over time. At 0.95 nine tenths of the "
        f"variance of a trace are kept. Only regions count whose mean varies by at least {CLEAR:g} times what its noise explains "
        f"(below, a copy that lost the noise alone would already fail), and only from {LEAST_POINTS} time points on: fewer "
        "correlate by chance.",
        _traces, number, limit,
    ),
    Criterion(
        "measure", "change of a colocalisation coefficient", 0.03, 0.1, False,
        "Largest change of Pearson's or Manders' coefficients between two channels, on their scale from 0 to 1.",
        _colocalisation, number, limit,
    ),
)
"""Every criterion; the order is that of the page."""
