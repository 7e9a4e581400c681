"""Objects: a mask becomes numbered objects, and the objects of two images are matched one to one.

Label arrays hold a number per object and 0 for the background.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.analysis.filters import Spacing, ndimage, relative_steps, widths
from microfield.errors import InputError

Labels = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

SEED_SMOOTHING = 0.25
"""Smoothing of the distance to the border before its maxima become seeds, in radii of a typical object."""
SEED_DISTANCE = 1.0
"""A seed is the highest point within so many radii of a typical object."""


def label_objects(mask: npt.ArrayLike, min_size: int = 1, *, split: float | None = None, spacing: Spacing = None,
                  ) -> Labels:
    """Number the connected objects of a mask 1, 2, ...; pixels that share a face belong together.

    Parameters
    ----------
    mask : bool array of shape ``(Y, X)`` or ``(Z, Y, X)``
    min_size : int
        Smaller objects (in pixels) are dropped.
    split : float, optional
        Radius of a typical object in pixels (`choose_segmenter.typical_radius`): holes within planes are filled,
        and touching objects are cut apart by a watershed from the maxima of the smoothed distance to the border, at least
        a radius from each other (the usual way to count round nuclei; F. Meyer, S. Beucher, "Morphological segmentation",
        Journal of Visual Communication and Image Representation 1 (1990)).
    spacing : sequence of float, optional
        Step along each axis, for the distances of the split.

    Raises
    ------
    InputError
        If the mask is empty.
    """
    inside = np.asarray(mask, np.bool_)
    if inside.size == 0:
        raise InputError(f"a mask of shape {inside.shape} has nothing to label.")
    if split is not None:
        inside = fill_holes(inside, split)
    found, _ = ndimage.label(inside)
    labels = drop_small(found, min_size)
    return labels if split is None else drop_small(_watershed(labels, split, spacing), min_size)


def fill_holes(mask: npt.NDArray[np.bool_], radius: float) -> npt.NDArray[np.bool_]:
    """Fill the holes within YX planes that are smaller than a disc of half a radius: they are texture inside an object.

    ``radius`` is that of a typical object in pixels.
    """
    planes = mask if mask.ndim == 3 else mask[None]
    one_plane = np.zeros((3, 3, 3), np.bool_)
    one_plane[1] = ndimage.generate_binary_structure(2, 1)
    holes, _ = ndimage.label(~planes, one_plane)
    sizes = np.bincount(holes.reshape(-1))
    small = sizes < np.pi * (radius / 2) ** 2
    small[0] = False
    # A hole that touches the edge of the plane may be larger than what is seen of it.
    for edge in (holes[:, [0, -1]], holes[:, :, [0, -1]]):
        small[edge] = False
    return np.asarray(planes | small[holes]).reshape(mask.shape)


def drop_small(labels: npt.NDArray[Any], min_size: int) -> Labels:
    """Remove objects below a size in pixels and number the rest 1, 2, ... without gaps."""
    sizes = np.bincount(labels.reshape(-1))
    keep = sizes >= max(1, min_size)
    keep[0] = False
    number = np.zeros(sizes.size, np.int32)
    number[keep] = np.arange(1, np.count_nonzero(keep) + 1)
    kept: Labels = number[labels]
    return kept


def _watershed(labels: Labels, radius: float, spacing: Spacing) -> Labels:
    """Cut touching objects apart along the valleys of the distance to their border."""
    from skimage.segmentation import watershed

    if not labels.any():
        return labels
    # Distances are only needed near objects: their bounding box saves the rest of a sparse image.
    box = ndimage.find_objects((labels > 0).astype(np.int8))[0]
    inside = labels[box] > 0
    depth = ndimage.distance_transform_edt(inside, relative_steps(labels.ndim, spacing)).astype(np.float32)
    depth = ndimage.gaussian_filter(depth, widths(SEED_SMOOTHING * radius, labels.ndim, spacing), truncate=3.0)
    reach = [2 * int(width) + 1 for width in widths(SEED_DISTANCE * radius, labels.ndim, spacing)]
    seeds, _ = ndimage.label((depth == ndimage.maximum_filter(depth, reach)) & inside)
    parts = watershed(-depth, seeds, mask=inside)
    missed = inside & (parts == 0)  # an object without a seed of its own stays whole
    parts[missed] = labels[box][missed] + parts.max()
    whole = np.zeros_like(labels)
    whole[box] = parts
    return whole


def as_labels(values: npt.ArrayLike) -> Labels:
    """Ground truth as object numbers 1, 2, ... with 0 for the background.

    A mask (booleans, or one value besides 0) becomes its connected objects; numbers of instances keep their objects.

    Raises
    ------
    InputError
        If values are negative or not whole numbers.
    """
    array = np.asarray(values)
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.floor(array)).all()):
        raise InputError("labels must be whole numbers: 0 for the ground and one number per object, or a mask.")
    if array.dtype.kind not in "buif" or (array.size and array.min() < 0):
        raise InputError("labels must be whole numbers from 0: 0 for the ground and one number per object, or a mask.")
    distinct, index = np.unique(array, return_inverse=True)
    numbers: Labels = index.reshape(array.shape).astype(np.int32)
    if distinct[0] != 0:
        numbers += 1
    return label_objects(numbers > 0) if numbers.max() <= 1 else numbers


@dataclass(frozen=True)
class Matched:
    """How many things were found in an original (a), in its reconstruction (b), and in both (matched)."""

    count_a: int
    count_b: int
    matched: int

    @property
    def precision(self) -> float:
        """Share of the things in b that are matched; 1 where b has none."""
        return self.matched / self.count_b if self.count_b else 1.0

    @property
    def recall(self) -> float:
        """Share of the things in a that are matched; 1 where a has none."""
        return self.matched / self.count_a if self.count_a else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, ``2 matched / (count_a + count_b)``; 1 where both have none."""
        total = self.count_a + self.count_b
        return 2 * self.matched / total if total else 1.0


