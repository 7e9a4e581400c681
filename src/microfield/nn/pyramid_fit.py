"""Fit a network with a pyramid of latents: squared error plus the price of bits, which keeps the latents at a number of bits.

After C3 (Kim et al. 2024, section 3): while most of the fit runs, uniform noise stands for the rounding of latents; then they are
rounded, with gradients that pass straight through. The bits of a latent are those of a Laplace distribution as wide as that of its
class in the coder, which is asked now and then. Here the price is not given but found: it rises while the latents take more bits
than there is room for, and falls while they take fewer.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from microfield.nn.fit import CHECK_EVERY, CHUNK_STEPS, FitSchedule, Pace, keep_compiled_code, no_quantiser
from microfield.nn.network import Params, fake_quantise, forward
from microfield.nn.optimisers import Optimiser
from microfield.nn.pyramid import Pyramid
from microfield.nn.pyramid_points import chunks
from microfield.nn.sampling import Batch, Target

Latents = tuple[Any, ...]
"""Levels of shape (features, latents along every axis), the finest first."""

LATENT_RATE = 0.06
"""Peak learning rate of latents, in steps of their quantiser."""

MEAN_DECAY, SQUARE_DECAY = 0.9, 0.99
"""Of the gradients of latents and of their squares (Adam)."""

PRICE_BEGINS = 0.05
"""The price of bits is left alone in this first part of a fit, in which latents grow from 0."""

PRICE_GAIN, LARGEST_CHANGE, PRICE_NOW = 40.0, 0.05, 2.0
"""The logarithm of the price grows by the first number times the excess of bits over a whole fit, and by the second times it in one
step at most; it is for the moment higher by the third times it, which keeps the bits from swinging."""

LOSS_DECAY = 0.97
"""Of the mean of the squared errors that prices are multiples of."""

GOLDEN = np.float32(0.618034)
"""Multiples of this fill the numbers from 0 to 1 evenly."""

ROUNDED_FROM = 0.8
"""Latents are rounded from this part of a fit on; before, noise stands for rounding."""

MEASURE_EVERY = 5
"""Chunks of steps between measurements of what the coder makes of the latents."""


class Fitted(NamedTuple):
    """Outcome of a fit: parameters, latents that are not rounded yet, and the number of steps taken."""

    params: Params
    latents: Latents
    steps: int


class _Moving(NamedTuple):
    """What changes from step to step.

    ``latents`` are those of all levels, flat, ``mean`` and ``square`` those of their gradients. ``price`` is the cost of a bit per
    value in mean squared errors, ``error`` the running mean of these, ``excess`` the share by which latents took too many bits in
    the last step, ``steps`` their number.
    """

    params: Params
    state: Any
    latents: jax.Array
    mean: jax.Array
    square: jax.Array
    price: jax.Array
    excess: jax.Array
    error: jax.Array
    steps: jax.Array


class _Step(NamedTuple):
    """Inputs of a step; in a chunk with a leading axis of steps.

    ``rows`` are the interpolation matrices of the positions of the step, (positions, latents), per level and axis.
    """

    batch: Batch
    rows: tuple[tuple[Any, ...], ...]
    rate: Any
    progress: Any


class _Fixed(NamedTuple):
    """What stays the same in a chunk.

    ``quantiser`` holds a step per tensor; ``learn`` is 1 where the frequency is learned; ``noise`` holds numbers in 0..1 and
    ``decay`` the decay of the expected distribution for every latent; ``room`` is the number of bits for latents, ``n_values`` that
    of outputs of all points; ``latent_rate`` is the learning rate of latents over the scheduled one; ``pace`` is the part of the
    schedule that a step is.
    """

    quantiser: Params
    learn: Any
    noise: Any
    decay: Any
    room: Any
    n_values: Any
    latent_rate: Any
    pace: Any


def features_at(latents: Latents, rows: tuple[tuple[Any, ...], ...]) -> jax.Array:
    """Features (points, features) at the outer product of positions along every axis, in C order.

    ``rows`` are matrices (positions, latents) per level and axis.
    """
    found = []
    for level, axes in zip(latents, rows, strict=True):
        values = level
        for matrix in axes:
            # Takes the first axis that is left and appends it interpolated, so that all come in order again.
            values = jnp.tensordot(values, matrix, axes=[[1], [1]])
        found.append(values.reshape(level.shape[0], -1))
    return jnp.concatenate(found).T


def latent_bits(latents: Any, decay: Any) -> jax.Array:
    """Bits of latents, after or in the place of rounding, of Laplace distributions that fall so fast."""
    size = jnp.abs(latents)
    # Probability of the interval of one step around the latent: across the peak of the distribution, or on one side of it.
    near, far = 0.5 * jnp.exp(-decay * jnp.abs(size - 0.5)), 0.5 * jnp.exp(-decay * (size + 0.5))
    return -jnp.log2(jnp.maximum(jnp.where(size < 0.5, 1 - near - far, near - far), 1e-9))


def shown(latents: jax.Array, noise: Any, progress: Any) -> tuple[jax.Array, jax.Array]:
    """Latents as the network sees them, and as their bits are counted.

    Up to `ROUNDED_FROM` both are latents with ``noise`` within half a step. Then the network sees rounded latents, with gradients
    that pass straight through, and bits are counted before rounding: those of whole numbers would not draw small latents to 0.
    """
    noisy, rounded = latents + noise, latents + jax.lax.stop_gradient(jnp.round(latents) - latents)
    late = progress >= ROUNDED_FROM
    return jnp.where(late, rounded, noisy), jnp.where(late, latents, noisy)


def _levels(flat: Any, shapes: Sequence[tuple[int, ...]]) -> tuple[Any, ...]:
    """Flat latents as levels of these shapes."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    return tuple(flat[end - math.prod(shape) : end].reshape(shape) for shape, end in zip(shapes, ends, strict=True))


