"""An image as the parts of a grid: made one by one when asked for, so that a million of them cost nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from microfield.errors import UsageError
from microfield.format.grid import Grid
from microfield.image import Image, Layout
from microfield.methods.base import Surroundings
from microfield.wording import argument


@dataclass(frozen=True)
class ImagePart:
    """One part of an image: where it lies and how to get its values."""

    image: Image
    box: tuple[slice, ...]

    @cached_property
    def layout(self) -> Layout:
        """Shape, axes and dtype of the part."""
        return self.image.layout.with_shape(tuple(s.stop - s.start for s in self.box))

    @cached_property
    def channels(self) -> npt.NDArray[np.intp]:
        """Numbers of its channels in the image, in the part's own channel order."""
        layout = self.image.layout
        if layout.channels == self.layout.channels:
            return np.arange(layout.channels)
        numbers = np.arange(layout.channels).reshape([layout.shape[i] for i in layout.channel_axes])
        return np.asarray(numbers[tuple(self.box[i] for i in layout.channel_axes)].reshape(-1))

    def read(self) -> npt.NDArray[Any]:
        """Values of the part."""
        return self.image.read(self.box)

    def read_with_margin(self, margin: tuple[int, ...]) -> Surroundings:
        """Values of the part and of up to ``margin`` voxels on either side of every axis."""
        wide = tuple(slice(max(0, s.start - m), min(n, s.stop + m))
                     for s, m, n in zip(self.box, margin, self.image.shape, strict=True))
        inside = tuple(slice(s.start - w.start, s.stop - w.start) for s, w in zip(self.box, wide, strict=True))
        return Surroundings(self.image.read(wide), inside)


class Partition(Sequence[ImagePart]):
    """All parts of an image, in C order of the grid."""

    def __init__(self, image: Image, grid: Grid) -> None:
        self.image, self.grid = image, grid

    def __len__(self) -> int:
        return self.grid.n

    @overload
    def __getitem__(self, index: int) -> ImagePart: ...
    @overload
    def __getitem__(self, index: slice) -> list[ImagePart]: ...

    def __getitem__(self, index: int | slice) -> ImagePart | list[ImagePart]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return ImagePart(self.image, self.grid.box(index))

    def __iter__(self) -> Iterator[ImagePart]:
        return (self[i] for i in range(len(self)))


def tile_of(image: Image, tile: Mapping[str, int] | None) -> tuple[int, ...]:
    """Extents of a part over all axes from those the user named by axis letter.

    Raises
    ------
    UsageError
        An axis is not the image's, or an extent is below 1.
    """
    wanted = {axis.upper(): n for axis, n in (tile or {}).items()}
    unknown = sorted(set(wanted) - set(image.axes))
    if unknown or any(n < 1 for n in wanted.values()):
        raise UsageError(f"{argument('tile', dict(tile or {}))} must name axes of {image.axes} with extents of at least 1.")
    return tuple(min(n, wanted.get(axis, n)) for axis, n in image.sizes.items())
