"""Sine networks in jax: parameters, initialisation, forward pass and fake quantisation.

A layer is h = sin(f (x W + b)), where f is one factor for all layers, which INIF learns. Parameters are usually *folded*: the
frequency w0 of SIREN is multiplied into W and b, and f begins at 1. The published configuration leaves W and b unfolded, and f
begins at w0 (`init_published`).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from microfield.nn.evaluate import CEILING
from microfield.nn.sine import COEFFICIENTS, RADIANS_TO_TURNS

Float64 = npt.NDArray[np.float64]

OUTPUT_SCALE = 0.3
"""Factor of the initial weights of the last layer: outputs begin near 0, which is about the mean of the targets."""

HIDDEN_BIAS = 0.1
"""Biases of sine layers but the first begin within this, in radians."""


class Params(NamedTuple):
    """Parameters of a network: per layer, the linear one last, weights of shape (inputs, outputs) and biases (outputs,).

    ``frequency`` is the factor f of all sines. ``mixing`` (features, width) and ``skip`` (features, outputs) are what the features
    of a pyramid add to the first layer and to the output; None for a network of coordinates alone.
    """

    weights: tuple[jax.Array, ...]
    biases: tuple[jax.Array, ...]
    frequency: jax.Array
    mixing: jax.Array | None = None
    skip: jax.Array | None = None


class RectifiedParams(Params):
    """Parameters of a network whose layers are rectified sums instead of sines (SINCS, `paper=true`); it has no frequency."""

    __slots__ = ()


def _polynomial(t: jax.Array) -> jax.Array:
    """sin(2 pi t) for |t| <= 1/2, as `microfield.nn.sine` computes it."""
    c0, c1, c2, c3 = COEFFICIENTS
    s = t * t
    return (((s * c3 + c2) * s + c1) * s + c0) * t


@jax.custom_jvp
def sine_turns(t: jax.Array) -> jax.Array:
    """sin(2 pi t) by the format's polynomial (`microfield.nn.sine`)."""
    return _polynomial(t - jnp.round(t))


