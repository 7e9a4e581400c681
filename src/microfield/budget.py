"""Budget: what the user asked for, and the only place that searches a quality or shares bytes among parts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from microfield.errors import BudgetError, UsageError
from microfield.image import Layout
from microfield.knob import END, largest
from microfield.methods.base import Context, Encoded, Method, measure_error
from microfield.rates import Spectrum, water_level

KINDS = ("ratio", "bits_per_voxel", "max_bytes", "psnr", "noise_factor")

TOLERANCE_DB = 0.1
"""A quality target is met from above, within this many dB where the method's knob is continuous."""


@dataclass(frozen=True)
class Budget:
    """Exactly one request: a size (``ratio``, ``bits_per_voxel``, ``max_bytes``) or a quality (``psnr``, ``noise_factor``)."""

    kind: str
    value: float

    @classmethod
    def of(cls, **requests: float | str | None) -> Budget:
        """The one request that is not None, checked.

        Raises
        ------
        UsageError
            If there is none, more than one, or one that makes no sense.
        """
        given = {k: v for k, v in requests.items() if v is not None}
        if len(given) != 1:
            named = " and ".join(given) or "none"
            raise UsageError(f"give exactly one of {', '.join(KINDS)} (got {named}).")
        kind, raw = next(iter(given.items()))
        value = parse_bytes(raw) if kind == "max_bytes" else _number(kind, raw)
        if not (math.isfinite(value) and value > 0):
            raise UsageError(f"{kind} must be a positive number, not {raw}.")
        return cls(kind, float(value))

    def byte_limit(self, layout: Layout) -> int | None:
        """Bytes the file may take at most; None for a quality request."""
        if self.kind == "ratio":
            return int(layout.nbytes / self.value)
        if self.kind == "bits_per_voxel":
            return int(self.value * layout.size / 8)
        return int(self.value) if self.kind == "max_bytes" else None


def _number(kind: str, raw: float | str) -> float:
    try:
        return float(raw)
    except ValueError:
        raise UsageError(f"{kind} must be a number, not {raw!r}.") from None


