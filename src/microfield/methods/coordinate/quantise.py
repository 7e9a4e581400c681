"""Fitted weights to quantised ones: a quantiser step for every group of weights, under a byte limit.

Rounding the n weights of a group to a step s costs a squared error of G s^2 / 12, where G is the squared error that noise of unit
variance in the group makes, and saves n log2 s bits. Equal slope (the same error per bit saved in every group) gives steps
proportional to sqrt(n / G). One common factor then remains, and it is searched by coding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from microfield.coding.weights import STEP_CODES, estimate_bits, step_code, step_size
from microfield.methods.coordinate.bitstream import Quantised, Shape
from microfield.nn.network import Params, forward

Float32 = npt.NDArray[np.float32]

FINEST_BITS = 12.0
"""Weights of more than this many bits on average no longer change the picture."""

ROUNDS = 8
"""How often every group is offered a finer step, to use up what the common factor leaves."""

PROBE = 1 / 64
"""The noise that shows what a group does to the output has this share of the spread of its weights."""

LARGEST_RATIO = 1e3
"""No step is more than this many times the smallest: a group without effect would get an endless one."""

FINEST_FACTOR, COARSEST_FACTOR = -18 * 16, 6 * 16
"""Range of the common factor's base-2 logarithm, in sixteenths, which is the spacing of step codes."""

ESTIMATE_SLACK = 8
"""Bytes by which an estimate of a size may be too large."""


def to_groups(params: Params) -> list[Float32]:
    """Weights as the bitstream groups them (`bitstream`), flat, with the learned frequency multiplied in."""
    factor = np.float32(params.frequency)
    matrices = [np.asarray(w, np.float32) for w in params.weights]
    biases = [np.asarray(b, np.float32) for b in params.biases]
    groups = [(w * factor).ravel() for w in matrices[:-1]] + [matrices[-1].ravel()]
    groups += [np.concatenate(biases[:-1]) * factor, biases[-1]]
    if params.mixing is not None and params.skip is not None:
        groups += [(np.asarray(params.mixing, np.float32) * factor).ravel(), np.asarray(params.skip, np.float32).ravel()]
    return groups


def as_params(steps: list[float], params: Params) -> Params:
    """Steps of the groups as a quantiser for `fake_quantise`: one scalar per tensor, before the frequency is multiplied in."""
    factor = float(params.frequency)
    n = len(params.weights)
    weights = [np.float32(s / factor) for s in steps[: n - 1]] + [np.float32(steps[n - 1])]
    biases = [np.float32(steps[n] / factor)] * (n - 1) + [np.float32(steps[n + 1])]
    mixing, skip = (jnp.float32(steps[n + 2] / factor), jnp.float32(steps[n + 3])) if params.mixing is not None else (None, None)
    return Params(tuple(map(jnp.float32, weights)), tuple(map(jnp.float32, biases)), jnp.float32(0), mixing, skip)


def quantise(groups: list[Float32], codes: list[int], shape: Shape) -> Quantised:
    """Round every group to the step that its code names."""
    rounded = tuple(np.rint(g / step_size(c)).astype(np.int64) for g, c in zip(groups, codes, strict=True))
    return Quantised(shape, rounded, tuple(codes))


@jax.jit
def _disturbance(params: Params, noisy: Params, x: jax.Array, weight: jax.Array, features: jax.Array | None) -> jax.Array:
    """Mean weighted squared difference of two networks' outputs at coordinates ``x`` with these features."""
    return jnp.mean(weight * (forward(noisy, x, features) - forward(params, x, features)) ** 2)


