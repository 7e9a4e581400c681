"""What a search for a size or a quality works on: parts of an image, one method, one context; and encoding one of these parts.

One part is as good as many, so a search nests: a method that consists of others searches for its own block (`rate_control`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.deadline import Deadline
from microfield.errors import BudgetError
from microfield.format.framing import overhead, part_size
from microfield.methods.base import Context, Decoder, Encoded, Method, Parent, Part, PartData, RateCurve
from microfield.writing.pace import SearchLog
from microfield.writing.prediction import spectrum

Float64 = npt.NDArray[np.float64]


class Shortage(BudgetError):
    """Raised with the bytes the parts take at least; `job` turns it into a sentence about the file."""

    def __init__(self, smallest: int) -> None:
        super().__init__(f"the parts take at least {smallest} bytes.")
        self.smallest = smallest


@dataclass(frozen=True)
class Request:
    """Parts to encode together.

    Attributes
    ----------
    method : Method
    parts : sequence of Part
    context : Context
        Of the whole image; `part_context` cuts it to a part.
    references : mapping of int to int
        Number of a part to that of the earlier part that it may build on; parts without one are left out.
    curves : sequence of RateCurve
        Predicted curve of every part; only methods whose quality is a byte limit need them (`with_curves`).
    framed : bool
        True: sizes count what a file adds to a part, its checksum and the lengths of its sections. False: sections only.
    worst : bool
        Whether a quality is that of the worst channel, instead of the mean over channels.
    log : SearchLog
        What the search did; requests made from this one add to it.
    """

    method: Method
    parts: Sequence[Part]
    context: Context
    references: Mapping[int, int] = field(default_factory=dict)
    curves: Sequence[RateCurve] = ()
    framed: bool = True
    worst: bool = False
    log: SearchLog = field(default_factory=SearchLog)

    @cached_property
    def voxels(self) -> int:
        """Array elements of all parts."""
        return sum(p.layout.size for p in self.parts)

    def with_deadline(self, deadline: Deadline) -> Request:
        """The same request with another deadline."""
        return self if deadline is self.context.deadline else replace(self, context=self.context.with_deadline(deadline))

    def size(self, encoded: Encoded) -> int:
        """Bytes that an encoded part counts for."""
        return part_size(encoded.sections) if self.framed else encoded.payload

    def total(self, encoded: Sequence[Encoded]) -> int:
        """Bytes of all parts."""
        return sum(self.size(e) for e in encoded)

    def payload(self, limit: int) -> int:
        """Bytes that the sections of a part may take which counts for at most ``limit``."""
        return limit - (overhead(self.method.sections, limit) if self.framed else 0)

    def smallest(self, part: Part) -> int:
        """Fewest bytes that a part can count for."""
        payload = self.method.smallest(part.layout)
        return payload + (overhead(self.method.sections, payload) if self.framed else 0)

    def error_of(self, errors: ErrorTotals) -> float:
        """The squared error in units that a quality is about: of the worst channel or mean over channels."""
        relative = errors.square_error / self.context.unit**2
        return float(np.max(relative) if self.worst else np.mean(relative))

    def with_curves(self) -> Request:
        """The same request with the predicted curve of every part."""
        return replace(self, curves=[rate_curve(self.method, part, self.context) for part in self.parts])


def rate_curve(method: Method, part: Part, context: Context) -> RateCurve:
    """The method's own curve of a part, or else the one that a transform codec would have."""
    block = part.read()
    own = method.rate_curve(block, part.layout, part_context(context, part))
    return spectrum(block, part.layout, context.unit[part.channels]) if own is None else own


def part_context(context: Context, part: Part, **changes: Any) -> Context:
    """The context of the whole image cut to one part, with ``changes`` to other fields."""
    where = part.channels
    return replace(
        context,
        channel_range=context.channel_range[where],
        channel_weights=context.channel_weights[where],
        noise=None if context.noise is None else context.noise[where],
        objective=context.objective.cut(part.box),
        image_reach=context.reach,
        **changes,
    )


def attempt_context(request: Request, index: int, parent: Parent | None, fraction: float = 1.0) -> Context:
    """The context of one part in an attempt at all of them: ``fraction`` of the time left, its share of the progress."""
    whole, n = request.context, len(request.parts)
    return part_context(
        whole, request.parts[index],
        parent=parent,
        deadline=whole.deadline.share(fraction),
        progress=lambda done, what: whole.progress((index + done) / n, what if n == 1 else f"part {index + 1}/{n}: {what}"),
    )


