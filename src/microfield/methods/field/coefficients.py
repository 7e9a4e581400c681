"""Coefficients to bytes and back: one walk that quantises by rate and distortion as it codes, one that decodes.

What is coded, group by group: the coarsest approximation (predicted from its neighbours) and the mean magnitude of every
band (a hint for the context network), both in Rice codes; then for every coefficient of a band that is not all zero the
decisions "not zero" and "larger than one" and the length of the tail beyond two, each by the bucket the context network
puts it in; signs as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microfield.coding import varint
from microfield.coding.bits import BitReader, BitWriter
from microfield.coding.decisions import DecisionReader, DecisionWriter
from microfield.errors import FormatError
from microfield.methods.field import tuning
from microfield.methods.field.coarsest import coarsest_box, from_residuals, residuals
from microfield.methods.field.coders import Reader, Signs, Writer
from microfield.methods.field.lifting import Floats, Schedule
from microfield.methods.field.network import ContextNet
from microfield.methods.field.quantise import centroids, measure_centroids
from microfield.methods.field.tuning import Changes, Seen
from microfield.methods.field.walk import Ints, Visitor, Walk, reconstruct, walk
from microfield.threads import default_threads, single_threaded_blas


@dataclass(frozen=True)
class Plan:
    """What is coded in which order.

    Attributes
    ----------
    schedules : one per group, of arrays (batch, z, y, x) whose batch axis is never split
    references : for every group the number of an earlier one of the same shapes whose magnitudes help, or None
    """

    schedules: tuple[Schedule, ...]
    references: tuple[int | None, ...]


@dataclass(frozen=True)
class EncodedCoefficients:
    """The outcome of `encode`.

    Attributes
    ----------
    data : bytes
    values : reconstructed coefficients of every group, as `decode` gives them
    """

    data: bytes
    values: list[Floats]


def encode(coefficients: Sequence[Floats], plan: Plan, step: float, contexts: ContextNet, rdo: float = 0.1,
           changes: Changes | None = None, seen: Seen | None = None) -> EncodedCoefficients:
    """Quantise and code.

    Parameters
    ----------
    coefficients : float32 arrays, one per group, finite
    step : quantiser step, the same for all
    rdo : squared steps of error that a bit is worth
    """
    side, decisions = BitWriter(), DecisionWriter(3)
    tuning.write(side, changes)
    if changes is not None:
        contexts = tuning.changed(contexts, changes)
    signs: list[npt.NDArray[np.bool_]] = []
    with _workers() as pool:
        writers = [Writer(group, step, schedule, contexts, rdo, decisions, signs, pool, seen)
                   for group, schedule in zip(coefficients, plan.schedules, strict=True)]
        walk(_walks(plan, [w.quantised for w in writers], writers))
    for writer, schedule in zip(writers, plan.schedules, strict=True):
        side.rice(residuals(writer.quantised[coarsest_box(schedule)]))
        side.rice(np.diff(writer.means, prepend=0).tolist())
    found = [w.quantised for w in writers]
    codes = measure_centroids(found, coefficients, step)
    numbers, coded = side.finish(), decisions.finish()
    head = codes.tobytes() + varint.encode((len(numbers), len(coded)))
    data = head + numbers + coded + np.packbits(np.concatenate([*signs, np.zeros(0, bool)])).tobytes()
    return EncodedCoefficients(data, [_scaled(q, codes, step) for q in found])


def decode(data: bytes, plan: Plan, step: float, contexts: ContextNet, level: int = 0) -> list[Floats]:
    """Reconstructed coefficients of every group; bands finer than ``level`` are left zero.

    Raises
    ------
    FormatError
        If the data is damaged.
    """
    if len(data) < 3:
        raise FormatError("A part ends before its coefficients.")
    (n_numbers, n_coded), at = varint.decode(data, 2, 3)
    if at + n_numbers + n_coded > len(data):
        raise FormatError("A part ends inside its coefficients.")
    codes = np.frombuffer(data[:3], np.uint8)
    side = BitReader(data[at : at + n_numbers])
    contexts = tuning.read(side, contexts)
    total = sum(int(np.prod(s.shape)) for s in plan.schedules)
    decisions = DecisionReader(data[at + n_numbers : at + n_numbers + n_coded], 3, 4 * total)
    signs = Signs(data[at + n_numbers + n_coded :])
    with _workers() as pool:
        found, readers = [], []
        for schedule in plan.schedules:
            quantised = np.zeros(schedule.shape, np.int32)
            box = coarsest_box(schedule)
            quantised[box] = from_residuals(side.rice(quantised[box].size), quantised[box].shape)
            found.append(quantised)
            readers.append(Reader(side, schedule, contexts, decisions, signs, pool))
        walk(_walks(plan, found, readers), level)
    if not level:
        side.finish()
        decisions.finish()
        signs.finish()
    return [_scaled(q, codes, step) for q in found]


def _walks(plan: Plan, quantised: Sequence[Ints], visitors: Sequence[Visitor]) -> list[Walk]:
    walks: list[Walk] = []
    for schedule, reference, values, visitor in zip(plan.schedules, plan.references, quantised, visitors, strict=True):
        walks.append(Walk(schedule, values, visitor, None if reference is None else walks[reference].known))
    return walks


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


def _scaled(quantised: Ints, codes: npt.NDArray[np.uint8], step: float) -> Floats:
    values = reconstruct(quantised, centroids(codes))
    values *= np.float32(step)
    return values
