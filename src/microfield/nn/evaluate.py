"""Evaluate a sine network in NumPy: the one function that decodes every voxel of a coordinate network.

BLAS sums in an order that depends on the position of a point in its batch and on the processor. Float32 products would therefore
give a voxel other last bits in a region than in the whole. So sums are made exact: weights, coordinates and activations are
rounded to fixed-point grids that are coarse enough for every partial sum of a layer to fit the 53 bits of a double, in any order.
All else is elementwise float32 arithmetic. A file thus decodes to the same values in every selection and on every machine.

Points are evaluated in blocks of `BLOCK`, which fit the cache; the last one is padded. Threads take blocks in turn, and BLAS is
held to one thread meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.nn.sine import sine_turns
from microfield.threads import default_threads, single_threaded_blas

BLOCK = 1024
"""Points in a block."""

WORKSPACES = 1 << 28
"""Memory that the threads of an evaluation take together (256 MiB): there are fewer of them for wide networks, but one."""

WEIGHT_BITS = 24
"""Weights of a layer are multiples of 2^-24 of the power of two above the largest."""

COORDINATE_STEP = 2.0**-24
"""Coordinates are multiples of this. The first layer adds at most 6 terms of 24 + 24 bits, which 53 bits hold."""

MOST_FEATURES = 2**8
"""Features are multiples of 2^-12 below 2^9 (`microfield.nn.pyramid`). Terms of 24 + 21 bits leave 8 bits for a sum of so many."""

ACTIVATION_STEP = np.float32(2.0**-16)
"""Activations are multiples of this. Terms of 24 + 16 bits leave 12 bits for a sum: it is exact up to 4096 terms."""

CEILING = np.float32(16)
"""Rectified sums are cut off here: 24 + 20 bits leave 9 bits, so that sums of up to 512 terms are exact."""

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SineNetwork:
    """A sine network ready to evaluate.

    Attributes
    ----------
    hidden : tuple of arrays of shape (width, fan_in + 1)
        Weights and, in the last column, biases, both in turns: h = sin(2 pi (W [x; 1])). They are rounded to their grid here.
    output : array of shape (outputs, fan_in + 1)
        The linear last layer, with its biases in the last column; rounded likewise.
    rectified : bool
        Hidden layers are h = min(max(W [x; 1], 0), `CEILING`) instead of sines, their weights not in turns.
    mixing, skip : arrays of shape (width, features) and (outputs, features)
        What the features of a pyramid (`microfield.nn.pyramid`) add to the sums of the first sine layer, in turns, and to those of
        the last layer; rounded likewise. Without features both are empty.
    """

    hidden: tuple[npt.NDArray[np.floating[Any]], ...]
    output: npt.NDArray[np.floating[Any]]
    rectified: bool = False
    mixing: npt.NDArray[np.floating[Any]] = field(default_factory=lambda: np.zeros((0, 0)))
    skip: npt.NDArray[np.floating[Any]] = field(default_factory=lambda: np.zeros((0, 0)))

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(on_grid(w) for w in self.hidden))
        for name, weights in (("output", self.output), ("mixing", self.mixing), ("skip", self.skip)):
            object.__setattr__(self, name, on_grid(weights))

    @property
    def n_features(self) -> int:
        """Number of features that the network takes beside coordinates."""
        return int(self.skip.shape[1])

    @property
    def n_inputs(self) -> int:
        """Number of coordinates that the network takes."""
        first = self.hidden[0] if self.hidden else self.output
        return int(first.shape[1]) - 1


def on_grid(weights: npt.ArrayLike) -> Float64:
    """Weights rounded to multiples of 2^(e - 24), where 2^e is the power of two above the largest."""
    values = np.asarray(weights, np.float64)
    _, exponent = np.frexp(np.abs(values).max(initial=0))
    return np.asarray(np.ldexp(np.rint(np.ldexp(values, WEIGHT_BITS - exponent)), exponent - WEIGHT_BITS))


def workspace_bytes(network: SineNetwork, latents: int = 0) -> int:
    """About how much memory one thread takes to evaluate a network: its buffers, and the outputs of a block.

    ``latents`` is the number of those that a point sees of every grid of a pyramid.
    """
    width = max((len(w) for w in network.hidden), default=0)
    return BLOCK * (36 * width + 40 * len(network.output) + 16 * network.n_features + 64 * latents)


class _Workspace:
    """Buffers of one thread, all of `BLOCK` columns: inputs of a layer with a row of ones for the biases, sums, and scratch."""

    def __init__(self, network: SineNetwork) -> None:
        width = max((w.shape[0] for w in network.hidden), default=0)
        self.activations = np.ones((width + 1, BLOCK))
        self.sums = np.empty((width, BLOCK))
        self.rounded = np.empty((width, BLOCK))
        self.scratch = [np.empty((width, BLOCK), np.float32) for _ in range(3)]
        self.coordinates = np.ones((network.n_inputs + 1, BLOCK))
        self.features = np.zeros((network.n_features, BLOCK))

    def place(self, inputs: Float32) -> None:
        """Take the coordinates, rounded to their grid, and the features of the next points, which are rows of ``inputs``.

        Columns beyond those of ``inputs`` keep what they hold.
        """
        target = self.coordinates[:-1, : inputs.shape[1]]
        self.features[:, : inputs.shape[1]] = inputs[len(target) :]
        np.multiply(inputs[: len(target)], 1 / COORDINATE_STEP, out=target)
        np.rint(target, out=target)
        np.multiply(target, COORDINATE_STEP, out=target)


def _evaluate_block(network: SineNetwork, space: _Workspace) -> Float32:
    """Outputs (outputs, `BLOCK`) at the coordinates in the workspace."""
    h = space.coordinates
    for layer, weights in enumerate(network.hidden):
        width = weights.shape[0]
        sums, rounded = space.sums[:width], space.rounded[:width]
        turns, one, two = (s[:width] for s in space.scratch)
        np.matmul(weights, h, out=sums)
        if network.n_features and not layer:
            sums += network.mixing @ space.features
        if network.rectified:
            np.clip(sums, 0, CEILING, out=turns, casting="same_kind")
        else:
            np.rint(sums, out=rounded)
            np.subtract(sums, rounded, out=turns, casting="same_kind")
            sine_turns(turns, one, two)
        np.multiply(turns, 1 / ACTIVATION_STEP, out=turns)
        np.rint(turns, out=turns)
        np.multiply(turns, ACTIVATION_STEP, out=space.activations[:width])
        space.activations[width] = 1
        h = space.activations[: width + 1]
    sums = np.matmul(network.output, h)
    if network.n_features:
        sums += network.skip @ space.features
    return np.asarray(sums, np.float32)


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
    coordinates : callable (start, stop) -> float32 array (inputs + features, stop - start)
        Coordinates of a range of points, each in [-1, 1], and below them their features.
    store : callable (start, stop, float32 array (outputs, stop - start))
        Takes the values of a range of points. Ranges never overlap, so it may write into one array from several threads.
    threads : int, optional
        How many to use; `default_threads` by default.
    """
    starts = range(0, n_points, BLOCK)
    threads = max(1, min(threads or default_threads(), len(starts), WORKSPACES // workspace_bytes(network)))
    queue: Iterator[int] = iter(starts)
    lock = threading.Lock()

    def work(_: int) -> None:
        """Evaluate blocks until none is left."""
        space = _Workspace(network)
        # Outputs beyond float32 are infinite; the decoder knows what to make of them.
        with np.errstate(over="ignore"):
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
