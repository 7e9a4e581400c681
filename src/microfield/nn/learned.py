"""A learned optimiser: what a step does is decided by a small network, which was trained on fits of microscopy.

It follows Metz et al. 2022 ("Practical tradeoffs between memory, compute, and performance in learned optimizers", section 3): a
tiny network sees features of every parameter, such as Adam's and Adafactor's, statistics of its tensor and how much of the fit is
done, and says what the step is. Here it works in the eigenbasis of Shampoo's preconditioner, as SOAP does (Vyas et al. 2024): with
all outputs 0 a step is exactly SOAP's, and the network was trained from there (`microfield.training.optimiser`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from microfield.models import load, named
from microfield.nn.soap import Soap, State, Tree, preconditioned, rotations, soap_state

BETAS = (0.8, 0.95, 0.99)
"""Decay rates of the means of gradients; with outputs of 0 a step follows the second, which is SOAP's."""

SQUARES, REFRESH = Soap.beta2, Soap.refresh
"""Decay rate of the mean of squared gradients, and how often bases are refreshed: those of SOAP."""

LOSS_BETAS = (0.9, 0.98)
"""Decay rates of the two means of log losses, whose difference tells whether the fit advances."""

TENSOR_FEATURES, PARAMETER_FEATURES = 17, 9
TENSOR_HIDDEN, PARAMETER_HIDDEN = 16, 8
"""Units of the hidden layer of either network."""

MIXING, DIRECTION, LARGEST_LOG = 0.3, 0.1, 2.0
"""Scales of outputs: of weights of the means, of a direction of its own; the logarithm of a factor is within the last number."""

TYPICAL_STEPS = 1000.0
"""The number of steps is seen as the logarithm of its ratio to this."""

TINY = 1e-10

Weights = dict[str, Any]
"""Weights of both networks: float32 arrays by the names of `shapes`."""


def shapes() -> dict[str, tuple[int, ...]]:
    """Shapes of the weights.

    The network of tensors gives a log factor, weights of the means and a bias per hidden unit of the other network; that of
    parameters a direction and a log factor.
    """
    outputs = 1 + len(BETAS) + PARAMETER_HIDDEN
    return {
        "tensor0": (TENSOR_FEATURES, TENSOR_HIDDEN), "tensor_bias0": (TENSOR_HIDDEN,),
        "tensor1": (TENSOR_HIDDEN, outputs), "tensor_bias1": (outputs,),
        "parameter0": (PARAMETER_FEATURES, PARAMETER_HIDDEN), "parameter1": (PARAMETER_HIDDEN, 2), "parameter_bias1": (2,),
    }


@dataclass(frozen=True)
class Learned:
    """The learned optimiser of a name in `microfield.models`; hashable, since its weights are found by the name."""

    name: str = "a"

    def init(self, params: Tree) -> Tree:
        """State before the first step."""
        return begin(params)

    def update(
        self, params: Tree, grads: Tree, state: Tree, *, loss: jax.Array, progress: jax.Array, rate: jax.Array
    ) -> tuple[Tree, Tree]:
        """One step."""
        return step(_weights(self.name), (params, grads), state, loss, progress, rate)


@cache
def _weights(name: str) -> dict[str, npt.NDArray[np.float32]]:
    """Shipped weights as float32."""
    return {k: np.asarray(v, np.float32) for k, v in load("optimiser", named("optimiser", name)).items()}


def begin(params: Tree) -> Tree:
    """No steps, zero moments, identity bases and no losses.

    Means of gradients (``m``) and, of matrices, the parameters (``turned``) are held in the eigenbasis and turned when it changes,
    every `REFRESH` steps: to turn them in every step would double the cost of a step beside SOAP's.
    """
    leaves = [{**soap_state(p), "m": jnp.zeros((len(BETAS), *p.shape), p.dtype), **({"turned": jnp.copy(p)} if p.ndim == 2 else {})}
              for p in jax.tree.leaves(params)]
    return {"count": jnp.zeros((), jnp.int32), "first": jnp.zeros(()), "losses": jnp.zeros(len(LOSS_BETAS)), "tensors": leaves}