def group_steps(params: Params, x: Float32, weight: Float32, features: Float32 | None = None, seed: int = 0,
                ) -> npt.NDArray[np.float64]:
    """Relative quantiser step of every group at equal slope: float64 of shape (groups,), the largest 1.

    ``x``, ``weight`` and ``features`` are coordinates (points, inputs), weights of squared errors (points, outputs) and features
    (points, features) of a sample.
    """
    rng = np.random.default_rng(seed)
    sizes, gains = [], []
    for members in _members(params):
        scale = float(np.mean([np.std(np.asarray(leaf)) for leaf in _pick(params, members)])) * PROBE + 1e-6
        noisy = _replace(params, members, partial(_with_noise, scale, rng))
        gains.append(float(_disturbance(params, noisy, x, weight, features)) / scale**2)
        sizes.append(sum(leaf.size for leaf in _pick(params, members)))
    steps = np.sqrt(np.asarray(sizes) / np.maximum(gains, 1e-12 * max(gains) + 1e-30))
    steps = np.clip(steps, None, LARGEST_RATIO * steps.min())
    factor = float(params.frequency)
    n = len(params.weights)
    folded = np.asarray([factor] * (n - 1) + [1.0, factor, 1.0] + ([factor, 1.0] if params.mixing is not None else []))
    return np.asarray(steps * folded / (steps * folded).max())


def _with_noise(scale: float, rng: np.random.Generator, leaf: jax.Array) -> Any:
    return leaf + scale * rng.standard_normal(leaf.shape)


Members = list[tuple[Literal["weights", "biases", "mixing", "skip"], int]]
"""The tensors of a group: fields of `Params` and positions in them (0 for a field that is one tensor)."""


def _members(params: Params) -> list[Members]:
    """The tensors of every group, in the order of the bitstream."""
    n = len(params.weights)
    matrices: list[Members] = [[("weights", i)] for i in range(n)]
    pyramid: list[Members] = [[("mixing", 0)], [("skip", 0)]] if params.mixing is not None else []
    return [*matrices, [("biases", i) for i in range(n - 1)], [("biases", n - 1)], *pyramid]


def _tensors(params: Params) -> dict[str, list[Any]]:
    """All tensors by the field that they are in."""
    return {"weights": list(params.weights), "biases": list(params.biases), "mixing": [params.mixing], "skip": [params.skip]}


def _pick(params: Params, members: Members) -> list[jax.Array]:
    """The tensors of a group."""
    tensors = _tensors(params)
    return [tensors[kind][i] for kind, i in members]


def _replace(params: Params, members: Members, change: Callable[[Any], Any]) -> Params:
    """Parameters with the tensors of one group changed."""
    parts = _tensors(params)
    for kind, i in members:
        parts[kind][i] = jnp.asarray(change(parts[kind][i]), jnp.float32)
    return params._replace(weights=tuple(parts["weights"]), biases=tuple(parts["biases"]), mixing=parts["mixing"][0],
                           skip=parts["skip"][0])


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
        low, high = FINEST_FACTOR, COARSEST_FACTOR
        while high - low > 1:
            middle = (low + high) // 2
            fits = self._fits(groups, self.codes(2.0 ** (middle / 16)), limit)
            low, high = (low, middle) if fits else (middle, high)
        codes = self.codes(2.0 ** (high / 16))
        best = quantise(groups, codes, self.shape)
        if self.size(best) > limit:
            return None
        return self._fill(groups, codes, best, limit) if estimate_bits(best.groups) < FINEST_BITS * n else best

    def _fits(self, groups: list[Float32], codes: list[int], limit: int) -> bool:
        """Whether weights at these steps fit; they are coded only where an estimate of their size leaves doubt."""
        try:
            quantised = quantise(groups, codes, self.shape)
            bits = estimate_bits(quantised.groups)
            n = sum(g.size for g in groups)
            if bits > FINEST_BITS * n or bits / 8 > limit + ESTIMATE_SLACK:
                return False
            return self.size(quantised) <= limit
        except OverflowError:  # At so fine a step a weight is too large an integer for the coder.
            return False

    def _fill(self, groups: list[Float32], codes: list[int], best: Quantised, limit: int) -> Quantised:
        """Make single groups finer, large ones first, while there is room: the common factor leaves up to a percent unused."""
        order = list(np.argsort([-g.size for g in groups]))
        for _ in range(ROUNDS):
            before = codes
            for group in order:
                finer = [c - (i == group) for i, c in enumerate(codes)]  # One code less for this group: a finer step.
                if 0 <= finer[group] < STEP_CODES and self._fits(groups, finer, limit):
                    codes, best = finer, quantise(groups, finer, self.shape)
            if codes == before or self.size(best) > limit - 1 - limit // 1000:
                break
        return best
