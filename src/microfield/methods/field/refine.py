"""The refinement network: it estimates the error that quantisation left from the reconstruction around a place.

Cells of 2 x 2 voxels (y, x) are refined at once. The network sees a window of 3 x 6 x 6 voxels around the cell and the means
of the cells beyond (`refine_cells`), all less the cell's own mean and in quantiser steps, and how bright and how lively the place
is. NumPy alone does the work. On one machine a voxel's value depends on its surroundings only, to the last bit, not on how the
volume was cut or how many threads there were; in whole numbers (`refine_whole`) it is the same on all machines.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from microfield.errors import FormatError
from microfield.methods.field.lifting import Floats
from microfield.methods.field.refine_cells import COLUMNS, FEATURES, MEANS, WINDOW, Cells, Slab, slabs, store
from microfield.models import load
from microfield.threads import default_threads, single_threaded_blas

OUTPUTS = 4
"""Outputs of the network: corrections of the voxels of a cell, in C order."""
SOFT = np.float32(1)
"""Differences x of window and means enter as x / (SOFT + |x|)."""
LEAST_LIVELINESS = np.float32(0.02)
"""Added to the liveliness, in steps, before its logarithm is taken."""
LARGEST_CORRECTION = np.float32(4)
"""Corrections, in steps, are cut at this."""
SMALLEST_STEP, LARGEST_STEP = 1e-30, 1e30
"""Quantiser steps are cut to these, so that float32 holds values divided by them."""


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
    def load(cls, hash4: bytes) -> Self:
        """The installed network of a hash; FormatError where there is none."""
        return cls.of(hash4, load("refinement", hash4))

    @classmethod
    def of(cls, name: bytes, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
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
        volume = np.ascontiguousarray(volume, np.float32)
        size = np.float32(min(max(step, SMALLEST_STEP), LARGEST_STEP))
        jobs = iter([(b, slab) for b in range(len(volume)) for slab in slabs(volume.shape[1:])])
        lock = threading.Lock()

        def work() -> None:
            space = Workspace(self)
            while True:
                with lock:
                    job = next(jobs, None)
                if job is None:
                    return
                batch, slab = job
                self._refine(volume[batch], slab, size, np.float32(dark), out[batch], space)

        threads = min(default_threads(), -(-out.size // (8 * COLUMNS)))
        with single_threaded_blas(), np.errstate(over="ignore", invalid="ignore"):
            if threads == 1:
                work()
            else:
                with ThreadPoolExecutor(threads) as pool:
                    for done in [pool.submit(_quietly, work) for _ in range(threads)]:
                        done.result()
        return out

    def _refine(self, volume: Floats, slab: Slab, size: np.float32, dark: np.float32, out: Floats, space: Workspace) -> None:
        """Put the corrections of a slab of a volume (z, y, x) where they belong in ``out``."""
        cells = Cells.cut(volume, slab, size, dark)
        for box in slab.boxes():
            n = cells.differences(box, space.inputs)
            self._squash(space)
            store(out, slab, box, self._run(space)[:, :n] * size)

    def _squash(self, space: Workspace) -> None:
        """Make features of the differences in a workspace."""
        squash(space.inputs, space.scratch)

    def _run(self, space: Workspace) -> Floats:
        """Corrections of the cells whose features are in the workspace: float32 (OUTPUTS, COLUMNS), in steps."""
        values = space.inputs
        for i, (weights, biases, sums) in enumerate(zip(self.weights, self.biases, space.sums, strict=True)):
            np.matmul(weights, values, out=sums)
            sums += biases
            if i < len(self.weights) - 1:
                np.maximum(sums, 0, out=sums)
            values = sums
        return np.clip(values, -LARGEST_CORRECTION, LARGEST_CORRECTION, out=values)


def squash(inputs: Floats, scratch: Floats) -> None:
    """Make features (FEATURES, n) of what `Cells.differences` gave, in place; scratch, (WINDOW + MEANS, n), is overwritten."""
    values, bright, lively = inputs[: WINDOW + MEANS], inputs[-2], inputs[-1]
    np.abs(values, out=scratch)
    np.log1p(bright, out=bright)
    np.add.reduce(scratch[:WINDOW], axis=0, out=lively)
    lively *= np.float32(1 / WINDOW)
    lively += LEAST_LIVELINESS
    np.log(lively, out=lively)
    scratch += SOFT
    values /= scratch


def _quietly(work: Callable[[], None]) -> None:
    """Work without warnings of NumPy: its error state is that of a thread, not of the program."""
    with np.errstate(over="ignore", invalid="ignore"):
        work()


class Workspace:
    """Buffers of one thread: features, absolute values of those of window and means, and sums of every layer."""

    def __init__(self, net: Refinement) -> None:
        self.inputs = np.zeros((FEATURES, COLUMNS), np.float32)
        self.scratch = np.zeros((WINDOW + MEANS, COLUMNS), np.float32)
        self.sums = [np.empty((len(w), COLUMNS), np.float32) for w in net.weights]