def step(weights: Weights, tensors: tuple[Tree, Tree], state: Tree, loss: jax.Array, progress: jax.Array, rate: jax.Array,
         ) -> tuple[Tree, Tree]:
    """One step of the optimiser with these weights, as `microfield.nn.optimisers.Optimiser` describes it.

    ``tensors`` are parameters and their gradients. Returns parameters and state.
    """
    params, grads = tensors
    count = state["count"] + 1
    first = jnp.where(count == 1, progress, state["first"])
    log_loss = jnp.log(jnp.maximum(loss, TINY))
    betas = np.asarray(LOSS_BETAS, np.float32)
    losses = jnp.where(count == 1, log_loss, betas * state["losses"] + (1 - betas) * log_loss)
    steps = count.astype(jnp.float32) / jnp.maximum(progress - first, 1e-5)
    shared = _shared_features(progress, jnp.where(count == 1, TYPICAL_STEPS, steps), losses)

    flat, structure = jax.tree.flatten(params)
    slopes = jax.tree.leaves(grads)
    refresh = (count % REFRESH == 0) | (count <= 2)
    seen = [_seen(p, g, s, count.astype(jnp.float32)) for p, g, s in zip(flat, slopes, state["tensors"], strict=True)]
    said = _tensor_network(weights, jnp.stack([jnp.concatenate([_tensor_features(p, s), shared])
                                               for p, s in zip(flat, seen, strict=True)]))
    directions = _directions(weights, seen, said)
    moved = [p - rate * s["back"](d) for p, s, d in zip(flat, seen, directions, strict=True)]
    after = [_turned(old, preconditioned({**old, "m": s["m"], "v": s["v"]}, g, SQUARES, refresh), p, refresh)
             for old, s, g, p in zip(state["tensors"], seen, slopes, moved, strict=True)]
    return jax.tree.unflatten(structure, moved), {"count": count, "first": first, "losses": losses, "tensors": after}


def _seen(p: jax.Array, g: jax.Array, s: State, count: jax.Array) -> dict[str, Any]:
    """Moments of a tensor with this gradient, and its gradient, means and squares in the eigenbasis, free of bias.

    ``ratios`` (1 + means, ...) are the gradient and its means over the root of the mean square.
    """
    betas = np.asarray(BETAS, np.float32).reshape((-1,) + (1,) * g.ndim)
    rotate, back = rotations(s)
    turned = rotate(g)
    m = betas * s["m"] + (1 - betas) * turned
    v = SQUARES * s["v"] + (1 - SQUARES) * turned**2
    free = v / (1 - SQUARES**count)
    ratios = jnp.concatenate([turned[None], m / (1 - betas**count)]) / (jnp.sqrt(free) + TINY)
    return {"m": m, "v": v, "square": free, "ratios": ratios, "p": s.get("turned", p), "back": back}


def _turned(old: State, new: State, p: jax.Array, refresh: jax.Array) -> State:
    """The state of a tensor with what it holds in the eigenbasis turned to the new one, where the bases are refreshed."""
    if p.ndim != 2:
        return new

    def turn() -> tuple[jax.Array, jax.Array]:
        """Means and the parameter ``p`` in the new basis."""
        left, right = new["left_basis"].T @ old["left_basis"], old["right_basis"].T @ new["right_basis"]
        return left @ new["m"] @ right, rotations(new)[0](p)

    m, turned = jax.lax.cond(refresh, turn, lambda: (new["m"], new["turned"]))
    return {**new, "m": m, "turned": turned}


