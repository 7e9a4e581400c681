"""Tasks by the measures of `microfield.analysis`: segmenting, following traces, colocalising; the tolerance is the user's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from microfield.analysis.judge import judge
from microfield.analysis.result import AnalysisResult
from microfield.analysis.subset import choose_subset
from microfield.analysis.traces import LEAST_POINTS
from microfield.errors import InputError
from microfield.image import Image
from microfield.tasks.base import Goal, Outcome, Task

VOXELS = 1 << 22
"""At most so many array elements of an image are analysed; of larger ones evenly spread time points and the middle."""


@dataclass(frozen=True)
class Measure:
    """One measure of an analysis.

    Attributes
    ----------
    name : what is measured
    rising : as `Outcome.rising`
    lacking : why an image cannot be judged, as a clause
    numbers : of an `AnalysisResult`, by channel or pair of channels; None where it does not apply
    """

    name: str
    rising: bool
    lacking: str
    numbers: Callable[[AnalysisResult], Iterable[float | None]]


def _overlaps(found: AnalysisResult) -> Iterable[float | None]:
    return [c.iou if c.count_original else None for c in found.channels]


def _traces(found: AnalysisResult) -> Iterable[float | None]:
    return [c.trace_correlation_clear if (c.time_points or 0) >= LEAST_POINTS else None for c in found.channels]


def _colocalisation(found: AnalysisResult) -> Iterable[float | None]:
    for pair in found.colocalisation or ():
        yield max((abs(c) for c in (pair.pearson_change, pair.m1_change, pair.m2_change) if c is not None), default=None)


MEASURES = {
    "segment": Measure("overlap of the segmented masks (IoU)", True, "the segmentation finds no object in it", _overlaps),
    "trace": Measure("correlation of the traces of regions that change clearly", True,
                     f"it needs an axis T of at least {LEAST_POINTS} time points, and a region that changes clearly over them",
                     _traces),
    "colocalise": Measure("change of a colocalisation coefficient", False,
                          "it needs two channels that both show something", _colocalisation),
}
"""Task to its measure."""


@dataclass(frozen=True)
class AnalysisTask(Task):
    """A measure of the analysis, with a tolerance on its scale from 0 to 1; the worst channel or pair counts.

    Attributes
    ----------
    name : a key of `MEASURES`
    tolerance : how far the measure may be from that of an exact copy
    """

    name: str
    tolerance: float
    version: str = "1"

    def goal(self, original: Image) -> Goal:
        """Ready where the measure applies to the original."""
        return AnalysisGoal(self, original)


@dataclass
class AnalysisGoal(Goal):
    """The analysis of one original, which is done once.

    Attributes
    ----------
    task : AnalysisTask
    original : Image
    applies : which channels or pairs of channels the measure applies to
    """

    task: AnalysisTask
    original: Image
    applies: tuple[bool, ...] = ()
    _memo: dict[Any, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        times, box, _ = choose_subset(self.original, VOXELS)
        per_time = math.prod(s.stop - s.start for s, axis in zip(box, self.original.axes, strict=True) if axis != "T")
        self.share = per_time * len(times) / math.prod(self.original.shape)
        self.applies = tuple(number is not None for number in self._measure.numbers(self._analysis(self.original)))
        if not any(self.applies):
            raise InputError(f"task {self.task.name} cannot be judged on {self.original.name}: "
                             f"{self._measure.lacking}. Ask for a quality or a size.")

    def judge(self, copy: Any) -> Outcome:
        """The measure of the worst channel or pair of channels; one without a number in the copy only is the worst."""
        measure, worst = self._measure, -math.inf if self._measure.rising else math.inf
        found = [worst if number is None else number
                 for number, applies in zip(measure.numbers(self._analysis(copy)), self.applies, strict=True) if applies]
        limit = 1 - self.task.tolerance if measure.rising else self.task.tolerance
        return Outcome(measure.name, min(found) if measure.rising else max(found), limit, measure.rising)

    @property
    def _measure(self) -> Measure:
        return MEASURES[self.task.name]

    def _analysis(self, copy: Any) -> AnalysisResult:
        return judge(self.original, copy, max_voxels=VOXELS, not_labels=True, memo=self._memo)
