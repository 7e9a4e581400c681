"""What a fit is shown: random points with their targets and weights.

A background thread of the host draws the points of several steps at once while jax works on those before. So a fit needs no copy of
the image on the device, and nothing that it compiles depends on the shape of the image.
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
    """Points, all float32; the leading axes are (points,), or (steps, points) for several steps.

    ``x`` holds coordinates (..., inputs), ``y`` targets (..., outputs), and ``weight`` the weights of their squared errors
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
    block : array of the part's shape
        Grey values.
    scale, offset : float32 arrays of shape (channels,)
        target = (grey - offset) / scale; targets of a channel of scale 0, a constant one, are 0.
    channel_weight : float32 array of shape (channels,)
        Weight of the squared error of a target in every channel.
    voxel_weight : float32 array of the part's shape, optional
        A further factor for every voxel.
    probability : float64 array of the part's shape, optional
        Relative frequency with which voxels are drawn, uniform by default. A point is drawn with all of its outputs, so with the
        sum of their frequencies.
    """

    coordinates: CoordinateMap
    block: npt.NDArray[Any]
    scale: Float32
    offset: Float32
    channel_weight: Float32
    voxel_weight: Float32 | None = None
    probability: npt.NDArray[np.float64] | None = None

    def batch(self, flat: npt.NDArray[np.int64]) -> Batch:
        """The points of these numbers, counted in C order over the coordinate axes; ``flat`` has the shape (points,)."""
        c = self.coordinates
        index = np.unravel_index(flat, c.input_shape) if c.inputs else ()
        x = np.empty((flat.size, len(c.inputs)), np.float32)
        for k, table in enumerate(c.tables):
            np.take(table, index[k], out=x[:, k])
        channel = self.channels_at(index, flat.size)
        inverse = np.divide(1, self.scale, out=np.zeros_like(self.scale), where=self.scale > 0)
        y = (self.gather(self.block, index).astype(np.float32) - self.offset[channel]) * inverse[channel]
        weight = np.broadcast_to(self.channel_weight[channel], y.shape)
        if self.voxel_weight is not None:
            weight = weight * self.gather(self.voxel_weight, index)
        return Batch(x, y, np.ascontiguousarray(weight, np.float32))

    def gather(self, array: npt.NDArray[Any], index: tuple[npt.NDArray[np.intp], ...]) -> npt.NDArray[Any]:
        """Values of an array of the part's shape at points, of shape (points, outputs); ``index`` is per coordinate axis."""
        c = self.coordinates
        rest = tuple(i for i in range(array.ndim) if i not in c.inputs + c.outputs)
        view = array.transpose(c.inputs + rest + c.outputs)
        view = view[(slice(None),) * len(c.inputs) + (0,) * len(rest)]
        picked = view[index] if c.inputs else view[None]
        return picked.reshape(-1, c.n_outputs)

    def channels_at(self, index: tuple[npt.NDArray[np.intp], ...], n: int) -> npt.NDArray[np.intp]:
        """Channel numbers of n points, shape (points, outputs); ``index`` is per coordinate axis."""
        c = self.coordinates
        of_inputs = np.broadcast_to(np.asarray(c.channel_of_inputs(index), np.intp), n)
        return c.channel_of_outputs + of_inputs[:, None]

    def drawer(self, rng: np.random.Generator) -> Callable[[int], npt.NDArray[np.int64]]:
        """A function that draws n numbers of points."""
        n_points = self.coordinates.n_points
        if self.probability is None:
            return lambda n: rng.integers(0, n_points, n)
        c = self.coordinates
        rest = tuple(i for i in range(self.block.ndim) if i not in c.inputs + c.outputs)
        per_point = self.probability.transpose(c.inputs + rest + c.outputs).reshape(n_points, -1).sum(1)
        cumulative = np.cumsum(per_point)
        return lambda n: np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right").clip(0, n_points - 1)


def evaluation_batch(target: Target, n: int = 1 << 16, seed: int = 12345) -> Batch:
    """The ``n`` points by which fits are judged: always the same for a seed, drawn like those of the fit.

    Where no more points are there and all are drawn equally often, they are all points.
    """
    n_points = target.coordinates.n_points
    if n_points <= n and target.probability is None:
        return target.batch(np.arange(n_points))
    return target.batch(target.drawer(np.random.default_rng(seed))(n))


def chunks(target: Target, steps: int, batch: int, seed: int) -> Iterator[Batch]:
    """Endless chunks of ``steps`` batches of ``batch`` points, each drawn while the one before is in use."""
    draw = target.drawer(np.random.default_rng(seed))

    def one() -> Batch:
        """Draw a chunk."""
        points = target.batch(draw(steps * batch))
        return Batch(*(a.reshape(steps, batch, -1) for a in points))

    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(one)
        while True:
            ready = pending.result()
            pending = pool.submit(one)
            yield ready
