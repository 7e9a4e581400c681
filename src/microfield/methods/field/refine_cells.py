"""What the refinement network sees of a volume: cells of 2 x 2 voxels, and what lies around them.

Values are in quantiser steps above the darkest places, less the mean of the cell. Beyond the borders the edge is repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import as_strided

from microfield.methods.field.lifting import Floats

WINDOW = 108
"""Number of features of the window: 2 x 2 voxels of a cell, in 3 x 3 cells of 3 planes."""
RING = tuple((dy, dx) for dy, dx in product(range(-2, 3), repeat=2) if max(abs(dy), abs(dx)) == 2)
"""Offsets (y, x) of the cells around the window, whose means are features, too."""
MEANS = len(RING) + 2
"""Number of features that are means of cells: those of the ring, then those at the same place in planes z-2 and z+2."""
FEATURES = WINDOW + MEANS + 2
"""Number of all features; the last two are the brightness and the liveliness of the place."""
HALO = 2
"""Planes and cells on every side of a cell that its features come from."""
COLUMNS = 2048
"""Cells computed at once; always as many, so that results never depend on how many there are."""
VALUE_CAP = np.float32(1 << 20)
"""Absolute values, in steps, are cut at this."""
_LONGEST_ROW = 256
"""Cells along x of a slab, at most."""
_SLAB_PLANES, _SLAB_BOXES = 8, 4
"""A slab has about so many planes, and so many boxes along y."""


Box = tuple[slice, slice, slice]
"""A range of planes, of rows of cells and of columns of cells."""


@dataclass(frozen=True)
class Slab:
    """A piece of a volume, cut into boxes of at most `COLUMNS` cells.

    Attributes
    ----------
    whole : Box
        Where the slab lies in the volume.
    size : tuple of int
        Planes, rows and columns of cells of a box; boxes at the far edges may be smaller.
    """

    whole: Box
    size: tuple[int, int, int]

    def boxes(self) -> Iterator[Box]:
        """All boxes, in coordinates that count from the corner of the slab."""
        extents = [s.stop - s.start for s in self.whole]
        starts = product(*(range(0, n, m) for n, m in zip(extents, self.size, strict=True)))
        for start in starts:
            z, y, x = (slice(a, min(a + m, n)) for a, m, n in zip(start, self.size, extents, strict=True))
            yield z, y, x


def slabs(shape: tuple[int, ...]) -> list[Slab]:
    """Slabs that together make up a volume of the shape (z, y, x) in voxels."""
    planes, rows, columns = shape[0], -(-shape[1] // 2), -(-shape[2] // 2)
    pieces = -(-columns // _LONGEST_ROW)
    nx = -(-columns // pieces)
    ny = min(rows, COLUMNS // nx)
    nz = min(planes, COLUMNS // (nx * ny))
    size, reach = (nz, ny, nx), (nz * max(1, _SLAB_PLANES // nz), ny * _SLAB_BOXES, nx)
    starts = product(*(range(0, n, r) for n, r in zip((planes, rows, columns), reach, strict=True)))
    found = []
    for start in starts:
        z, y, x = (slice(a, min(a + r, n)) for a, r, n in zip(start, reach, (planes, rows, columns), strict=True))
        found.append(Slab((z, y, x), size))
    return found


@dataclass(frozen=True)
class Cells:
    """The cells of a slab and its halo; values are in quantiser steps above dark.

    Attributes
    ----------
    phases : float32 array (2, 2, z, y, x)
        The voxels of every cell: row and column within the cell, then the place of the cell.
    means : float32 array (z, y, x)
        Mean of every cell.
    """

    phases: Floats
    means: Floats

    @classmethod
    def cut(cls, volume: Floats, slab: Slab, step: np.float32, dark: np.float32) -> Cells:
        """The cells of a slab of a volume (z, y, x), whose edges are repeated beyond its borders."""
        z, y, x = slab.whole
        planes = np.arange(z.start - HALO, z.stop + HALO)
        rows = np.arange(2 * (y.start - HALO), 2 * (y.stop + HALO))
        columns = np.arange(2 * (x.start - HALO), 2 * (x.stop + HALO))
        where = [np.clip(i, 0, n - 1) for i, n in zip((planes, rows, columns), volume.shape, strict=True)]
        across = slice(int(where[2][0]), int(where[2][-1]) + 1)
        values = volume[where[0][:, None], where[1][None, :], across]
        values = values[:, :, where[2] - across.start]
        values -= dark
        values /= step
        np.nan_to_num(values, copy=False, nan=0.0, posinf=float(VALUE_CAP), neginf=-float(VALUE_CAP))
        np.clip(values, -VALUE_CAP, VALUE_CAP, out=values)
        shape = (len(planes), len(rows) // 2, 2, len(columns) // 2, 2)
        phases = np.ascontiguousarray(values.reshape(shape).transpose(2, 4, 0, 1, 3))
        means = (phases[0, 0] + phases[0, 1] + phases[1, 0] + phases[1, 1]) * np.float32(0.25)
        return cls(phases, means)

    def differences(self, box: Box, out: Floats) -> int:
        """Compute what the features of all cells of a box are made of, one column per cell.

        Parameters
        ----------
        box : Box
            In coordinates of the slab.
        out : float32 array (FEATURES, COLUMNS)
            The first columns are overwritten: window and means less the mean of the cell, and, in the last row but one, that mean,
            at least 0.

        Returns
        -------
        n : int
            Number of cells.
        """
        extents = tuple(s.stop - s.start for s in box)
        n = int(np.prod(extents))
        centre = self._means(box, 0, 0, 0)
        z, y, x = (s.start for s in box)
        first = self.phases[:, :, z + HALO - 1 :, y + HALO - 1 :, x + HALO - 1 :]
        s = first.strides
        window = as_strided(first, (2, 2, 3, 3, 3, *extents), (s[0], s[1], *s[2:], *s[2:]), writeable=False)
        np.subtract(window, centre, out=out[:WINDOW, :n].reshape(window.shape))
        for k, (dz, dy, dx) in enumerate((*((0, *r) for r in RING), (-2, 0, 0), (2, 0, 0)), WINDOW):
            np.subtract(self._means(box, dz, dy, dx), centre, out=out[k, :n].reshape(extents))
        out[-2, :n] = np.maximum(centre, 0).reshape(-1)
        return n

    def _means(self, box: Box, dz: int, dy: int, dx: int) -> Floats:
        """Means of the cells of a box that is moved by this offset in cells."""
        z, y, x = (slice(s.start + HALO + d, s.stop + HALO + d) for s, d in zip(box, (dz, dy, dx), strict=True))
        return self.means[z, y, x]


def store(out: Floats, slab: Slab, box: Box, values: Floats) -> None:
    """Put the outputs (OUTPUTS, n) of a box of a slab where they belong in a volume (z, y, x)."""
    extents = tuple(s.stop - s.start for s in box)
    z, y, x = (slice(w.start + s.start, w.start + s.stop) for w, s in zip(slab.whole, box, strict=True))
    for k, (py, px) in enumerate(product(range(2), repeat=2)):
        target = out[z, 2 * y.start + py : 2 * y.stop : 2, 2 * x.start + px : 2 * x.stop : 2]
        source = values[k].reshape(extents)
        target[...] = source[:, : target.shape[1], : target.shape[2]]