@sine_turns.defjvp
def _sine_turns_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Value and derivative, the cosine being the same polynomial a quarter of a turn on."""
    (t,), (dt,) = primals, tangents
    quarter = t + np.float32(0.25)
    cosine = _polynomial(quarter - jnp.round(quarter))
    return sine_turns(t), np.float32(2 * np.pi) * cosine * dt


def forward(params: Params, x: jax.Array, features: jax.Array | None = None) -> jax.Array:
    """Network output: (points, inputs) -> (points, outputs); ``features`` has the shape (points, features)."""
    if isinstance(params, RectifiedParams):
        for w, b in zip(params.weights[:-1], params.biases[:-1], strict=True):
            x = jnp.clip(x @ w + b, 0, CEILING)
        return x @ params.weights[-1] + params.biases[-1]
    factor = params.frequency * RADIANS_TO_TURNS
    for layer, (w, b) in enumerate(zip(params.weights[:-1], params.biases[:-1], strict=True)):
        sums = x @ w + b
        if features is not None and params.mixing is not None and not layer:
            sums = sums + features @ params.mixing
        x = sine_turns(sums * factor)
    out = x @ params.weights[-1] + params.biases[-1]
    return out if features is None or params.skip is None else out + features @ params.skip


def init_folded(
    seed: int, n_inputs: int, width: int, depth: int, n_outputs: int, first: Float64
) -> Params:
    """Random folded parameters (Sitzmann et al. 2020, section 3.2).

    Parameters
    ----------
    width, depth : int
        Units of a sine layer, and number of sine layers.
    first : float64 array of shape (inputs,)
        Largest initial frequency along every coordinate, in radians per unit (the coordinate runs over 2 units).
    """
    rng = np.random.default_rng(seed)
    weights = [rng.uniform(-1, 1, (n_inputs, width)) * first[:, None]]
    biases = [rng.uniform(-np.pi, np.pi, width)]
    bound = np.sqrt(6 / width)
    for _ in range(depth - 1):
        weights.append(rng.uniform(-bound, bound, (width, width)))
        biases.append(rng.uniform(-HIDDEN_BIAS, HIDDEN_BIAS, width))
    weights.append(rng.uniform(-bound, bound, (width, n_outputs)) * OUTPUT_SCALE)
    biases.append(np.zeros(n_outputs))
    return _params(weights, biases, 1.0)


def with_features(params: Params, seed: int, levels: int, gain: float) -> Params:
    """A network with further inputs: the features of a pyramid of ``levels``, each with a feature per output.

    An output begins as the sum of its features times ``gain``, and the first layer sees each of them with weights within ``gain``.
    """
    width, outputs = params.weights[0].shape[1], params.weights[-1].shape[1]
    mixing = np.random.default_rng((seed, levels)).uniform(-gain, gain, (levels * outputs, width))
    skip = np.tile(gain * np.eye(outputs), (levels, 1))
    return params._replace(mixing=jnp.asarray(mixing, jnp.float32), skip=jnp.asarray(skip, jnp.float32))


def scaled_features(params: Params, factor: float) -> Params:
    """The same function of features that are 1 / ``factor`` times as large: weights of features times ``factor``."""
    assert params.mixing is not None
    assert params.skip is not None
    return params._replace(mixing=params.mixing * factor, skip=params.skip * factor)


def init_published(seed: int, n_inputs: int, width: int, depth: int, n_outputs: int, w0: float) -> Params:
    """Random unfolded parameters, as INIF's public code draws them, whose sines have the frequency factor ``w0``.

    Weights are uniform within 1 / inputs in the first layer and within sqrt(6 / width) / w0 in the other sine layers, and a clipped
    normal distribution in the last; biases are 0.
    """
    rng = np.random.default_rng(seed)
    weights = [rng.uniform(-1, 1, (n_inputs, width)) / n_inputs]
    bound = np.sqrt(6 / width) / w0
    weights += [rng.uniform(-bound, bound, (width, width)) for _ in range(depth - 1)]
    weights.append(np.clip(rng.normal(size=(width, n_outputs)), -2, 2) / np.sqrt(width))
    return _params(weights, [np.zeros(w.shape[1]) for w in weights], w0)


def init_rectified(seed: int, n_inputs: int, width: int, depth: int, n_outputs: int) -> RectifiedParams:
    """Random parameters of a network of rectified sums: normal weights of variance 2 / inputs (He et al. 2015), biases 0."""
    rng = np.random.default_rng(seed)
    fans = [n_inputs] + [width] * depth
    weights = [rng.normal(0, np.sqrt(2 / n), (n, m)) for n, m in zip(fans, [*fans[1:], n_outputs], strict=True)]
    return RectifiedParams(*_params(weights, [np.zeros(w.shape[1]) for w in weights], 1.0))


def _params(weights: list[Float64], biases: list[Float64], frequency: float) -> Params:
    """As jax arrays of float32."""
    return Params(
        tuple(jnp.asarray(w, jnp.float32) for w in weights),
        tuple(jnp.asarray(b, jnp.float32) for b in biases),
        jnp.float32(frequency),
    )


def fake_quantise(params: Params, steps: Params) -> Params:
    """Parameters rounded as the file will hold them; gradients are those of the parameters before (straight-through).

    ``steps`` has one scalar per tensor, its quantiser step; 0 leaves a tensor alone.
    """

    def one(p: jax.Array, step: jax.Array) -> jax.Array:
        """One tensor, rounded to multiples of a step."""
        safe = jnp.where(step > 0, step, 1)
        return p + jax.lax.stop_gradient(jnp.where(step > 0, jnp.round(p / safe) * safe - p, 0))

    quantised: Params = jax.tree.map(one, params, steps)
    return quantised
