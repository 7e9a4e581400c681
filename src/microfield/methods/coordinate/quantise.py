"""Fitted weights to quantised ones: a step for every group of tensors by equal slope, under a byte limit.

The squared error that rounding causes grows as G s^2 / 12 for a step s, where G is what unit noise in the group does to
the output; its rate falls as n log2 s. Equal slope over groups gives s proportional to sqrt(n / G), so that one factor
remains to be searched, by coding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from microfield.coding.weights import STEP_CODES, estimate_bits, step_code, step_size
from microfield.methods.coordinate.bitstream import Quantised, Shape
from microfield.nn.network import Params, forward

Float32 = npt.NDArray[np.float32]
_FINEST_BITS = 12.0
"""Weights finer than this many bits on average no longer change the picture."""

_ROUNDS = 8
"""How often every group is offered a finer step, to use up what the common factor leaves."""


def to_groups(params: Params) -> list[Float32]:
    """Folded weights as the bitstream groups them, the learned frequency multiplied in."""
    factor = np.float32(params.frequency)
    matrices = [np.asarray(w, np.float32) for w in params.weights]
    biases = [np.asarray(b, np.float32) for b in params.biases]
    groups = [(w * factor).ravel() for w in matrices[:-1]] + [matrices[-1].ravel()]
    return [*groups, np.concatenate(biases[:-1]) * factor, biases[-1]]


def as_params(steps: list[float], params: Params) -> Params:
    """Group steps as a quantiser for `fake_quantise`: one scalar per tensor, in the unit of the unfolded weights."""
    factor = float(params.frequency)
    n = len(params.weights)
    weights = [np.float32(s / factor) for s in steps[: n - 1]] + [np.float32(steps[n - 1])]
    biases = [np.float32(steps[n] / factor)] * (n - 1) + [np.float32(steps[n + 1])]
    return Params(tuple(map(jnp.float32, weights)), tuple(map(jnp.float32, biases)), jnp.float32(0))


def quantise(groups: list[Float32], codes: list[int], shape: Shape) -> Quantised:
    """Round every group to its step."""
    rounded = tuple(np.rint(g / step_size(c)).astype(np.int64) for g, c in zip(groups, codes, strict=True))
    return Quantised(shape, rounded, tuple(codes))


@jax.jit
def _disturbance(params: Params, noisy: Params, x: jax.Array, weight: jax.Array) -> jax.Array:
    return jnp.mean(weight * (forward(noisy, x) - forward(params, x)) ** 2)


def group_steps(params: Params, x: Float32, weight: Float32, seed: int = 0) -> npt.NDArray[np.float64]:
    """Relative quantiser step of every group at equal slope: float64 of shape (groups,), largest 1."""
    rng = np.random.default_rng(seed)
    sizes, gains = [], []
    for members in _members(params):
        scale = float(np.mean([np.std(np.asarray(leaf)) for leaf in _pick(params, members)])) / 64 + 1e-6
        noisy = _replace(params, members, partial(_with_noise, scale, rng))
        gains.append(float(_disturbance(params, noisy, x, weight)) / scale**2)
        sizes.append(sum(leaf.size for leaf in _pick(params, members)))
    steps = np.sqrt(np.asarray(sizes) / np.maximum(gains, 1e-12 * max(gains) + 1e-30))
    # A group without effect would get an endless step: keep all within three orders of magnitude.
    steps = np.clip(steps, None, 1e3 * steps.min())
    factor = float(params.frequency)
    n = len(params.weights)
    folded = np.asarray([factor] * (n - 1) + [1.0, factor, 1.0])
    return np.asarray(steps * folded / (steps * folded).max())


def _with_noise(scale: float, rng: np.random.Generator, leaf: jax.Array) -> Any:
    return leaf + scale * rng.standard_normal(leaf.shape)


def _members(params: Params) -> list[list[tuple[str, int]]]:
    n = len(params.weights)
    return [[("weights", i)] for i in range(n)] + [[("biases", i) for i in range(n - 1)], [("biases", n - 1)]]


def _pick(params: Params, members: list[tuple[str, int]]) -> list[jax.Array]:
    return [getattr(params, kind)[i] for kind, i in members]


def _replace(params: Params, members: list[tuple[str, int]], change: Callable[[Any], Any]) -> Params:
    parts = {"weights": list(params.weights), "biases": list(params.biases)}
    for kind, i in members:
        parts[kind][i] = jnp.asarray(change(parts[kind][i]), jnp.float32)
    return Params(tuple(parts["weights"]), tuple(parts["biases"]), params.frequency)


@dataclass(frozen=True)
class Rate:
    """Finds the finest quantiser that fits a byte limit.

    Parameters
    ----------
    shape : Shape
    relative : float64 array (groups,)
        Relative step of every group.
    size : callable (Quantised) -> int
        Bytes of the part these weights make.
    """

    shape: Shape
    relative: npt.NDArray[np.float64]
    size: Callable[[Quantised], int]

    def codes(self, factor: float) -> list[int]:
        """Step codes at a common factor."""
        return [step_code(factor * r) for r in self.relative]

    def search(self, groups: list[Float32], limit: int) -> Quantised | None:
        """The finest quantised weights of at most ``limit`` bytes; None where even the coarsest steps are too many."""
        n = sum(g.size for g in groups)
        low, high = -18 * 16, 6 * 16  # the factor's exponent in sixteenths of an octave: fine to coarse
        while high - low > 1:
            middle = (low + high) // 2
            fits = self._bytes(groups, self.codes(2.0 ** (middle / 16)), limit)
            low, high = (low, middle) if fits else (middle, high)
        codes = self.codes(2.0 ** (high / 16))
        best = quantise(groups, codes, self.shape)
        if self.size(best) > limit:
            return None
        return self._fill(groups, codes, best, limit) if estimate_bits(best.groups) < _FINEST_BITS * n else best

    def _bytes(self, groups: list[Float32], codes: list[int], limit: int) -> bool:
        """Whether the weights fit, coding them only where an estimate leaves doubt."""
        try:
            quantised = quantise(groups, codes, self.shape)
            bits = estimate_bits(quantised.groups)
            n = sum(g.size for g in groups)
            if bits > _FINEST_BITS * n or bits / 8 > limit + 8:
                return False
            return self.size(quantised) <= limit
        except OverflowError:
            return False

    def _fill(self, groups: list[Float32], codes: list[int], best: Quantised, limit: int) -> Quantised:
        """Make single groups finer while there is room: the common factor leaves up to a percent unused."""
        order = list(np.argsort([-g.size for g in groups]))
        for _ in range(_ROUNDS):
            before = codes
            for group in order:
                finer = [c - (i == group) for i, c in enumerate(codes)]
                if 0 <= finer[group] < STEP_CODES and self._bytes(groups, finer, limit):
                    codes, best = finer, quantise(groups, finer, self.shape)
            if codes == before or self.size(best) > limit - 1 - limit // 1000:
                break
        return best