@dataclass(frozen=True)
class Matching(Matched):
    """Objects of an original (a) matched one to one with those of its reconstruction (b).

    Attributes
    ----------
    count_a, count_b, matched : numbers of objects and of pairs
    area_error : mean over pairs of |area b - area a| / area a (volumes in 3-D); None without a pair
    distance_error : mean distance of the pairs' centroids in pixels; None without a pair
    distance_physical : the same in the unit of ``voxel_size``; None where that was not given
    """

    area_error: float | None
    distance_error: float | None
    distance_physical: float | None = None

    @property
    def count_error(self) -> float | None:
        """|count_b - count_a| / count_a; None where a has none."""
        return abs(self.count_b - self.count_a) / self.count_a if self.count_a else None


def match(
    labels_a: npt.ArrayLike, labels_b: npt.ArrayLike, iou: float = 0.5, voxel_size: Sequence[float] | None = None
) -> Matching:
    """Pair the objects of two label images of one shape that overlap by at least ``iou`` (intersection over union).

    Above 0.5 an object can have one partner only; below, pairs are taken greedily from the largest overlap down. The work
    grows with pixels, not with pairs of objects.

    Parameters
    ----------
    labels_a, labels_b : integer arrays of one shape
        0 is background.
    iou : float
        In (0, 1].
    voxel_size : sequence of float, optional
        Physical step along each axis.

    Raises
    ------
    InputError
        If the shapes differ or ``iou`` is out of its range.
    """
    a, b = np.asarray(labels_a), np.asarray(labels_b)
    if a.shape != b.shape:
        raise InputError(f"labels of shapes {a.shape} and {b.shape} cannot be matched.")
    if not 0 < iou <= 1:
        raise InputError(f"objects are matched at an overlap in (0, 1], not {iou:g}.")
    first, second = _Objects.of(a), _Objects.of(b)
    i, j = _pairs(a, b, first, second, iou)
    if not i.size:
        return Matching(first.count, second.count, 0, None, None)
    apart = second.centres[j] - first.centres[i]
    physical = None if voxel_size is None else float(np.linalg.norm(apart * np.asarray(voxel_size), axis=1).mean())
    return Matching(
        first.count, second.count, i.size, float(np.mean(np.abs(second.areas[j] - first.areas[i]) / first.areas[i])),
        float(np.linalg.norm(apart, axis=1).mean()), physical,
    )


def pool(matchings: Iterable[Matching]) -> Matching:
    """The matchings of several planes or time points as one: counts add up, errors are means over all pairs."""
    several = list(matchings)
    return Matching(
        sum(m.count_a for m in several), sum(m.count_b for m in several), sum(m.matched for m in several),
        _mean_over_pairs((m.area_error, m.matched) for m in several),
        _mean_over_pairs((m.distance_error, m.matched) for m in several),
        _mean_over_pairs((m.distance_physical, m.matched) for m in several),
    )


def _mean_over_pairs(means: Iterable[tuple[float | None, int]]) -> float | None:
    """Mean over all pairs of objects from (mean, number of pairs) of each matching; None where no matching has a mean."""
    known = [(value, pairs) for value, pairs in means if value is not None]
    return sum(value * pairs for value, pairs in known) / sum(pairs for _, pairs in known) if known else None


@dataclass(frozen=True)
class _Objects:
    """The objects of a label array: their numbers, rising, of shape ``(n,)``, areas ``(n,)`` and centroids ``(n, ndim)``."""

    numbers: npt.NDArray[Any]
    areas: Floats
    centres: Floats

    @property
    def count(self) -> int:
        return self.numbers.size

    @classmethod
    def of(cls, labels: npt.NDArray[Any]) -> _Objects:
        where = np.nonzero(labels)
        numbers, index = np.unique(labels[where], return_inverse=True)
        areas = np.bincount(index, minlength=numbers.size).astype(np.float64)
        centres = np.stack([np.bincount(index, axis, numbers.size) for axis in where], axis=1) / areas[:, None]
        return cls(numbers, areas, centres)


def _pairs(a: npt.NDArray[Any], b: npt.NDArray[Any], first: _Objects, second: _Objects, iou: float,
           ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Which objects are matched: their positions in ``first`` and in ``second``, pair by pair."""
    both = (a != 0) & (b != 0)
    i, j = np.searchsorted(first.numbers, a[both]), np.searchsorted(second.numbers, b[both])
    cells, shared = np.unique(i * max(1, second.count) + j, return_counts=True)
    i, j = np.divmod(cells, max(1, second.count))
    overlap = shared / (first.areas[i] + second.areas[j] - shared)
    order = np.argsort(-overlap, kind="stable")
    order = order[overlap[order] >= iou]
    i, j = i[order], j[order]
    if iou > 0.5:
        return i, j
    free_a, free_b = np.ones(first.count, np.bool_), np.ones(second.count, np.bool_)
    kept = []
    for k, (one, other) in enumerate(zip(i, j, strict=True)):
        if free_a[one] and free_b[other]:
            free_a[one] = free_b[other] = False
            kept.append(k)
    return i[kept], j[kept]