@functools.partial(jax.jit, static_argnames=("optimiser", "shapes"), donate_argnums=(0,))
def _run_chunk(moving: _Moving, chunk: _Step, fixed: _Fixed, optimiser: Optimiser, shapes: tuple[tuple[int, ...], ...],
               ) -> tuple[_Moving, jax.Array]:
    """Take the steps of a chunk; also the mean squared error of every step."""

    def loss(trained: tuple[Params, jax.Array], given: _Step, noise: jax.Array, price: jax.Array) -> tuple[jax.Array, Any]:
        params, latents = trained
        seen, counted = shown(latents, noise, given.progress)
        x, y, weight = given.batch
        out = forward(fake_quantise(params, fixed.quantiser), jnp.asarray(x), features_at(_levels(seen, shapes), given.rows))
        error, bits = jnp.mean(weight * (out - y) ** 2), jnp.sum(latent_bits(counted, fixed.decay))
        return error + price * bits / fixed.n_values, (error, bits)

    def step(now: _Moving, given: _Step) -> tuple[_Moving, jax.Array]:
        # Numbers that are spread evenly over the steps, for every latent from a random one on.
        noise = jnp.mod(fixed.noise + GOLDEN * now.steps, 1) - 0.5
        price = now.price * jnp.exp(PRICE_NOW * now.excess) * now.error
        slopes, (error, bits) = jax.grad(loss, has_aux=True)((now.params, now.latents), given, noise, price)
        grads = slopes[0]._replace(frequency=slopes[0].frequency * fixed.learn)
        params, state = optimiser.update(now.params, grads, now.state, loss=error, progress=given.progress, rate=given.rate)
        params = params._replace(frequency=jnp.where(fixed.learn > 0, params.frequency, now.params.frequency))
        excess = jnp.clip(bits / fixed.room - 1, -0.5, 0.5)
        change = jnp.exp(jnp.minimum(PRICE_GAIN * fixed.pace, LARGEST_CHANGE) * excess)
        price = jnp.where(given.progress > PRICE_BEGINS, jnp.clip(now.price * change, 1e-3, 1e3), now.price)
        mean = jnp.where(now.steps == 0, error, LOSS_DECAY * now.error + (1 - LOSS_DECAY) * error)
        moved = _adam(now, slopes[1], given.rate * fixed.latent_rate)
        return moved._replace(params=params, state=state, price=price, excess=excess, error=mean, steps=now.steps + 1), error

    return jax.lax.scan(step, moving, chunk)


def _adam(now: _Moving, slope: jax.Array, rate: jax.Array) -> _Moving:
    """One step of Adam (Kingma & Ba 2015) for the latents."""
    n = now.steps.astype(jnp.float32) + 1
    mean = MEAN_DECAY * now.mean + (1 - MEAN_DECAY) * slope
    square = SQUARE_DECAY * now.square + (1 - SQUARE_DECAY) * slope * slope
    step = (mean / (1 - MEAN_DECAY**n)) / (jnp.sqrt(square / (1 - SQUARE_DECAY**n)) + 1e-12)
    return now._replace(latents=now.latents - rate * step, mean=mean, square=square)


Requantise = Callable[[Params, list[npt.NDArray[np.int64]]], Params]


@dataclass(frozen=True)
class Room:
    """How many bits the latents may take.

    Attributes
    ----------
    bits : float
    measure : callable (levels of rounded latents) -> bits, levels of decays
        What the coder makes of latents: the bits that they take, and how fast the distribution falls that it expects of each.
    """

    bits: float
    measure: Callable[[list[npt.NDArray[np.int64]]], tuple[float, list[npt.NDArray[np.float32]]]]


def fit_pyramid(target: Target, pyramid: Pyramid, begin: tuple[Params, Latents], optimiser: Optimiser, schedule: FitSchedule,
                room: Room, requantise: Requantise | None = None, progress: Callable[[float], None] | None = None) -> Fitted:
    """Fit a network with its latents.

    Parameters
    ----------
    target : Target
    pyramid : Pyramid
        Over the coordinate axes of ``target``.
    begin : Params, latents
        Where the fit begins; latents are arrays of `Pyramid.shapes`.
    optimiser : Optimiser
        Of the network; latents have their own.
    schedule : FitSchedule
        `FitSchedule.quantise_at` is when weights are rounded; latents are from `ROUNDED_FROM` on.
    room : Room
    requantise : callable, optional
        Chooses the quantiser steps of the network, as `Hooks.requantise` does, for the rounded latents that there are.
    progress : callable (fraction in 0..1), optional
        Called after every chunk.
    """
    keep_compiled_code()
    run = _Run(target, pyramid, begin, optimiser, schedule, room, requantise)
    for fraction in run:
        if progress is not None:
            progress(fraction)
    return Fitted(run.moving.params, tuple(_levels(np.asarray(run.moving.latents), run.shapes)), run.done)


