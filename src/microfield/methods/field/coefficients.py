"""Coefficients to bytes and back: one walk that quantises by rate and distortion as it codes, one that decodes.

What is coded, group by group: the coarsest approximation (predicted from its neighbours) and the mean magnitude of every
band (a hint for the context network), both in Rice codes; then for every coefficient of a band that is not all zero the
decisions "not zero" and "larger than one" and the length of the tail beyond two, each by the bucket the context network
puts it in; signs as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from microfield.methods.field.network import ContextNet
from microfield.methods.field.phases import steps
from microfield.methods.field.quantise import centroids, choose, measure_centroids
from microfield.methods.field.tuning import Changes, Seen
from microfield.methods.field.walk import Band, Ints, Known, bands, mean_code, reconstruct, walk
from microfield.threads import default_threads, in_order, single_threaded_blas
from microfield.transforms.lifting import Floats, Schedule

ZERO, ONE, TAIL = range(3)
"""Kinds of decisions: not zero; larger than one; where the tail ends."""
LARGEST = 1 << 22
"""Magnitudes beyond this are not coded."""


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
    found: list[Ints] = []
    known: list[Known] = []
    with _workers() as pool:
        for group, schedule, reference in zip(coefficients, plan.schedules, plan.references, strict=True):
            writer = Writer(group, step, schedule, contexts, rdo, decisions, signs, pool, seen)
            side.rice(_residuals(writer.quantised[_coarsest(schedule)]))
            known.append(walk(schedule, writer.quantised, writer, None if reference is None else known[reference]))
            side.rice(np.diff(writer.means, prepend=0).tolist())
            found.append(writer.quantised)
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
    signs = _Signs(data[at + n_numbers + n_coded :])
    found: list[Ints] = []
    known: list[Known] = []
    with _workers() as pool:
        for schedule, reference in zip(plan.schedules, plan.references, strict=True):
            quantised = np.zeros(schedule.shape, np.int32)
            box = _coarsest(schedule)
            quantised[box] = _from_residuals(side.rice(quantised[box].size), quantised[box].shape)
            reader = _Reader(side, schedule, contexts, decisions, signs, pool)
            known.append(walk(schedule, quantised, reader, None if reference is None else known[reference], level))
            found.append(quantised)
    if not level:
        side.finish()
        decisions.finish()
        signs.finish()
    return [_scaled(q, codes, step) for q in found]


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


def _coarsest(schedule: Schedule) -> tuple[slice, ...]:
    return tuple(slice(0, n) for n in schedule.extents[-1])


def _scaled(quantised: Ints, codes: npt.NDArray[np.uint8], step: float) -> Floats:
    values = reconstruct(quantised, centroids(codes))
    values *= np.float32(step)
    return values


class _Networked:
    """What both directions share: the context network, run over slabs by several threads."""

    def __init__(self, contexts: ContextNet, pool: ThreadPoolExecutor | None) -> None:
        self.contexts, self.pool = contexts, pool

    def work(self, features: Callable[[slice], Floats], constants: Floats, slabs: Sequence[slice],
             ) -> Iterator[tuple[Floats, npt.NDArray[np.uint8]]]:
        """Activations and the buckets of "not zero", slab by slab."""

        def one(rows: slice) -> tuple[Floats, npt.NDArray[np.uint8]]:
            hidden = self.contexts.hidden(features(rows), constants)
            return hidden, self.contexts.buckets(hidden, ZERO)

        return in_order(one, slabs, self.pool if len(slabs) > 1 else None)


class Writer(_Networked):
    """Chooses the quantised values of a group, band by band, and codes them."""

    def __init__(self, group: Floats, step: float, schedule: Schedule, contexts: ContextNet, rdo: float,
                 decisions: DecisionWriter, signs: list[npt.NDArray[np.bool_]], pool: ThreadPoolExecutor | None = None,
                 seen: Seen | None = None) -> None:
        super().__init__(contexts, pool)
        self.seen = seen
        self.group, self.inverse_step, self.rdo = group, np.float32(1 / step), rdo
        self.decisions, self.signs = decisions, signs
        self.quantised = np.zeros(schedule.shape, np.int32)
        box = _coarsest(schedule)
        self.quantised[box] = np.rint(np.clip(group[box] * self.inverse_step, -LARGEST, LARGEST))
        self.means: list[int] = []
        self.scaled = np.zeros(0, np.float32)

    def begin(self, band: Band) -> int:
        self.band = self.group[band.box]
        self.scaled = np.abs(self.band) * self.inverse_step
        np.minimum(self.scaled, LARGEST, out=self.scaled)
        # Close to what is left after the quantiser has weighed the bits.
        self.means.append(mean_code(np.floor(np.minimum(self.scaled, 20) + np.float32(0.32))))
        return self.means[-1]

    def phase(self, band: Band, phase: int, features: Callable[[slice], Floats], slabs: Sequence[slice],
              constants: Floats) -> Ints:
        scaled, net = self.scaled[steps(phase)], self.contexts
        negative = self.band[steps(phase)] < 0
        out = np.zeros(scaled.shape, np.int32)
        for rows, (hidden, zero) in zip(slabs, self.work(features, constants, slabs), strict=True):
            values = scaled[:, :, rows].reshape(-1)
            where = np.flatnonzero(values >= 0.5)
            some = hidden[:, where]
            one, tail = net.buckets(some, ONE), net.buckets(some, TAIL)
            chosen = choose(values[where], zero[where], one, tail, self.rdo)
            kept = chosen > 0
            where, chosen, one, tail = where[kept], chosen[kept], one[kept], tail[kept]
            magnitudes = np.zeros(len(values), np.int32)
            magnitudes[where] = chosen
            if self.seen is not None:
                self.seen.add(hidden, magnitudes)
            self.decisions.put(ZERO, zero, magnitudes > 0)
            self.decisions.put(ONE, one, chosen > 1)
            self.decisions.put_runs(TAIL, tail[chosen > 1], chosen[chosen > 1] - 2)
            minus = negative[:, :, rows].reshape(-1)
            self.signs.append(minus[where])
            out[:, :, rows] = np.where(minus, -magnitudes, magnitudes).reshape(out[:, :, rows].shape)
        return out


class _Reader(_Networked):
    """Takes the quantised values of a group from the decisions."""

    def __init__(self, side: BitReader, schedule: Schedule, contexts: ContextNet, decisions: DecisionReader, signs: _Signs,
                 pool: ThreadPoolExecutor | None) -> None:
        super().__init__(contexts, pool)
        self.decisions, self.signs = decisions, signs
        means = np.cumsum(side.rice(len(bands(schedule))))
        if ((means < 0) | (means > 50)).any():
            raise FormatError("A part holds bands of impossible magnitude: it is damaged.")
        self.means = iter(means.tolist())

    def begin(self, band: Band) -> int:
        del band
        return int(next(self.means))

    def phase(self, band: Band, phase: int, features: Callable[[slice], Floats], slabs: Sequence[slice],
              constants: Floats) -> Ints:
        net = self.contexts
        extents = (band.shape[0], *(len(range(s.start, n, 2)) for s, n in zip(steps(phase)[1:], band.shape[1:], strict=True)))
        out = np.zeros(extents, np.int32)
        for rows, (hidden, zero) in zip(slabs, self.work(features, constants, slabs), strict=True):
            where = np.flatnonzero(self.decisions.take(ZERO, zero))
            some = hidden[:, where]
            magnitudes = 1 + self.decisions.take(ONE, net.buckets(some, ONE)).astype(np.int32)
            more = np.flatnonzero(magnitudes > 1)
            tails = self.decisions.take_runs(TAIL, net.buckets(some[:, more], TAIL))
            magnitudes[more] += np.minimum(tails, LARGEST).astype(np.int32)
            np.negative(magnitudes, out=magnitudes, where=self.signs.take(len(where)))
            flat = np.zeros(hidden.shape[1], np.int32)
            flat[where] = magnitudes
            out[:, :, rows] = flat.reshape(out[:, :, rows].shape)
        return out


class _Signs:
    """Raw bits, one for every value that is not zero."""

    def __init__(self, data: bytes) -> None:
        self.bits = np.unpackbits(np.frombuffer(data, np.uint8)).astype(bool)
        self.at = 0

    def take(self, n: int) -> npt.NDArray[np.bool_]:
        """The next ``n``."""
        self.at += n
        if self.at > len(self.bits):
            raise FormatError("A part ends inside its signs.")
        return self.bits[self.at - n : self.at]

    def finish(self) -> None:
        """Nothing but filling may be left."""
        if len(self.bits) - self.at > 7:
            raise FormatError("A part holds more signs than values: it is damaged.")


def _residuals(values: Ints) -> list[int]:
    """What is left of the coarsest approximation after prediction, in raster order."""
    padded = np.pad(values.astype(np.int64), [(0, 0)] + [(1, 0)] * 3)
    total = padded[:, 1:, 1:, :-1] + padded[:, 1:, :-1, 1:] + padded[:, :-1, 1:, 1:]
    residuals: list[int] = (values - total // _known(values.shape)).reshape(-1).tolist()
    return residuals


def _from_residuals(residuals: Sequence[int], shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    padded = np.zeros((shape[0], *(n + 1 for n in shape[1:])), np.int64)
    known = _known(shape)
    for residual, (b, z, y, x) in zip(residuals, np.ndindex(*shape), strict=True):
        total = int(padded[b, z + 1, y + 1, x]) + int(padded[b, z + 1, y, x + 1]) + int(padded[b, z, y + 1, x + 1])
        value = residual + total // int(known[0, z, y, x])
        if abs(value) > LARGEST:
            raise FormatError("A part holds a value beyond all bounds: it is damaged.")
        padded[b, z + 1, y + 1, x + 1] = value
    return padded[:, 1:, 1:, 1:]


def _known(shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """How many of the three neighbours before a value there are, at least 1."""
    z, y, x = (np.arange(n) > 0 for n in shape[1:])
    count = z[:, None, None].astype(np.int64) + y[None, :, None] + x[None, None, :]
    return np.asarray(np.maximum(count, 1))[None]
