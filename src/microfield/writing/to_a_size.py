"""Parts to a size: bytes shared at equal slope, or one common setting of a knob that fits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from microfield.errors import BudgetError
from microfield.image import Layout
from microfield.methods.base import Context, Encoded, Method, finish
from microfield.writing.budget import TOLERANCE_DB
from microfield.writing.knob import END, SLOPE, largest
from microfield.writing.prediction import Spectrum, water_level


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


class Knob:
    """All parts at one common setting of the method's knob; every attempt starts from the state of the one before."""

    def __init__(self, request: Request, measure: bool) -> None:
        self.request = replace(request, context=replace(request.context, measure=measure))
        self.states: list[Any] = [None] * len(request.parts)
        self.step = float(getattr(request.method, "quality_step", 1.0))
        self.first = float(getattr(request.method, "quality_first", END / 2))
        self.slope = float(getattr(request.method, "quality_slope", SLOPE))
        self.drifts = bool(getattr(request.method, "continuous", False))
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
        return largest(lambda x: self._size(x, limit), self.step, 0.006, self._late, first=self._guess(limit),
                       drifts=self.drifts, slope=self.slope)

    def _guess(self, limit: int) -> float:
        """Where to begin: what the method makes of the largest part's share, where it can tell, and the whole search follows."""
        guess = getattr(self.request.method, "guess", None)
        if guess is None or limit <= 0:
            return self.first
        parts = self.request.parts
        index = int(np.argmax([p.layout.size for p in parts]))
        part = parts[index]
        share = limit * part.layout.size / sum(p.layout.size for p in parts)
        return float(guess(part.read(), part.layout, share, _slice_context(self.request, part, 1.0, index)))

    def coarsest(self, error: float) -> list[Encoded] | None:
        """The coarsest setting whose normalised error is at most ``error``."""
        return largest(lambda x: self._error(END - x, error), self.step, TOLERANCE_DB * math.log(10) / 10, self._late,
                       first=END - self.first, drifts=self.drifts)

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
    knob = Knob(request, measure=False)
    found = knob.finest(limit)
    if found is None:
        raise Shortage(total(knob.at(0.0)))
    return [finish(request.method, e, p.read(), p.layout) for e, p in zip(found, request.parts, strict=True)]
