"""Films coded time point by time point: what is coded is what remains when the prediction is taken away.

A prediction is made of decoded time points, so that errors do not add up: encoder and decoder make it by the same elementwise
operations (`microfield.methods.field.motion`). It is transformed like the time point itself, and every band of it is weighed.
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
from microfield.methods.field.motion_code import WEIGHT_ONE, Decisions, MotionReader
from microfield.methods.field.walk import bands

Weights = npt.NDArray[np.uint8]
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
    """

    motion: Motion
    weights: Weights


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


def weighed(coefficients: Floats, schedule: Schedule, weights: Weights) -> Floats:
    """Coefficients of a prediction (frames, z, y, x), each band times its weights (frames, bands)."""
    factors = weights.astype(np.float32) / np.float32(WEIGHT_ONE)
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

    Attributes
    ----------
    decoded : float32 array (channels, time points, z, y, x)
        Zeros where nothing is decoded yet.
    """

    def __init__(self, groups: Groups) -> None:
        self.groups = groups
        self.decoded = np.zeros((groups.channels, *groups.extents), np.float32)

    def predicted(self, channel: int, generation: Generation, schedule: Schedule, guess: Guess) -> Floats:
        """Coefficients that a generation is expected to have."""
        seen = seen_from(self.decoded[channel], generation, guess.motion)
        return weighed(forward(seen, schedule), schedule, guess.weights[channel])

    def add(self, channel: int, generation: Generation, schedule: Schedule, coefficients: Floats) -> None:
        """A generation of a channel is decoded."""
        self.decoded[channel, generation.frames] = inverse(coefficients, schedule)


def assembled(groups: Groups, guesses: Sequence[Guess | None], values: Sequence[Floats]) -> Floats:
    """Values of shape (channels, batch, z, y, x), as `Groups.inverse` gives them, from what was coded of every group.

    Parameters
    ----------
    groups : Groups
    guesses : sequence of Guess or None
        Of every generation; None for key frames.
    values : sequence of float32 arrays
        One per group.
    """
    assert groups.film is not None
    loop = Loop(groups)
    for k, (generation, guess) in enumerate(zip(groups.film.generations, guesses, strict=True)):
        for channel in range(groups.channels):
            i = k * groups.channels + channel
            schedule, found = groups.order.schedules[i], values[i]
            if guess is not None:
                found = found + loop.predicted(channel, generation, schedule, guess)
            loop.add(channel, generation, schedule, found)
    return loop.decoded.reshape(groups.channels, *groups.volume)


def code_guesses(decisions: Decisions, groups: Groups, given: Sequence[Guess | None]) -> list[Guess | None]:
    """Write what predicts all generations, or read some of the same shapes."""
    assert groups.film is not None
    course, found = Course(field_shape(groups)), list[Guess | None]()
    for generation, guess in zip(groups.film.generations, given, strict=True):
        if guess is None:
            found.append(None)
            continue
        motion = motion_code.code_motion(decisions, guess.motion, course.expected(generation))
        weights = [motion_code.code_weights(decisions, channel) for channel in guess.weights]
        course.add(generation, motion.vectors)
        found.append(Guess(motion, np.stack(weights)))
    return found


def packed(side: bytes, decisions: bytes) -> bytes:
    """The bytes of `motion_code.MotionWriter.finish` with their lengths."""
    return varint.encode((len(side), len(decisions))) + side + decisions


def unpacked(data: bytes, groups: Groups) -> tuple[list[Guess | None], bytes]:
    """What predicts the generations of a film, and the bytes that follow.

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
    empty = [nothing(groups, generation, k) for k, generation in enumerate(groups.film.generations)]
    limit = sum(DECISIONS_A_BLOCK * g.motion.vectors.size + g.weights.size for g in empty if g is not None)
    reader = MotionReader(data[at : at + n_side], data[at + n_side : end], limit)
    found = code_guesses(reader, groups, empty)
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
    return Guess(motion, np.zeros((groups.channels, n, len(boxes(schedule))), np.uint8))


def field_shape(groups: Groups) -> tuple[int, int, int]:
    """Planes of a time point, rows and columns of blocks."""
    assert groups.film is not None
    _, z, y, x = groups.extents
    rows, columns = blocks((y, x), groups.film.block)
    return z, rows, columns

