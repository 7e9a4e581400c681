"""Optimisers behind one small protocol, which a learned optimiser can follow, too.

An optimiser sees parameters, gradients, the loss, the part of the fit that is done, and the scheduled learning rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax

Tree = Any
"""A pytree of jax arrays."""


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
        progress : scalar in 0..1, the part of the fit that is done
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


@dataclass(frozen=True)
class Soap:
    """SOAP: Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al. 2024, algorithm 3).

    Matrices are rotated on both sides, vectors get plain Adam. One step of orthogonal iteration refreshes the bases every
    ``refresh`` steps. ``beta1`` and ``beta2`` are the decay rates of the means of gradients and of their squares.
    """

    beta1: float = 0.95
    beta2: float = 0.95
    refresh: int = 10

    def init(self, params: Tree) -> Tree:
        """No steps, zero moments and identity bases."""
        return jnp.zeros((), jnp.int32), [_soap_state(p) for p in jax.tree.leaves(params)]

    def update(
        self, params: Tree, grads: Tree, state: Tree, *, loss: jax.Array, progress: jax.Array, rate: jax.Array
    ) -> tuple[Tree, Tree]:
        """One step of Adam in the rotated space."""
        del loss, progress
        count, leaves = state
        count = count + 1
        correct = (1 - self.beta1 ** count.astype(jnp.float32), 1 - self.beta2 ** count.astype(jnp.float32))
        flat, structure = jax.tree.flatten(params)
        pairs = [
            self._leaf(p, g, s, correct, rate, (count % self.refresh == 0) | (count <= 2))
            for p, g, s in zip(flat, jax.tree.leaves(grads), leaves, strict=True)
        ]
        return jax.tree.unflatten(structure, [p for p, _ in pairs]), (count, [s for _, s in pairs])

    def _leaf(
        self, p: jax.Array, g: jax.Array, s: dict[str, jax.Array], correct: tuple[jax.Array, jax.Array],
        rate: jax.Array, refresh: jax.Array,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """New value and state of one tensor ``p`` with gradient ``g``; ``correct`` divides the bias out of both moments."""
        m = self.beta1 * s["m"] + (1 - self.beta1) * g
        rotate, back = _rotations(s)
        rotated = rotate(g)
        v = self.beta2 * s["v"] + (1 - self.beta2) * rotated * rotated
        step = back((rotate(m) / correct[0]) / (jnp.sqrt(v / correct[1]) + 1e-10))
        state = {**s, "m": m, "v": v}
        if p.ndim == 2:
            state["left"] = self.beta2 * s["left"] + (1 - self.beta2) * g @ g.T
            state["right"] = self.beta2 * s["right"] + (1 - self.beta2) * g.T @ g
            state["left_basis"], state["right_basis"] = jax.lax.cond(
                refresh, _refresh_bases, lambda s: (s["left_basis"], s["right_basis"]), state
            )
        return p - rate * step, state


def _soap_state(p: jax.Array) -> dict[str, jax.Array]:
    """State of one tensor: moments ``m`` and ``v`` and, for a matrix, the preconditioner and its eigenbasis of either side."""
    state = {"m": jnp.zeros_like(p), "v": jnp.zeros_like(p)}
    if p.ndim == 2:
        for side, n in zip(("left", "right"), p.shape, strict=True):
            state[side] = jnp.zeros((n, n), p.dtype)
            state[f"{side}_basis"] = jnp.eye(n, dtype=p.dtype)
    return state


def _rotations(s: dict[str, jax.Array]) -> tuple[Callable[[jax.Array], jax.Array], Callable[[jax.Array], jax.Array]]:
    """Functions that rotate a tensor into its eigenbases and back; vectors stay as they are."""
    if "left_basis" not in s:
        return (lambda a: a), (lambda a: a)
    left, right = s["left_basis"], s["right_basis"]
    return (lambda a: left.T @ a @ right), (lambda a: left @ a @ right.T)


def _refresh_bases(s: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Both eigenbases after one step of orthogonal iteration."""
    left = jnp.linalg.qr(s["left"] @ s["left_basis"])[0]
    right = jnp.linalg.qr(s["right"] @ s["right_basis"])[0]
    return left, right


OPTIMISERS: dict[str, tuple[Callable[[], Optimiser], float]] = {
    "soap": (Soap, 2e-2),
    "adam": (adam, 1e-2),
    "adamax": (adamax, 1e-2),
}
"""Name to factory, and the peak learning rate that suits folded parameters (see `microfield.nn.network`)."""
