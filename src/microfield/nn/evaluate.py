"""Evaluate a sine network in numpy: the one function every decoded voxel goes through.

A block always holds `BLOCK` points, padded where fewer are asked for, so that every matrix product has one shape and a
voxel's value cannot depend on its neighbours in the batch. The block fits the caches; threads take blocks in turn, and
BLAS is held to one thread meanwhile.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.nn.sine import sine_turns

BLOCK = 1024
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SineNetwork:
    """A sine network ready to evaluate.

    Attributes
    ----------
    hidden : tuple of float32 arrays of shape (width, fan_in + 1)
        Weights and, in the last column, biases, both in turns: h = sin(2 pi (W [x; 1])).
    output : float32 array of shape (outputs, fan_in + 1)
        Linear last layer with its bias in the last column.
    """

    hidden: tuple[Float32, ...]
    output: Float32

    @property
    def n_inputs(self) -> int:
        """Coordinates the network takes."""
        first = self.hidden[0] if self.hidden else self.output
        return int(first.shape[1]) - 1

    @property
    def multiplications(self) -> int:
        """Multiply-adds per point."""
        return sum(w.size for w in self.hidden) + self.output.size


class _Workspace:
    """Buffers of one thread: two activations with a row of ones for the biases, two scratch arrays."""

    def __init__(self, network: SineNetwork) -> None:
        width = max((w.shape[0] for w in network.hidden), default=0)
        self.activations = [np.ones((width + 1, BLOCK), np.float32) for _ in range(2)]
        self.scratch = [np.empty((width, BLOCK), np.float32) for _ in range(2)]
        self.coordinates = np.ones((network.n_inputs + 1, BLOCK), np.float32)


def _evaluate_block(network: SineNetwork, space: _Workspace) -> Float32:
    """One padded block: (outputs, BLOCK) from the coordinates in the workspace."""
    h = space.coordinates
    for number, weights in enumerate(network.hidden):
        width = weights.shape[0]
        target = space.activations[number % 2]
        np.matmul(weights, h, out=target[:width])
        sine_turns(target[:width], space.scratch[0][:width], space.scratch[1][:width])
        target[width] = 1
        h = target[: width + 1]
    values: Float32 = np.matmul(network.output, h)
    return values


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
            space.coordinates[:-1, : stop - start] = coordinates(start, stop)
            store(start, stop, _evaluate_block(network, space)[:, : stop - start])

    with _single_threaded_blas():
        if threads == 1:
            work(0)
            return
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(work, k) for k in range(threads)]:
                done.result()


def default_threads() -> int:
    """Threads used unless told otherwise: the environment variable MICROFIELD_THREADS, else the processors we may use."""
    named = os.environ.get("MICROFIELD_THREADS", "")
    if named.isdigit() and int(named) > 0:
        return int(named)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


_limit_lock = threading.Lock()
_limit_users = 0
_limit: Any = None


@contextmanager
def _single_threaded_blas() -> Iterator[None]:
    """Hold BLAS to one thread while anybody evaluates; concurrent reads share one limit so that it is undone once."""
    global _limit, _limit_users
    with _limit_lock:
        if _limit_users == 0:
            _limit = _blas().limit(limits=1, user_api="blas")
            _limit.__enter__()
        _limit_users += 1
    try:
        yield
    finally:
        with _limit_lock:
            _limit_users -= 1
            if _limit_users == 0:
                _limit.__exit__(None, None, None)
                _limit = None
