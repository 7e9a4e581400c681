"""The pipeline that both images of a pair go through, time point by time point, and what it finds in each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.analysis.choose_segmenter import choose_segmenter, telling_plane, typical_radius
from microfield.analysis.filters import as_field, widths
from microfield.analysis.objects import Labels, Matched, Matching, label_objects, match
from microfield.analysis.segmentation import SEGMENTERS
from microfield.analysis.spots import find_spots, match_spots

Array = npt.NDArray[Any]

MIN_SIZE = {"filament": 16, "spots": 4}
"""Smallest object in pixels, where objects have no typical radius."""
MIN_RADIUS = 1 / 3
"""The smallest object of the others is a disc or ball of this share of the typical radius ..."""
MIN_PIXELS = 16
"""... but of at least so many pixels."""


@dataclass(frozen=True)
class Pipeline:
    """What a user sets once for a channel, looking at the original.

    Attributes
    ----------
    name : of the segmenter, a key of `microfield.analysis.segmentation.SEGMENTERS`
    radius : typical radius of the objects in pixels; 0 for lines and spots, which are not split
    voxel_size : physical step along each axis; None where unknown
    """

    name: str
    radius: float
    voxel_size: tuple[float, ...] | None

    @classmethod
    def of(cls, field: Array, voxel_size: tuple[float, ...] | None) -> Pipeline:
        """The pipeline that suits one plane or volume."""
        name = choose_segmenter(field)
        blobs = name.startswith(("otsu", "local"))
        return cls(name, typical_radius(SEGMENTERS[name](telling_plane(as_field(field)))) if blobs else 0.0, voxel_size)

    def mask(self, field: Array) -> npt.NDArray[np.bool_]:
        """Segment a plane or volume, its threshold found on itself."""
        return SEGMENTERS[self.name](field, self.voxel_size)

    def objects(self, mask: npt.NDArray[np.bool_]) -> Labels:
        """Objects as they are counted: blobs are filled and split where they touch, lines and spots are not."""
        if not self.radius:
            return label_objects(mask, MIN_SIZE[self.name.removesuffix("-dark")])
        small = widths(MIN_RADIUS * self.radius, mask.ndim, self.voxel_size)
        least = (np.pi if mask.ndim == 2 else 4 / 3 * np.pi) * float(np.prod(small))
        return label_objects(mask, max(MIN_PIXELS, round(least)), split=self.radius, spacing=self.voxel_size)


@dataclass(frozen=True)
class SeenFrame:
    """What a pipeline finds in one time point of one image.

    Attributes
    ----------
    mask : array of shape ``([Z,] Y, X)``
    objects : object numbers, of that shape
    spots : positions in pixels, of shape ``(n, ndim)``
    truth_sizes : pixels of (intersection, ground truth, mask); None without ground truth
    truth_objects : the objects matched with those of the ground truth; None without it
    """

    mask: npt.NDArray[np.bool_]
    objects: Labels
    spots: Array
    truth_sizes: tuple[int, int, int] | None
    truth_objects: Matching | None

    @classmethod
    def of(cls, field: Array, pipeline: Pipeline, truth: Labels | None) -> SeenFrame:
        """Run the pipeline on a plane or volume."""
        mask = pipeline.mask(field)
        objects = pipeline.objects(mask)
        spots = find_spots(field, spacing=pipeline.voxel_size, dark=pipeline.name.endswith("-dark"))
        if truth is None:
            return cls(mask, objects, spots, None, None)
        return cls(mask, objects, spots, mask_sizes(truth > 0, mask), match(truth, objects))


@dataclass(frozen=True)
class FramePair:
    """One time point of a channel in both images.

    Attributes
    ----------
    sizes : pixels of (intersection, mask of the original, mask of the reconstruction)
    objects, spots : those of the original matched with those of the reconstruction
    seen : what was found in the original and in the reconstruction
    """

    sizes: tuple[int, int, int]
    objects: Matching
    spots: Matched
    seen: tuple[SeenFrame, SeenFrame]

    @classmethod
    def of(cls, original: SeenFrame, reconstruction: SeenFrame, voxel_size: tuple[float, ...] | None) -> FramePair:
        """Match what was found in the two images."""
        return cls(
            mask_sizes(original.mask, reconstruction.mask),
            match(original.objects, reconstruction.objects, voxel_size=voxel_size),
            match_spots(original.spots, reconstruction.spots, spacing=voxel_size), (original, reconstruction),
        )


def mask_sizes(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> tuple[int, int, int]:
    """Pixels of the intersection of two masks, of the first and of the second."""
    return int(np.count_nonzero(a & b)), int(np.count_nonzero(a)), int(np.count_nonzero(b))
