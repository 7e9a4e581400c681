"""How writers ask for an image: in planes or boxes, so that memory does not grow with the size of the whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.acquisition import NOTHING_SAID, Acquisition
from microfield.display import NOTHING_KNOWN, Display
from microfield.errors import InputError
from microfield.image import Layout

MOST_PLANES = 1 << 22
"""An image of more planes than this would become so many pages of a TIFF, or files of a Zarr store."""

Slices = tuple[slice, ...]
"""A box: one slice per axis, with a start and a stop."""

Read = Callable[[Slices], npt.NDArray[Any]]
"""Gives the values of a box."""


@dataclass(frozen=True)
class Output:
    """What a writer writes: where the values come from, and what they mean.

    Attributes are the parameters of `microfield.io.save_image` of the same names.
    """

    layout: Layout
    read: Read
    voxel_size: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    metadata: str | None = None
    display: Display = NOTHING_KNOWN
    progress: Callable[[float], None] | None = None
    overwrite: bool = False
    acquisition: Acquisition = NOTHING_SAID

    def consistent(self) -> Output:
        """The same without sizes and units of other axes, and without names that are not as many as the channels."""
        axes = self.layout.axes
        sizes = dict(zip(axes, self.layout.shape, strict=True))
        return replace(
            self, voxel_size={a: v for a, v in self.voxel_size.items() if a in axes},
            units={a: u for a, u in self.units.items() if a in axes},
            channel_names=tuple(self.channel_names) if len(self.channel_names) == sizes.get("C", 1) else (),
            display=self.display.fitting(sizes),
        )

    @property
    def facts(self) -> tuple[str, ...]:
        """What is known beside the values, in words such as ``"voxel sizes"``."""
        known = {
            "voxel sizes": any(a in self.voxel_size for a in "ZYX"),
            "the time increment": "T" in self.voxel_size,
            "channel names": bool(self.channel_names),
        }
        words = [fact for fact, there in known.items() if there]
        return (*words, *self.display.facts(), *self.acquisition.facts(), *(("metadata of the source",) if self.metadata else ()))

    def block(self, box: Slices) -> npt.NDArray[Any]:
        """The values of a box, checked and in the layout's dtype.

        Raises
        ------
        InputError
            ``read`` gave another shape than the box has.
        """
        values = np.asarray(self.read(box))
        shape = tuple(s.stop - s.start for s in box)
        if values.shape != shape:
            raise InputError(f"a block of shape {values.shape} came where {shape} was asked for.")
        return values.astype(self.layout.dtype, copy=False)

    def advance(self, done: int, total: int) -> None:
        """Report that ``done`` of ``total`` is written."""
        if self.progress is not None:
            self.progress(done / total)

    def planes(self, order: str) -> Iterator[tuple[tuple[int, ...], npt.NDArray[Any]]]:
        """Every plane (all of Y, X and S) in turn.

        Parameters
        ----------
        order : str
            The axes of the layout other than Y, X and S, the one that changes fastest last.

        Yields
        ------
        (tuple of int, ndarray of shape (y, x) or (y, x, s))
            Position along ``order`` and the plane.
        """
        axes = self.layout.axes
        sizes = dict(zip(axes, self.layout.shape, strict=True))
        total = math.prod(sizes[a] for a in order)
        kept = [a for a in axes if a not in order]
        if total > MOST_PLANES:
            raise InputError(f"an image of {total:,} planes is not written plane by plane ({MOST_PLANES:,} at most); select less "
                             "of it, or write a .npy file.")
        for done, at in enumerate(np.ndindex(*(sizes[a] for a in order)), 1):
            position = dict(zip(order, at, strict=True))
            box = tuple(slice(position.get(a, 0), position[a] + 1 if a in position else sizes[a]) for a in axes)
            plane = self.block(box).reshape([sizes[a] for a in kept])
            self.advance(done, total)  # Before the yield: a library may not ask again after the last plane.
            yield at, plane.transpose([kept.index(a) for a in "YXS" if a in kept])


def contiguous_boxes(shape: tuple[int, ...], limit: int) -> Iterator[Slices]:
    """Boxes that follow each other in C order and hold at most ``limit`` elements (one row at least)."""
    axis = next(i for i in range(len(shape)) if math.prod(shape[i + 1 :]) <= limit or i == len(shape) - 1)
    step = max(1, limit // max(1, math.prod(shape[axis + 1 :]))) if axis < len(shape) - 1 else shape[axis]
    for lead in np.ndindex(*shape[:axis]):  # Counts as it goes: a file of few bytes may claim any number of planes.
        for start in range(0, shape[axis], step):
            part = slice(start, min(start + step, shape[axis]))
            yield (*(slice(i, i + 1) for i in lead), part, *(slice(0, n) for n in shape[axis + 1 :]))
