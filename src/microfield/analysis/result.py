"""What `judge` returns: the analysis of original and reconstruction side by side, as a mapping, a table and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from microfield.analysis.colocalisation import PairColocalisation


@dataclass(frozen=True, kw_only=True)
class Measures:
    """The numbers of an analysis, of one channel or of all; None where a measure does not apply or was not taken.

    Attributes
    ----------
    iou, dice : overlap of the masks of original and reconstruction, 0 to 1
    count_original, count_reconstruction : number of objects, summed over all time points
    object_f1 : F1 of the objects matched at an intersection over union of 0.5, 0 to 1
    count_error : |difference of the counts| / count in the original
    area_error : mean relative difference of the areas (volumes) of matched objects
    distance_error : mean distance between the centroids of matched objects, in pixels
    distance_physical : the same in the unit of the voxel size; None where that is unknown
    spot_count_original, spot_count_reconstruction : number of spots; None where neither image has any
    spot_f1 : F1 of the spots matched within 2 pixels, 0 to 1
    count_over_time_correlation : Pearson correlation of the object counts over time, -1 to 1
    count_over_time_difference : largest relative difference of the counts at one time point
    regions : number of regions whose mean intensity was followed over time; None below 3 time points
    trace_correlation : Pearson correlation of the regions' mean intensities over time, mean over the regions
    trace_correlation_low : the same, lowest decile of the regions
    truth_iou_original, truth_iou_reconstruction : overlap of each image's mask with the ground truth
    truth_f1_original, truth_f1_reconstruction : F1 of each image's objects against the ground truth at an overlap of 0.5
    """

    iou: float | None = None
    dice: float | None = None
    count_original: int | None = None
    count_reconstruction: int | None = None
    object_f1: float | None = None
    count_error: float | None = None
    area_error: float | None = None
    distance_error: float | None = None
    distance_physical: float | None = None
    spot_count_original: int | None = None
    spot_count_reconstruction: int | None = None
    spot_f1: float | None = None
    count_over_time_correlation: float | None = None
    count_over_time_difference: float | None = None
    regions: int | None = None
    trace_correlation: float | None = None
    trace_correlation_low: float | None = None
    truth_iou_original: float | None = None
    truth_iou_reconstruction: float | None = None
    truth_f1_original: float | None = None
    truth_f1_reconstruction: float | None = None


@dataclass(frozen=True, kw_only=True)
class ChannelResult(Measures):
    """The analysis of one channel: `Measures`, of which those that always apply are never None, and what belongs to a channel.

    Attributes
    ----------
    name : of the channel
    segmenter : chosen on the original, a key of `microfield.analysis.segmentation.SEGMENTERS`
    time_points : number of time points analysed; None below 3
    regions_clear : number of regions that change clearly over time in the original
        (`microfield.analysis.traces.change_clearly`); None below 3 time points
    trace_correlation_clear : mean correlation of the traces of these regions; None without any
    """

    name: str
    segmenter: str
    iou: float
    dice: float
    count_original: int
    count_reconstruction: int
    object_f1: float
    time_points: int | None = None
    regions_clear: int | None = None
    trace_correlation_clear: float | None = None

    @property
    def meets_truth(self) -> bool | None:
        """Whether the segmentation finds the labels in the original (`TRUTH_COUNTS`); None without labels.

        Where it does not, the score of a reconstruction cannot fall, whatever was lost.
        """
        return None if self.truth_f1_original is None else self.truth_f1_original >= TRUTH_COUNTS

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: name and segmenter first, then numbers or None."""
        return {"name": self.name, "segmenter": self.segmenter} | asdict(self)


NUMBERS = tuple(f.name for f in fields(Measures))
"""Names of the measures."""
TRUTH_COUNTS = 0.5
"""From this F1 of the original against given labels on, a segmentation finds these labels."""
_SUMS = ("count_original", "count_reconstruction", "spot_count_original", "spot_count_reconstruction", "regions")
"""Measures that add up over channels; of the others the mean is taken."""
_PARTS = ("channels", "colocalisation", "notes")
"""What an `AnalysisResult` holds besides numbers."""
_CHANGES = ("pearson_change", "m1_change", "m2_change")
_COLUMNS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("mask", "IoU", ("iou",), ".3f"),
    ("objects", "original / copy", ("count_original", "count_reconstruction"), "d"),
    ("objects", "F1", ("object_f1",), ".3f"),
    ("area", "error", ("area_error",), ".1%"), ("shift", "px", ("distance_error",), ".2f"),
    ("spots", "original / copy", ("spot_count_original", "spot_count_reconstruction"), "d"),
    ("spots", "F1", ("spot_f1",), ".3f"),
    ("counts", "r", ("count_over_time_correlation",), ".3f"), ("traces", "r", ("trace_correlation",), ".3f"),
    ("lowest", "10 %", ("trace_correlation_low",), ".3f"),
    ("truth F1", "original / copy", ("truth_f1_original", "truth_f1_reconstruction"), ".3f"),
)
"""Two lines of heading, the measures in the cell, and their format."""
_LEGEND = (
    (("count_original",), "objects F1: share of objects that overlap by half in both (precision and recall in one); copy: the "
                          "reconstruction"),
    (("spot_f1",), "spots F1: share of spots found in both within 2 pixels"),
    (("count_over_time_correlation", "trace_correlation"), "counts r, traces r: correlation over time of the counts, and of the "
                                                           "regions' mean intensities"),
    (("trace_correlation_low",), "lowest 10 %: nine regions of ten have a higher traces r"),
    (("truth_f1_original",), "truth F1: agreement of the objects in each image with the labels given"),
)
"""What the headings mean, where one of the measures is known."""


