"""The fit loop: chunks of compiled steps, a schedule over steps or time, the best weights kept.

One chunk is one compiled call of `STEPS` optimiser steps, so nothing goes back to the host in between. Gradients are
summed over blocks of `ROWS` points, which keeps activations in the cache. What is compiled depends on the network's shape
and the batch alone, and is kept on disk, so a second image of the same budget starts at once.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from microfield.deadline import Deadline
from microfield.methods.objective import Guidance, GuidedBlock, Objective
from microfield.nn.guidance import Blocks, BlockSampler
from microfield.nn.network import Params, fake_quantise, forward
from microfield.nn.optimisers import Optimiser
from microfield.nn.sampling import Batch, Target, chunks, evaluation_batch

STEPS = 16
ROWS = 4096


@dataclass(frozen=True)
class Plan:
    """How long and how fast a fit runs.

    Attributes
    ----------
    steps : int
        Optimiser steps, unless the deadline comes first.
    batch : int
        Points per step.
    rate : float
        Peak learning rate; it warms up over ``warmup`` of the fit and falls to zero along a cosine.
    start, stop : float in 0..1
        The part of the schedule this fit covers: fine-tuning runs along its tail.
    """

    steps: int
    batch: int
    rate: float
    warmup: float = 0.02
    start: float = 0.0
    stop: float = 1.0
    seed: int = 0
    quantise_at: tuple[float, ...] = (0.75, 0.9)
    deadline: Deadline = field(default_factory=Deadline)
    learn_frequency: bool = True

    def rates(self, fraction: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Learning rate at fractions of the fit."""
        done = self.start + (self.stop - self.start) * np.clip(fraction, 0, 1)
        rise = np.minimum(1, (np.clip(fraction, 0, 1) + 1e-3) / max(self.warmup, 1e-6))
        return np.asarray(self.rate * rise * 0.5 * (1 + np.cos(np.pi * done)), np.float32)


@dataclass(frozen=True)
class Fitted:
    """Outcome of a fit: the best parameters seen, their loss on the evaluation sample, and the steps taken."""

    params: Params
    loss: float
    steps: int


def keep_compiled_code() -> None:
    """Let jax keep compiled code between processes, unless the user has chosen a place (or forbidden it)."""
    config: Any = jax.config
    if config.jax_compilation_cache_dir or os.environ.get("MICROFIELD_NO_CACHE"):
        return
    base = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else os.environ.get("XDG_CACHE_HOME")
    folder = Path(base) if base else Path.home() / (".cache" if sys.platform != "darwin" else "Library/Caches")
    try:
        (folder / "microfield").mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    config.update("jax_compilation_cache_dir", str(folder / "microfield"))
    config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def _block_loss(params: Params, x: jax.Array, y: jax.Array, weight: jax.Array) -> jax.Array:
    return jnp.sum(weight * (forward(params, x) - y) ** 2)


