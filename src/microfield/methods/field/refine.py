"""The refinement network: it estimates the error that quantisation left from the reconstruction around a place.

Cells of 2 x 2 voxels (y, x) are refined at once. The network sees a window of 3 x 6 x 6 voxels around the cell and the means
of the cells beyond, all less the cell's own mean and in quantiser steps, and how bright and how lively the place is. Beyond the
borders the edge is repeated. NumPy alone does the work. On one machine a voxel's value depends on its surroundings only, to the
last bit, not on how the volume was cut or how many threads there were.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from microfield.errors import FormatError
from microfield.methods.field.lifting import Floats
from microfield.models import load
from microfield.threads import default_threads, single_threaded_blas

WINDOW = 108
"""Number of features of the window: 2 x 2 voxels of a cell, in 3 x 3 cells of 3 planes."""
RING = tuple((dy, dx) for dy, dx in product(range(-2, 3), repeat=2) if max(abs(dy), abs(dx)) == 2)
"""Offsets (y, x) of the cells around the window, whose means are features, too."""
MEANS = len(RING) + 2
"""Number of features that are means of cells: those of the ring, then those at the same place in planes z-2 and z+2."""
FEATURES = WINDOW + MEANS + 2
"""Number of all features; the last two are the brightness and the liveliness of the place."""
OUTPUTS = 4
"""Outputs of the network: corrections of the voxels of a cell, in C order."""
HALO = 2
"""Planes and cells on every side of a cell that its features come from."""
SOFT = np.float32(1)
"""Differences x of window and means enter as x / (SOFT + |x|)."""
LEAST_LIVELINESS = np.float32(0.02)
"""Added to the liveliness, in steps, before its logarithm is taken."""
COLUMNS = 2048
"""Cells computed at once; always as many, so that results never depend on how many there are."""
VALUE_CAP = np.float32(1 << 20)
"""Absolute values, in steps, are cut at this."""
LARGEST_CORRECTION = np.float32(4)
"""Corrections, in steps, are cut at this."""
SMALLEST_STEP, LARGEST_STEP = 1e-30, 1e30
"""Quantiser steps are cut to these, so that float32 holds values divided by them."""
_LONGEST_ROW = 256
"""Cells along x of a slab, at most."""
_SLAB_PLANES, _SLAB_BOXES = 8, 4
"""A slab has about so many planes, and so many boxes along y."""


@dataclass(frozen=True)
class Refinement:
    """A refinement network.

    Attributes
    ----------
    name : bytes
        The hash that files name it by.
    weights : tuple of float32 arrays (out, in)
        The first has `FEATURES` inputs, the last `OUTPUTS` outputs.
    biases : tuple of float32 arrays (out, 1)
    """

    name: bytes
    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]

    @classmethod
    def load(cls, hash4: bytes) -> Refinement:
        """The installed network of a hash; FormatError where there is none."""
        return cls.of(hash4, load("refinement", hash4))

    @classmethod
    def of(cls, name: bytes, arrays: Mapping[str, npt.NDArray[Any]]) -> Refinement:
        """A network from arrays ``weight0``, ``bias0``, ``weight1``, ... of shapes (out, in) and (out,).

        Raises
        ------
        FormatError
            If an array is missing, of another shape, or not finite.
        """
        layers = sum(key.startswith("weight") for key in arrays)
        try:
            weights = tuple(np.ascontiguousarray(arrays[f"weight{i}"], np.float32) for i in range(layers))
            biases = tuple(np.asarray(arrays[f"bias{i}"], np.float32).reshape(-1, 1) for i in range(layers))
        except KeyError:
            layers, weights, biases = 0, (), ()
        widths = [FEATURES, *(w.shape[0] for w in weights)]
        fits = all(w.shape == (n, m) and b.shape == (n, 1)
                   for w, b, m, n in zip(weights, biases, widths, widths[1:], strict=False))
        if not layers or not fits or widths[-1] != OUTPUTS or not all(np.isfinite(a).all() for a in weights + biases):
            raise FormatError(f"The refinement network {name.hex()} does not have the shape this version computes with.")
        return cls(name, weights, biases)

    def correction(self, volume: Floats, step: float, dark: float) -> Floats:
        """The estimated error of a reconstruction: what to add to it, before it is weighted by alpha.

        Parameters
        ----------
        volume : float32 array (batch, z, y, x)
            The reconstruction, finite or not.
        step : float
            Quantiser step, in the units of the volume.
        dark : float
            Value of the darkest places, in the same units.

        Returns
        -------
        correction : float32 array of the volume's shape
            In the same units, finite, at most `LARGEST_CORRECTION` steps; zeros where step or dark makes no sense.
        """
        out = np.zeros(volume.shape, np.float32)
        if not (0 < step < np.inf and np.isfinite(dark)) or not out.size:
            return out
        size = np.float32(min(max(step, SMALLEST_STEP), LARGEST_STEP))
        jobs = iter([(b, slab) for b in range(len(volume)) for slab in slabs(volume.shape[1:])])
        lock = threading.Lock()

        def work() -> None:
            space = _Workspace(self)
            while True:
                with lock:
                    job = next(jobs, None)
                if job is None:
                    return
                batch, slab = job
                cells = Cells.cut(volume[batch], slab, size, np.float32(dark))
                for box in slab.boxes():
                    n = cells.features(box, space.inputs, space.scratch)
                    _store(out[batch], slab, box, self._run(space)[:, :n] * size)

        threads = min(default_threads(), -(-out.size // (8 * COLUMNS)))
        with single_threaded_blas(), np.errstate(over="ignore", invalid="ignore"):
            if threads == 1:
                work()
            else:
                with ThreadPoolExecutor(threads) as pool:
                    for done in [pool.submit(_quietly, work) for _ in range(threads)]:
                        done.result()
        return out

    def _run(self, space: _Workspace) -> Floats:
        """Corrections of the cells whose features are in the workspace: float32 (OUTPUTS, COLUMNS), in steps."""
        values = space.inputs
        for i, (weights, biases, sums) in enumerate(zip(self.weights, self.biases, space.sums, strict=True)):
            np.matmul(weights, values, out=sums)
            sums += biases
            if i < len(self.weights) - 1:
                np.maximum(sums, 0, out=sums)
            values = sums
        return np.clip(values, -LARGEST_CORRECTION, LARGEST_CORRECTION, out=values)


def _quietly(work: Callable[[], None]) -> None:
    """Work without warnings of NumPy: its error state is that of a thread, not of the program."""
    with np.errstate(over="ignore", invalid="ignore"):
        work()


class _Workspace:
    """Buffers of one thread: features, sums of every layer, and what `Cells.features` needs."""

    def __init__(self, net: Refinement) -> None:
        self.inputs = np.zeros((FEATURES, COLUMNS), np.float32)
        self.scratch = np.zeros((WINDOW + MEANS, COLUMNS), np.float32)
        self.sums = [np.empty((len(w), COLUMNS), np.float32) for w in net.weights]


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

    def features(self, box: Box, out: Floats, scratch: Floats) -> int:
        """Compute the features of all cells of a box, one column per cell.

        Parameters
        ----------
        box : Box
            In coordinates of the slab.
        out : float32 array (FEATURES, COLUMNS)
            The first columns are overwritten.
        scratch : float32 array (WINDOW + MEANS, COLUMNS)
            Overwritten, too.

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
        values = out[: WINDOW + MEANS]
        np.abs(values, out=scratch)
        bright, lively = out[-2], out[-1]
        bright[:n] = np.maximum(centre, 0).reshape(-1)
        np.log1p(bright, out=bright)
        np.add.reduce(scratch[:WINDOW], axis=0, out=lively)
        lively *= np.float32(1 / WINDOW)
        lively += LEAST_LIVELINESS
        np.log(lively, out=lively)
        scratch += SOFT
        values /= scratch
        return n

    def _means(self, box: Box, dz: int, dy: int, dx: int) -> Floats:
        """Means of the cells of a box that is moved by this offset in cells."""
        z, y, x = (slice(s.start + HALO + d, s.stop + HALO + d) for s, d in zip(box, (dz, dy, dx), strict=True))
        return self.means[z, y, x]


def _store(out: Floats, slab: Slab, box: Box, values: Floats) -> None:
    """Put the outputs (OUTPUTS, n) of a box of a slab where they belong in a volume (z, y, x)."""
    extents = tuple(s.stop - s.start for s in box)
    z, y, x = (slice(w.start + s.start, w.start + s.stop) for w, s in zip(slab.whole, box, strict=True))
    for k, (py, px) in enumerate(product(range(2), repeat=2)):
        target = out[z, 2 * y.start + py : 2 * y.stop : 2, 2 * x.start + px : 2 * x.stop : 2]
        source = values[k].reshape(extents)
        target[...] = source[:, : target.shape[1], : target.shape[2]]
