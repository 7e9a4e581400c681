"""Means of blocks of voxels: what previews and lower resolutions are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from microfield.format.grid import Box, block_counts, block_sums, slabs

if TYPE_CHECKING:
    from microfield.reading.parts import Parts

SLAB_VOXELS = 1 << 22
"""Voxels that are decoded at once for their means."""

Quick = Callable[[int, tuple[int, ...]], npt.NDArray[Any] | None]
"""About the means of all blocks (of these steps) of a part, or None where it has no quick way to them."""


def block_means(parts: Parts, steps: tuple[int, ...], box: Box, quick: Quick) -> npt.NDArray[np.float64]:
    """Means of blocks of voxels, of those voxels that exist at the far edges.

    A part that has coarse levels, and that no block shares with another part, tells them by these; all others are decoded, slab by
    slab. Which of the two it is depends on the part and the steps alone, and so do the means.

    Parameters
    ----------
    parts : Parts
        Of the image.
    steps : tuple of int
        Voxels of a block along every axis.
    box : tuple of range
        Which blocks, counted along every axis; of step 1.
    quick : callable (part, steps) -> array or None
        Usually `Parts.averaged`.
    """
    shape = parts.grid.shape
    voxels = tuple(range(r.start * step, min(r.stop * step, n)) for r, step, n in zip(box, steps, shape, strict=True))
    sums = np.zeros(tuple(map(len, box)))
    counts = block_counts(tuple(map(len, voxels)), steps)
    for part, inside, _ in parts.grid.touching(voxels):
        whole = parts.grid.box(part)
        if whole_blocks(whole, steps, shape) and (means := quick(part, steps)) is not None:
            first = tuple(s.start // step for s, step in zip(whole, steps, strict=True))
            there = tuple(range(max(f, r.start), min(f + n, r.stop))
                          for f, n, r in zip(first, means.shape, box, strict=True))
            where = tuple(slice(t.start - r.start, t.stop - r.start) for t, r in zip(there, box, strict=True))
            taken = tuple(slice(t.start - f, t.stop - f) for t, f in zip(there, first, strict=True))
            sums[where] = means[taken] * counts[where]
            continue
        piece = tuple(slice(s.start + r.start, s.start + r.stop) for s, r in zip(whole, inside, strict=True))
        for slab in slabs(piece, SLAB_VOXELS):
            values = parts.read(tuple(range(s.start, s.stop) for s in slab))
            at, added = block_sums(values, slab, steps)
            sums[tuple(slice(s.start - r.start, s.stop - r.start) for s, r in zip(at, box, strict=True))] += added
    return sums / counts


def whole_blocks(box: tuple[slice, ...], steps: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether no block of ``steps`` voxels of the image lies in two parts, one of them at ``box``."""
    return all(s.start % step == 0 and (s.stop % step == 0 or s.stop == n)
               for s, step, n in zip(box, steps, shape, strict=True))


def as_values(means: npt.NDArray[np.float64], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Means as values of an image: rounded to the nearest integer, halves to the even one, where the image holds integers."""
    return (np.rint(means) if dtype.kind in "iu" else means).astype(dtype)
