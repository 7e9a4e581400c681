"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al. 2024, algorithm 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

Tree = Any
"""A pytree of jax arrays."""

State = dict[str, jax.Array]
"""State of one tensor."""


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
        return jnp.zeros((), jnp.int32), [soap_state(p) for p in jax.tree.leaves(params)]

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
        self, p: jax.Array, g: jax.Array, s: State, correct: tuple[jax.Array, jax.Array],
        rate: jax.Array, refresh: jax.Array,
    ) -> tuple[jax.Array, State]:
        """New value and state of one tensor ``p`` with gradient ``g``; ``correct`` divides the bias out of both moments."""
        m = self.beta1 * s["m"] + (1 - self.beta1) * g
        rotate, back = rotations(s)
        rotated = rotate(g)
        v = self.beta2 * s["v"] + (1 - self.beta2) * rotated * rotated
        step = back((rotate(m) / correct[0]) / (jnp.sqrt(v / correct[1]) + 1e-10))
        state = {**s, "m": m, "v": v}
        return p - rate * step, preconditioned(state, g, self.beta2, refresh)


def soap_state(p: jax.Array) -> State:
    """State of one tensor: moments ``m`` and ``v`` and, for a matrix, the preconditioner and its eigenbasis of either side."""
    state = {"m": jnp.zeros_like(p), "v": jnp.zeros_like(p)}
    if p.ndim == 2:
        for side, n in zip(("left", "right"), p.shape, strict=True):
            state[side] = jnp.zeros((n, n), p.dtype)
            state[f"{side}_basis"] = jnp.eye(n, dtype=p.dtype)
    return state


def rotations(s: State) -> tuple[Callable[[jax.Array], jax.Array], Callable[[jax.Array], jax.Array]]:
    """Functions that rotate a tensor into its eigenbases and back; vectors stay as they are."""
    if "left_basis" not in s:
        return (lambda a: a), (lambda a: a)
    left, right = s["left_basis"], s["right_basis"]
    return (lambda a: left.T @ a @ right), (lambda a: left @ a @ right.T)


def preconditioned(s: State, g: jax.Array, beta2: float, refresh: jax.Array) -> State:
    """State of a tensor after its preconditioner has seen the gradient ``g``; a vector has none.

    ``beta2`` is the decay rate of the mean; the bases change where ``refresh`` is true.
    """
    if g.ndim != 2:
        return s
    s = {**s, "left": beta2 * s["left"] + (1 - beta2) * g @ g.T, "right": beta2 * s["right"] + (1 - beta2) * g.T @ g}
    left, right = jax.lax.cond(refresh, _refreshed_bases, lambda s: (s["left_basis"], s["right_basis"]), s)
    return {**s, "left_basis": left, "right_basis": right}


def _refreshed_bases(s: State) -> tuple[jax.Array, jax.Array]:
    """Both eigenbases after one step of orthogonal iteration."""
    left = jnp.linalg.qr(s["left"] @ s["left_basis"])[0]
    right = jnp.linalg.qr(s["right"] @ s["right_basis"])[0]
    return left, right