def _shared_features(progress: jax.Array, steps: jax.Array, losses: jax.Array) -> jax.Array:
    """What all tensors see (7): parts of the fit done, steps of the fit, whether the loss falls."""
    horizon = jnp.clip(jnp.log(steps / TYPICAL_STEPS) / 2, -2, 2)
    falls = jnp.clip(10 * (losses[0] - losses[1]), -3, 3)
    return jnp.stack([progress, progress**4, jnp.exp(-20 * progress), jnp.exp(-100 * progress), jnp.sin(np.pi * progress),
                      horizon, falls])


def _tensor_features(p: jax.Array, s: dict[str, Any]) -> jax.Array:
    """Statistics of a tensor (10): its rank and extents, size of parameters and gradients, how steady the gradient is."""
    ratios = s["ratios"].reshape(len(BETAS) + 1, -1)
    power = jnp.sqrt(jnp.mean(ratios**2, 1) + TINY)
    agree = jnp.mean(ratios[1] * ratios[-1]) / (power[1] * power[-1])
    size = jnp.log(jnp.sqrt(jnp.mean(p**2)) + 1e-4)
    slope = jnp.log(jnp.sqrt(jnp.mean(s["square"])) + TINY)
    extents = [float(np.log(n) / 3) for n in (1, *p.shape)[-2:]] if p.ndim else [0.0, 0.0]
    fixed = jnp.asarray([float(p.ndim == 0), float(p.ndim == 1), *extents], jnp.float32)
    return jnp.concatenate([fixed, jnp.log(power[1:]), jnp.stack([agree, size / 3, (slope + 5) / 5])])


def _tensor_network(weights: Weights, features: jax.Array) -> jax.Array:
    """Outputs of the network of tensors, (tensors, outputs)."""
    hidden = jnp.tanh(features @ weights["tensor0"] + weights["tensor_bias0"])
    return jnp.asarray(hidden @ weights["tensor1"] + weights["tensor_bias1"])


def _parameter_features(s: dict[str, Any]) -> jax.Array:
    """What is known of every parameter in the eigenbasis, (PARAMETER_FEATURES, parameters).

    The gradient and its means over the root of the mean square (Adam); the second mean over Adafactor's root of rows times columns;
    the mean square, and those of its row and column, over that of the tensor; the parameter.
    """
    square = jnp.atleast_1d(s["square"])
    ratios = s["ratios"].reshape(-1, *square.shape)
    mean = jnp.mean(square) + TINY**2
    rows, columns = jnp.mean(square, -1, keepdims=True), jnp.mean(square, 0, keepdims=True)
    factored = rows * columns / mean if square.ndim == 2 else square
    logs = [jnp.clip(jnp.log((a + TINY**2) / mean) / 4, -3, 3) for a in (square, rows, columns)]
    adafactor = ratios[2] * jnp.sqrt(square / (factored + TINY**2))
    size = s["p"] / jnp.sqrt(jnp.mean(s["p"] ** 2) + TINY)
    every = [*(jnp.clip(r, -4, 4) for r in (*ratios, adafactor)), *logs, jnp.clip(size, -4, 4)]
    return jnp.stack([jnp.broadcast_to(f, square.shape).reshape(-1) for f in every])


def _directions(weights: Weights, seen: list[dict[str, Any]], said: jax.Array) -> list[jax.Array]:
    """The direction of the step of every tensor, in its eigenbasis."""
    n = len(BETAS)
    directions = []
    for s, tensor in zip(seen, said, strict=True):
        hidden = jnp.tanh(weights["parameter0"].T @ _parameter_features(s) + tensor[1 + n :, None])
        outputs = weights["parameter1"].T @ hidden + weights["parameter_bias1"][:, None]
        own, factor = (row.reshape(s["square"].shape) for row in outputs)
        mixing = np.asarray([float(k == BETAS.index(Soap.beta1)) for k in range(n)], np.float32) + MIXING * tensor[1 : 1 + n]
        follow = jnp.tensordot(mixing, s["ratios"][1:], 1)
        log_factor = jnp.clip(tensor[0] + factor, -LARGEST_LOG, LARGEST_LOG)
        directions.append(jnp.exp(log_factor) * (follow + DIRECTION * own))
    return directions
