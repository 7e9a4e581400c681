"""What `judge` returns: the analysis of original and reconstruction side by side, as a mapping, a table and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from microfield.study.colocalisation import PairColocalisation


@dataclass(frozen=True)
class ChannelDownstream:
    """The analysis of one channel; None where a measure does not apply.

    Attributes
    ----------
    name : of the channel
    segmenter : chosen on the original, a key of `microfield.study.segmentation.SEGMENTERS`
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


NUMBERS = tuple(f.name for f in fields(ChannelDownstream) if f.name not in ("name", "segmenter"))
"""The measures of a channel, by name."""
_SUMS = ("count_original", "count_reconstruction", "spot_count_original", "spot_count_reconstruction", "regions")
_CHANGES = ("pearson_change", "m1_change", "m2_change")
_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("mask IoU", "iou", ".3f"), ("objects", "count_original", "d"), ("kept", "count_reconstruction", "d"),
    ("F1", "object_f1", ".3f"), ("area error", "area_error", ".1%"), ("shift px", "distance_error", ".2f"),
    ("spots", "spot_count_original", "d"), ("kept", "spot_count_reconstruction", "d"), ("F1", "spot_f1", ".3f"),
    ("counts r", "count_over_time_correlation", ".3f"), ("traces r", "trace_correlation", ".3f"),
    ("lowest 10 %", "trace_correlation_low", ".3f"), ("truth F1 original", "truth_f1_original", ".3f"),
    ("reconstruction", "truth_f1_reconstruction", ".3f"),
)


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
        rows = [["channel", "segmenter", *(title for title, _, _ in _COLUMNS)]]
        for channel in self.channels:
            cells = [(getattr(channel, name), form) for _, name, form in _COLUMNS]
            rows.append([channel.name, channel.segmenter, *("-" if v is None else format(v, form) for v, form in cells)])
        shown = [i for i in range(len(rows[0])) if any(row[i] != "-" for row in rows[1:])]
        width = {i: max(len(row[i]) for row in rows) for i in shown}
        lines = [
            "  ".join(row[i].ljust(width[i]) if i < 2 else row[i].rjust(width[i]) for i in shown).rstrip() for row in rows
        ]
        return "\n".join([*lines, *map(_pair_line, self.colocalisation or ()), *self.notes])


def _pair_line(pair: PairColocalisation) -> str:
    parts = [
        f"{title} {before:.3f} -> {after:.3f}"
        for title, name in (("Pearson", "pearson"), ("M1", "m1"), ("M2", "m2"))
        if (before := getattr(pair.original, name)) is not None
        and (after := getattr(pair.reconstruction, name)) is not None
    ]
    return f"{pair.first} with {pair.second}: {', '.join(parts) or 'nothing to compare'}"
