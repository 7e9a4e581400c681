"""What the encoder of a film decides time point by time point: motion, and weights of bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from microfield.methods.field import film as films
from microfield.methods.field import motion_code, motion_search
from microfield.methods.field.film import Decided, Gains, Guess, Loop, Refiner, Weights, field_shape, seen_from, weighed
from microfield.methods.field.film_order import Course, Generation
from microfield.methods.field.groups import Groups
from microfield.methods.field.lifting import Floats, Schedule, forward, inverse
from microfield.methods.field.motion import NONE, Motion, Vectors
from microfield.methods.field.motion_code import GAIN_NONE, GAIN_STEPS, WEIGHT_ONE, MotionWriter
from microfield.methods.field.quantise import Codes, usual_codes
from microfield.methods.field.refine_whole import WholeRefinement
from microfield.methods.field.structure import estimate

BIT = 0.8
"""Squared quantiser steps of error of a prediction that a bit of motion is worth; measured on real films."""
FLICKER = 0.1
"""Motion is searched in references as bright as what is wanted where their means differ by so much (natural logarithm)."""
BRIGHTER = 0.8
"""A gain is used where it leaves less than this share of the error."""
CLEAR = 3.0
"""Details above so many quantiser steps say what the gain is."""
SAME_STEP = 1.05
"""Motion that was found with a quantiser step is used again with others up to so many times larger or smaller; with 1.4 a pan loses
0.8 dB."""


@dataclass(frozen=True)
class Found:
    """What an attempt found out, for the next one.

    Attributes
    ----------
    decided : Decided
        Of the film.
    step : float
        Quantiser step at which motion was searched.
    codes : uint8 array (3,)
        Of the centroids that were best.
    """

    decided: Decided
    step: float
    codes: Codes = field(default_factory=usual_codes)


class FilmPredictor:
    """Searches what predicts a generation best when its first channel is asked for.

    Parameters
    ----------
    groups : Groups
        Of a film.
    coefficients : list of float32 arrays
        Of the film, one per group.
    step : float
        Quantiser step of key frames.
    before : Found, optional
        Of an earlier attempt.
    network : WholeRefinement, optional
        Refines decoded time points.
    """

    def __init__(self, groups: Groups, coefficients: Sequence[Floats], step: float, before: Found | None = None,
                 network: WholeRefinement | None = None) -> None:
        assert groups.film is not None
        self.film, self.groups, self.coefficients, self.step = groups.film, groups, coefficients, step
        self._before = None if before is None else before.decided.guesses
        self._again = before is not None and 1 / SAME_STEP < before.step / step < SAME_STEP
        self.searched_at = before.step if before is not None and self._again else step
        self._loop = Loop(groups, None if network is None else Refiner(network, step))
        self._course = Course(field_shape(groups))
        self.decided = Decided([], np.zeros((len(groups.film.generations), groups.channels), np.uint8))

    def of(self, group: int) -> Floats | None:
        """The coefficients that a group is expected to have."""
        number, channel = divmod(group, self.groups.channels)
        generation, schedule = self.film.generations[number], self.groups.order.schedules[group]
        if not channel:
            self.decided.guesses.append(self._guess(number, generation, schedule) if generation.references.size else None)
        guess = self.decided.guesses[number]
        return None if guess is None else self._loop.predicted(channel, generation, schedule, guess)

    def decoded(self, group: int, coefficients: Floats) -> None:
        """Keep what the decoder will have."""
        number, channel = divmod(group, self.groups.channels)
        generation, schedule = self.film.generations[number], self.groups.order.schedules[group]
        wanted = inverse(self.coefficients[group], schedule)
        self.decided.alphas[number, channel] = self._loop.add_like(channel, generation, schedule, coefficients, wanted)

    def assembled(self) -> Floats:
        """The film as it is decoded, (channels, batch, z, y, x)."""
        return self._loop.decoded.reshape(self.groups.channels, *self.groups.volume)

    def finish(self) -> bytes:
        """What predicts all generations, as bytes."""
        writer = MotionWriter()
        films.code_decided(writer, self.groups, self.decided, refined=True)
        return films.packed(*writer.finish())

    def _guess(self, number: int, generation: Generation, schedule: Schedule) -> Guess:
        """What predicts a generation."""
        first = number * self.groups.channels
        wanted = [self.coefficients[first + channel] for channel in range(self.groups.channels)]
        expected = self._course.expected(generation)
        before = self._before[number] if self._before is not None else None
        step = self.step * self.film.scale(generation.depth)
        if before is not None and self._again:
            motion = before.motion
        else:
            near = None if before is None else before.motion.vectors
            motion = self._motion(generation, [inverse(w, schedule) for w in wanted], expected, step, near)
        motion = motion_code.code_motion(MotionWriter(), motion, expected)
        weights, gains = [], []
        for channel, coefficients in enumerate(wanted):
            seen = forward(seen_from(self._loop.decoded[channel], generation, motion), schedule)
            gains.append(gains_of(coefficients, seen, schedule, step))
            weights.append(weights_of(coefficients, seen, schedule, step, gains[-1]))
        motion = self._without_unused(motion, np.stack(weights), expected)
        self._course.add(generation, motion.vectors)
        return Guess(motion, np.stack(weights), np.stack(gains))

    def _motion(self, generation: Generation, wanted: list[Floats], expected: Vectors, step: float, near: Vectors | None,
                ) -> Motion:
        """Search the motion of a generation, whose channels are wanted, each (frames, z, y, x)."""
        planes = np.stack([w.reshape(-1, *w.shape[2:]) for w in wanted], axis=1)
        references = []
        for decoded, one in zip(self._loop.decoded, wanted, strict=True):
            taken = _as_bright(decoded[generation.references], one).swapaxes(1, 2)
            references.append(taken.reshape(-1, *taken.shape[2:]))
        return motion_search.searched(planes, np.stack(references, axis=2), self.film.block, BIT * step**2, expected, near)

    def _without_unused(self, motion: Motion, weights: Weights, expected: Vectors) -> Motion:
        """The motion, with time points of which no channel is predicted cleared."""
        idle = np.repeat(~weights.any(axis=(0, 2)), self.groups.extents[1])
        if not idle.any():
            return motion
        modes = motion.modes.copy()
        modes[idle] = NONE
        return motion_code.code_motion(MotionWriter(), replace(motion, modes=modes), expected)


def _as_bright(references: Floats, wanted: Floats) -> Floats:
    """References (frames, references, z, y, x), made as bright as what is wanted (frames, z, y, x) where they are far from it."""
    dark, bright = (a.mean(axis=(-3, -2, -1)) for a in (references, wanted))
    ratio = np.divide(np.broadcast_to(bright[:, None], dark.shape), dark, out=np.ones_like(dark), where=dark > 0)
    far = (ratio > 0) & (np.abs(np.log(np.maximum(ratio, 1e-6))) > FLICKER)
    return references * np.where(far, ratio, 1).astype(np.float32)[..., None, None, None]


def gains_of(wanted: Floats, seen: Floats, schedule: Schedule, step: float) -> Gains:
    """Codes of the gains (frames,) that bring what is seen closest to what is wanted.

    Both are coefficients (frames, z, y, x). Details well above the quantiser step decide: brightness that is added to a time point
    changes the coarsest approximation alone, and small details are noise. The gain is 1 where another one leaves nearly as much.
    """
    clear = np.abs(seen) > CLEAR * step
    clear[films.boxes(schedule)[-1]] = False
    first, second = (np.where(clear, a, 0).reshape(len(a), -1).astype(np.float64) for a in (wanted, seen))
    power = np.square(second).sum(axis=1)
    share = np.divide((first * second).sum(axis=1), power, out=np.ones_like(power), where=power > 0)
    codes = np.clip(np.rint((share - 1) * GAIN_STEPS) + GAIN_NONE, 0, 2 * GAIN_NONE - 1).astype(np.uint8)
    left = np.square(first - second * films.gain_of(codes)[:, None]).sum(axis=1)
    pays = left < BRIGHTER * np.square(first - second).sum(axis=1)
    return np.where(pays, codes, GAIN_NONE).astype(np.uint8)


def weights_of(wanted: Floats, seen: Floats, schedule: Schedule, step: float, gains: Gains) -> Weights:
    """Weights of the bands, (frames, bands), that leave least of what is wanted; all 0 where coding it as it is costs less.

    Both are coefficients (frames, z, y, x); what is seen becomes brighter by the gains (frames,).
    """
    bright, where = films.gain_of(gains), films.boxes(schedule)
    weights = np.zeros((len(wanted), len(where)), np.uint8)
    for k, box in enumerate(where):
        along = np.einsum("nzyx,nzyx->n", wanted[box], seen[box], dtype=np.float64)
        power = np.einsum("nzyx,nzyx->n", seen[box], seen[box], dtype=np.float64)
        share = np.divide(along, power, out=np.zeros_like(along), where=power > 0) / bright
        weights[:, k] = np.clip(np.rint(share * WEIGHT_ONE), 0, WEIGHT_ONE)
    rest = wanted - weighed(seen, schedule, weights, gains)
    for n in range(len(wanted)):
        alone, left = (sum(estimate(a[n : n + 1][(slice(None), *box[1:])], step) for box in where) for a in (wanted, rest))
        if alone <= left:
            weights[n] = 0
    return weights
