"""Tasks that the learned optimiser is trained on: fits of small sine networks to tiles of images, many at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.models import Arrays
from microfield.training.images import volumes

Floats = npt.NDArray[np.float32]

PEAK = 2e-2
"""Peak of the scheduled rate that the steps of the optimiser are multiplied with: that of SOAP."""
PAIRS = 8
"""Tasks of a group; each is fitted under a perturbation and its opposite."""
SIGMA = 0.05
"""Size of the perturbations of the weights."""
TRUNCATION = 40
"""Steps between two looks at the loss, and two changes of the weights: a multiple of how often SOAP refreshes its bases."""
HORIZONS = {0: (5, 8, 12, 20, 30), 600: (8, 12, 20, 30, 48)}
"""Truncations of a fit, one of these for every new set of tasks, by the first update from which on they hold: estimates of short
fits have less noise, and real fits are long.
"""
EMPHASIS = 3
"""The loss after a part p of a fit counts as p to this power."""
ROUNDED_FROM, ROUNDINGS = 0.75, (0.0, 1 / 32, 1 / 16)
"""From this part of a fit on weights are rounded to steps of a share of their spread, one of these for every new set of tasks."""
DIVERGED, LARGEST_DIFFERENCE = 3.0, 0.5
"""The log loss of a fit whose loss is no number, and the largest difference of a pair that counts: one that diverges says no more
than that it is bad.
"""
FREQUENCIES = (0.04, 0.08, 0.08, 0.16, 0.32)
"""Largest initial frequencies of the networks, in radians per voxel."""


@dataclass(frozen=True)
class Group:
    """Tasks of one shape: a tile (extents of its axes), outputs, width, sine layers, and points of a step."""

    tile: tuple[int, ...]
    outputs: int
    width: int
    depth: int
    batch: int


GROUPS = (
    Group((96, 96), 1, 16, 3, 512), Group((12, 40, 40), 1, 24, 3, 512), Group((96, 96), 2, 20, 2, 256),
    Group((16, 48, 48), 1, 32, 4, 512),
)


class Tiles:
    """Random tiles of the training images, and the number of ``updates`` so far, which decides how long new fits are."""

    def __init__(self, data: Path, names: list[str], rng: np.random.Generator) -> None:
        self.rng = rng
        self.volumes = [list(volumes(data, name)) for name in names]
        self.updates = 0

    def cut(self, extents: tuple[int, ...], outputs: int) -> Floats:
        """A tile (points, outputs) of mean 0 and variance 1 that is not flat; outputs are channels where there are so many,
        else planes or neighbouring tiles.
        """
        while True:
            channels = self.volumes[self.rng.integers(len(self.volumes))]
            size = (1,) * (3 - len(extents)) + extents
            shape = channels[0].shape
            if any(n < m for n, m in zip(shape[1:], size, strict=True)):
                continue
            at = [int(self.rng.integers(n - m + 1)) for n, m in zip(shape[1:], size, strict=True)]
            box: tuple[Any, ...] = (int(self.rng.integers(shape[0])), *(slice(a, a + m) for a, m in zip(at, size, strict=True)))
            chosen = [channels[k % len(channels)][box] for k in range(outputs)]
            if outputs > 1 and len(channels) < outputs:
                continue
            tile = np.stack([c.reshape(-1) for c in chosen], -1)
            spread = tile.std(0)
            if (spread > 1e-3).all():
                return np.asarray((tile - tile.mean(0)) / spread, np.float32)


def coordinates(extents: tuple[int, ...]) -> Floats:
    """Coordinates of the points of a tile, (points, axes), from -1 to 1."""
    grids = np.meshgrid(*(np.linspace(-1, 1, n) for n in extents), indexing="ij")
    return np.stack([g.reshape(-1) for g in grids], -1).astype(np.float32)


def _quantiser(params: Any, share: Any) -> Any:
    """Quantiser steps of the tensors of a network: a share of their spread, 0 for a number."""
    import jax
    import jax.numpy as jnp

    return jax.tree.map(lambda p: share * jnp.std(p), params)


@cache
def truncation(group: Group) -> Callable[..., Any]:
    """The compiled function that takes `TRUNCATION` steps of one group.

    It takes the weights of all particles, their networks and states of the optimiser, the targets of the tasks, a clock (steps
    done, steps of the fit, rounding towards its end) and a key; it returns networks, states and log losses (pairs, 2).
    """
    import jax
    import jax.numpy as jnp

    from microfield.nn.learned import step
    from microfield.nn.network import fake_quantise, forward

    points = jnp.asarray(coordinates(group.tile))

    def loss(params: Any, inputs: Any, targets: Any) -> Any:
        return jnp.mean((forward(params, inputs) - targets) ** 2)

    def particle(weights: Any, moving: Any, target: Any, rows: Any, clock: Any) -> Any:
        done, horizon, rounding = clock
        quantiser = _quantiser(moving[0], jnp.where(done / horizon >= ROUNDED_FROM, rounding, 0.0))

        def one(moving: Any, inputs: Any) -> Any:
            params, state = moving
            chosen, count = inputs
            progress = count / horizon
            rate = PEAK * jnp.minimum(1, (progress + 1e-3) / 0.02) * 0.5 * (1 + jnp.cos(np.pi * progress))
            shown = fake_quantise(params, quantiser)
            value, slopes = jax.value_and_grad(loss)(shown, points[chosen], target[chosen])
            return step(weights, (params, slopes), state, value, progress, rate), None

        moving, _ = jax.lax.scan(one, moving, (rows, done + jnp.arange(TRUNCATION)))
        end = jnp.log(loss(fake_quantise(moving[0], quantiser), points, target) + 1e-8)
        return moving, end

    # The count of the optimiser's state is one for all particles: what depends on it is then decided once, not for each.
    axes = {"count": None, "first": None, "losses": 0, "tensors": 0}
    both = jax.vmap(particle, (0, (0, axes), None, None, None), ((0, axes), 0))
    all_pairs = jax.vmap(both, (0, (0, axes), 0, 0, None), ((0, axes), 0))

    @jax.jit
    def run(weights: Any, moving: Any, targets: Any, clock: Any, key: Any) -> Any:
        rows = jax.random.randint(key, (len(targets), TRUNCATION, group.batch), 0, len(points))
        return all_pairs(weights, moving, targets, rows, clock)

    return run


class Fits:
    """The fits of one group that are under way, ``horizon`` truncations each, of which ``done`` are taken."""

    def __init__(self, group: Group, tiles: Tiles, horizon: int = 0) -> None:
        self.group, self.tiles = group, tiles
        self.run = truncation(group)
        self.renew(horizon)

    def renew(self, horizon: int = 0) -> None:
        """Begin new tasks, of so many truncations or of a random number of `HORIZONS`."""
        import jax
        import jax.numpy as jnp

        from microfield.nn.learned import begin
        from microfield.nn.network import init_folded

        rng, g = self.tiles.rng, self.group
        usual = HORIZONS[max(first for first in HORIZONS if first <= self.tiles.updates)]
        self.horizon, self.done = horizon or int(rng.choice(usual)), 0
        self.rounding = float(rng.choice(ROUNDINGS))
        self.targets = jnp.asarray(np.stack([self.tiles.cut(g.tile, g.outputs) for _ in range(PAIRS)]))
        voxels = np.asarray([n - 1 for n in g.tile], np.float64) / 2
        networks = [
            init_folded(int(rng.integers(1 << 30)), len(g.tile), g.width, g.depth, g.outputs, voxels * rng.choice(FREQUENCIES))
            for _ in range(PAIRS)
        ]
        params = jax.tree.map(lambda *p: jnp.stack([jnp.stack(p)] * 2, 1), *networks)
        one = begin(networks[0])
        many = {k: jax.tree.map(lambda a: jnp.broadcast_to(a, (PAIRS, 2, *a.shape)), one[k]) for k in ("losses", "tensors")}
        self.moving = (params, {**one, **many})
        self.accumulated = np.zeros((PAIRS, count()), np.float32)

    def advance(self, weights: Floats) -> Floats:
        """Take a truncation with flat weights (pairs, 2, n); the log losses after it, (pairs, 2)."""
        import jax

        clock = (np.int32(self.done * TRUNCATION), np.float32(self.horizon * TRUNCATION), np.float32(self.rounding))
        key = jax.random.key(int(self.tiles.rng.integers(1 << 30)))
        self.moving, losses = self.run(unflatten(weights), self.moving, self.targets, clock, key)
        self.done += 1
        found = np.asarray(losses, np.float32)
        return np.where(np.isfinite(found), found, np.float32(DIVERGED))

    @property
    def ended(self) -> bool:
        """Whether all steps of the fits are taken."""
        return self.done >= self.horizon

    def gradient(self, flat: Floats) -> Floats:
        """One truncation of persistent evolution strategies: an estimate of the gradient at the flat weights."""
        change = self.tiles.rng.normal(0, SIGMA, self.accumulated.shape).astype(np.float32)
        losses = self.advance(flat + np.stack([change, -change], 1))
        self.accumulated += change
        parts = np.arange(1, self.horizon + 1) / self.horizon
        emphasis = parts[self.done - 1] ** EMPHASIS / np.mean(parts**EMPHASIS)
        difference = np.clip(losses[:, 0] - losses[:, 1], -LARGEST_DIFFERENCE, LARGEST_DIFFERENCE) * emphasis
        estimate = (difference[:, None] * self.accumulated).mean(0) / (2 * SIGMA**2)
        if self.ended:
            self.renew()
        return np.asarray(estimate, np.float32)


def first_weights(seed: int) -> Arrays:
    """Weights to start from: those of the outputs are 0, so that a step is SOAP's."""
    from microfield.nn.learned import shapes

    rng = np.random.default_rng(seed)
    return {k: np.asarray(rng.normal(size=s) / np.sqrt(s[0]) * (k in ("tensor0", "parameter0")), np.float32)
            for k, s in shapes().items()}


def count() -> int:
    """Number of weights of the optimiser."""
    from microfield.nn.learned import shapes

    return sum(int(np.prod(s)) for s in shapes().values())


def flatten(arrays: Arrays) -> Floats:
    """Weights as one vector, in the order of their names."""
    return np.concatenate([np.asarray(arrays[k], np.float32).reshape(-1) for k in sorted(arrays)])


def unflatten(flat: Floats) -> Arrays:
    """The inverse of `flatten`, for any number of leading axes."""
    from microfield.nn.learned import shapes

    arrays, at = {}, 0
    for name, shape in sorted(shapes().items()):
        size = int(np.prod(shape))
        arrays[name] = flat[..., at : at + size].reshape(*flat.shape[:-1], *shape)
        at += size
    return arrays