_UNITS = {"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def parse_bytes(text: float | str) -> int:
    """Bytes from a number or text such as ``300kB`` or ``2MiB``."""
    match = re.fullmatch(r"\s*([0-9.]+)\s*([a-zA-Z]*)\s*", str(text))
    if not match or match[2].lower() not in _UNITS or match[1].count(".") > 1 or match[1] == ".":
        raise UsageError(f"{text!r} is not a size; write for example 300kB, 2MB or 1500000.")
    return int(float(match[1]) * _UNITS[match[2].lower()])


class Part(Protocol):
    """A part to encode: its layout, which channels of the image it holds, and how to get its values."""

    @property
    def layout(self) -> Layout:
        """Shape, axes and dtype of the part."""
        ...

    @property
    def box(self) -> tuple[slice, ...]:
        """Where it lies in the image."""
        ...

    @property
    def channels(self) -> npt.NDArray[np.intp]:
        """Numbers of its channels in the image, in the part's own channel order."""
        ...

    def read(self) -> npt.NDArray[Any]:
        """Values of the part."""
        ...


@dataclass(frozen=True)
class Request:
    """Everything the search needs.

    Attributes
    ----------
    limit : callable (number of part bytes) -> bool
        True where parts of these sizes make a file within the budget; None for a quality request.
    """

    method: Method
    parts: Sequence[Part]
    spectra: Sequence[Spectrum]
    """Predicted curve of every part; only methods whose quality is a byte limit need them."""
    context: Context
    voxels: int


def normalised_error(encoded: Sequence[Encoded], parts: Sequence[Part], channel_range: npt.NDArray[np.float64]) -> float:
    """Mean over channels of the squared error in channel ranges, over all parts: PSNR = -10 log10 of it."""
    return float(np.mean(channel_errors(encoded, parts, channel_range.size) / channel_range**2))


def channel_errors(encoded: Sequence[Encoded], parts: Sequence[Part], channels: int) -> npt.NDArray[np.float64]:
    """Mean squared error of every channel of the image."""
    total, weight = np.zeros(channels), np.zeros(channels)
    for one, part in zip(encoded, parts, strict=True):
        where = part.channels
        per_channel = part.layout.size / part.layout.channels
        total[where] += one.square_error * per_channel
        weight[where] += per_channel
    return np.asarray(total / weight)


def encode_bytes(request: Request, limit: int, states: list[Any] | None = None) -> list[Encoded]:
    """Encode all parts into at most ``limit`` bytes together.

    Methods whose quality is a byte count get shares of equal slope; what one part leaves goes to those after it. For
    others one common quality is searched: equal quantiser steps are equal slopes.

    Raises
    ------
    BudgetError
        If not even the smallest parts fit.
    """
    if not request.method.quality_is_bytes:
        return _encode_setting(request, limit)
    smallest = sum(request.method.smallest(p.layout) for p in request.parts)
    if smallest > limit:
        raise Shortage(smallest)
    return _encode_shares(request, limit, states)


class Shortage(BudgetError):
    """Raised with the bytes the parts take at least; the writer turns it into a sentence about the file."""

    def __init__(self, smallest: int) -> None:
        super().__init__(f"the parts take at least {smallest} bytes.")
        self.smallest = smallest


def shares(request: Request, limit: int) -> npt.NDArray[np.float64]:
    """Bytes for every part at equal slope, the smallest possible part included: float64, summing to ``limit``."""
    floor = np.asarray([request.method.smallest(p.layout) for p in request.parts], np.float64)
    room = limit - floor.sum()
    theta = water_level(request.spectra, 8 * room)
    bits = np.asarray([s.bits(theta) for s in request.spectra])
    if bits.sum() <= 0:
        bits = np.ones(len(bits))
    return np.asarray(floor + room * bits / bits.sum())


def _encode_shares(request: Request, limit: int, states: list[Any] | None) -> list[Encoded]:
    planned = shares(request, limit)
    floor = [request.method.smallest(p.layout) for p in request.parts]
    done: list[Encoded] = []
    left = limit
    for i, part in enumerate(request.parts):
        behind = planned[i:].sum()
        mine = left if i + 1 == len(planned) else int(left * planned[i] / behind)
        mine = max(floor[i], min(mine, left - sum(floor[i + 1 :])))
        context = _slice_context(request, part, planned[i] / behind, i)
        state = states[i] if states else None
        done.append(request.method.encode(part.read(), part.layout, mine, context, state))
        left -= done[-1].nbytes
    return done


def _slice_context(request: Request, part: Part, fraction: float, index: int) -> Context:
    """The context of one part: its channels, its share of the time and of the progress."""
    whole, n = request.context, len(request.parts)
    where = part.channels
    return replace(
        whole,
        channel_range=whole.channel_range[where],
        channel_weights=whole.channel_weights[where],
        voxel_weights=None if whole.voxel_weights is None else whole.voxel_weights[part.box],
        deadline=whole.deadline.share(fraction),
        progress=lambda done, what: whole.progress(
            (index + done) / n, what if n == 1 else f"part {index + 1}/{n}: {what}"),
    )


class _Knob:
    """All parts at one common setting of the method's knob; every attempt starts from the state of the one before."""

    def __init__(self, request: Request, measure: bool) -> None:
        self.request = replace(request, context=replace(request.context, measure=measure))
        self.states: list[Any] = [None] * len(request.parts)
        self.step = float(getattr(request.method, "quality_step", 1.0))
        self.count = 0

    def at(self, quality: float) -> list[Encoded]:
        """Encode all parts."""
        method, context = self.request.method, self.request.context
        self.count += 1
        context.progress(1 - 0.85**self.count, f"attempt {self.count}")
        encoded = [
            method.encode(p.read(), p.layout, quality, _slice_context(self.request, p, 1.0, i), self.states[i])
            for i, p in enumerate(self.request.parts)
        ]
        self.states = [e.state for e in encoded]
        return encoded

    def finest(self, limit: int) -> list[Encoded] | None:
        """The finest setting that takes at most ``limit`` bytes."""
        return largest(lambda x: self._size(x, limit), self.step, 0.006, self._late)

    def coarsest(self, error: float) -> list[Encoded] | None:
        """The coarsest setting whose normalised error is at most ``error``."""
        return largest(lambda x: self._error(END - x, error), self.step, TOLERANCE_DB * math.log(10) / 10, self._late)

    def _late(self) -> bool:
        return self.request.context.deadline.remaining <= 0

    def _size(self, quality: float, limit: int) -> tuple[float, list[Encoded]]:
        encoded = self.at(quality)
        # Where more bytes would not help, any setting is as good as the finest.
        if all(e.exhausted for e in encoded) and total(encoded) <= limit:
            return 0.0, encoded
        return math.log(total(encoded) / max(limit, 1e-3)), encoded

    def _error(self, quality: float, error: float) -> tuple[float, list[Encoded]]:
        encoded = self.at(quality)
        found = normalised_error(encoded, self.request.parts, self.request.context.channel_range)
        return math.log(max(found, 1e-300) / error), encoded


def total(encoded: Sequence[Encoded]) -> int:
    """Bytes of all parts."""
    return sum(e.nbytes for e in encoded)


def _encode_setting(request: Request, limit: int) -> list[Encoded]:
    """Parts at the finest setting that fits; measured once it is found, since a size needs no decoding."""
    knob = _Knob(request, measure=False)
    found = knob.finest(limit)
    if found is None:
        raise Shortage(total(knob.at(0.0)))
    method = request.method
    return [
        replace(e, square_error=measure_error(method.decoder(p.layout, method.bitstream_version, e.sections), p.read(), p.layout))
        for e, p in zip(found, request.parts, strict=True)
    ]


def encode_quality(request: Request, error: float, largest_size: int, say: Callable[[float], str]) -> list[Encoded]:
    """Encode all parts so that the normalised error is at most ``error``, in as few bytes as the search finds.

    ``say`` puts a PSNR into words in the units of the request.

    Bytes are searched on the logarithmic scale, where PSNR is close to a straight line; fits are warm-started, so that
    only the first attempts cost a whole fit.

    Raises
    ------
    BudgetError
        If more than ``largest_size`` bytes would be needed, with the quality those give (a Shortage where not even the
        smallest parts are below it).
    """
    goal = -10 * math.log10(error)
    if not request.method.quality_is_bytes:
        return _encode_knob(request, error, largest_size, say)
    smallest = sum(request.method.smallest(p.layout) for p in request.parts)
    if smallest > largest_size:
        raise Shortage(smallest)
    first = min(max(smallest, theta_bytes(request.spectra, error, request.voxels)), largest_size)
    search = _Search(goal, math.log2(first), math.log2(smallest), math.log2(largest_size))
    states: list[Any] | None = None
    while (log_bytes := search.propose()) is not None:
        left = request.context.deadline.share(1 / 3)
        limit = max(smallest, int(2**log_bytes))
        attempt = encode_bytes(replace(request, context=request.context.with_deadline(left)), limit, states)
        states = [e.state for e in attempt]
        search.tell(log_bytes, _psnr(request, attempt), attempt)
    if search.best is None:
        raise _too_fine(say(goal), say(search.reached))
    return _trim(request, search.best, goal, smallest)


def _psnr(request: Request, attempt: list[Encoded]) -> float:
    error = normalised_error(attempt, request.parts, request.context.channel_range)
    return math.inf if error <= 0 else -10 * math.log10(error)


def _trim(request: Request, best: list[Encoded], goal: float, smallest: int) -> list[Encoded]:
    """Take bytes away from an attempt that is better than asked, without fitting anew: fits scatter, this does not."""
    states = [e.state for e in best]
    coarse = replace(request, context=replace(request.context, reuse=True))
    low, high = smallest, sum(e.nbytes for e in best)
    for _ in range(14):
        if high - low <= 1 or _psnr(request, best) <= goal + TOLERANCE_DB or None in states:
            break
        # Quality falls ever faster with fewer bytes, so the answer lies nearer the upper end.
        middle = max(low + 1, min(high - 1, low + 2 * (high - low) // 3))
        attempt = encode_bytes(coarse, middle, states)
        if _psnr(request, attempt) >= goal:
            best, high = attempt, middle
        else:
            low = middle
    return _nearest(coarse, best, states, goal, smallest)


def _nearest(coarse: Request, best: list[Encoded], states: list[Any], goal: float, smallest: int) -> list[Encoded]:
    """In files of some hundred bytes a byte is worth decibels, up or down: look at the next few counts one by one."""
    end = sum(e.nbytes for e in best)
    for size in range(end - 1, max(smallest, end - 41), -1):
        if _psnr(coarse, best) <= goal + TOLERANCE_DB or None in states:
            break
        attempt = encode_bytes(coarse, size, states)
        if goal <= _psnr(coarse, attempt) < _psnr(coarse, best):
            best = attempt
    return best


def _encode_knob(request: Request, error: float, largest_size: int, say: Callable[[float], str]) -> list[Encoded]:
    """`encode_quality` for a method whose quality is a knob: its coarsest setting that is good enough."""
    knob = _Knob(request, measure=True)
    found = knob.coarsest(error)
    if found is not None and total(found) <= largest_size:
        return found
    asked = say(-10 * math.log10(error))
    if found is None and total(finest := knob.at(END)) <= largest_size:
        raise BudgetError(f"method {request.method.name} reaches at most {say(_psnr(request, finest))} on this image, not {asked}.")
    fits = knob.finest(largest_size)
    raise _too_fine(asked, say(-math.inf if fits is None else _psnr(request, fits)))


def _too_fine(asked: str, reached: str) -> BudgetError:
    return BudgetError(f"the asked quality ({asked}) needs more than a quarter of the raw size ({reached} was reached). "
                       f"Ask for less, or store this image without loss.")


def theta_bytes(spectra: Sequence[Spectrum], error: float, voxels: int) -> float:
    """Bytes a transform codec would need for a normalised error: where the search starts."""
    low, high = -60.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        small = sum(s.error(2.0**middle) for s in spectra) / voxels < error
        low, high = (middle, high) if small else (low, middle)
    return sum(s.bits(2.0**low) for s in spectra) / 8


class _Search:
    """Where to look next for the fewest bytes that reach a PSNR."""

    def __init__(self, goal: float, start: float, low: float, high: float, attempts: int = 7) -> None:
        self.goal, self.low, self.high, self.left = goal, low, high, attempts
        self.tried: list[tuple[float, float]] = []
        self.next: float | None = start
        self.best: list[Encoded] | None = None
        self.reached = -math.inf

    def propose(self) -> float | None:
        """Logarithm of the next byte count, or None when the search is over."""
        return self.next if self.left > 0 else None

    def tell(self, log_bytes: float, psnr: float, attempt: list[Encoded]) -> None:
        """Learn the outcome of a proposal."""
        self.left -= 1
        self.reached = max(self.reached, psnr)
        above = [x for x, p in self.tried if p >= self.goal]
        if psnr >= self.goal and (not above or log_bytes < min(above)):
            self.best = attempt
        self.tried.append((log_bytes, psnr))
        if self.goal <= psnr <= self.goal + TOLERANCE_DB:
            self.next = None
            return
        self.next = self._aim()

    def _aim(self) -> float | None:
        below = [t for t in self.tried if t[1] < self.goal]
        above = [t for t in self.tried if t[1] >= self.goal]
        # Aim into the middle of the tolerance, so that a slightly wrong slope still lands in it.
        goal = self.goal + TOLERANCE_DB / 2
        if below and above:
            (x0, p0), (x1, p1) = max(below), min(above)
            if x1 - x0 < 0.004:
                return None
            if not math.isfinite(p1) or p1 - p0 < 1e-6:
                return (x0 + x1) / 2
            return x0 + (x1 - x0) * min(0.9, max(0.1, (goal - p0) / (p1 - p0)))
        x, p = self.tried[-1]
        edge = self.high if below else self.low
        if x == edge:
            return None
        move = (goal - p) / self._slope() if math.isfinite(p) else -2.0
        return min(max(x + max(-3.0, min(3.0, move)), self.low), self.high)

    def _slope(self) -> float:
        """Decibel per doubling of the bytes: as the last two attempts say, 1.5 before there are two."""
        if len(self.tried) < 2:
            return 1.5
        (x0, p0), (x1, p1) = self.tried[-2:]
        return max(0.2, (p1 - p0) / (x1 - x0)) if math.isfinite(p0) and x1 != x0 else 1.5
