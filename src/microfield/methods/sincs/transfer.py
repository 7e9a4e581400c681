"""Weight transfer: where the fit of a group begins, how long it runs, and what holds it near its ancestor."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from microfield.methods.coordinate.quantise import to_groups
from microfield.methods.sincs.bitstream import tensor_extents
from microfield.methods.sincs.quantiser import Tensors
from microfield.nn.network import Params, RectifiedParams

RESETS = ("none", "output", "published")
"""Layers that are drawn anew after a transfer: none, the last one, or the first, the last before the output and the output."""


def to_tensors(params: Params, shape: Any) -> Tensors:
    """Weights as the bitstream holds them: (rows, columns) per tensor, with the learned frequency multiplied in."""
    return [g.reshape(size) for g, size in zip(to_groups(params), tensor_extents(shape), strict=True)]


def to_params(tensors: Tensors, rectified: bool = False) -> Params:
    """The inverse of `to_tensors`, the frequency being 1."""
    matrices, layers, outputs = tensors[:-2], tensors[-2], tensors[-1]
    kind = RectifiedParams if rectified else Params
    return kind(tuple(jnp.asarray(w, jnp.float32) for w in matrices),
                  (*(jnp.asarray(b, jnp.float32) for b in layers), jnp.asarray(outputs[0], jnp.float32)), jnp.float32(1))


def quantiser_of(steps: list[float], depth: int, rectified: bool = False) -> Params:
    """Steps of the tensors as a quantiser for `microfield.nn.network.fake_quantise`: one scalar per tensor of parameters."""
    matrices, layers, outputs = steps[:-2], steps[-2], steps[-1]
    kind = RectifiedParams if rectified else Params
    return kind(tuple(map(jnp.float32, matrices)), (*[jnp.float32(layers)] * depth, jnp.float32(outputs)), jnp.float32(0))


def transferred(before: Params, drawn: Params, reset: str) -> Params:
    """Weights to begin with: those of another group, but for the layers that are drawn anew.

    The public code of SINCS sets the first, the last hidden and the output layer to zero. No gradient then reaches them, since
    rectified sums of zero weights stay 0; they are drawn anew instead, which is what can be meant.
    """
    n = len(before.weights)
    anew = {"none": set(), "output": {n - 1}, "published": {0, max(0, n - 2), n - 1}}[reset]
    weights = tuple(drawn.weights[k] if k in anew else w for k, w in enumerate(before.weights))
    biases = tuple(drawn.biases[k] if k in anew else b for k, b in enumerate(before.biases))
    return before._replace(weights=weights, biases=biases)


def price_of_bits(loss: float, exact: float, n_weights: int) -> np.float32:
    """What a bit is worth where quantisation raises the loss from ``exact`` to ``loss``: a bit per weight quarters that rise."""
    return np.float32(2 * np.log(2) * max(loss - exact, 0.0) / n_weights)