def loss_and_gradient(params: Params, batch: Batch) -> tuple[jax.Array, Params]:
    """Mean weighted squared error of a batch and its gradient, summed over cache-sized blocks."""
    n = batch.x.shape[0]
    rows = min(ROWS, n)
    if n == rows:
        loss, grads = jax.value_and_grad(_block_loss)(params, *batch)
    else:
        blocks = jax.tree.map(lambda a: a.reshape(n // rows, rows, -1), batch)

        def add(total: Any, block: Batch) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, jax.value_and_grad(_block_loss)(params, *block)), None

        zero = (jnp.float32(0), jax.tree.map(jnp.zeros_like, params))
        (loss, grads), _ = jax.lax.scan(add, zero, blocks)
    size = np.float32(1 / (n * batch.y.shape[1]))
    return loss * size, jax.tree.map(lambda g: g * size, grads)


@functools.partial(jax.jit, static_argnames=("optimiser", "guidance"), donate_argnums=(0, 1))
def _run_chunk(
    params: Params, state: Any, batches: Batch, guide: Any, rates: jax.Array, progress: jax.Array, quantiser: Params,
    frequency_rate: jax.Array, optimiser: Optimiser, guidance: Guidance | None,
) -> tuple[Params, Any, jax.Array]:
    def step(carry: tuple[Params, Any], inputs: Any) -> tuple[tuple[Params, Any], jax.Array]:
        params, state = carry
        batch, block, rate, done = inputs
        shown = fake_quantise(params, quantiser)
        loss, grads = loss_and_gradient(shown, batch)
        if guidance is not None:
            extra = _guided(guidance, block)
            more, more_grads = jax.value_and_grad(extra)(shown)
            loss, grads = loss + more, jax.tree.map(jnp.add, grads, more_grads)
        grads = grads._replace(frequency=grads.frequency * frequency_rate)
        new, state = optimiser.update(params, grads, state, loss=loss, progress=done, rate=rate)
        kept = jnp.where(frequency_rate > 0, new.frequency, params.frequency)
        return (new._replace(frequency=kept), state), loss

    (params, state), losses = jax.lax.scan(step, (params, state), (batches, guide, rates, progress))
    return params, state, jnp.mean(losses)


def _guided(guidance: Guidance, block: Blocks) -> Callable[[Params], jax.Array]:
    """The weighed loss of one block as a function of the network's parameters."""

    def shaped(values: Any) -> Any:
        return values.reshape((*guidance.block_shape, values.shape[-1]))

    known = GuidedBlock(shaped(block.y), shaped(block.y), shaped(block.position), {k: shaped(v) for k, v in block.arrays.items()})
    return lambda p: guidance.weight * guidance.loss(known._replace(prediction=shaped(forward(p, jnp.asarray(block.x)))))


@jax.jit
def _evaluate(params: Params, quantiser: Params, batch: Batch) -> jax.Array:
    shown = fake_quantise(params, quantiser)
    rows = min(ROWS, batch.x.shape[0])
    blocks = jax.tree.map(lambda a: a.reshape(-1, rows, a.shape[-1]), batch)
    return jnp.sum(jax.lax.map(lambda b: _block_loss(shown, *b), blocks)) / batch.y.size


def evaluation_loss(params: Params, batch: Batch, quantiser: Params | None = None) -> float:
    """Mean weighted squared error on an evaluation batch."""
    return float(_evaluate(params, quantiser if quantiser is not None else no_quantiser(params), padded(batch)))


def padded(batch: Batch) -> Batch:
    """A batch with rows of weight 0 added until its length is a power of two, so that few shapes are compiled."""
    n = batch.x.shape[0]
    more = (1 << (n - 1).bit_length()) - n
    if not more:
        return batch
    size = np.float32((n + more) / n)
    x, y, w = (np.concatenate([a, np.zeros((more, a.shape[1]), np.float32)]) for a in batch)
    return Batch(x, y, w * size)


def no_quantiser(params: Params) -> Params:
    """Quantiser steps of 0: every tensor as it is."""
    zeros: Params = jax.tree.map(lambda _: jnp.float32(0), params)
    return zeros


def fit(
    target: Target, params: Params, optimiser: Optimiser, plan: Plan, *,
    requantise: Callable[[Params], Params] | None = None, objective: Objective | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> Fitted:
    """Fit parameters to a target and return the best seen.

    Parameters
    ----------
    requantise : callable (params) -> Params of scalars, optional
        Chooses a quantiser step per tensor. It is asked when the schedule reaches `Plan.quantise_at`, and from then on
        the fit sees quantised weights (straight-through gradients) and only such weights count as best.
    objective : Objective, optional
        Its guidance is an extra loss on blocks; its weights are part of the target already.
    progress : callable (fraction)
        Called after every chunk.
    """
    keep_compiled_code()
    run = _Run(target, params, optimiser, plan, requantise, objective or Objective())
    for fraction in run:
        progress(fraction)
    return run.best


def _judged(params: Params) -> int:
    """Points of the evaluation sample: 65,536, fewer for large networks, which take long to evaluate."""
    weights = sum(w.size for w in params.weights)
    return int(np.clip(1 << int(np.log2(2**33 / weights)), 1 << 13, 1 << 16))


class _Run:
    """State of one fit; iterating it advances one chunk at a time and yields the fraction done."""

    def __init__(self, target: Target, params: Params, optimiser: Optimiser, plan: Plan,
                 requantise: Callable[[Params], Params] | None, objective: Objective) -> None:
        self.plan, self.optimiser, self.guidance = plan, optimiser, objective.guidance
        self.requantise = requantise
        self.requantise_at = list(plan.quantise_at) if requantise else []
        self.evaluation = padded(evaluation_batch(target, _judged(params)))
        self.params = jax.tree.map(jnp.copy, params)
        self.quantiser = no_quantiser(params)
        self.state = optimiser.init(self.params)
        self.source = chunks(target, STEPS, plan.batch, plan.seed)
        self.blocks: BlockSampler | None = None
        if self.guidance is not None:
            self.blocks = BlockSampler(target, self.guidance.block_shape, objective.arrays, objective.origin)
        self.rng = np.random.default_rng(plan.seed + 1)
        self.scale = 1.0
        self.done = 0
        self.best = self._now()

    def _now(self) -> Fitted:
        loss = float(_evaluate(self.params, self.quantiser, self.evaluation))
        return Fitted(jax.tree.map(jnp.copy, self.params), loss, self.done)

    def __iter__(self) -> Iterator[float]:
        begin, allowed = time.monotonic(), self.plan.deadline.remaining
        fraction, pace, checked = 0.0, 0.0, 0.0
        while fraction < 1:
            self._requantise(fraction)
            reach = min(1.0, fraction + max(STEPS / self.plan.steps, pace))
            self._advance(np.linspace(fraction, reach, STEPS, endpoint=False))
            used = (time.monotonic() - begin) / allowed if allowed > 0 else 1.0
            pace = used / (self.done / STEPS)
            fraction = max(self.done / self.plan.steps, used)
            # The last chunk is kept inside the deadline: half a chunk too few costs less than one too many.
            if fraction + pace / 2 >= 1:
                fraction = 1.0
            if fraction >= 1 or fraction - checked >= 0.1:
                checked = fraction
                self._keep_best()
            yield fraction
        self._requantise(1.0)

    def _requantise(self, fraction: float) -> None:
        """Choose quantiser steps when the schedule says so; what was best before no longer counts."""
        due = [at for at in self.requantise_at if at <= fraction]
        if due and self.requantise:
            self.requantise_at = self.requantise_at[len(due) :]
            self.quantiser = self.requantise(self.params)
            self.best = self._now()

    def _advance(self, fraction: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        rates = self.plan.rates(fraction) * np.float32(self.scale)
        guide = self.blocks.draw(self.rng, STEPS) if self.blocks else None
        learn = jnp.float32(1.0 if self.plan.learn_frequency else 0.0)
        self.params, self.state, loss = _run_chunk(
            self.params, self.state, next(self.source), guide, rates, fraction.astype(np.float32), self.quantiser,
            learn, self.optimiser, self.guidance,
        )
        self.done += STEPS
        loss.block_until_ready()

    def _keep_best(self) -> None:
        now = self._now()
        if now.loss < self.best.loss:
            self.best = now
        elif not now.loss < 4 * self.best.loss:
            # Diverged (or not a number): back to the best weights, more carefully.
            self.params = jax.tree.map(jnp.copy, self.best.params)
            self.state = self.optimiser.init(self.params)
            self.scale /= 2
        self.best = replace(self.best, steps=self.done)
