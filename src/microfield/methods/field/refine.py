"""The refinement network: what quantisation took, guessed from the reconstruction around it.

Cells of 2 x 2 voxels (y, x) are refined at once. The network sees a window of 3 x 6 x 6 voxels around the cell and the means
of the cells beyond, all less the cell's own mean and in quantiser steps, and how bright and how lively the place is.
Borders are repeated. Numpy alone; a voxel's value depends on its surroundings only, to the bit, not on what it was computed with.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
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
"""Features of the window: phases of a cell (y, x) x planes z-1..z+1 x 3 x 3 cells."""
RING = tuple((dy, dx) for dy, dx in product(range(-2, 3), repeat=2) if max(abs(dy), abs(dx)) == 2)
"""Cells beyond the window whose means are features, by offset; after them the cell's own place at z-2 and z+2."""
MEANS = len(RING) + 2
FEATURES = WINDOW + MEANS + 2
"""And brightness and liveliness of the place."""
HALO = 2
"""Planes and cells around a cell that its features come from."""
SOFT = np.float32(1)
"""Differences x of window and means enter as x / (SOFT + |x|)."""
COLUMNS = 2048
"""Cells computed at once; always as many, so that results never depend on how many there are."""
LARGEST = np.float32(1 << 20)
"""Values are cut to so many steps."""
MOST = np.float32(4)
"""No correction is larger, in steps."""


@dataclass(frozen=True)
class Refinement:
    """A refinement network.

    Attributes
    ----------
    name : bytes
        The hash that files name it by.
    weights : float32 arrays (out, in), the first of `FEATURES` inputs, the last of 4 outputs
    biases : float32 arrays (out, 1)
    """

    name: bytes
    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]

    @classmethod
    def load(cls, hash4: bytes) -> Refinement:
        """An installed network; FormatError where it is not."""
        return cls.of(hash4, load("refinement", hash4))

    @classmethod
    def of(cls, name: bytes, arrays: Mapping[str, npt.NDArray[Any]]) -> Refinement:
        """From arrays ``weight0``, ``bias0``, ``weight1``, ... of shapes (out, in) and (out,)."""
        layers = sum(key.startswith("weight") for key in arrays)
        try:
            weights = tuple(np.ascontiguousarray(arrays[f"weight{i}"], np.float32) for i in range(layers))
            biases = tuple(np.asarray(arrays[f"bias{i}"], np.float32).reshape(-1, 1) for i in range(layers))
        except KeyError:
            layers, weights, biases = 0, (), ()
        widths = [FEATURES, *(w.shape[0] for w in weights)]
        fits = all(w.shape == (n, m) and b.shape == (n, 1)
                   for w, b, m, n in zip(weights, biases, widths, widths[1:], strict=False))
        if not layers or not fits or widths[-1] != 4 or not all(np.isfinite(a).all() for a in weights + biases):
            raise FormatError(f"The refinement network {name.hex()} does not have the shape this version computes with.")
        return cls(name, weights, biases)

    def correction(self, volume: Floats, step: float, dark: float) -> Floats:
        """What to add to a reconstruction, before it is weighted.

        Parameters
        ----------
        volume : float32 array (batch, z, y, x)
        step : quantiser step, in the volume's units
        dark : value of the darkest places, likewise

        Returns
        -------
        float32 array of the volume's shape, in its units; finite whatever comes in
        """
        out = np.zeros(volume.shape, np.float32)
        if not (0 < step < np.inf and np.isfinite(dark)) or not out.size:
            return out
        size = np.float32(min(max(step, 1e-30), 1e30))
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
        """Outputs (4, COLUMNS) of the inputs in the workspace, in steps."""
        values = space.inputs
        for i, (weights, biases, sums) in enumerate(zip(self.weights, self.biases, space.sums, strict=True)):
            np.matmul(weights, values, out=sums)
            sums += biases
            if i < len(self.weights) - 1:
                np.maximum(sums, 0, out=sums)
            values = sums
        return np.clip(values, -MOST, MOST, out=values)


def _quietly(work: Any) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        work()