@dataclass(frozen=True, kw_only=True)
class AnalysisResult(Measures, Mapping[str, Any]):
    """The analysis of a pair of images: attributes, and a mapping from the same names to the same values.

    Its `Measures` are over all channels that have them: sums of counts, means of everything else.

    Attributes
    ----------
    pearson_change, manders_change : largest absolute change of a colocalisation coefficient over all pairs of channels,
        on the scale of the coefficient; None where no pair has it in both images
    channels : one `ChannelResult` each
    colocalisation : one `PairColocalisation` per pair of channels; None for a single channel
    notes : what was left out of the analysis, and why; one sentence each
    """

    pearson_change: float | None = None
    manders_change: float | None = None
    channels: tuple[ChannelResult, ...]
    colocalisation: tuple[PairColocalisation, ...] | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, channels: Sequence[ChannelResult], colocalisation: Sequence[PairColocalisation] | None = None,
           notes: Sequence[str] = ()) -> AnalysisResult:
        """The result whose overall numbers are worked out from its channels and pairs."""
        pairs = colocalisation or ()
        return cls(
            **{name: _over_channels(name, channels) for name in NUMBERS},
            pearson_change=_largest(pair.pearson_change for pair in pairs),
            manders_change=_largest(change for pair in pairs for change in (pair.m1_change, pair.m2_change)),
            channels=tuple(channels), colocalisation=None if colocalisation is None else tuple(colocalisation),
            notes=tuple(notes),
        )

    def __getitem__(self, key: str) -> Any:
        if key not in (*_OVERALL, *_PARTS):
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter((*_OVERALL, *_PARTS))

    def __len__(self) -> int:
        return len(_OVERALL) + len(_PARTS)

    def numbers(self) -> dict[str, float | None]:
        """Every measure over all channels, and the largest changes of colocalisation; None where nothing applies."""
        return {name: getattr(self, name) for name in _OVERALL}

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: dicts, lists, numbers, None."""
        pairs = None if self.colocalisation is None else [
            asdict(pair) | {name: getattr(pair, name) for name in _CHANGES} for pair in self.colocalisation
        ]
        return {**self.numbers(), "channels": [c.as_dict() for c in self.channels], "colocalisation": pairs,
                "notes": list(self.notes)}

    def table(self) -> str:
        """An aligned table with one line per channel and only the columns that apply, then colocalisation and notes."""
        rows = [["", "", *(column[0] for column in _COLUMNS)], ["channel", "segmenter", *(column[1] for column in _COLUMNS)]]
        rows += [[c.name, c.segmenter, *(_cell(c, names, form) for _, _, names, form in _COLUMNS)] for c in self.channels]
        shown = [i for i in range(len(rows[0])) if any(row[i] != "-" for row in rows[2:])]
        width = {i: max(len(row[i]) for row in rows) for i in shown}
        lines = [
            "  ".join(row[i].ljust(width[i]) if i < 2 else row[i].rjust(width[i]) for i in shown).rstrip() for row in rows
        ]
        missed = self.truth_missed()
        return "\n".join([*lines, *map(_pair_line, self.colocalisation or ()), *self.notes, *([missed] if missed else [])])

    def legend(self) -> str:
        """What the headings of the table mean, one line each, as far as they are shown."""
        return "\n".join(
            text for names, text in _LEGEND if any(getattr(c, name) is not None for c in self.channels for name in names)
        )

    def truth_missed(self) -> str | None:
        """One sentence on the channels in which the labels were not found even in the original; None where there are none."""
        missed = [c for c in self.channels if c.meets_truth is False]
        if not missed:
            return None
        best = max(c.truth_f1_original or 0.0 for c in missed)
        names = [c.name for c in missed]
        many = "any channel" if len(names) == len(self.channels) else ", ".join(names[:6]) + (" ..." if len(names) > 6 else "")
        where = f" in {many}" if len(self.channels) > 1 else ""
        return (f"the simple segmentation does not find these labels{where} (F1 in the original at most {best:.2f}, below "
                f"{TRUTH_COUNTS}), so a score against them says nothing about the copy there.")


_OVERALL = (*NUMBERS, "pearson_change", "manders_change")
"""Names of the overall numbers of an `AnalysisResult`."""


def _over_channels(name: str, channels: Sequence[ChannelResult]) -> Any:
    """Sum (of counts) or mean of a measure over the channels that have it; None where none has."""
    known = [value for value in (getattr(c, name) for c in channels) if value is not None]
    if not known:
        return None
    return sum(known) if name in _SUMS else sum(known) / len(known)


def _largest(changes: Iterable[float | None]) -> float | None:
    """The largest absolute value of those that are known; None without any."""
    return max((abs(change) for change in changes if change is not None), default=None)


def _cell(channel: ChannelResult, names: tuple[str, ...], form: str) -> str:
    values = [getattr(channel, name) for name in names]
    if all(value is None for value in values):
        return "-"
    return " / ".join("-" if value is None else format(value, form) for value in values)


def _pair_line(pair: PairColocalisation) -> str:
    parts = [
        f"{title} {before:.3f} -> {after:.3f}"
        for title, name in (("Pearson", "pearson"), ("M1", "m1"), ("M2", "m2"))
        if (before := getattr(pair.original, name)) is not None
        and (after := getattr(pair.reconstruction, name)) is not None
    ]
    return f"{pair.first} with {pair.second}: {', '.join(parts) or 'nothing to compare'}"