class _Run:
    """One fit; iterating it takes a chunk of steps at a time and yields the part of the fit that is done."""

    def __init__(self, target: Target, pyramid: Pyramid, begin: tuple[Params, Latents], optimiser: Optimiser,
                 schedule: FitSchedule, room: Room, requantise: Requantise | None) -> None:
        self.schedule, self.optimiser, self.room, self.requantise = schedule, optimiser, room, requantise
        self.due = list(schedule.quantise_at)
        params = jax.tree.map(jnp.copy, begin[0])
        latents = jnp.concatenate([jnp.asarray(z, jnp.float32).ravel() for z in begin[1]])
        self.moving = _Moving(params, optimiser.init(params), latents, jnp.zeros_like(latents), jnp.zeros_like(latents),
                              jnp.float32(1), jnp.float32(0), jnp.float32(1), jnp.int32(0))
        self.shapes = tuple(pyramid.shapes)
        coordinates = target.coordinates
        self.fixed = _Fixed(
            no_quantiser(params), np.float32(schedule.learn_frequency),
            np.random.default_rng(schedule.seed).random(latents.size, np.float32), np.ones(latents.size, np.float32),
            np.float32(room.bits), np.float32(coordinates.n_points * coordinates.n_outputs),
            np.float32(LATENT_RATE / schedule.rate), np.float32(0))
        self.chunks = chunks(target, pyramid, schedule.batch, schedule.seed)
        self.done, self.slowdown = 0, 1.0
        self.kept = jax.tree.map(jnp.copy, self.moving)

    def __iter__(self) -> Iterator[float]:
        pace, checked, chunk, rounds = Pace(self.schedule), 0.0, 0, False
        while pace.fraction < 1:
            self._quantise(pace.fraction)
            late = bool(self.schedule.progress(np.asarray(pace.fraction)) >= ROUNDED_FROM)
            if chunk % MEASURE_EVERY == 0 or late != rounds:
                rounds = late
                self._measure(pace.fraction)
            error = self._advance(pace.coming())
            pace.advance(self.done)
            chunk += 1
            if not np.isfinite(error):
                self.moving, self.slowdown = jax.tree.map(jnp.copy, self.kept), self.slowdown / 2
            elif pace.fraction - checked >= CHECK_EVERY:
                checked, self.kept = pace.fraction, jax.tree.map(jnp.copy, self.moving)
            yield pace.fraction
        self._quantise(1.0)

    def _quantise(self, fraction: float) -> None:
        """Choose quantiser steps of the network where that is due."""
        due = [at for at in self.due if at <= fraction]
        if due and self.requantise:
            self.due = self.due[len(due) :]
            self.fixed = self.fixed._replace(quantiser=self.requantise(self.moving.params, self._rounded()))

    def _measure(self, fraction: float) -> None:
        """Learn what the coder makes of the latents: how they are distributed, and bits for which there is room.

        The room is counted in bits as the fit sees them.
        """
        bits, decays = self.room.measure(self._rounded())
        decay = np.concatenate([d.ravel() for d in decays])
        _, counted = shown(self.moving.latents, self.fixed.noise - np.float32(0.5), self.schedule.progress(np.asarray(fraction)))
        share = np.clip(float(jnp.sum(latent_bits(counted, decay))) / max(bits, 1.0), 0.25, 4.0)
        self.fixed = self.fixed._replace(decay=decay, room=np.float32(self.room.bits * share))

    def _rounded(self) -> list[npt.NDArray[np.int64]]:
        """The latents, rounded."""
        return [np.rint(z).astype(np.int64) for z in self._latents()]

    def _latents(self) -> tuple[npt.NDArray[np.float32], ...]:
        """The latents as they are, level by level."""
        return _levels(np.asarray(self.moving.latents), self.shapes)

    def _advance(self, fraction: npt.NDArray[np.float64]) -> float:
        """Take one chunk of steps; ``fraction`` is the part of the fit that is done before each. The mean squared error."""
        rates = self.schedule.rates(fraction) * np.float32(self.slowdown)
        batch, rows = next(self.chunks)
        chunk = _Step(batch, rows, rates, self.schedule.progress(fraction).astype(np.float32))
        self.fixed = self.fixed._replace(pace=np.float32(chunk.progress[1] - chunk.progress[0]))
        self.moving, errors = _run_chunk(self.moving, chunk, self.fixed, self.optimiser, self.shapes)
        self.done += CHUNK_STEPS
        return float(jnp.mean(errors))
