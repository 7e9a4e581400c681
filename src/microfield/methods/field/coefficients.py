"""Coefficients to bytes and back: one walk that quantises by rate and distortion as it encodes, one that decodes.

What is stored: three centroids; the change of the context network; group by group the prediction residuals of the coarsest
approximation and the mean magnitude of every band (a hint for the context network), both in Rice codes; then the symbols of
all coefficients (`microfield.methods.field.symbols`) in the order of the walk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from microfield.coding import varint
from microfield.coding.bits import BitReader, BitWriter
from microfield.errors import FormatError
from microfield.methods.field import sign_scales, tuning
from microfield.methods.field.coarsest import coarsest_box, from_residuals, residuals
from microfield.methods.field.coders import CoefficientDecoder, CoefficientEncoder, ContextModel, read_means
from microfield.methods.field.lifting import Floats, Schedule
from microfield.methods.field.network import ContextNet
from microfield.methods.field.quantise import CENTROIDS, PLAIN, Codes, Worth, centroids, measure_centroids
from microfield.methods.field.sign_scales import kinds_of
from microfield.methods.field.symbols import SymbolReader, SymbolWriter
from microfield.methods.field.tuning import Changes, Seen
from microfield.methods.field.walk import Ints, Visitor, Walk, reconstruct, walk
from microfield.threads import default_threads, single_threaded_blas


@dataclass(frozen=True)
class CodingOrder:
    """Which groups are coded, and in which order.

    Attributes
    ----------
    schedules : tuple of Schedule
        One per group, of arrays (batch, z, y, x) whose batch axis is never split.
    references : tuple of int or None
        For every group the number of an earlier one of the same shapes whose magnitudes serve as context, or None.
    scales : tuple of float, optional
        What the quantiser step of every group is multiplied by. With it groups are coded one after the other, as predictions need;
        without it all groups are coded level by level.
    predicted : frozenset of int
        The groups of which only what a prediction leaves is coded.
    """

    schedules: tuple[Schedule, ...]
    references: tuple[int | None, ...]
    scales: tuple[float, ...] | None = None
    predicted: frozenset[int] = frozenset()

    def steps(self, step: float) -> list[float]:
        """The quantiser step of every group."""
        return [step] * len(self.schedules) if self.scales is None else [step * scale for scale in self.scales]

    @property
    def size(self) -> int:
        """Number of coefficients in all groups."""
        return sum(math.prod(schedule.shape) for schedule in self.schedules)


@dataclass(frozen=True)
class EncodedCoefficients:
    """The outcome of `encode`.

    Attributes
    ----------
    data : bytes
    values : list of float32 arrays
        Reconstructed coefficients of every group, as `decode` gives them.
    codes : uint8 array (3,)
        Those of the centroids that would have been best.
    """

    data: bytes
    values: list[Floats]
    codes: Codes


class Predictor(Protocol):
    """Predicts groups from those that were coded before; what is coded is the difference."""

    def of(self, group: int) -> Floats | None:
        """The coefficients that a group, by its number, is expected to have."""
        ...

    def decoded(self, group: int, coefficients: Floats) -> None:
        """The group was coded; these are the coefficients that the decoder will have."""
        ...


@dataclass(frozen=True)
class Beforehand:
    """What an encoder of predicted groups must know before it begins.

    Attributes
    ----------
    predictor : Predictor
    codes : uint8 array (3,)
        Of the centroids: predictions are made of reconstructed coefficients.
    """

    predictor: Predictor
    codes: Codes


def encode(coefficients: Sequence[Floats], order: CodingOrder, step: float, contexts: ContextNet, worth: Worth = PLAIN,
           changes: Changes | None = None, seen: Seen | None = None, beforehand: Beforehand | None = None) -> EncodedCoefficients:
    """Quantise and encode coefficients.

    Parameters
    ----------
    coefficients : sequence of float32 arrays
        One per group, finite, of the shapes of the schedules.
    order : CodingOrder
    step : float
        Quantiser step, the same for all.
    contexts : ContextNet
        As shipped.
    worth : Worth
        What errors and bits count.
    changes : Changes, optional
        Of the context network; they are stored.
    seen : Seen, optional
        Gathers a sample of coefficients for `tuning.tuned`.
    beforehand : Beforehand, optional
        Where groups are predicted from others.
    """
    side, symbols = BitWriter(), SymbolWriter(contexts.signs is not None)
    tuning.write(side, changes, contexts)
    if changes is not None:
        contexts = tuning.changed(contexts, changes)
    with _workers() as pool:
        coder = Coder(order, order.steps(step), worth, ContextModel(contexts, pool), symbols, seen)
        if beforehand is None:
            encoders = coder.together(coefficients)
        else:
            coefficients, encoders = coder.in_turn(coefficients, beforehand)
    for encoder, schedule in zip(encoders, order.schedules, strict=True):
        side.rice(residuals(encoder.quantised[coarsest_box(schedule)]))
        side.rice(np.diff(encoder.means, prepend=0).tolist())
    if contexts.signs is not None:
        sign_scales.write(side, symbols.finish_signs(kinds_of(order.schedules)))
    quantised = [encoder.quantised for encoder in encoders]
    measured = measure_centroids(quantised, _on_one_scale(coefficients, order), step, worth.weights)
    codes = measured if beforehand is None else beforehand.codes
    numbers, (decisions, signs) = side.finish(), symbols.finish()
    lengths = (len(numbers),) if contexts.signs is not None else (len(numbers), len(decisions))
    data = codes.tobytes() + varint.encode(lengths) + numbers + decisions + signs
    values = [_reconstructed(q, codes, size) for q, size in zip(quantised, order.steps(step), strict=True)]
    return EncodedCoefficients(data, values, measured)


@dataclass(frozen=True)
class Coder:
    """Codes the groups of an order: together, level by level, or in turn, each predicted from those before."""

    order: CodingOrder
    steps: Sequence[float]
    worth: Worth
    model: ContextModel
    symbols: SymbolWriter
    seen: Seen | None

    def together(self, coefficients: Sequence[Floats]) -> list[CoefficientEncoder]:
        """Code all groups."""
        quantisers = self.worth.quantisers(self.steps)
        encoders = [CoefficientEncoder(group, schedule, quantiser, self.model, self.symbols, self.seen)
                    for group, schedule, quantiser in zip(coefficients, self.order.schedules, quantisers, strict=True)]
        quantised = [encoder.quantised for encoder in encoders]
        walk_all(self.order, walks_of(self.order, quantised, encoders, self.model.net.features.oriented))
        return encoders

    def in_turn(self, coefficients: Sequence[Floats], beforehand: Beforehand) -> tuple[list[Floats], list[CoefficientEncoder]]:
        """Code what predictions leave of all groups: that, and the encoders."""
        rests, encoders, walks = list[Floats](), list[CoefficientEncoder](), list[Walk]()
        quantisers = self.worth.quantisers(self.steps)
        for i, (group, quantiser, reference) in enumerate(zip(coefficients, quantisers, self.order.references, strict=True)):
            schedule, expected = self.order.schedules[i], beforehand.predictor.of(i)
            rests.append(group if expected is None else group - expected)
            encoders.append(CoefficientEncoder(rests[i], schedule, quantiser, self.model, self.symbols, self.seen))
            walks.append(Walk(schedule, encoders[i].quantised, encoders[i], None if reference is None else walks[reference],
                              self.model.net.features.oriented, i in self.order.predicted))
            walk([walks[i]])
            found = _reconstructed(encoders[i].quantised, beforehand.codes, self.steps[i])
            beforehand.predictor.decoded(i, found if expected is None else found + expected)
        return rests, encoders


def _on_one_scale(coefficients: Sequence[Floats], order: CodingOrder) -> Sequence[Floats]:
    """Coefficients of every group as if all had the same quantiser step."""
    if order.scales is None:
        return coefficients
    return [group * np.float32(1 / scale) for group, scale in zip(coefficients, order.scales, strict=True)]


def decode(data: bytes, order: CodingOrder, step: float, contexts: ContextNet, level: int = 0) -> list[Floats]:
    """Reconstructed coefficients of every group, float32; bands finer than ``level`` are left zero.

    Raises
    ------
    FormatError
        If the data is damaged.
    """
    if len(data) < CENTROIDS:
        raise FormatError("A part ends before its coefficients.")
    codes = np.frombuffer(data[:CENTROIDS], np.uint8)
    if contexts.signs is not None:
        (n_numbers,), at = varint.decode(data, 1, CENTROIDS)
        end_of_numbers, end_of_decisions = at + n_numbers, max(len(data), at + n_numbers)
    else:
        (n_numbers, n_decisions), at = varint.decode(data, 2, CENTROIDS)
        end_of_numbers, end_of_decisions = at + n_numbers, at + n_numbers + n_decisions
    if end_of_decisions > len(data):
        raise FormatError("A part ends inside its coefficients.")
    side = BitReader(data[at:end_of_numbers])
    contexts = tuning.read(side, contexts)
    quantised, means = [], []
    for schedule in order.schedules:
        quantised.append(_coarsest(side, schedule))
        means.append(read_means(side, schedule))
    scales = None if contexts.signs is None else sign_scales.read(side, kinds_of(order.schedules))
    symbols = SymbolReader(data[end_of_numbers:end_of_decisions], data[end_of_decisions:], order.size, scales)
    with _workers() as pool:
        model = ContextModel(contexts, pool)
        decoders = [CoefficientDecoder(of_bands, model, symbols) for of_bands in means]
        walk_all(order, walks_of(order, quantised, decoders, contexts.features.oriented), level)
    if not level:
        side.finish()
        symbols.finish()
    return [_reconstructed(q, codes, size) for q, size in zip(quantised, order.steps(step), strict=True)]


def _coarsest(side: BitReader, schedule: Schedule) -> Ints:
    """Quantised values of a group, all zero but for the coarsest approximation, which is read."""
    quantised = np.zeros(schedule.shape, np.int32)
    box = coarsest_box(schedule)
    shape = quantised[box].shape
    quantised[box] = from_residuals(side.rice(math.prod(shape)), shape)
    return quantised


def walks_of(order: CodingOrder, quantised: Sequence[Ints], visitors: Sequence[Visitor], oriented: bool) -> list[Walk]:
    """The walks through all groups, each knowing that of its reference."""
    walks: list[Walk] = []
    for i, (schedule, reference, values, visitor) in enumerate(
            zip(order.schedules, order.references, quantised, visitors, strict=True)):
        ahead = None if reference is None else walks[reference]
        walks.append(Walk(schedule, values, visitor, ahead, oriented, i in order.predicted))
    return walks


def walk_all(order: CodingOrder, walks: Sequence[Walk], level: int = 0) -> None:
    """Code all groups down to a level: together, or one after the other where they have scales of their own."""
    if order.scales is None:
        walk(walks, level)
        return
    for one in walks:
        walk([one], level)


@contextmanager
def _workers() -> Iterator[ThreadPoolExecutor | None]:
    """A thread for every processor, each with BLAS on that thread alone; None where there is one processor."""
    threads = default_threads()
    with single_threaded_blas():
        if threads == 1:
            yield None
            return
        with ThreadPoolExecutor(threads) as pool:
            yield pool


def _reconstructed(quantised: Ints, codes: Codes, step: float) -> Floats:
    """Coefficients from quantised values, the codes of the centroids, and the quantiser step."""
    values = reconstruct(quantised, centroids(codes))
    values *= np.float32(step)
    return values
