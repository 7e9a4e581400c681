"""The fit loop: chunks of compiled steps, a schedule over steps or time, the best weights kept.

One chunk is one compiled call of `CHUNK_STEPS` optimiser steps, so nothing goes back to the host in between. Gradients are
summed over blocks of `BLOCK_POINTS` points, which keeps activations in the cache. What is compiled depends on the network's shape
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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from microfield.deadline import Deadline
from microfield.nn.guidance import Blocks, BlockSampler
from microfield.nn.network import Params, fake_quantise, forward
from microfield.nn.optimisers import Optimiser
from microfield.nn.sampling import Batch, Target, chunks, evaluation_batch
from microfield.objective import Guidance, GuidedBlock, Objective

CHUNK_STEPS = 16
"""Optimiser steps in one compiled call."""

BLOCK_POINTS = 4096
"""Points whose activations stay in the cache of a core."""

CHECK_EVERY = 0.1
"""The loss is evaluated, and the best weights are kept, about once in this part of a fit."""

DIVERGED = 4.0
"""A fit whose loss is this many times that of the best weights has diverged: it returns to these with half the learning rate."""

EVALUATION_WEIGHTS, EVALUATION_POINTS = 2**33, (1 << 13, 1 << 16)
"""The loss is evaluated on so many points, a power of two, that weights times points are at most the first number, within these
limits: large networks take long to evaluate."""

FIRST_RATE = 1e-3
"""Added to the part of the warm-up that is done, so that the first steps of a fit do something."""

CACHED_SECONDS = 0.2
"""What takes at least this long to compile is kept on disk."""


@dataclass(frozen=True)
class FitSchedule:
    """How long and how fast a fit runs.

    Attributes
    ----------
    steps : int
        Optimiser steps, unless the deadline comes first.
    batch : int
        Points per step.
    rate : float
        Peak learning rate.
    warmup : float in 0..1
        Part of the fit in which the rate rises linearly to its peak; from the first step on it also falls along a cosine, to zero
        at the end.
    start : float in 0..1
        Where on the cosine the fit begins: fine-tuning runs along its tail.
    seed : int
        Of the points that are drawn.
    quantise_at : tuple of float in 0..1
        Parts of the fit done when quantiser steps are chosen (again).
    deadline : Deadline
        The fit shortens its schedule to end in time.
    learn_frequency : bool
        Whether the frequency factor is learned, too.
    goal : float
        The fit ends at the first check at which its loss is at most this; 0 never ends it.
    """

    steps: int
    batch: int
    rate: float
    warmup: float = 0.02
    start: float = 0.0
    seed: int = 0
    quantise_at: tuple[float, ...] = (0.75, 0.9)
    deadline: Deadline = field(default_factory=Deadline)
    learn_frequency: bool = True
    goal: float = 0.0

    def rates(self, fraction: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Learning rates where these parts of the fit, 0 to 1, are done."""
        done = np.clip(fraction, 0, 1)
        rise = np.minimum(1, (done + FIRST_RATE) / max(self.warmup, 1e-6))
        return np.asarray(self.rate * rise * 0.5 * (1 + np.cos(np.pi * self.progress(done))), np.float32)

    def progress(self, fraction: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Parts of the schedule done where these parts of the fit, 0 to 1, are done: they begin at `start`."""
        return np.asarray(self.start + (1.0 - self.start) * np.clip(fraction, 0, 1))


def _ignore(fraction: float) -> None:
    del fraction


@dataclass(frozen=True)
class Hooks:
    """What a fit calls now and then.

    Attributes
    ----------
    requantise : callable (params) -> Params of scalars, optional
        Chooses a quantiser step per tensor (0 leaves it alone). It is asked when the schedule reaches `FitSchedule.quantise_at`.
        From then on the fit sees quantised weights (straight-through gradients), and only such weights count as best.
    progress : callable (fraction in 0..1)
        Called after every chunk.
    """

    requantise: Callable[[Params], Params] | None = None
    progress: Callable[[float], None] = _ignore


@dataclass(frozen=True)
class Fitted:
    """Outcome of a fit: the best parameters seen, their loss on the evaluation sample, and how many steps were taken."""

    params: Params
    loss: float
    steps: int


def keep_compiled_code() -> None:
    """Let jax keep compiled code between processes, in the user's cache folder.

    Does nothing where the user has chosen a folder for jax, set ``MICROFIELD_NO_CACHE``, or the folder cannot be made.
    """
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
    config.update("jax_persistent_cache_min_compile_time_secs", CACHED_SECONDS)


def _block_loss(params: Params, x: jax.Array, y: jax.Array, weight: jax.Array) -> jax.Array:
    """Summed weighted squared error of a few points."""
    return jnp.sum(weight * (forward(params, x) - y) ** 2)


def loss_and_gradient(params: Params, batch: Batch) -> tuple[jax.Array, Params]:
    """Mean weighted squared error of a batch (points, inputs) and its gradient, summed over blocks that fit the cache.

    Batches of more than `BLOCK_POINTS` points must hold a multiple of that.
    """
    n = batch.x.shape[0]
    rows = min(BLOCK_POINTS, n)
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


class _Chunk(NamedTuple):
    """What the steps of a chunk work on; every array has the steps as its first axis.

    ``blocks`` are those of a guidance, or None; ``rates`` and ``progress`` are float32: the learning rate of every step, and the
    part of the schedule that is done before it.
    """

    batches: Batch
    blocks: Blocks | None
    rates: Any
    progress: Any


class Pull(NamedTuple):
    """What holds weights near those of another network that their file is coded against.

    The bits that a difference of r quantiser steps takes are about log2(1 + |r|), and each costs ``price`` of the loss.

    Attributes
    ----------
    centre : Params
        The other network.
    steps : Params of scalars
        Quantiser step of every tensor, above 0.
    price : float32 scalar
        Loss that a bit is worth.
    """

    centre: Params
    steps: Params
    price: Any


class _Guided(NamedTuple):
    """A guidance with the shape and the axes of its blocks."""

    guidance: Guidance
    shape: tuple[int, ...]
    axes: str


@functools.partial(jax.jit, static_argnames=("optimiser", "guided"), donate_argnums=(0,))
def _run_chunk(moving: tuple[Params, Any], chunk: _Chunk, held: tuple[Params, Pull | None], learn: jax.Array, optimiser: Optimiser,
               guided: _Guided | None) -> tuple[tuple[Params, Any], jax.Array]:
    """Take the steps of a chunk.

    ``moving`` holds the parameters and the optimiser's state, ``held`` a quantiser step per tensor and what weights are held near.
    ``learn`` is 1 where the frequency is learned, else 0. Returns parameters and state after the last step, and the mean loss.
    """
    quantiser, pull = held

    def step(moving: tuple[Params, Any], inputs: _Chunk) -> tuple[tuple[Params, Any], jax.Array]:
        """One step of the optimiser, with the gradient of the quantised weights."""
        params, state = moving
        shown = fake_quantise(params, quantiser)
        loss, grads = loss_and_gradient(shown, inputs.batches)
        if guided is not None and inputs.blocks is not None:
            more, more_grads = jax.value_and_grad(_guided_loss(guided, inputs.blocks))(shown)
            given, share = guided.guidance.weight, guided.guidance.share
            weight = given if given is not None else _balance(grads, more_grads, share)
            loss, grads = loss + weight * more, jax.tree.map(lambda g, m: g + weight * m, grads, more_grads)
        if pull is not None:
            grads = jax.tree.map(jnp.add, grads, jax.grad(_pulled)(params, pull))
        grads = grads._replace(frequency=grads.frequency * learn)
        new, state = optimiser.update(params, grads, state, loss=loss, progress=inputs.progress, rate=inputs.rates)
        frequency = jnp.where(learn > 0, new.frequency, params.frequency)
        return (new._replace(frequency=frequency), state), loss

    moving, losses = jax.lax.scan(step, moving, chunk)
    return moving, jnp.mean(losses)


def _pulled(params: Params, pull: Pull) -> jax.Array:
    """The price of the bits that the differences of weights take, `Pull.steps` being the quantiser."""
    tensors = zip(*((*p.weights, *p.biases) for p in (params, pull.centre, pull.steps)), strict=True)
    # A difference of a fraction of a step is no bit yet: the root keeps the slope finite around 0.
    bits = sum(jnp.sum(jnp.log1p(jnp.sqrt(((p - c) / s) ** 2 + 0.25) - 0.5)) for p, c, s in tensors) / np.float32(np.log(2))
    return jnp.asarray(pull.price * bits)


def _balance(grads: Params, more_grads: Params, share: float) -> jax.Array:
    """The weight at which the gradient of a guidance is ``share`` times as long as that of the squared error."""
    ours, its = (jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(g))) for g in (grads, more_grads))
    return jnp.where(its > 0, share * ours / jnp.maximum(its, 1e-30), 0.0)


def _guided_loss(guided: _Guided, block: Blocks) -> Callable[[Params], jax.Array]:
    """The loss of one block as a function of the network's parameters."""

    def shaped(values: Any) -> Any:
        """Values of the block's points (points, n) in the shape of the block, the last axis kept."""
        return values.reshape((*guided.shape, values.shape[-1]))

    known = GuidedBlock(shaped(block.y), shaped(block.y), shaped(block.position), {k: shaped(v) for k, v in block.arrays.items()},
                        shaped(block.scale), shaped(block.offset), guided.axes, block.beside)
    return lambda p: guided.guidance.loss(known._replace(prediction=shaped(forward(p, jnp.asarray(block.x)))))


@jax.jit
def _evaluate(params: Params, quantiser: Params, batch: Batch) -> jax.Array:
    """Mean weighted squared error of a batch whose length is a power of two."""
    shown = fake_quantise(params, quantiser)
    rows = min(BLOCK_POINTS, batch.x.shape[0])
    blocks = jax.tree.map(lambda a: a.reshape(-1, rows, a.shape[-1]), batch)
    return jnp.sum(jax.lax.map(lambda b: _block_loss(shown, *b), blocks)) / batch.y.size


def evaluation_loss(params: Params, batch: Batch, quantiser: Params | None = None) -> float:
    """Mean weighted squared error of a batch of any length; ``quantiser`` holds a step per tensor."""
    return float(_evaluate(params, quantiser if quantiser is not None else no_quantiser(params), padded(batch)))


def padded(batch: Batch) -> Batch:
    """A batch with points of weight 0 added until its length is a power of two, so that few shapes are compiled.

    The other weights grow by as much, so that the mean stays.
    """
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


def fit(target: Target, params: Params, optimiser: Optimiser, schedule: FitSchedule, *, objective: Objective | None = None,
        hooks: Hooks | None = None, pull: Pull | None = None) -> Fitted:
    """Fit parameters to a target and return the best seen.

    Parameters
    ----------
    target : Target
    params : Params
        Where the fit begins; they are not changed.
    optimiser : Optimiser
    schedule : FitSchedule
    objective : Objective, optional
        Its guidance is an extra loss on blocks; its weights are part of the target already.
    hooks : Hooks, optional
        What is called meanwhile.
    pull : Pull, optional
        What the weights are held near.
    """
    keep_compiled_code()
    hooks = hooks or Hooks()
    run = _Run(target, params, optimiser, schedule, objective or Objective(), hooks.requantise)
    run.pull = pull
    for fraction in run:
        hooks.progress(fraction)
    return run.best


def _evaluation_points(params: Params) -> int:
    """Points of the sample that fits are judged by (see `EVALUATION_WEIGHTS`)."""
    weights = sum(w.size for w in params.weights)
    return int(np.clip(1 << int(np.log2(EVALUATION_WEIGHTS / weights)), *EVALUATION_POINTS))


class Pace:
    """How much of a fit is done: its steps over those planned, or its time over that allowed, whichever is more."""

    def __init__(self, schedule: FitSchedule) -> None:
        self.steps = schedule.steps
        self.begin, self.allowed = time.monotonic(), schedule.deadline.remaining
        self.fraction = 0.0
        self.chunk_time = 0.0
        """Part of the allowed time that a chunk takes, 0 without a deadline."""

    def coming(self) -> npt.NDArray[np.float64]:
        """The part of the fit that is done before each step of the next chunk."""
        end = min(1.0, self.fraction + max(CHUNK_STEPS / self.steps, self.chunk_time))
        return np.linspace(self.fraction, end, CHUNK_STEPS, endpoint=False)

    def advance(self, done: int) -> None:
        """Learn that ``done`` steps were taken so far."""
        used = (time.monotonic() - self.begin) / self.allowed if self.allowed > 0 else 1.0
        self.chunk_time = used / (done / CHUNK_STEPS)
        self.fraction = max(done / self.steps, used)
        # Another chunk would overrun the deadline by more than half of itself: stopping now misses it by less.
        if self.fraction + self.chunk_time / 2 >= 1:
            self.fraction = 1.0


class _Run:
    """One fit. Iterating it takes one chunk of steps at a time and yields the part of the fit that is done.

    Attributes
    ----------
    params, state
        Parameters and the optimiser's state as they are now.
    quantiser : Params of scalars
        Step per tensor, 0 until quantiser steps are chosen.
    best : Fitted
        The best weights under the present quantiser.
    pull : Pull, optional
        What the weights are held near.
    slowdown : float
        Factor of the learning rate: halved whenever the fit diverges.
    """

    def __init__(self, target: Target, params: Params, optimiser: Optimiser, schedule: FitSchedule, objective: Objective,
                 requantise: Callable[[Params], Params] | None) -> None:
        self.schedule, self.optimiser = schedule, optimiser
        self.requantise = requantise
        self.requantise_at = list(schedule.quantise_at) if requantise else []
        self.evaluation = padded(evaluation_batch(target, _evaluation_points(params)))
        self.params = jax.tree.map(jnp.copy, params)
        self.quantiser = no_quantiser(params)
        self.state = optimiser.init(self.params)
        self.batches = chunks(target, CHUNK_STEPS, schedule.batch, schedule.seed)
        self.blocks, self.guided = None, None
        if objective.guidance is not None:
            self.blocks = BlockSampler(target, objective.guidance, objective.arrays, objective.origin,
                                       objective.first_channel(target.coordinates.layout))
            self.guided = _Guided(objective.guidance, self.blocks.block_shape, self.blocks.axes)
        self.rng = np.random.default_rng(schedule.seed + 1)
        self.pull: Pull | None = None
        self.slowdown = 1.0
        self.done = 0
        self.best = self._evaluated()

    def __iter__(self) -> Iterator[float]:
        pace, checked = Pace(self.schedule), 0.0
        while pace.fraction < 1:
            self._requantise(pace.fraction)
            self._advance(pace.coming())
            pace.advance(self.done)
            if pace.fraction >= 1 or pace.fraction - checked >= CHECK_EVERY:
                checked = pace.fraction
                self._keep_best()
                if self.best.loss <= self.schedule.goal and not self.requantise_at:
                    return
            yield pace.fraction
        self._requantise(1.0)

    def _evaluated(self) -> Fitted:
        """The present weights with their loss."""
        loss = float(_evaluate(self.params, self.quantiser, self.evaluation))
        return Fitted(jax.tree.map(jnp.copy, self.params), loss, self.done)

    def _requantise(self, fraction: float) -> None:
        """Choose quantiser steps where they are due; what was best under other steps no longer counts."""
        due = [at for at in self.requantise_at if at <= fraction]
        if due and self.requantise:
            self.requantise_at = self.requantise_at[len(due) :]
            self.quantiser = self.requantise(self.params)
            self.best = self._evaluated()

    def _advance(self, fraction: npt.NDArray[np.float64]) -> None:
        """Take one chunk of steps; ``fraction`` is the part of the fit that is done before each."""
        rates = self.schedule.rates(fraction) * np.float32(self.slowdown)
        blocks = self.blocks.draw(self.rng, CHUNK_STEPS) if self.blocks else None
        chunk = _Chunk(next(self.batches), blocks, rates, self.schedule.progress(fraction).astype(np.float32))
        learn = jnp.float32(1.0 if self.schedule.learn_frequency else 0.0)
        (self.params, self.state), loss = _run_chunk(
            (self.params, self.state), chunk, (self.quantiser, self.pull), learn, self.optimiser, self.guided)
        self.done += CHUNK_STEPS
        loss.block_until_ready()

    def _keep_best(self) -> None:
        """Keep the present weights if they are the best so far; return to the best ones if the fit has diverged."""
        now = self._evaluated()
        if now.loss < self.best.loss:
            self.best = now
        elif not now.loss < DIVERGED * self.best.loss:  # Also where the loss is NaN.
            self.params = jax.tree.map(jnp.copy, self.best.params)
            self.state = self.optimiser.init(self.params)
            self.slowdown /= 2
        self.best = replace(self.best, steps=self.done)
