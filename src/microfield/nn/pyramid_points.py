"""What the fit of a pyramid is shown: points that are an outer product of random positions along every axis.

So interpolation is a product with a matrix per axis instead of a gather, whose gradient would be slow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from microfield.nn.fit import CHUNK_STEPS
from microfield.nn.pyramid import Pyramid
from microfield.nn.sampling import Batch, Target


def positions_of_a_step(extents: tuple[int, ...], points: int) -> tuple[int, ...]:
    """How many positions a step takes along every axis, so that their product is about ``points``, at most all of them."""
    share = min(1.0, points / math.prod(extents)) ** (1 / len(extents))
    taken = [max(1, int(n * share)) for n in extents]
    for axis in reversed(range(len(extents))):  # What rounding down left, the last axes make up for.
        others = math.prod(taken) // taken[axis]
        taken[axis] = max(1, min(extents[axis], points // others))
    return tuple(taken)


Drawn = tuple[Batch, tuple[tuple[npt.NDArray[np.float32], ...], ...]]
"""Batches of a chunk, and the interpolation matrices of their positions , (steps, positions, latents) per level and axis."""


def chunks(target: Target, pyramid: Pyramid, points: int, seed: int) -> Iterator[Drawn]:
    """Endless chunks of batches, each over an outer product of random positions along every axis.

    A chunk is drawn by a background thread while the one before is in use.
    """
    extents = pyramid.extents
    taken = positions_of_a_step(extents, points)
    rng = np.random.default_rng(seed)
    matrices = [[pyramid.matrix(level, axis) for axis in range(len(extents))] for level in range(pyramid.levels)]

    def one() -> Drawn:
        """Draw a chunk."""
        steps = [[np.sort(rng.permutation(n)[:k]) for n, k in zip(extents, taken, strict=True)] for _ in range(CHUNK_STEPS)]
        flat = np.concatenate([np.ravel_multi_index(np.ix_(*axes), extents).reshape(-1) for axes in steps])
        batch = Batch(*(a.reshape(CHUNK_STEPS, len(flat) // CHUNK_STEPS, -1) for a in target.batch(flat)))
        positions = [np.stack([axes[i] for axes in steps]) for i in range(len(extents))]
        return batch, tuple(tuple(m[p] for m, p in zip(level, positions, strict=True)) for level in matrices)

    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(one)
        while True:
            ready = pending.result()
            pending = pool.submit(one)
            yield ready
