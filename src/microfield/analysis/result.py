"""What `judge` returns: the analysis of original and reconstruction side by side, as a mapping, a table and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from microfield.analysis.colocalisation import PairColocalisation


@dataclass(frozen=True)
class ChannelDownstream:
    """The analysis of one channel; None where a measure does not apply.

    Attributes
    ----------
    name : of the channel
    segmenter : chosen on the original, a key of `microfield.analysis.segmentation.SEGMENTERS`
    iou, dice : overlap of the masks of original and reconstruction, 0..1
    count_original, count_reconstruction : objects over all time points
    object_f1 : counting accuracy: F1 of objects matched at IoU 0.5
    count_error : |difference of the counts| / count in the original
    area_error : mean relative difference of the areas (volumes) of matched objects
    distance_error : mean distance of their centroids in pixels
    distance_physical : the same in the unit of the voxel size
    spot_count_original, spot_count_reconstruction, spot_f1 : spots, matched within 2 pixels
    count_over_time_correlation : Pearson correlation of the object counts over time
    count_over_time_difference : largest relative difference of the counts at one time
    regions : number of regions whose traces were followed
    trace_correlation, trace_correlation_low : Pearson correlation of mean intensities over time, mean and lowest decile of
        the regions
    time_points : number of time points analysed
    regions_clear, trace_correlation_clear : number of regions that change clearly over time in the original
        (`microfield.analysis.traces.change_clearly`), and the mean correlation of their traces
    truth_iou_original, truth_iou_reconstruction : overlap of each image's mask with the ground truth
    truth_f1_original, truth_f1_reconstruction : F1 of each image's objects against the ground truth at IoU 0.5
    """

    name: str
    segmenter: str
    iou: float
    dice: float
    count_original: int
    count_reconstruction: int
    object_f1: float
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
    time_points: int | None = None
    regions_clear: int | None = None
    trace_correlation_clear: float | None = None

    @property
    def meets_truth(self) -> bool | None:
        """Whether the segmentation finds the labels in the original (`TRUTH_COUNTS`); None without labels.

        Where it does not, the score of a reconstruction cannot fall, whatever was lost.
        """
        return None if self.truth_f1_original is None else self.truth_f1_original >= TRUTH_COUNTS


_NO_NUMBERS = ("name", "segmenter", "time_points", "regions_clear", "trace_correlation_clear")
NUMBERS = tuple(f.name for f in fields(ChannelDownstream) if f.name not in _NO_NUMBERS)
"""The measures of a channel, by name."""
TRUTH_COUNTS = 0.5
"""From this F1 of the original against given labels on, a segmentation finds these labels."""
_SUMS = ("count_original", "count_reconstruction", "spot_count_original", "spot_count_reconstruction", "regions")
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


@dataclass(frozen=True)
class Downstream(Mapping[str, Any]):
    """The analysis of a pair of images: attributes and a mapping from the same names.

    Attributes
    ----------
    channels : one `ChannelDownstream` each
    colocalisation : one `PairColocalisation` per pair of channels; None for a single channel
    notes : what was left out of the analysis, and why

    The names of the measures (`NUMBERS`) are keys, too: means over the channels that have them, sums for counts.
    """

    channels: tuple[ChannelDownstream, ...]
    colocalisation: tuple[PairColocalisation, ...] | None = None
    notes: tuple[str, ...] = ()

    def __getitem__(self, key: str) -> Any:
        if key in ("channels", "colocalisation", "notes"):
            return getattr(self, key)
        return self.numbers()[key]

    def __getattr__(self, name: str) -> Any:
        if name in NUMBERS:
            return self.numbers()[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __iter__(self) -> Iterator[str]:
        return iter((*self.numbers(), "channels", "colocalisation", "notes"))

    def __len__(self) -> int:
        return len(self.numbers()) + 3

    def numbers(self) -> dict[str, float | None]:
        """Every measure over all channels, and the largest changes of colocalisation; None where nothing applies.

        ``pearson_change`` and ``manders_change`` are the largest absolute changes over all pairs.
        """
        found: dict[str, float | None] = {}
        for name in NUMBERS:
            known = [value for value in (getattr(c, name) for c in self.channels) if value is not None]
            found[name] = None if not known else sum(known) if name in _SUMS else sum(known) / len(known)
        pearson, *manders = (
            [abs(v) for v in (getattr(pair, name) for pair in self.colocalisation or ()) if v is not None]
            for name in _CHANGES
        )
        found["pearson_change"] = max(pearson, default=None)
        found["manders_change"] = max((v for values in manders for v in values), default=None)
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: dicts, lists, numbers, None."""
        pairs = None if self.colocalisation is None else [
            asdict(pair) | {name: getattr(pair, name) for name in _CHANGES} for pair in self.colocalisation
        ]
        return {
            **self.numbers(), "channels": [asdict(c) for c in self.channels], "colocalisation": pairs,
            "notes": list(self.notes),
        }

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


def _cell(channel: ChannelDownstream, names: tuple[str, ...], form: str) -> str:
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
