"""Optimisers behind one small protocol, which learned optimisers follow, too.

An optimiser sees parameters, gradients, the loss, the part of the fit that is done, and the scheduled learning rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import jax
import optax

from microfield.nn.learned import Learned
from microfield.nn.soap import Soap, Tree
from microfield.nn.velo_checkpoint import load_velo


class Optimiser(Protocol):
    """Turns gradients into new parameters. It must be hashable, and jax traces its methods: no Python side effects."""

    def init(self, params: Tree) -> Tree:
        """State before the first step."""
        ...

    def update(
        self, params: Tree, grads: Tree, state: Tree, *, loss: jax.Array, progress: jax.Array, rate: jax.Array
    ) -> tuple[Tree, Tree]:
        """One step.

        Parameters
        ----------
        params, grads : trees of float32 arrays of the same structure
        state : what `init` or the last `update` returned
        loss : scalar, the loss of this step's batch
        progress : scalar in 0..1, the part of the schedule that is done: a fine-tuning begins late in it
        rate : scalar, the scheduled learning rate, which an optimiser may ignore

        Returns
        -------
        params, state
        """
        ...


@dataclass(frozen=True)
class Optax:
    """An optax transformation that does not apply a learning rate itself, such as ``scale_by_adam``."""

    transformation: optax.GradientTransformation

    def init(self, params: Tree) -> Tree:
        """State of the transformation."""
        return self.transformation.init(params)

    def update(
        self, params: Tree, grads: Tree, state: Tree, *, loss: jax.Array, progress: jax.Array, rate: jax.Array
    ) -> tuple[Tree, Tree]:
        """Subtract ``rate`` times the transformed gradient."""
        del loss, progress
        direction, state = self.transformation.update(grads, state, params)
        return jax.tree.map(lambda p, d: p - rate * d, params, direction), state


def adam() -> Optax:
    """Adam (Kingma & Ba 2015) with a shorter memory of squared gradients than usual, which suits fits of few steps."""
    return Optax(optax.scale_by_adam(b1=0.9, b2=0.99, eps=1e-10))


def adamax(clip: float = 1.0) -> Optax:
    """Adamax with global-norm clipping: what INIF's public code gives its SIREN baseline."""
    return Optax(optax.chain(optax.clip_by_global_norm(clip), optax.scale_by_adamax()))


OPTIMISERS: dict[str, tuple[Callable[[], Optimiser], float]] = {
    "soap": (Soap, 2e-2),
    "learned": (Learned, 2e-2),
    "adam": (adam, 1e-2),
    "adamax": (adamax, 1e-2),
}
"""Name to factory, and the peak learning rate that suits folded parameters (see `microfield.nn.network`)."""


def optimiser_and_rate(name: str, checkpoint: str = "") -> tuple[Optimiser, float]:
    """An optimiser of `OPTIMISERS`, or ``velo`` with the weights of a checkpoint, and its peak learning rate.

    Raises
    ------
    InputError
        There is no checkpoint of VeLO at that path.
    """
    if name == "velo":
        return load_velo(checkpoint), 1.0
    factory, rate = OPTIMISERS[name]
    return factory(), rate
