"""VeLO, a large learned optimiser (Metz et al. 2022, "VeLO: training versatile learned optimizers by scaling up").

A network with memory (an LSTM) sees statistics of every tensor, the loss and the part of the fit that is done. It says how far the
tensor moves, and mixes the weights of a small network, which sees features of every parameter and says which way it moves. No
weights are part of this package: `microfield.nn.velo_checkpoint` reads a checkpoint of the user's in the published layout. The rule
is that of the public program (google/learned_optimization, ``research/general_lopt/hyper_v2.py``), re-implemented and
compared with it step by step (tests/vectors/velo.npz). The scheduled learning rate plays no part.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from microfield.nn.soap import Tree

MEANS, SQUARES, FACTORED = (0.9, 0.99, 0.999), 0.999, (0.9, 0.99, 0.999)
"""Decay rates of the means of gradients, of squared gradients, and of those squares averaged over rows and columns."""

TIMES = (0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.1)
"""Parts of the fit that the one done is compared with."""

LOSS_MEANS = 10
"""Running means of the loss, of half-lives from 10 steps to those of the fit."""

RANKS = 5
"""Ranks of tensors that are told apart."""

TENSOR_FEATURES = len(TIMES) + (LOSS_MEANS - 1) + 1 + RANKS + 2 * len(MEANS)
INPUTS = (1, 1, 1, 3, 1, 3, 1, 3, 1, 3, 3, 3, 3, 3)
"""Features of a parameter, input by input of the small network."""

HIDDEN = 4
"""Units of either hidden layer of the small network."""

LARGEST_GRADIENT, SMALL_GRADIENT = 1000.0, 0.1
EXPONENT, STEP = 0.001, 0.001
MIXED = 100.0

Weights = dict[str, Any]


@dataclass(frozen=True)
class Velo:
    """VeLO with the weights of a checkpoint, float32 arrays by name.

    ``old_losses`` and ``forgetful`` are the settings ``use_bugged_loss_features`` and ``use_bugged_next_lstm_state``, with which
    checkpoints before VeLO were trained.
    """

    key: str
    weights: Weights = field(compare=False, repr=False)
    old_losses: bool = False
    forgetful: bool = False

    def init(self, params: Tree) -> Tree:
        """Zero moments, the memory of every tensor as the checkpoint begins it, and the weights, which a step leaves alone."""
        leaves = [jnp.atleast_1d(p) for p in jax.tree.leaves(params)]
        memory = tuple(jnp.tile(self.weights[f"memory/{k}"], (len(leaves), 1)) for k in ("hidden", "cell"))
        losses = {"means": jnp.zeros(LOSS_MEANS), "least": jnp.full(LOSS_MEANS, 1e12), "decays": _decays(jnp.float32(10))}
        return {
            "count": jnp.zeros((), jnp.int32), "first": jnp.zeros(2), "losses": losses, "memory": memory,
            "moments": [_no_moments(p) for p in leaves], "weights": jax.tree.map(jnp.array, self.weights),
        }

    def update(
        self, params: Tree, grads: Tree, state: Tree, *, loss: jax.Array, progress: jax.Array, rate: jax.Array
    ) -> tuple[Tree, Tree]:
        """One step."""
        del rate
        weights, count = state["weights"], state["count"] + 1
        flat, structure = jax.tree.flatten(params)
        tensors = [jnp.atleast_1d(p) for p in flat]
        slopes = [jnp.clip(jnp.atleast_1d(g), -LARGEST_GRADIENT, LARGEST_GRADIENT) for g in jax.tree.leaves(grads)]
        first = jnp.where(count == 1, jnp.stack([progress, loss]), state["first"])
        losses = self._losses(state["losses"], loss, count, first[1], progress - first[0])
        shared = jnp.concatenate([jnp.tanh((progress - np.asarray(TIMES, np.float32)) * 10), _loss_features(losses, count)])
        features = jnp.stack([_tensor_features(p, m, shared) for p, m in zip(tensors, state["moments"], strict=True)])
        controls, lengths, memory = _remember(weights, features, state["memory"])
        moments = [_advance(m, g) for m, g in zip(state["moments"], slopes, strict=True)]
        moved = [_move(weights, (c, s), p, _parameter_features(p, g, m))
                 for c, s, p, g, m in zip(controls, lengths, tensors, slopes, moments, strict=True)]
        new = jax.tree.unflatten(structure, [a.reshape(p.shape) for a, p in zip(moved, flat, strict=True)])
        return new, {**state, "count": count, "first": first, "losses": losses, "moments": moments,
                     "memory": state["memory"] if self.forgetful else memory}

    def _losses(self, losses: dict[str, jax.Array], loss: jax.Array, count: jax.Array, first: jax.Array, done: jax.Array,
                ) -> dict[str, jax.Array]:
        """Running means of the loss after one more.

        Their decay rates follow from the number of steps, which the second step tells: the part of the fit ``done`` is then one
        over it. What the first step, of loss ``first``, would have left with these rates is put in place.
        """
        decays, means = losses["decays"], losses["means"]
        if not self.old_losses:
            decays = jnp.where(count == 2, _decays(1 / jnp.maximum(done, 1e-7)), decays)
            means = jnp.where(count == 2, first * (1 - decays), means)
        largest = jnp.where(count == 1, loss, jnp.max(means / (1 - decays ** count.astype(jnp.float32))))
        means = decays * means + (1 - decays) * jnp.minimum(2 * jnp.abs(largest), loss)
        least = jnp.minimum(losses["least"], means / (1 - decays ** count.astype(jnp.float32)))
        return {"means": means, "least": least, "decays": decays}


def _decays(steps: jax.Array) -> jax.Array:
    """Decay rates of the means of the loss, for so many steps of a fit."""
    return jnp.exp(-1 / jnp.logspace(1, jnp.log10(steps), LOSS_MEANS))


def _loss_features(losses: dict[str, jax.Array], count: jax.Array) -> jax.Array:
    """Where every mean but the last stands between its least value so far, -1, and the mean that follows it, 0; 0 in two steps."""
    means = losses["means"] / (1 - losses["decays"] ** count.astype(jnp.float32))
    least = losses["least"][:-1]
    place = (means[:-1] - least) / jnp.maximum(1e-8, means[1:] - least) - 1
    return jnp.where(count <= 2, 0.0, jnp.clip(place, -1, 1))


def _no_moments(p: jax.Array) -> dict[str, jax.Array]:
    """Moments of a tensor before the first step; the decay rates are the last axis."""
    moments: dict[str, Any] = {"mean": jnp.zeros((*p.shape, len(MEANS))), "square": jnp.zeros((*p.shape, 1))}
    if p.ndim < 2:
        return {**moments, "all": jnp.zeros((*p.shape, len(FACTORED)))}
    return {**moments, **{k: jnp.zeros((p.shape[a], len(FACTORED))) for k, a in zip(("row", "column"), _axes(p), strict=True)}}


def _axes(p: jax.Array) -> tuple[int, int]:
    """Axes of a matrix along which rows and columns are counted: rows along the shorter."""
    return (0, 1) if p.shape[0] <= p.shape[1] else (1, 0)


def _advance(moments: dict[str, jax.Array], g: jax.Array) -> dict[str, jax.Array]:
    """Moments after a gradient."""
    means, factored = np.asarray(MEANS, np.float32), np.asarray(FACTORED, np.float32)
    new: dict[str, Any] = {"mean": means * moments["mean"] + (1 - means) * g[..., None],
           "square": SQUARES * moments["square"] + np.float32(1 - SQUARES) * (g * g)[..., None]}
    square = g * g + 1e-30
    if g.ndim < 2:
        return {**new, "all": factored * moments["all"] + (1 - factored) * square[:, None]}
    row, column = _axes(g)
    for name, average in (("row", jnp.mean(square, column)), ("column", jnp.mean(square, row))):
        new[name] = factored * moments[name] + (1 - factored) * average[:, None]
    return new


def _log_size(a: jax.Array) -> jax.Array:
    return 0.5 * jnp.clip(jnp.log(1e-8 + jnp.abs(10 * a)), -5, 5)


def _tensor_features(p: jax.Array, moments: dict[str, jax.Array], shared: jax.Array) -> jax.Array:
    """What the network with memory sees of a tensor (TENSOR_FEATURES): moments before this step, by the size of its parameters."""
    size = jax.lax.rsqrt(jnp.maximum(1e-9, jnp.mean(p**2)))
    axes = tuple(range(p.ndim))
    mean, square = moments["mean"] * size, moments["square"] * size
    middle = jnp.mean(mean, axes, keepdims=True)
    rank = jax.nn.one_hot(sum(n > 1 for n in p.shape), RANKS)
    return jnp.concatenate([
        shared, _log_size(jnp.mean(square, axes)), rank, _log_size(jnp.mean((mean - middle) ** 2, axes)),
        _log_size(jnp.mean((square - middle) ** 2, axes)),
    ])


def _remember(weights: Weights, features: jax.Array, memory: tuple[jax.Array, jax.Array],
              ) -> tuple[jax.Array, jax.Array, tuple[jax.Array, jax.Array]]:
    """Mixtures (tensors, n), step lengths (tensors,) and the memory after this step."""

    def linear(name: str, x: jax.Array) -> jax.Array:
        return jnp.asarray(x @ weights[f"{name}/w"] + weights[f"{name}/b"])

    hidden, cell = memory
    x = linear("linear_2", features) + jnp.max(jax.nn.relu(linear("linear_1", features)), 0, keepdims=True)
    let_in, new, keep, show = jnp.split(linear("rnn/linear", jnp.concatenate([x, hidden], -1)), 4, -1)
    cell = jax.nn.sigmoid(keep + 1) * cell + jax.nn.sigmoid(let_in) * jnp.tanh(new)
    hidden = jax.nn.sigmoid(show) * jnp.tanh(cell)
    return linear("rnn_to_controls", hidden), linear("step_size", hidden)[:, 0], (hidden, cell)


def _root(a: jax.Array) -> jax.Array:
    """One over the square root, of 1e-9 at least."""
    return jax.lax.rsqrt(jnp.maximum(a, 1e-9))


def _parameter_features(p: jax.Array, g: jax.Array, moments: dict[str, jax.Array]) -> list[jax.Array]:
    """What the small network sees of every parameter: arrays (..., n) for n of `INPUTS`, of mean square 1 over the tensor."""
    mean, inverse = moments["mean"], jax.lax.rsqrt(moments["square"] + 1e-6)
    g1 = g[..., None]
    if p.ndim < 2:
        rows = columns = moments["all"]
        adafactor, factored = g1 * _root(rows + 1e-9), mean * rows**-0.5
    else:
        row, column = _axes(p)
        rows, columns = jnp.expand_dims(moments["row"], column), jnp.expand_dims(moments["column"], row)
        of_rows = jnp.expand_dims(_root(moments["row"] / (jnp.mean(moments["row"], 0, keepdims=True) + 1e-9)), column)
        adafactor, factored = g1 * of_rows * _root(columns), mean * of_rows * _root(columns)
    small = jnp.clip(g1, -SMALL_GRADIENT, SMALL_GRADIENT)
    every = [g1, small, p[..., None], mean, moments["square"], mean * inverse, inverse, adafactor, g1 * inverse, rows, columns,
             jax.lax.rsqrt(rows + 1e-8), jax.lax.rsqrt(columns + 1e-8), factored]
    whole = [jnp.broadcast_to(a, (*p.shape, a.shape[-1])) for a in every]
    return [a * jax.lax.rsqrt(1e-5 + jnp.mean(a * a, tuple(range(p.ndim)), keepdims=True)) for a in whole]


def _move(weights: Weights, said: tuple[jax.Array, jax.Array], p: jax.Array, features: list[jax.Array]) -> jax.Array:
    """A tensor after the step; ``said`` are the mixture of small networks and the length of the step."""
    controls, length = said
    net = {k: MIXED * jnp.tensordot(controls, weights[f"small/{k}"], 1) / controls.size
           for k in (*(f"w0__{i}" for i in range(len(INPUTS))), "w1", "w2", "b0", "b1", "b2")}
    first = jnp.concatenate([net[f"w0__{i}"] for i in range(len(INPUTS))])
    x = jax.nn.relu(jnp.concatenate(features, -1) @ first + net["b0"])
    x = jax.nn.relu(x @ net["w1"] + net["b1"]) @ net["w2"] + net["b2"]
    size = jnp.sqrt(jnp.mean(p**2) + 1e-9)
    return p - length * STEP * size * x[..., 0] * jnp.exp(EXPONENT * x[..., 1])
