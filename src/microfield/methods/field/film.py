"""Films coded time point by time point: what is coded is what remains when the prediction is taken away.

A prediction is made of decoded time points, so that errors do not add up: encoder and decoder make it by the same elementwise
operations (`microfield.methods.field.motion`). It is transformed like the time point itself, and every band of it is weighed. From
bitstream version 4 on decoded time points are refined by the network in whole numbers before others are predicted from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microfield.coding import varint
from microfield.errors import FormatError
from microfield.methods.field import motion_code
from microfield.methods.field.coarsest import coarsest_box
from microfield.methods.field.film_order import Course, Generation
from microfield.methods.field.groups import Groups
from microfield.methods.field.lifting import Floats, Schedule, forward, inverse
from microfield.methods.field.motion import Motion, blocks, predicted
from microfield.methods.field.motion_code import ALPHA_ONE, GAIN_NONE, LARGEST_ALPHA, WEIGHT_ONE, Decisions, MotionReader
from microfield.methods.field.refine_whole import WholeRefinement
from microfield.methods.field.walk import bands

Weights = npt.NDArray[np.uint8]
Alphas = npt.NDArray[np.uint8]
Gains = npt.NDArray[np.uint8]
DECISIONS_A_BLOCK = 16
"""Modes and vectors of a block take fewer decisions."""


@dataclass(frozen=True)
class Guess:
    """What predicts a generation.

    Attributes
    ----------
    motion : Motion
        Its planes are those of the first time point, then those of the second, ...
    weights : uint8 array (channels, frames, bands)
        In parts of `motion_code.WEIGHT_ONE`; the coarsest approximation is the last band.
    gains : uint8 array (channels, frames)
        By how much time points are brighter than what predicts them, see `gain_of`: bleaching, a lamp that flickers.
    """

    motion: Motion
    weights: Weights
    gains: Gains


@dataclass(frozen=True)
class Decided:
    """What the encoder of a film decided.

    Attributes
    ----------
    guesses : list of Guess or None
        What predicts every generation; None for key frames.
    alphas : uint8 array (generations, channels)
        Factors of the corrections of decoded time points, in parts of `motion_code.ALPHA_ONE`.
    """

    guesses: list[Guess | None]
    alphas: Alphas


@dataclass(frozen=True)
class Refiner:
    """What refines decoded time points.

    Attributes
    ----------
    network : WholeRefinement
    step : float
        Quantiser step of key frames.
    """

    network: WholeRefinement
    step: float

    def correction(self, decoded: Floats, scale: float) -> Floats:
        """What decoded time points (frames, z, y, x), whose quantiser step is ``scale`` times that of key frames, lack."""
        return self.network.correction(decoded, self.step * scale, 0.0)


def best_share(correction: Floats, lacking: Floats) -> float:
    """The factor, at least 0, with which a correction leaves least of what is lacking."""
    along, power = (float(np.sum(correction * other, dtype=np.float64)) for other in (lacking, correction))
    return max(0.0, along / power) if power > 0 else 0.0


def boxes(schedule: Schedule) -> list[tuple[slice, ...]]:
    """Where the bands of a schedule lie, in the order of coding, and last the coarsest approximation."""
    return [*(band.box for band in bands(schedule)), coarsest_box(schedule)]


def seen_from(decoded: Floats, generation: Generation, motion: Motion) -> Floats:
    """A channel of a generation as its references say, float32 (frames, z, y, x).

    Parameters
    ----------
    decoded : float32 array (time points, z, y, x)
    generation : Generation
    motion : Motion
    """
    references = decoded[generation.references].swapaxes(1, 2)
    planes = references.reshape(-1, *references.shape[2:])
    return predicted(planes, motion).reshape(len(generation.frames), *decoded.shape[1:])


def gain_of(codes: Gains) -> Floats:
    """Factors 0.5 to 1.48 of codes 0 to 63, float32."""
    return (codes.astype(np.float32) - np.float32(GAIN_NONE)) / np.float32(motion_code.GAIN_STEPS) + np.float32(1)


def weighed(coefficients: Floats, schedule: Schedule, weights: Weights, gains: Gains) -> Floats:
    """Coefficients of a prediction (frames, z, y, x), each band times its weights (frames, bands) and its gains (frames,)."""
    factors = weights.astype(np.float32) / np.float32(WEIGHT_ONE) * gain_of(gains)[:, None]
    out = np.empty_like(coefficients)
    for k, box in enumerate(boxes(schedule)):
        np.multiply(coefficients[box], factors[:, k, None, None, None], out=out[box])
    return out


class Loop:
    """The decoded time points, as they are added.

    Parameters
    ----------
    groups : Groups
        Of a film.
    refiner : Refiner, optional

    Attributes
    ----------
    decoded : float32 array (channels, time points, z, y, x)
        Zeros where nothing is decoded yet.
    """

    def __init__(self, groups: Groups, refiner: Refiner | None = None) -> None:
        assert groups.film is not None
        self.groups, self.film, self.refiner = groups, groups.film, refiner
        self.decoded = np.zeros((groups.channels, *groups.extents), np.float32)

    def predicted(self, channel: int, generation: Generation, schedule: Schedule, guess: Guess) -> Floats:
        """Coefficients that a generation is expected to have."""
        seen = seen_from(self.decoded[channel], generation, guess.motion)
        return weighed(forward(seen, schedule), schedule, guess.weights[channel], guess.gains[channel])

    def add(self, channel: int, generation: Generation, schedule: Schedule, coefficients: Floats, alpha: int = 0) -> None:
        """A generation of a channel is decoded, and refined by so many parts of `ALPHA_ONE` of its correction."""
        found = inverse(coefficients, schedule)
        if alpha and self.refiner is not None:
            found += np.float32(alpha / ALPHA_ONE) * self.refiner.correction(found, self.film.scale(generation.depth))
        self.decoded[channel, generation.frames] = found

    def add_like(self, channel: int, generation: Generation, schedule: Schedule, coefficients: Floats, wanted: Floats) -> int:
        """The same with the alpha, which is returned, that brings the generation closest to what is wanted (frames, z, y, x)."""
        found, alpha = inverse(coefficients, schedule), 0
        if self.refiner is not None:
            correction = self.refiner.correction(found, self.film.scale(generation.depth))
            alpha = min(LARGEST_ALPHA, round(ALPHA_ONE * best_share(correction, wanted - found)))
            found += np.float32(alpha / ALPHA_ONE) * correction
        self.decoded[channel, generation.frames] = found
        return alpha


def assembled(groups: Groups, decided: Decided, values: Sequence[Floats], refiner: Refiner | None = None) -> Floats:
    """Values of shape (channels, batch, z, y, x), as `Groups.inverse` gives them, from what was coded of every group.

    Parameters
    ----------
    groups : Groups
    decided : Decided
    values : sequence of float32 arrays
        One per group.
    refiner : Refiner, optional
    """
    loop = Loop(groups, refiner)
    for k, (generation, guess) in enumerate(zip(loop.film.generations, decided.guesses, strict=True)):
        for channel in range(groups.channels):
            i = k * groups.channels + channel
            schedule, found = groups.order.schedules[i], values[i]
            if guess is not None:
                found = found + loop.predicted(channel, generation, schedule, guess)
            loop.add(channel, generation, schedule, found, int(decided.alphas[k, channel]))
    return loop.decoded.reshape(groups.channels, *groups.volume)


def code_decided(decisions: Decisions, groups: Groups, given: Decided, refined: bool) -> Decided:
    """Write what was decided of a film, or read some of the same shapes; alphas and gains only where time points are refined."""
    alphas = motion_code.code_alphas(decisions, given.alphas) if refined else np.zeros_like(given.alphas)
    return Decided(code_guesses(decisions, groups, given.guesses, refined), alphas)


def code_guesses(decisions: Decisions, groups: Groups, given: Sequence[Guess | None], with_gains: bool) -> list[Guess | None]:
    """Write what predicts all generations, or read some of the same shapes."""
    assert groups.film is not None
    course, found = Course(field_shape(groups)), list[Guess | None]()
    for generation, guess in zip(groups.film.generations, given, strict=True):
        if guess is None:
            found.append(None)
            continue
        motion = motion_code.code_motion(decisions, guess.motion, course.expected(generation))
        weights = [motion_code.code_weights(decisions, channel) for channel in guess.weights]
        gains = motion_code.code_gains(decisions, guess.gains) if with_gains else np.full_like(guess.gains, GAIN_NONE)
        course.add(generation, motion.vectors)
        found.append(Guess(motion, np.stack(weights), gains))
    return found


def packed(side: bytes, decisions: bytes) -> bytes:
    """The bytes of `motion_code.MotionWriter.finish` with their lengths."""
    return varint.encode((len(side), len(decisions))) + side + decisions


def unpacked(data: bytes, groups: Groups, refined: bool) -> tuple[Decided, bytes]:
    """What was decided of a film, whose time points may be refined, and the bytes that follow.

    Raises
    ------
    FormatError
        If the bytes are damaged.
    """
    assert groups.film is not None
    (n_side, n_decisions), at = varint.decode(data, 2, 0)
    end = at + n_side + n_decisions
    if end > len(data):
        raise FormatError("A part ends inside its motion.")
    generations = groups.film.generations
    empty = [nothing(groups, generation, k) for k, generation in enumerate(generations)]
    limit = sum(DECISIONS_A_BLOCK * g.motion.vectors.size + g.weights.size for g in empty if g is not None)
    reader = MotionReader(data[at : at + n_side], data[at + n_side : end], limit)
    alphas = np.zeros((len(generations), groups.channels), np.uint8)
    found = code_decided(reader, groups, Decided(empty, alphas), refined)
    reader.finish()
    return found, data[end:]


def nothing(groups: Groups, generation: Generation, number: int) -> Guess | None:
    """A guess of the shapes that a generation, by its number, has; None for key frames."""
    assert groups.film is not None
    n, r = generation.references.shape
    if not r:
        return None
    planes, rows, columns = field_shape(groups)
    vectors, modes = np.zeros((n * planes, r, rows, columns, 2), np.int32), np.zeros((n * planes, rows, columns), np.uint8)
    motion = Motion(groups.film.block, vectors, modes)
    schedule = groups.order.schedules[number * groups.channels]
    weights = np.zeros((groups.channels, n, len(boxes(schedule))), np.uint8)
    return Guess(motion, weights, np.full((groups.channels, n), GAIN_NONE, np.uint8))


def field_shape(groups: Groups) -> tuple[int, int, int]:
    """Planes of a time point, rows and columns of blocks."""
    assert groups.film is not None
    _, z, y, x = groups.extents
    rows, columns = blocks((y, x), groups.film.block)
    return z, rows, columns

