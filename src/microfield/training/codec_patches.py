"""Patches of images that learned codecs are trained on, in units of a quantiser step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from microfield.methods.field.lifting import Floats, forward
from microfield.methods.field.schedules import schedule

SHARES = np.geomspace(0.0004, 0.3, 24)
"""Shares of wavelet coefficients above a step, for which the step is noted for every channel."""


@dataclass(frozen=True)
class Source:
    """One channel to cut patches from.

    Attributes
    ----------
    name : of the image
    volume : float32 array (batch, z, y, x), its median subtracted
    steps : float64 array, the quantiser step at which each of `SHARES` of the coefficients is not 0
    """

    name: str
    volume: Floats
    steps: Floats

    @classmethod
    def of(cls, name: str, volume: Floats) -> Source | None:
        """The source of a channel; None where nothing is in it."""
        volume = np.ascontiguousarray(volume - np.float32(np.median(volume)))
        # All planes alone: the same step serves codecs of planes and of stacks.
        planes = volume.reshape(-1, 1, *volume.shape[2:])[:: max(1, volume.shape[0] * volume.shape[1] // 6)]
        pieces = [np.abs(forward(plane[None], schedule("2d", (1, *plane.shape)))).reshape(-1) for plane in planes]
        steps = np.quantile(np.concatenate(pieces), 1 - SHARES)
        return cls(name, volume, steps) if steps[0] > 1e-6 else None

    def step(self, share: float) -> float:
        """The step at which about this share of the coefficients is not 0."""
        return float(np.exp(np.interp(np.log(share), np.log(SHARES), np.log(np.maximum(self.steps, 1e-6)))))


@dataclass(frozen=True)
class Patches:
    """Draws batches of patches.

    Attributes
    ----------
    sources : sequence of Source
    size : extents along z, y and x
    shares : the least and the largest share of coefficients that are not 0, which the step follows
    """

    sources: Sequence[Source]
    size: tuple[int, int, int]
    shares: tuple[float, float]

    def draw(self, n: int, rng: np.random.Generator) -> Floats:
        """A batch (n, z, y, x, 1): patches turned and mirrored, every image as often as every other."""
        names = sorted({s.name for s in self.sources})
        batch = np.zeros((n, *self.size, 1), np.float32)
        for patch in batch:
            name = names[rng.integers(len(names))]
            mine = [s for s in self.sources if s.name == name]
            source = mine[rng.integers(len(mine))]
            share = float(np.exp(rng.uniform(*np.log(self.shares))))
            cut = self._cut(source.volume, rng) / np.float32(source.step(share))
            patch[tuple(slice(k) for k in cut.shape)] = cut[..., None]
        return batch

    def _cut(self, volume: Floats, rng: np.random.Generator) -> Floats:
        """A patch (z, y, x), smaller where the image is."""
        depth, height, width = self.size
        planes = volume[rng.integers(len(volume))]
        if depth == 1:
            planes = planes[rng.integers(len(planes))][None]
        if rng.random() < 0.25 and min(planes.shape[1:]) >= 2 * min(height, width):
            even = planes[:, : planes.shape[1] & ~1, : planes.shape[2] & ~1]
            planes = (even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]) / 4
        box = []
        for size, most in zip(planes.shape, (depth, height, width), strict=True):
            start = int(rng.integers(max(0, size - most) + 1))
            box.append(slice(start, start + most))
        cut = planes[tuple(box)]
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))
        cut = np.rot90(cut, turns, (1, 2))[:, :, :: -1 if flip else 1]
        return np.ascontiguousarray(cut[:: -1 if rng.integers(2) else 1])


def sources(channels: Iterable[tuple[str, Floats]]) -> list[Source]:
    """Sources of all channels that hold something."""
    return [s for name, volume in channels if (s := Source.of(name, volume)) is not None]
