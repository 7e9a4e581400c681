"""The learned optimiser: where it begins, what it sees, and that it fits."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from microfield.models import index, load, named
from microfield.nn.fit import FitSchedule
from microfield.nn.learned import Learned, Weights, begin, shapes, step
from microfield.nn.soap import Soap

RNG = np.random.default_rng(0)
START: Any = {"matrix": RNG.normal(size=(3, 4)), "vector": RNG.normal(size=5), "scalar": 1.0}
"""Tensors of every rank that a network has."""
GRADIENTS = [jax.tree.map(lambda p: jnp.asarray(RNG.normal(size=np.shape(p)), jnp.float32), START) for _ in range(12)]


def walked(weights: Weights, losses: float = 1.0, first: float = 0.0, rate: float = 0.01) -> Any:
    """Parameters after all `GRADIENTS`."""
    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), START)
    state = begin(params)
    run = jax.jit(step)
    for k, grads in enumerate(GRADIENTS):
        progress = jnp.float32(first + (1 - first) * k / len(GRADIENTS))
        params, state = run(weights, (params, grads), state, jnp.float32(losses**k), progress, jnp.float32(rate))
    return params


def no_outputs(scale: float = 1.0) -> Weights:
    """Weights whose outputs are 0."""
    rng = np.random.default_rng(1)
    return {k: scale * rng.normal(size=s).astype(np.float32) * (k in ("tensor0", "tensor_bias0", "parameter0"))
            for k, s in shapes().items()}


def test_with_outputs_of_zero_it_is_soap() -> None:
    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), START)
    soap = Soap()
    state, update = soap.init(params), jax.jit(soap.update)
    for grads in GRADIENTS:
        params, state = update(params, grads, state, loss=jnp.float32(1), progress=jnp.float32(0), rate=jnp.float32(0.01))
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(walked(no_outputs())), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("bias", "output"), [("tensor_bias1", 0), ("parameter_bias1", 1)])
def test_a_log_factor_makes_steps_longer(bias: str, output: int) -> None:
    weights = no_outputs()
    weights[bias][output] = np.log(2)
    for a, b, start in zip(*map(jax.tree.leaves, (walked(weights), walked(no_outputs()), START)), strict=True):
        np.testing.assert_allclose(a - start, 2 * (b - start), rtol=1e-3, atol=1e-4)
    weights[bias][output] = 50  # Limited, however large.
    longest = [np.abs(a - start).max() for a, start in zip(*map(jax.tree.leaves, (walked(weights), START)), strict=True)]
    assert max(longest) < 12 * 0.01 * np.exp(2) * 5


def test_the_loss_and_what_is_done_change_the_steps() -> None:
    weights = {k: RNG.normal(size=s).astype(np.float32) * 0.3 for k, s in shapes().items()}
    plain = jax.tree.leaves(walked(weights))
    for other in (walked(weights, losses=0.7), walked(weights, first=0.85)):
        assert any(np.abs(a - b).max() > 1e-5 for a, b in zip(plain, jax.tree.leaves(other), strict=True))


def test_a_fine_tuning_begins_late_in_the_schedule() -> None:
    tuning = FitSchedule(100, 256, 1e-2, start=0.85)
    assert tuning.progress(np.array([0.0, 0.5, 1.0])) == pytest.approx([0.85, 0.925, 1.0])


def test_what_ships_has_these_shapes_and_says_how_it_was_trained() -> None:
    arrays = load("optimiser", named("optimiser", Learned().name))
    assert {k: a.shape for k, a in arrays.items()} == shapes()
    trained = index()["optimiser"][Learned().name]["trained"]
    assert trained["images"]
    assert any(np.abs(a).max() > 0 for k, a in arrays.items() if k.endswith("1"))
