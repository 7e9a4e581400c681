"""Judge a reconstruction by what an analysis finds in it: segmentation, counting, spots, traces and colocalisation.

Original and reconstruction go through the same pipeline. Every choice (segmenter, polarity, regions) is made on the original;
every threshold is found on each image by itself, as a user's pipeline would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.analysis.colocalisation import Colocalisation, PairColocalisation, colocalise, prepare
from microfield.analysis.objects import Labels, Matched, as_labels, label_objects, pool
from microfield.analysis.pipeline import FramePair, Pipeline, SeenFrame
from microfield.analysis.result import AnalysisResult, ChannelResult
from microfield.analysis.segmentation import agreement
from microfield.analysis.subset import Subset, read_subset
from microfield.analysis.traces import SHORTEST, change_clearly, chequered, compare_traces, counts_over_time, region_means
from microfield.errors import InputError
from microfield.image import Image
from microfield.label_images import looks_like_labels
from microfield.wording import argument

__all__ = ["AnalysisResult", "ChannelResult", "judge"]

Array = npt.NDArray[Any]
Progress = Callable[[float, str], None]


def judge(
    original: Image,
    reconstruction: Any,
    *,
    labels: Any = None,
    progress: Progress | None = None,
    max_voxels: int = 2**23,
    not_labels: bool = False,
    memo: dict[Any, Any] | None = None,
) -> AnalysisResult:
    """Analyse original and reconstruction alike and compare what comes out.

    Parameters
    ----------
    original : Image
    reconstruction : array-like of the original's shape
        Anything with a shape and slicing: a MicrofieldFile, an array, an Image.
    labels : array-like or Image, optional
        Ground truth: object numbers (0 is background) or a mask, of the original's shape without C and S; without T for
        regions that stay. Each image is then scored against it, and traces follow its regions.
    progress : callable (fraction in 0..1, message), optional
    max_voxels : int
        Larger images are decoded and analysed in part (`microfield.analysis.subset.choose_subset`); a note says which.
    not_labels : bool
        Analyse even what looks like object labels.
    memo : dict, optional
        Keeps what was found in the original, which takes about half of the time. Give the same dictionary with every
        reconstruction of the same original (and the same labels and ``max_voxels``); its entries are for `judge` only.

    Returns
    -------
    AnalysisResult
        One `ChannelResult` per channel; colour images have one, luminance or, of stained tissue, haematoxylin.

    Raises
    ------
    InputError
        Shapes or axes do not match, an image holds NaN or infinity, the original looks like labels, or the labels do not.
    """
    tell = progress or (lambda fraction, message: None)
    subset = read_subset(original, reconstruction, labels, max_voxels, lambda done, what: tell(0.3 * done, what))
    if not not_labels and _is_labels(original, subset):
        raise InputError(
            f"{original.name} looks like object labels or a mask, which cannot be segmented again; give the image itself "
            f"and pass labels as ground truth ({argument('labels')})."
        )
    truth = None if subset.labels is None else _truth(subset.labels)
    kept = {} if memo is None else memo
    channels = []
    for number, name in enumerate(subset.names):
        tell(0.3 + 0.65 * number / len(subset.names), f"analyse {name}")
        channels.append(_channel(subset, number, truth, kept))
    tell(0.95, "colocalisation")
    pairs = _colocalisation(subset)
    tell(1.0, "done")
    return AnalysisResult.of(channels, pairs, () if subset.note is None else (subset.note,))


def _is_labels(original: Image, subset: Subset) -> bool:
    """Whether the original holds object labels: what its source says, else what its first time point looks like."""
    if "S" in original.axes:
        return bool(original.labels)
    frame = subset.original[:, 0]
    return looks_like_labels(Image(frame, "CZYX" if frame.ndim == 4 else "CYX", labels=original.labels, name=original.name))


def _truth(labels: Array) -> tuple[Labels, Labels]:
    """Ground truth as objects to score against and as regions to follow over time, both of shape ``(T or 1, [Z,] Y, X)``.

    Numbered objects are both. The objects of a mask are its connected pieces, numbered time point by time point; its regions
    are the connected pieces of all pixels that are in the mask at any time.
    """
    numbers = as_labels(labels)
    if np.unique(labels).size > 2:
        return numbers, numbers
    return np.stack([label_objects(frame > 0) for frame in numbers]), label_objects((numbers > 0).any(axis=0))[None]


# -- one channel -------------------------------------------------------------------------------------------------------


def _channel(subset: Subset, number: int, truth: tuple[Labels, Labels] | None, memo: dict[Any, Any]) -> ChannelResult:
    """The result of one channel: what its frames give, then what is known of spots, of time and against the ground truth."""
    a, b = subset.original[number], subset.reconstruction[number]
    pipeline = _kept(memo, ("pipeline", number), lambda: Pipeline.of(a[len(a) // 2], subset.voxel_size))
    frames = []
    for t in range(len(a)):
        objects_at = None if truth is None else truth[0][min(t, len(truth[0]) - 1)]
        before = _kept(memo, ("seen", number, t), partial(SeenFrame.of, a[t], pipeline, objects_at))
        frames.append(FramePair.of(before, SeenFrame.of(b[t], pipeline, objects_at), pipeline.voxel_size))
    iou, dice = agreement(*(sum(f.sizes[i] for f in frames) for i in range(3)))
    objects = pool(f.objects for f in frames)
    found = ChannelResult(
        name=subset.names[number], segmenter=pipeline.name, iou=iou, dice=dice,
        count_original=objects.count_a, count_reconstruction=objects.count_b, object_f1=objects.f1,
        count_error=objects.count_error, area_error=objects.area_error,
        distance_error=objects.distance_error, distance_physical=objects.distance_physical,
    )
    found = _with_traces(_with_spots(found, frames), _regions(a, subset.voxel_size, truth), a, b)
    return _with_truth(_with_counts_over_time(found, frames), frames)


def _kept(memo: dict[Any, Any], key: Any, make: Callable[[], Any]) -> Any:
    """What the memo holds under the key; made and kept where it is not there yet."""
    if key not in memo:
        memo[key] = make()
    return memo[key]


def _with_spots(found: ChannelResult, frames: list[FramePair]) -> ChannelResult:
    """The result with the spots of all time points; unchanged where neither image has any."""
    spots = Matched(*(sum(counts) for counts in zip(*((f.spots.count_a, f.spots.count_b, f.spots.matched) for f in frames),
                                                    strict=True)))
    if spots.count_a == spots.count_b == 0:
        return found
    return replace(found, spot_count_original=spots.count_a, spot_count_reconstruction=spots.count_b, spot_f1=spots.f1)


def _with_truth(found: ChannelResult, frames: list[FramePair]) -> ChannelResult:
    """The result with the scores of both images against the ground truth; unchanged where there is none."""
    if frames[0].seen[0].truth_sizes is None:
        return found
    scores = []
    for seen in zip(*(f.seen for f in frames), strict=True):
        sizes = [one.truth_sizes for one in seen if one.truth_sizes is not None]
        iou, _ = agreement(*(sum(of) for of in zip(*sizes, strict=True)))
        scores.append((iou, pool(one.truth_objects for one in seen if one.truth_objects is not None).f1))
    (iou_original, f1_original), (iou_reconstruction, f1_reconstruction) = scores
    return replace(found, truth_iou_original=iou_original, truth_iou_reconstruction=iou_reconstruction,
                   truth_f1_original=f1_original, truth_f1_reconstruction=f1_reconstruction)


# -- time --------------------------------------------------------------------------------------------------------------


def _with_counts_over_time(found: ChannelResult, frames: list[FramePair]) -> ChannelResult:
    """The result with the agreement of the object counts over time; unchanged below 3 time points."""
    if len(frames) < SHORTEST:
        return found
    counts = counts_over_time([f.objects.count_a for f in frames], [f.objects.count_b for f in frames])
    return replace(found, count_over_time_correlation=counts.correlation, count_over_time_difference=counts.largest_difference)


def _regions(original: Array, voxel_size: tuple[float, ...] | None, truth: tuple[Labels, Labels] | None) -> Labels | None:
    """Regions to follow, of shape ``(T or 1, [Z,] Y, X)``: those of the ground truth, or the objects of the mean over time.

    None below 3 time points.
    """
    if len(original) < SHORTEST:
        return None
    if truth is not None:
        return truth[1]
    mean = np.asarray(np.mean(original, axis=0, dtype=np.float64))
    pipeline = Pipeline.of(mean, voxel_size)
    return pipeline.objects(pipeline.mask(mean))[None]


def _with_traces(found: ChannelResult, regions: Labels | None, a: Array, b: Array) -> ChannelResult:
    """The result with the agreement of the regions' mean intensities in original ``a`` and reconstruction ``b`` over time."""
    if regions is None:
        return found
    count = int(regions.max())
    halves = list(zip(*(chequered(r) for r in regions), strict=True))
    before, after = _traces(a, regions, count), _traces(b, regions, count)
    clear = change_clearly(before, (_traces(a, halves[0], count), _traces(a, halves[1], count)))
    traces = compare_traces(before, after, clear)
    return replace(
        found, regions=count, trace_correlation=traces.mean, trace_correlation_low=traces.low, time_points=len(a),
        regions_clear=int(np.count_nonzero(clear)), trace_correlation_clear=traces.mean_clear,
    )


def _traces(values: Array, regions: Sequence[Labels] | Labels, count: int) -> npt.NDArray[np.float64]:
    """Mean intensities of regions 1 to ``count``, of shape ``(T, count)``.

    ``values`` has shape ``(T, [Z,] Y, X)``; ``regions`` has one label array per time point, or one for all.
    """
    return np.stack([region_means(frame, regions[min(t, len(regions) - 1)], count) for t, frame in enumerate(values)])


# -- pairs of channels -------------------------------------------------------------------------------------------------


def _colocalisation(subset: Subset) -> tuple[PairColocalisation, ...] | None:
    """Every pair of channels, over everything read; None for one channel."""
    if len(subset.names) < 2:
        return None
    pairs = list(combinations(range(len(subset.names)), 2))
    found: list[list[Colocalisation]] = []
    for image in (subset.original, subset.reconstruction):
        channels = [prepare(values) for values in image]
        found.append([colocalise(channels[i], channels[j]) for i, j in pairs])
    return tuple(
        PairColocalisation(subset.names[i], subset.names[j], before, after)
        for (i, j), before, after in zip(pairs, *found, strict=True)
    )
