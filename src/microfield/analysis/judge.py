"""Whether the analysis that follows sees the same: segmentation, counting, spots, traces and colocalisation of both images.

Every choice (segmenter, polarity, regions) is made on the original; every threshold is found on each image by itself, as a
user's pipeline would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.analysis.choose_segmenter import choose_segmenter, telling_plane, typical_radius
from microfield.analysis.colocalisation import Colocalisation, PairColocalisation, colocalise, prepare
from microfield.analysis.filters import as_field, widths
from microfield.analysis.objects import Labels, Matched, Matching, as_labels, label_objects, match, pool
from microfield.analysis.result import ChannelDownstream, Downstream
from microfield.analysis.segmentation import SEGMENTERS, agreement
from microfield.analysis.spots import find_spots, match_spots
from microfield.analysis.subset import Sample, take
from microfield.analysis.traces import SHORTEST, change_clearly, chequered, compare_traces, counts_over_time, region_means
from microfield.errors import InputError
from microfield.image import Image
from microfield.statistics import looks_like_labels

__all__ = ["ChannelDownstream", "Downstream", "judge"]

Array = npt.NDArray[Any]
Progress = Callable[[float, str], None]

MIN_SIZE = {"filament": 16, "spots": 4}
"""Smallest object in pixels."""
MIN_RADIUS = 1 / 3
"""The smallest object of the others is a disc or ball of this share of the typical radius, but at least 16 pixels."""


def judge(
    original: Image,
    reconstruction: Any,
    *,
    labels: Any = None,
    progress: Progress | None = None,
    max_voxels: int = 2**23,
    not_labels: bool = False,
    memo: dict[Any, Any] | None = None,
) -> Downstream:
    """Analyse original and reconstruction alike and compare what comes out.

    Parameters
    ----------
    original : Image
    reconstruction : array-like of the original's shape
        Anything with a shape and slicing: a MicrofieldFile, an array, an Image.
    labels : array-like or Image, optional
        Ground truth: object numbers (0 is ground) or a mask, of the original's shape without C and S; without T for regions
        that stay. Each image is then scored against it, and traces follow its regions.
    progress : callable (fraction in 0..1, message), optional
    max_voxels : int
        Of larger images a part is analysed and decoded (`microfield.analysis.subset.choose`); a note says which.
    not_labels : bool
        Analyse even what looks like object labels.
    memo : dict, optional
        Keeps what was found in the original, which takes about half of the time. Give the same one with every
        reconstruction of the same original (and the same labels and ``max_voxels``).

    Returns
    -------
    Downstream
        One `ChannelDownstream` per channel; colour images have one, luminance or, of stained tissue, haematoxylin.

    Raises
    ------
    InputError
        Shapes or axes do not match, an image holds NaN or infinity, the original holds labels, or the labels none.
    """
    tell = progress or (lambda fraction, message: None)
    sample = take(original, reconstruction, labels, max_voxels, lambda done, what: tell(0.3 * done, what))
    if not not_labels and _is_labels(original, sample):
        raise InputError(
            f"{original.name} looks like object labels or a mask, which cannot be segmented again; give the image itself "
            "and pass labels as ground truth."
        )
    truth = None if sample.labels is None else _truth(sample.labels)
    kept = {} if memo is None else memo
    channels = []
    for number, name in enumerate(sample.names):
        tell(0.3 + 0.65 * number / len(sample.names), f"analyse {name}")
        channels.append(_channel(sample, number, truth, kept))
    tell(0.95, "colocalisation")
    pairs = _colocalisation(sample)
    tell(1.0, "done")
    return Downstream(tuple(channels), pairs, () if sample.note is None else (sample.note,))


def _is_labels(original: Image, sample: Sample) -> bool:
    if original.labels is not None or "S" in original.axes:
        return bool(original.labels)
    frame = sample.original[:, 0]
    return looks_like_labels(Image(frame, "CZYX" if frame.ndim == 4 else "CYX"))


def _truth(labels: Array) -> tuple[Labels, Labels]:
    """Objects, and regions to follow over time: object numbers of shape ``(T or 1, [Z,] Y, X)``.

    The objects of a mask are numbered frame by frame; its regions are where it ever is. Numbered objects are regions.
    """
    numbers = as_labels(labels)
    if np.unique(labels).size > 2:
        return numbers, numbers
    return np.stack([label_objects(frame > 0) for frame in numbers]), label_objects((numbers > 0).any(axis=0))[None]


# -- one channel -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pipeline:
    """What a user sets once, on the original: segmenter, typical radius of its objects in pixels, voxel size."""

    name: str
    radius: float
    voxel_size: tuple[float, ...] | None

    @classmethod
    def of(cls, field: Array, voxel_size: tuple[float, ...] | None) -> _Pipeline:
        name = choose_segmenter(field)
        blobs = name.startswith(("otsu", "local"))
        return cls(name, typical_radius(SEGMENTERS[name](telling_plane(as_field(field)))) if blobs else 0.0, voxel_size)

    def mask(self, field: Array) -> npt.NDArray[np.bool_]:
        return SEGMENTERS[self.name](field, self.voxel_size)

    def objects(self, mask: npt.NDArray[np.bool_]) -> Labels:
        """Objects as they are counted: blobs are filled and split where they touch, lines and spots are not."""
        if not self.radius:
            return label_objects(mask, MIN_SIZE[self.name.removesuffix("-dark")])
        small = widths(MIN_RADIUS * self.radius, mask.ndim, self.voxel_size)
        least = (np.pi if mask.ndim == 2 else 4 / 3 * np.pi) * float(np.prod(small))
        return label_objects(mask, max(16, round(least)), split=self.radius, spacing=self.voxel_size)


@dataclass(frozen=True)
class _Seen:
    """What a pipeline finds in one time point of one image."""

    mask: npt.NDArray[np.bool_]
    objects: Labels
    spots: Array
    truth_sizes: tuple[int, int, int] | None
    truth_objects: Matching | None

    @classmethod
    def of(cls, field: Array, pipeline: _Pipeline, truth: Labels | None) -> _Seen:
        mask = pipeline.mask(field)
        objects = pipeline.objects(mask)
        spots = find_spots(field, spacing=pipeline.voxel_size, dark=pipeline.name.endswith("-dark"))
        if truth is None:
            return cls(mask, objects, spots, None, None)
        return cls(mask, objects, spots, _sizes(truth > 0, mask), match(truth, objects))


@dataclass(frozen=True)
class _Frame:
    """One time point of a channel in both images: sizes of (intersection, mask, other mask), and the pairs found."""

    sizes: tuple[int, int, int]
    objects: Matching
    spots: Matched
    seen: tuple[_Seen, _Seen]

    @classmethod
    def of(cls, a: _Seen, b: _Seen, size: tuple[float, ...] | None) -> _Frame:
        return cls(
            _sizes(a.mask, b.mask), match(a.objects, b.objects, voxel_size=size), match_spots(a.spots, b.spots, spacing=size),
            (a, b),
        )


def _channel(sample: Sample, number: int, truth: tuple[Labels, Labels] | None, memo: dict[Any, Any]) -> ChannelDownstream:
    a, b = sample.original[number], sample.reconstruction[number]
    pipeline = _kept(memo, ("pipeline", number), lambda: _Pipeline.of(a[len(a) // 2], sample.voxel_size))
    frames = []
    for t in range(len(a)):
        objects_at = None if truth is None else truth[0][min(t, len(truth[0]) - 1)]
        before = _kept(memo, ("seen", number, t), partial(_Seen.of, a[t], pipeline, objects_at))
        frames.append(_Frame.of(before, _Seen.of(b[t], pipeline, objects_at), pipeline.voxel_size))
    iou, dice = agreement(*(sum(f.sizes[i] for f in frames) for i in range(3)))
    objects = pool(f.objects for f in frames)
    known: dict[str, Any] = _spots(frames) | _over_time(a, b, frames, sample, truth) | _against_truth(frames)
    return ChannelDownstream(
        name=sample.names[number], segmenter=pipeline.name, iou=iou, dice=dice,
        count_original=objects.count_a, count_reconstruction=objects.count_b, object_f1=objects.f1,
        count_error=objects.count_error, area_error=objects.area_error,
        distance_error=objects.distance_error, distance_physical=objects.distance_physical, **known,
    )


def _kept(memo: dict[Any, Any], key: Any, make: Callable[[], Any]) -> Any:
    """What the memo holds under the key, made now where it is not there."""
    if key not in memo:
        memo[key] = make()
    return memo[key]


def _sizes(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> tuple[int, int, int]:
    return int(np.count_nonzero(a & b)), int(np.count_nonzero(a)), int(np.count_nonzero(b))


def _spots(frames: list[_Frame]) -> dict[str, Any]:
    """Spots of all time points; nothing where neither image has any."""
    a, b, matched = (sum(getattr(f.spots, name) for f in frames) for name in ("count_a", "count_b", "matched"))
    if a == b == 0:
        return {}
    return {"spot_count_original": a, "spot_count_reconstruction": b, "spot_f1": Matched(a, b, matched).f1}


def _against_truth(frames: list[_Frame]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for k, which in enumerate(("original", "reconstruction")):
        sizes = [f.seen[k].truth_sizes for f in frames]
        matched = [f.seen[k].truth_objects for f in frames]
        if sizes[0] is not None:
            found[f"truth_iou_{which}"] = agreement(*(sum(s[i] for s in sizes if s is not None) for i in range(3)))[0]
            found[f"truth_f1_{which}"] = pool(m for m in matched if m is not None).f1
    return found


# -- time --------------------------------------------------------------------------------------------------------------


def _over_time(
    a: Array, b: Array, frames: list[_Frame], sample: Sample, truth: tuple[Labels, Labels] | None
) -> dict[str, Any]:
    """Counts and traces over time; nothing below 3 time points."""
    if len(a) < SHORTEST:
        return {}
    counts = counts_over_time([f.objects.count_a for f in frames], [f.objects.count_b for f in frames])
    if truth is None:
        mean = np.asarray(np.mean(a, axis=0, dtype=np.float64))
        pipeline = _Pipeline.of(mean, sample.voxel_size)
        regions = pipeline.objects(pipeline.mask(mean))[None]
    else:
        regions = truth[1]
    count = int(regions.max())
    halves = list(zip(*(chequered(r) for r in regions), strict=True))
    before, after = _traces(a, regions, count), _traces(b, regions, count)
    clear = change_clearly(before, (_traces(a, halves[0], count), _traces(a, halves[1], count)))
    traces = compare_traces(before, after, clear)
    return {
        "count_over_time_correlation": counts.correlation, "count_over_time_difference": counts.largest_difference,
        "regions": count, "trace_correlation": traces.mean, "trace_correlation_low": traces.low,
        "time_points": len(a), "regions_clear": int(np.count_nonzero(clear)), "trace_correlation_clear": traces.mean_clear,
    }


def _traces(values: Array, regions: Sequence[Labels] | Labels, count: int) -> npt.NDArray[np.float64]:
    """Mean intensities of shape ``(T, count)``; ``regions`` has one entry per time point, or one for all."""
    return np.stack([region_means(frame, regions[min(t, len(regions) - 1)], count) for t, frame in enumerate(values)])


# -- pairs of channels -------------------------------------------------------------------------------------------------


def _colocalisation(sample: Sample) -> tuple[PairColocalisation, ...] | None:
    """Every pair of channels, over all that was sampled; None for one channel."""
    if len(sample.names) < 2:
        return None
    pairs = list(combinations(range(len(sample.names)), 2))
    found: list[list[Colocalisation]] = []
    for image in (sample.original, sample.reconstruction):
        channels = [prepare(values) for values in image]
        found.append([colocalise(channels[i], channels[j]) for i, j in pairs])
    return tuple(
        PairColocalisation(sample.names[i], sample.names[j], before, after)
        for (i, j), before, after in zip(pairs, *found, strict=True)
    )
