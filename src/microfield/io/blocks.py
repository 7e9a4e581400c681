"""How writers ask for an image: plane by plane, so that memory stays at one plane whatever the size of the whole."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.errors import InputError
from microfield.image import Layout

Box = tuple[slice, ...]
Read = Callable[[Box], npt.NDArray[Any]]
"""Gives the values of a box, one slice with a start and a stop per axis."""


@dataclass(frozen=True)
class Job:
    """All that a writer needs: what to write, where the values come from and what they mean.

    Fields are those of `microfield.io.save_image`; mappings hold only axes of the layout.
    """

    layout: Layout
    read: Read
    voxel_size: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    metadata: str | None = None
    progress: Callable[[float], None] | None = None

    def block(self, box: Box) -> npt.NDArray[Any]:
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
        """Report a fraction."""
        if self.progress is not None:
            self.progress(done / total)

    def planes(self, order: str) -> Iterator[tuple[tuple[int, ...], npt.NDArray[Any]]]:
        """Every plane (all of Y, X and S), the other axes running as in ``order``, the last one fastest.

        Parameters
        ----------
        order : str
            The axes of the layout but Y, X and S, slowest first.

        Yields
        ------
        (tuple of int, ndarray of shape (y, x) or (y, x, s))
            Position along ``order`` and the plane.
        """
        axes = self.layout.axes
        sizes = dict(zip(axes, self.layout.shape, strict=True))
        total = math.prod(sizes[a] for a in order)
        kept = [a for a in axes if a not in order]
        for done, at in enumerate(itertools.product(*(range(sizes[a]) for a in order)), 1):
            position = dict(zip(order, at, strict=True))
            box = tuple(slice(position.get(a, 0), position[a] + 1 if a in position else sizes[a]) for a in axes)
            plane = self.block(box).reshape([sizes[a] for a in kept])
            self.advance(done, total)  # Before the plane is handed on: not every library asks once more after the last.
            yield at, plane.transpose([kept.index(a) for a in "YXS" if a in kept])


def contiguous_boxes(shape: tuple[int, ...], limit: int) -> Iterator[Box]:
    """Boxes that follow each other in C order and hold at most ``limit`` elements (one row at least)."""
    axis = next(i for i in range(len(shape)) if math.prod(shape[i + 1 :]) <= limit or i == len(shape) - 1)
    step = max(1, limit // max(1, math.prod(shape[axis + 1 :]))) if axis < len(shape) - 1 else shape[axis]
    for lead in itertools.product(*(range(n) for n in shape[:axis])):
        for start in range(0, shape[axis], step):
            part = slice(start, min(start + step, shape[axis]))
            yield (*(slice(i, i + 1) for i in lead), part, *(slice(0, n) for n in shape[axis + 1 :]))