class _Workspace:
    """Buffers of one thread."""

    def __init__(self, net: Refinement) -> None:
        self.inputs = np.zeros((FEATURES, COLUMNS), np.float32)
        self.scratch = np.zeros((WINDOW + MEANS, COLUMNS), np.float32)
        self.sums = [np.empty((len(w), COLUMNS), np.float32) for w in net.weights]


Box = tuple[slice, slice, slice]
"""Planes, rows and columns of cells."""


@dataclass(frozen=True)
class Slab:
    """A piece of a volume, cut into boxes of at most `COLUMNS` cells.

    Attributes
    ----------
    whole : planes, rows and columns of cells in the volume
    size : planes, rows and columns of a box
    """

    whole: Box
    size: tuple[int, int, int]

    def boxes(self) -> Iterator[Box]:
        """Boxes counted from the slab's corner."""
        extents = [s.stop - s.start for s in self.whole]
        starts = product(*(range(0, n, m) for n, m in zip(extents, self.size, strict=True)))
        for start in starts:
            z, y, x = (slice(a, min(a + m, n)) for a, m, n in zip(start, self.size, extents, strict=True))
            yield z, y, x


def slabs(shape: tuple[int, ...]) -> list[Slab]:
    """A volume of voxels (z, y, x) cut into slabs."""
    planes, rows, columns = shape[0], -(-shape[1] // 2), -(-shape[2] // 2)
    pieces = -(-columns // 256)
    nx = -(-columns // pieces)
    ny = min(rows, COLUMNS // nx)
    nz = min(planes, COLUMNS // (nx * ny))
    size, reach = (nz, ny, nx), (nz * max(1, 8 // nz), ny * 4, nx)
    starts = product(*(range(0, n, r) for n, r in zip((planes, rows, columns), reach, strict=True)))
    found = []
    for start in starts:
        z, y, x = (slice(a, min(a + r, n)) for a, r, n in zip(start, reach, (planes, rows, columns), strict=True))
        found.append(Slab((z, y, x), size))
    return found


@dataclass(frozen=True)
class Cells:
    """A slab with its surroundings, in steps above dark.

    Attributes
    ----------
    phases : float32 array (2, 2, z, y, x): the four voxels of every cell
    means : float32 array (z, y, x) of cells
    """

    phases: Floats
    means: Floats

    @classmethod
    def cut(cls, volume: Floats, slab: Slab, step: np.float32, dark: np.float32) -> Cells:
        """From a volume (z, y, x), its edges repeated."""
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
        np.nan_to_num(values, copy=False, nan=0.0, posinf=float(LARGEST), neginf=-float(LARGEST))
        np.clip(values, -LARGEST, LARGEST, out=values)
        shape = (len(planes), len(rows) // 2, 2, len(columns) // 2, 2)
        phases = np.ascontiguousarray(values.reshape(shape).transpose(2, 4, 0, 1, 3))
        means = (phases[0, 0] + phases[0, 1] + phases[1, 0] + phases[1, 1]) * np.float32(0.25)
        return cls(phases, means)

    def features(self, box: Box, out: Floats, scratch: Floats) -> int:
        """Write the features of a box into the first columns of ``out`` (FEATURES, COLUMNS); how many columns that are."""
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
        lively += np.float32(0.02)
        np.log(lively, out=lively)
        scratch += SOFT
        values /= scratch
        return n

    def _means(self, box: Box, dz: int, dy: int, dx: int) -> Floats:
        z, y, x = (slice(s.start + HALO + d, s.stop + HALO + d) for s, d in zip(box, (dz, dy, dx), strict=True))
        return self.means[z, y, x]


def _store(out: Floats, slab: Slab, box: Box, values: Floats) -> None:
    """Put outputs (4, n) of a box where they belong in a volume (z, y, x)."""
    extents = tuple(s.stop - s.start for s in box)
    z, y, x = (slice(w.start + s.start, w.start + s.stop) for w, s in zip(slab.whole, box, strict=True))
    for k, (py, px) in enumerate(product(range(2), repeat=2)):
        target = out[z, 2 * y.start + py : 2 * y.stop : 2, 2 * x.start + px : 2 * x.stop : 2]
        source = values[k].reshape(extents)
        target[...] = source[:, : target.shape[1], : target.shape[2]]
