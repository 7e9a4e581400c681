"""The two visitors of the walk over coefficients: one chooses quantised values and codes them, one decodes them.

Decisions of a coefficient, each by the bucket the context network puts it in: "not zero", "larger than one", and the length
of the tail beyond two. Signs are raw bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from microfield.coding.bits import BitReader
from microfield.coding.decisions import DecisionReader, DecisionWriter
from microfield.errors import FormatError
from microfield.methods.field import coarsest
from microfield.methods.field.lifting import Floats, Schedule
from microfield.methods.field.network import ContextNet
from microfield.methods.field.phases import steps
from microfield.methods.field.quantise import choose
from microfield.methods.field.tuning import Seen
from microfield.methods.field.walk import Band, Ints, bands, mean_code
from microfield.threads import in_order

ZERO, ONE, TAIL = range(3)
"""Kinds of decisions: not zero; larger than one; where the tail ends."""
LARGEST = 1 << 22
"""Magnitudes beyond this are not coded."""


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
    """Chooses the quantised values of a group, band by band, and codes them.

    Parameters
    ----------
    group : float32 array (batch, z, y, x)
        Coefficients.
    step, rdo
        As in `coefficients.encode`.
    decisions, signs
        Where everything goes, in the order of the walk.
    seen : Seen, optional
        Gathers a sample for `tuning.tuned`.

    Attributes
    ----------
    quantised : int32 array (batch, z, y, x)
        At first the coarsest approximation only.
    means : list of int
        `walk.mean_code` of every band so far.
    """

    def __init__(self, group: Floats, step: float, schedule: Schedule, contexts: ContextNet, rdo: float,
                 decisions: DecisionWriter, signs: list[npt.NDArray[np.bool_]], pool: ThreadPoolExecutor | None = None,
                 seen: Seen | None = None) -> None:
        super().__init__(contexts, pool)
        self.seen = seen
        self.group, self.inverse_step, self.rdo = group, np.float32(1 / step), rdo
        self.decisions, self.signs = decisions, signs
        self.quantised = np.zeros(schedule.shape, np.int32)
        box = coarsest.coarsest_box(schedule)
        self.quantised[box] = np.rint(np.clip(group[box] * self.inverse_step, -coarsest.LARGEST, coarsest.LARGEST))
        self.means: list[int] = []
        self.scaled = np.zeros(0, np.float32)

    def begin(self, band: Band) -> int:
        """Scale the coefficients of a band; its mean magnitude."""
        self.band = self.group[band.box]
        self.scaled = np.abs(self.band) * self.inverse_step
        np.minimum(self.scaled, LARGEST, out=self.scaled)
        # Close to what is left after the quantiser has weighed the bits.
        self.means.append(mean_code(np.floor(np.minimum(self.scaled, 20) + np.float32(0.32))))
        return self.means[-1]

    def phase(self, band: Band, phase: int, features: Callable[[slice], Floats], slabs: Sequence[slice],
              constants: Floats) -> Ints:
        """Quantise a phase and code it; int32 of the phase's shape."""
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


class Reader(_Networked):
    """Takes the quantised values of a group from the decisions.

    Parameters
    ----------
    side : BitReader
        At the means of the group's bands.
    decisions, signs
        Those of all groups, at this one.
    """

    def __init__(self, side: BitReader, schedule: Schedule, contexts: ContextNet, decisions: DecisionReader, signs: Signs,
                 pool: ThreadPoolExecutor | None) -> None:
        super().__init__(contexts, pool)
        self.decisions, self.signs = decisions, signs
        means = np.cumsum(side.rice(len(bands(schedule))))
        if ((means < 0) | (means > 50)).any():
            raise FormatError("A part holds bands of impossible magnitude: it is damaged.")
        self.means = iter(means.tolist())

    def begin(self, band: Band) -> int:
        """The mean magnitude of the next band."""
        del band
        return int(next(self.means))

    def phase(self, band: Band, phase: int, features: Callable[[slice], Floats], slabs: Sequence[slice],
              constants: Floats) -> Ints:
        """Decode a phase; int32 of its shape."""
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


class Signs:
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
        if len(self.bits) - self.at > 7 or self.bits[self.at :].any():
            raise FormatError("A part holds more signs than values: it is damaged.")
