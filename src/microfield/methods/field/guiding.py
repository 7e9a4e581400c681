"""Guidance: what is coded is moved so that the copy does what the guidance wants; the decoder knows nothing of it.

A guidance is a loss L of the decoded part. Around what an attempt gave it is about linear, and the squared error to the original
plus m times L is, but for a constant, the squared error to the original moved by -m/2 times the gradient of L. Synthesis is linear,
so the quantiser need only be given other coefficients: those that the guidance wants are larger now and are kept, others fall into
the dead zone. Coding, decoding and the gradient are repeated, and what the guidance still wants adds up while the price allows it.

The price is what the moves take away of quality at equal bytes: squared error, and bits at the exchange rate of the quantiser.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from microfield.deadline import Deadline
from microfield.guidance.whole import Seen, WholePart, whole_part
from microfield.image import Layout
from microfield.methods.field.channels import Channels
from microfield.methods.field.groups import extents_of, gathered
from microfield.methods.field.lifting import Floats
from microfield.objective import Objective

Scalar = TypeVar("Scalar", bound=np.generic)

PRICE = 0.25
"""What a guidance may cost, in dB of PSNR at equal bytes, about."""
FIRST_MOVE = 0.05
"""The squared length of the first move, beside the squared error."""
KEPT = 0.7
"""What is kept of the moves of the rounds before."""
LONGER, SHORTER = 1.25, 0.6
"""Moves grow by the first factor until the price forbids it for the first time, and shrink by the second whenever it does."""
ROUNDS = (1, 2, 3, 4, 4, 5, 5, 5, 5, 5)
"""Rounds by effort: 16 of them gained no more than 5."""


class Coded(NamedTuple):
    """An attempt: its bytes and what it decodes to, of the shape of the values that were coded."""

    nbytes: int
    values: Floats


@dataclass(frozen=True)
class Guided:
    """The outcome of `guided`: values to code in place of those of the original, and whether the time ran out."""

    values: Floats
    late: bool


@dataclass(frozen=True)
class Scale:
    """Decorrelated values (coded, frames, Y, X) to normalised fields, and gradients the other way."""

    channels: Channels
    volumes: bool
    extents: tuple[int, int, int, int]

    def fields(self, values: Floats) -> Floats:
        """Normalised fields (n, y, x) or (n, z, y, x)."""
        found = values + self.channels.dark[:, None, None, None]
        if self.channels.rotation is not None:
            self.channels.rotation.inverse(found)
        found /= self.channels.gain.astype(np.float32)[:, None, None, None]
        return self._cut(found)

    def back(self, slope: Floats) -> Floats:
        """The gradient with respect to decorrelated values from that with respect to fields."""
        found = slope.reshape(len(self.channels.gain), -1, *self.extents[2:])
        found = found / self.channels.gain.astype(np.float32)[:, None, None, None]
        if self.channels.rotation is not None:
            self.channels.rotation.forward(found)
        return found

    def of_array(self, array: npt.NDArray[Any], layout: Layout) -> npt.NDArray[Any]:
        """An array of the part's shape as fields."""
        return self._cut(gathered(array, layout)[self.channels.coded])

    def _cut(self, array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        _, z, y, x = self.extents
        return array.reshape(-1, z, y, x) if self.volumes else array.reshape(-1, y, x)


def part_of(objective: Objective, block: npt.NDArray[np.generic], layout: Layout, channels: Channels) -> tuple[WholePart, Scale]:
    """The guidance of a part, and how its values become what the guidance sees."""
    assert objective.guidance is not None
    extents = extents_of(layout)
    scale = Scale(channels, extents[1] > 1, extents)
    fields = scale.fields(channels.forward(gathered(block, layout)))
    per_channel = len(fields) // len(channels.gain)
    low, span = (np.repeat(v[channels.coded], per_channel) for v in (channels.low, channels.high - channels.low))
    arrays = {**objective.arrays, **objective.guidance.arrays(block, layout)}
    first = dict(zip(layout.axes, objective.origin or (0,) * len(layout.axes), strict=True))
    origin = tuple(first.get(axis, 0) for axis in ("ZYX" if scale.volumes else "YX"))
    known = {name: scale.of_array(array, layout) for name, array in arrays.items()}
    numbers = objective.first_channel(layout) + np.repeat(np.flatnonzero(channels.coded), per_channel)
    return whole_part(objective.guidance, fields, Seen(low, span, known, origin, numbers)), scale


def guided(original: Floats, code: Callable[[Floats], Coded], seen: tuple[WholePart, Scale], byte_price: float, rounds: int,
           deadline: Deadline) -> Guided:
    """What to code so that the copy does what a guidance wants.

    Parameters
    ----------
    original : float32 array (coded, frames, Y, X)
        Decorrelated values of the part.
    code : callable
        Codes values and decodes them.
    seen : tuple
        From `part_of`.
    byte_price : float
        Squared error that a byte is worth.
    rounds : int
    deadline : Deadline
        No round begins that would end after it.
    """
    part, scale = seen

    def cost(coded: Coded) -> float:
        return float(np.sum((coded.values - original) ** 2, dtype=np.float64)) + byte_price * coded.nbytes

    plain = coded = code(original)
    error = float(np.sum((plain.values - original) ** 2, dtype=np.float64))
    allowed = (10 ** (PRICE / 10) - 1) * error
    base, move = cost(plain), 0.0
    best, shift, tried = np.zeros_like(original), np.zeros_like(original), np.zeros_like(original)
    least, longer = math.inf, LONGER
    for number in range(rounds + 1):
        begin = deadline.remaining
        loss, slope = part.gradient(scale.fields(coded.values), slope=number < rounds)
        dear = cost(coded) - base > allowed
        if loss < least and not dear:
            least, best = loss, tried
        if number == rounds or not loss:
            break
        direction = scale.back(slope)
        power = float(np.sum(direction**2, dtype=np.float64))
        if not power:
            break
        if not number:
            move = math.sqrt(FIRST_MOVE * error / power)
        elif dear:
            shift, move, longer = shift * np.float32(SHORTER), move * SHORTER, 1.0
        else:
            move *= longer
        shift = np.float32(KEPT) * shift - np.float32(move) * direction
        tried = shift
        coded = code(original + shift)
        if deadline.remaining < 3 * (begin - deadline.remaining):
            return Guided(original + best, True)
    return Guided(original + best, False)
