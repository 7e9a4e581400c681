"""The two visitors of the walk over coefficients: one quantises and encodes a group, one decodes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microfield.coding.bits import BitReader
from microfield.errors import FormatError
from microfield.methods.field.coarsest import LARGEST_APPROXIMATION, coarsest_box
from microfield.methods.field.evaluation import Evaluated, evaluated
from microfield.methods.field.lifting import Floats, Schedule
from microfield.methods.field.network import ABOVE_ONE, SIGNIFICANCE, TAIL, ContextNet
from microfield.methods.field.phases import CONTEXT_CAP, phase_slices
from microfield.methods.field.quantise import Quantiser, quantise
from microfield.methods.field.symbols import LARGEST_MAGNITUDE, Buckets, SymbolReader, SymbolWriter
from microfield.methods.field.tuning import Seen
from microfield.methods.field.walk import LARGEST_MEAN_CODE, Band, Ints, PhaseContext, bands, mean_code
from microfield.threads import in_order

_USUAL_ROUNDING = np.float32(0.32)
"""Magnitudes that are rounded down after this is added are close, on average, to what the quantiser leaves."""


@dataclass(frozen=True)
class ContextModel:
    """The context network, run by several threads.

    Attributes
    ----------
    net : ContextNet
    pool : ThreadPoolExecutor or None
        None to run it in the caller's thread.
    """

    net: ContextNet
    pool: ThreadPoolExecutor | None = None

    def slabs(self, context: PhaseContext, hidden: bool = False) -> Iterator[tuple[slice, Evaluated]]:
        """Slab by slab its rows, and what the network says of it; activations only with ``hidden``."""

        def evaluate(rows: slice) -> tuple[slice, Evaluated]:
            return rows, evaluated(self.net, context, rows, hidden)

        return in_order(evaluate, context.slabs, self.pool if len(context.slabs) > 1 else None)


class CoefficientEncoder:
    """Quantises the coefficients of a group, band by band, and writes their symbols.

    Parameters
    ----------
    group : float32 array (batch, z, y, x)
        Coefficients.
    schedule : Schedule
        That of the group.
    quantiser : Quantiser
    model : ContextModel
    symbols : SymbolWriter
        Where the symbols go, in the order of the walk; all groups share it.
    seen : Seen, optional
        Gathers a sample of coefficients for `tuning.tuned`.

    Attributes
    ----------
    quantised : int32 array (batch, z, y, x)
        At first the coarsest approximation only; a `Walk` fills in the bands.
    means : list of int
        `walk.mean_code` of every band so far.
    """

    def __init__(self, group: Floats, schedule: Schedule, quantiser: Quantiser, model: ContextModel, symbols: SymbolWriter,
                 seen: Seen | None = None) -> None:
        self.group, self.quantiser, self.model, self.symbols, self.seen = group, quantiser, model, symbols, seen
        self.means: list[int] = []
        self.quantised = np.zeros(schedule.shape, np.int32)
        box = coarsest_box(schedule)
        scaled = group[box] * quantiser.inverse_step
        self.quantised[box] = np.rint(np.clip(scaled, -LARGEST_APPROXIMATION, LARGEST_APPROXIMATION))

    def begin(self, band: Band) -> BandEncoder:
        """The encoder of a band."""
        weights = self.quantiser.weights
        encoder = BandEncoder(self, self.group[band.box], None if weights is None else weights[band.box])
        self.means.append(encoder.mean_code)
        return encoder


class BandEncoder:
    """Quantises and writes one band; made by `CoefficientEncoder.begin`.

    Parameters
    ----------
    group : CoefficientEncoder
    coefficients : float32 array (batch, z, y, x)
        Those of the band.
    weights : float32 array (batch, z, y, x), optional
        Weights of their squared errors.

    Attributes
    ----------
    mean_code : int
        `walk.mean_code` of about the magnitudes that the quantiser will leave.
    """

    def __init__(self, group: CoefficientEncoder, coefficients: Floats, weights: Floats | None = None) -> None:
        self._group, self._coefficients, self._weights = group, coefficients, weights
        self._scaled = np.abs(coefficients) * group.quantiser.inverse_step
        np.minimum(self._scaled, LARGEST_MAGNITUDE, out=self._scaled)
        # The zone around 0 that becomes 0 is as much wider as errors are cheaper.
        left = self._scaled if weights is None else self._scaled * np.sqrt(weights)
        self.mean_code = mean_code(np.floor(np.minimum(left, CONTEXT_CAP) + _USUAL_ROUNDING))

    def phase(self, context: PhaseContext) -> Ints:
        """Quantise and write a phase: its values, int32 of its shape."""
        where = phase_slices(context.number)
        scaled, negative = self._scaled[where], self._coefficients[where] < 0
        out = np.zeros(context.shape, np.int32)
        for rows, known in self._group.model.slabs(context, self._group.seen is not None):
            slab = out[:, :, rows]
            weights = None if self._weights is None else self._weights[where][:, :, rows].reshape(-1)
            magnitudes = self._code(scaled[:, :, rows].reshape(-1), weights, known)
            self._code_signs(context, rows, magnitudes, negative[:, :, rows].reshape(-1))
            if self._group.seen is not None:
                self._group.seen.add(known, magnitudes, context, rows)
            slab[...] = magnitudes.reshape(slab.shape)
        np.negative(out, out=out, where=negative)
        return out

    def _code(self, scaled: Floats, weights: Floats | None, known: Evaluated) -> Ints:
        """Quantise the magnitudes ``scaled`` (n,) of a slab and write them: the quantised magnitudes."""
        symbols = self._group.symbols
        # All others become 0 whatever the bits say.
        where = np.flatnonzero(scaled >= 0.5)
        buckets = Buckets(*(known.buckets(logit, where) for logit in (SIGNIFICANCE, ABOVE_ONE, TAIL)))
        chosen = quantise(scaled[where], buckets, self._group.quantiser.rdo, None if weights is None else weights[where])
        magnitudes = np.zeros(len(scaled), np.int32)
        magnitudes[where] = chosen
        kept = chosen > 0
        symbols.put_significance(known.buckets(SIGNIFICANCE), magnitudes > 0)
        symbols.put_magnitudes(buckets.of(kept), chosen[kept])
        return magnitudes

    def _code_signs(self, context: PhaseContext, rows: slice, magnitudes: Ints, negative: npt.NDArray[np.bool_]) -> None:
        """Write the signs of what is not zero in a slab."""
        where, net = np.flatnonzero(magnitudes), self._group.model.net.signs
        if net is None:
            self._group.symbols.put_signs(negative[where])
        elif len(where):
            sums = net.sums(*context.sign_inputs(rows, where, magnitudes[where]))
            self._group.symbols.put_likely_signs(context.kind, sums, negative[where])


def read_means(side: BitReader, schedule: Schedule) -> list[int]:
    """The mean codes of a group's bands.

    Raises
    ------
    FormatError
        If a mean code is impossible.
    """
    means = np.cumsum(side.rice(len(bands(schedule))))
    if ((means < 0) | (means > LARGEST_MEAN_CODE)).any():
        raise FormatError("A part holds bands of impossible magnitude: it is damaged.")
    return list(means.tolist())


class CoefficientDecoder:
    """Takes the quantised values of a group, band by band, from the symbols.

    Parameters
    ----------
    means : sequence of int
        Mean codes of the group's bands in the order of coding.
    model : ContextModel
    symbols : SymbolReader
        Symbols of all groups.
    """

    def __init__(self, means: Sequence[int], model: ContextModel, symbols: SymbolReader) -> None:
        self.model, self.symbols, self._means = model, symbols, iter(means)

    def begin(self, band: Band) -> BandDecoder:
        """The decoder of the next band in the order of coding."""
        del band
        return BandDecoder(self.model, self.symbols, next(self._means))


@dataclass(frozen=True)
class BandDecoder:
    """Decodes one band; made by `CoefficientDecoder.begin`.

    Attributes
    ----------
    model : ContextModel
    symbols : SymbolReader
    mean_code : int
        `walk.mean_code` that the encoder stored.
    """

    model: ContextModel
    symbols: SymbolReader
    mean_code: int

    def phase(self, context: PhaseContext) -> Ints:
        """Decode a phase: its values, int32 of its shape."""
        out = np.zeros(context.shape, np.int32)
        for rows, known in self.model.slabs(context):
            slab = out[:, :, rows]
            values = self._magnitudes(known)
            self._take_signs(context, rows, values)
            slab[...] = values.reshape(slab.shape)
        return out

    def _magnitudes(self, known: Evaluated) -> Ints:
        """Magnitudes (n,) of a slab."""
        symbols = self.symbols
        flags = symbols.significance(known.buckets(SIGNIFICANCE))
        where = np.flatnonzero(flags)
        values = 1 + symbols.above_one(known.buckets(ABOVE_ONE, where)).astype(np.int32)
        more = np.flatnonzero(values > 1)
        values[more] += symbols.tails(known.buckets(TAIL, where[more]))
        slab = np.zeros(len(flags), np.int32)
        slab[where] = values
        return slab

    def _take_signs(self, context: PhaseContext, rows: slice, values: Ints) -> None:
        """Turn those magnitudes (n,) of a slab that are below 0 into values."""
        where, net = np.flatnonzero(values), self.model.net.signs
        if net is None:
            values[where[self.symbols.negative(len(where))]] *= -1
        elif len(where):
            sums = net.sums(*context.sign_inputs(rows, where, values[where]))
            values[where[self.symbols.likely_negative(context.kind, sums)]] *= -1
