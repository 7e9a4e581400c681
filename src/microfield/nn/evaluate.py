"""Evaluate a sine network in numpy: the one function every decoded voxel goes through.

BLAS sums in an order that depends on where a point stands in a batch and on the processor, so float32 products would give
a voxel other last bits in a region than in the whole. Therefore sums are exact: weights, coordinates and activations are
rounded to fixed-point grids so coarse that every partial sum of a layer fits the 53 bits of a double, whatever the order.
What is left is elementwise float32 arithmetic, so a file decodes to the same values in every selection and on every machine.

A block always holds `BLOCK` points, padded where fewer are asked for; it fits the caches. Threads take blocks in turn, and
BLAS is held to one thread meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.nn.sine import sine_turns
from microfield.threads import default_threads, single_threaded_blas

BLOCK = 1024
WEIGHT_BITS = 24
"""Weights of a layer are multiples of 2^-24 of the power of two above the largest."""

COORDINATE_STEP = 2.0**-24
ACTIVATION_STEP = np.float32(2.0**-16)
"""24 + 16 bits leave 12 for the sum: exact up to 4096 terms. A coordinate layer has at most 6 terms."""

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SineNetwork:
    """A sine network ready to evaluate.

    Attributes
    ----------
    hidden : tuple of arrays of shape (width, fan_in + 1)
        Weights and, in the last column, biases, both in turns: h = sin(2 pi (W [x; 1])). Rounded to their grid here.
    output : array of shape (outputs, fan_in + 1)
        Linear last layer with its bias in the last column.
    """

    hidden: tuple[npt.NDArray[np.floating[Any]], ...]
    output: npt.NDArray[np.floating[Any]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(on_grid(w) for w in self.hidden))
        object.__setattr__(self, "output", on_grid(self.output))

    @property
    def n_inputs(self) -> int:
        """Coordinates the network takes."""
        first = self.hidden[0] if self.hidden else self.output
        return int(first.shape[1]) - 1


def on_grid(weights: npt.ArrayLike) -> Float64:
    """Weights rounded to multiples of 2^(e - 24), where 2^e is the power of two above the largest."""
    values = np.asarray(weights, np.float64)
    _, exponent = np.frexp(np.abs(values).max(initial=0))
    return np.asarray(np.ldexp(np.rint(np.ldexp(values, WEIGHT_BITS - exponent)), exponent - WEIGHT_BITS))


class _Workspace:
    """Buffers of one thread: inputs of a layer with a row of ones for the biases, sums, and elementwise scratch."""

    def __init__(self, network: SineNetwork) -> None:
        width = max((w.shape[0] for w in network.hidden), default=0)
        self.activations = np.ones((width + 1, BLOCK))
        self.sums = np.empty((width, BLOCK))
        self.rounded = np.empty((width, BLOCK))
        self.scratch = [np.empty((width, BLOCK), np.float32) for _ in range(3)]
        self.coordinates = np.ones((network.n_inputs + 1, BLOCK))

    def place(self, coordinates: Float32) -> None:
        """Take the coordinates of the next points (inputs, n), rounded to their grid; the padding keeps older ones."""
        target = self.coordinates[:-1, : coordinates.shape[1]]
        np.multiply(coordinates, 1 / COORDINATE_STEP, out=target)
        np.rint(target, out=target)
        np.multiply(target, COORDINATE_STEP, out=target)


def _evaluate_block(network: SineNetwork, space: _Workspace) -> Float32:
    """One padded block: (outputs, BLOCK) from the coordinates in the workspace."""
    h = space.coordinates
    for weights in network.hidden:
        width = weights.shape[0]
        sums, rounded = space.sums[:width], space.rounded[:width]
        turns, one, two = (s[:width] for s in space.scratch)
        np.matmul(weights, h, out=sums)
        np.rint(sums, out=rounded)
        np.subtract(sums, rounded, out=turns, casting="same_kind")
        sine_turns(turns, one, two)
        np.multiply(turns, 1 / ACTIVATION_STEP, out=turns)
        np.rint(turns, out=turns)
        np.multiply(turns, ACTIVATION_STEP, out=space.activations[:width])
        space.activations[width] = 1
        h = space.activations[: width + 1]
    return np.asarray(np.matmul(network.output, h), np.float32)


def evaluate(
    network: SineNetwork,
    n_points: int,
    coordinates: Callable[[int, int], Float32],
    store: Callable[[int, int, Float32], None],
    threads: int | None = None,
) -> None:
    """Evaluate ``n_points`` points block by block.

    Parameters
    ----------
    network : SineNetwork
    n_points : int
    coordinates : callable (start, stop) -> float32 array (inputs, stop - start)
        Coordinates of a range of points, each in [-1, 1].
    store : callable (start, stop, float32 array (outputs, stop - start))
        Receives the values; ranges never overlap, so it may write into one array from several threads.
    threads : int, optional
        Threads to use; `default_threads` by default.
    """
    starts = range(0, n_points, BLOCK)
    threads = max(1, min(threads or default_threads(), len(starts)))
    queue: Iterator[int] = iter(starts)
    lock = threading.Lock()

    def work(_: int) -> None:
        space = _Workspace(network)
        while True:
            with lock:
                start = next(queue, None)
            if start is None:
                return
            stop = min(start + BLOCK, n_points)
            space.place(coordinates(start, stop))
            store(start, stop, _evaluate_block(network, space)[:, : stop - start])

    with single_threaded_blas():
        if threads == 1:
            work(0)
            return
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(work, k) for k in range(threads)]:
                done.result()