@dataclass
class Lineage:
    """The decoders of parts that later parts build on, each kept until the last of these is encoded."""

    method: Method
    references: Mapping[int, int]
    shared: tuple[bytes, ...]
    decoders: dict[int, Decoder] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._last = {parent: part for part, parent in sorted(self.references.items())}

    def parent(self, part: int) -> Parent | None:
        """What a part may build on."""
        number = self.references.get(part)
        return None if number is None else Parent(number, self.decoders[number])

    def add(self, number: int, part: Part, encoded: Encoded) -> None:
        """Learn how a part came out, and forget what no later part builds on."""
        if number in self._last:
            self.decoders[number] = self._decoder(part, encoded)
        self._forget(number)

    def decoder(self, number: int, part: Part, encoded: Encoded) -> Decoder:
        """The decoder of the next part; otherwise as `add`."""
        found = self._decoder(part, encoded)
        if number in self._last:
            self.decoders[number] = found
        self._forget(number)
        return found

    def _decoder(self, part: Part, encoded: Encoded) -> Decoder:
        parent = None if encoded.reference is None else self.decoders[encoded.reference]
        data = PartData(encoded.sections, self.shared, parent)
        return self.method.decoder(part.layout, self.method.bitstream_version, data)

    def _forget(self, number: int) -> None:
        before = self.references.get(number)
        if before is not None and self._last[before] == number:
            del self.decoders[before]


def encode_part(method: Method, part: Part, block: npt.NDArray[Any], quality: float, context: Context, state: Any = None,
                ) -> Encoded:
    """Encode one part.

    Parameters
    ----------
    block : array
        Values of the part.
    quality : float
        What `Method.quality` says: a setting of the knob, or the bytes that the sections may take.
    context : Context
        Cut to the part, with its parent.
    """
    layout, parent = part.layout, context.parent
    if any(margin := method.margin(layout)):
        context = replace(context, surroundings=part.read_with_margin(margin))
    encoded = method.encode(block, layout, quality, context, state)
    if len(encoded.sections) != method.sections:
        raise ValueError(f"method {method.name} gave {len(encoded.sections)} sections; it declares {method.sections}.")
    if encoded.reference is not None and (parent is None or encoded.reference != parent.number):
        raise ValueError(f"method {method.name} builds a part on part {encoded.reference}, which it was not given.")
    return encoded


def normalised_error(request: Request, encoded: Sequence[Encoded]) -> float:
    """The squared error in units over all parts, of the worst channel or mean over channels: PSNR = -10 log10 of it."""
    return request.error_of(_totals(request, encoded))


def channel_errors(request: Request, encoded: Sequence[Encoded]) -> Float64:
    """The squared error of every channel in units, over all parts: float64 of shape (channels,)."""
    return _totals(request, encoded).square_error / request.context.unit**2


def _totals(request: Request, encoded: Sequence[Encoded]) -> ErrorTotals:
    errors = ErrorTotals(request.context.unit.size)
    for one, part in zip(encoded, request.parts, strict=True):
        errors.add(part, one)
    return errors


class ErrorTotals:
    """Adds up errors and scores of parts, and what was left out, in memory that does not grow with their number."""

    def __init__(self, channels: int) -> None:
        self._total, self._voxels = np.zeros(channels), np.zeros(channels)
        self._scores: dict[str, tuple[float, int]] = {}
        self.shortened: tuple[str, ...] = ()

    def add(self, part: Part, encoded: Encoded) -> None:
        """Learn the errors of a part, which must have been measured."""
        where = part.channels
        per_channel = part.layout.size / part.layout.channels
        self._total[where] += encoded.measured * per_channel
        self._voxels[where] += per_channel
        self.shortened += tuple(what for what in encoded.shortened if what not in self.shortened)
        for name, score in encoded.scores.items():
            total, voxels = self._scores.get(name, (0.0, 0))
            self._scores[name] = total + score * part.layout.size, voxels + part.layout.size

    @property
    def square_error(self) -> Float64:
        """Mean squared error of every channel of the image, in squared grey levels."""
        return np.asarray(self._total / self._voxels)

    @property
    def scores(self) -> dict[str, float]:
        """Mean of every score over the parts that have it, weighed by voxels."""
        return {name: total / voxels for name, (total, voxels) in self._scores.items()}
