"""Where a fit takes its points from: a stream of random coordinates with their targets and weights.

Chunks of several steps are drawn at once on the host, in a background thread, while jax works on the chunk before: a fit
then needs no copy of the image on the device, and nothing it compiles depends on the image's shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microfield.nn.coordinates import CoordinateMap

Float32 = npt.NDArray[np.float32]


class Batch(NamedTuple):
    """Points of one or more steps; the leading axes are (steps, batch) or (points,).

    ``x`` holds coordinates (..., inputs), ``y`` targets (..., outputs), ``weight`` the weight of every squared error
    (..., outputs).
    """

    x: Float32
    y: Float32
    weight: Float32


@dataclass(frozen=True)
class Target:
    """What a network is fitted to.

    Parameters
    ----------
    coordinates : CoordinateMap
    block : array of the part's shape, grey values
    scale, offset : float32 arrays of shape (channels,)
        target = (grey - offset) / scale; a scale of 0 (constant channel) gives targets of 0.
    channel_weight : float32 array (channels,)
        Weight of a squared target error in every channel.
    voxel_weight : float32 array of the part's shape, optional
        Weight of every voxel besides.
    probability : float64 array of the part's shape, optional
        Relative frequency with which voxels are drawn (saliency sampling); uniform by default. Needs all coordinate
        points of an output vector to be drawn together, so it is summed over the output axes.
    """

    coordinates: CoordinateMap
    block: npt.NDArray[Any]
    scale: Float32
    offset: Float32
    channel_weight: Float32
    voxel_weight: Float32 | None = None
    probability: npt.NDArray[np.float64] | None = None

    def batch(self, flat: npt.NDArray[np.int64]) -> Batch:
        """The batch of the given flat point numbers."""
        c = self.coordinates
        index = np.unravel_index(flat, c.input_shape) if c.inputs else ()
        x = np.empty((flat.size, len(c.inputs)), np.float32)
        for k, table in enumerate(c.tables):
            np.take(table, index[k], out=x[:, k])
        channel = self._channels(index, flat.size)
        inverse = np.divide(1, self.scale, out=np.zeros_like(self.scale), where=self.scale > 0)
        y = (self.gather(self.block, index).astype(np.float32) - self.offset[channel]) * inverse[channel]
        weight = np.broadcast_to(self.channel_weight[channel], y.shape)
        if self.voxel_weight is not None:
            weight = weight * self.gather(self.voxel_weight, index)
        return Batch(x, y, np.ascontiguousarray(weight, np.float32))

    def gather(self, array: npt.NDArray[Any], index: tuple[npt.NDArray[np.intp], ...]) -> npt.NDArray[Any]:
        """Values of all outputs at the indexed points: (n, outputs), whatever the order of the array's axes."""
        c = self.coordinates
        rest = tuple(i for i in range(array.ndim) if i not in c.inputs + c.outputs)
        view = array.transpose(c.inputs + rest + c.outputs)
        view = view[(slice(None),) * len(c.inputs) + (0,) * len(rest)]
        picked = view[index] if c.inputs else view[None]
        return picked.reshape(-1, c.n_outputs)

    def _channels(self, index: tuple[npt.NDArray[np.intp], ...], n: int) -> npt.NDArray[np.intp]:
        c = self.coordinates
        of_inputs = np.broadcast_to(np.asarray(c.channel_of_inputs(index), np.intp), n)
        return c.channel_of_outputs + of_inputs[:, None]

    def drawer(self, rng: np.random.Generator) -> Callable[[int], npt.NDArray[np.int64]]:
        """A function that draws n flat point numbers."""
        n_points = self.coordinates.n_points
        if self.probability is None:
            return lambda n: rng.integers(0, n_points, n)
        c = self.coordinates
        rest = tuple(i for i in range(self.block.ndim) if i not in c.inputs + c.outputs)
        per_point = self.probability.transpose(c.inputs + rest + c.outputs).reshape(n_points, -1).sum(1)
        cumulative = np.cumsum(per_point)
        return lambda n: np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right").clip(0, n_points - 1)


def evaluation_batch(target: Target, n: int = 1 << 16, seed: int = 12345) -> Batch:
    """A fixed uniform sample (all points where there are no more than ``n``), to judge fits by."""
    n_points = target.coordinates.n_points
    flat = np.arange(n_points) if n_points <= n else np.random.default_rng(seed).integers(0, n_points, n)
    return target.batch(flat)


def chunks(target: Target, steps: int, batch: int, seed: int) -> Iterator[Batch]:
    """Endless chunks of ``steps`` batches of ``batch`` points, each drawn while the one before is in use."""
    draw = target.drawer(np.random.default_rng(seed))

    def one() -> Batch:
        points = target.batch(draw(steps * batch))
        return Batch(*(a.reshape(steps, batch, -1) for a in points))

    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(one)
        while True:
            ready = pending.result()
            pending = pool.submit(one)
            yield ready
