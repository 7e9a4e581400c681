"""The setting of a plan: found from sampled parts, and corrected where the file comes out too large or not good enough."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from microfield.errors import BudgetError
from microfield.format.assembler import Assembler
from microfield.methods.base import KnobTraits
from microfield.writing.budget import TOLERANCE_DB
from microfield.writing.envelope import Envelope
from microfield.writing.knob import END, Knob, largest
from microfield.writing.plan import ByteShares, encode_of
from microfield.writing.prediction import water_level
from microfield.writing.request import ErrorTotals, Lineage, Request, Shortage, rate_curve
from microfield.writing.to_a_quality import encode_to_quality

SAMPLED_VOXELS = 1 << 23
"""Array elements of all sampled parts together, about."""
SAMPLED_PARTS = 8
"""The fewest parts that are sampled, where there are so many."""
MOST_SAMPLED = 512
"""The most parts that are sampled."""
RESERVE = 0.99
"""Share of a size that the sample is made to fill: it may not be like the rest."""
FILLED = 0.98
"""Where a pass over all parts takes at least this share of the limit, no other one follows."""
PASSES = 4
"""How often all parts are encoded at most."""
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass
class Pass:
    """All parts encoded at one setting, waiting to be written."""

    assembler: Assembler
    errors: ErrorTotals
    size: int


@dataclass(frozen=True)
class Target:
    """What the file must be: at most ``limit`` bytes, or a mean squared error in units of at most ``error`` (then in ``limit``)."""

    limit: int
    error: float | None = None
    say: Callable[[float], str] = lambda psnr: f"{psnr:.2f} dB"


def encode_planned_image(request: Request, envelope: Envelope, target: Target) -> Pass:
    """Encode all parts of a large image, one after the other, at a common setting.

    Raises
    ------
    BudgetError
        The target cannot be met.
    """
    if isinstance(request.method.quality, KnobTraits):
        return _at_a_knob(request, envelope, target, request.method.quality)
    return _in_shares(request, envelope, target)


def sampled(request: Request) -> Request:
    """Some of the parts, spread over the image, together with those they build on."""
    parts, n = request.parts, len(request.parts)
    size = max(1, parts[0].layout.size)
    count = min(n, MOST_SAMPLED, max(SAMPLED_PARTS, SAMPLED_VOXELS // size))
    chosen: set[int] = set()
    for k in range(count):
        # Multiples of the golden ratio fill the interval evenly and keep to no column of the grid.
        number: int | None = int((0.5 + k * _GOLDEN) % 1.0 * n)
        while number is not None and number not in chosen:
            chosen.add(number)
            number = request.references.get(number)
    numbers = sorted(chosen)
    place = {number: i for i, number in enumerate(numbers)}
    references = {place[p]: place[r] for p, r in request.references.items() if p in place}
    return replace(request, parts=[parts[i] for i in numbers], references=references)


# -- one setting of a knob ------------------------------------------------------------------------------------------------------


def _at_a_knob(request: Request, envelope: Envelope, target: Target, traits: KnobTraits) -> Pass:
    sample = sampled(request)

    def late() -> bool:
        return request.context.deadline.passed

    if target.error is None:
        room = (target.limit - envelope.overhead(target.limit)) * sample.voxels / _voxels(envelope)
        found = Knob(sample, measure=False).finest(int(room * RESERVE))

        def height(quality: float) -> tuple[float, Pass]:
            done = encode_all(request, envelope, quality)
            return math.log(done.size / target.limit), done

        first = 0.0 if found is None else found.quality
        best = largest(height, traits.step, 1 - FILLED, late, PASSES, first, slope=traits.slope)
        if best is None:
            raise Shortage(encode_all(request, envelope, 0.0).size - envelope.overhead(target.limit))
        return best
    goal = target.error
    found = Knob(sample, measure=True).coarsest(goal)

    def excess(quality: float) -> tuple[float, Pass]:
        done = encode_all(request, envelope, END - quality)
        error = float(np.mean(done.errors.square_error / request.context.unit**2))
        return math.log(max(error, 1e-300) / goal), done

    first = 0.0 if found is None else END - found.quality
    best = largest(excess, traits.step, TOLERANCE_DB * math.log(10) / 10, late, PASSES, first)
    if best is None or best.size > target.limit:
        raise BudgetError(f"the asked quality ({target.say(-10 * math.log10(goal))}) needs more than a quarter of the raw size, or "
                          f"is beyond what {request.method.name} reaches on this image. Ask for less, or store it without loss.")
    return best


# -- shares of bytes ------------------------------------------------------------------------------------------------------------


def _in_shares(request: Request, envelope: Envelope, target: Target) -> Pass:
    floor = sum(request.smallest(p) for p in request.parts)
    most = target.limit - envelope.overhead(target.limit) - floor
    if most < 0:
        raise Shortage(floor)
    if target.error is None:
        return encode_all(request, envelope, _shares(request, most))
    sample = sampled(request)
    of_sample = encode_to_quality(sample.with_curves(), target.error, 1 << 60, target.say)
    room = max(0, sample.total(of_sample) - sum(sample.smallest(p) for p in sample.parts)) * _voxels(envelope) / sample.voxels
    for _ in range(PASSES):
        done = encode_all(request, envelope, _shares(request, min(room, most)))
        error = float(np.mean(done.errors.square_error / request.context.unit**2))
        if error <= target.error:
            return done
        if room > most:
            break
        # 6 dB a bit and coefficient is the most that bytes can bring, some 1.5 dB a doubling what they usually do.
        room *= 1.05 * (error / target.error) ** 0.5
    raise BudgetError(f"the asked quality ({target.say(-10 * math.log10(target.error))}) needs more than a quarter of the raw "
                      "size. Ask for less, or store this image without loss.")


def _shares(request: Request, room: float) -> ByteShares:
    """Equal slope: the level is found from a sample, then the bits of all parts at that level are added up, so that no byte is
    shared out twice.
    """
    sample = sampled(request).with_curves()
    theta = water_level(sample.curves, 8 * room * sample.voxels / sum(p.layout.size for p in request.parts))
    bits = sum(rate_curve(request.method, part, request.context).bits(theta) for part in request.parts)
    return ByteShares(theta, room / bits if bits > 0 else 0.0)


# -- a pass over all parts ------------------------------------------------------------------------------------------------------


def encode_all(request: Request, envelope: Envelope, setting: float | ByteShares) -> Pass:
    """Encode every part at a setting and spool it; memory holds one part at a time, and the decoders others build on."""
    lineage = Lineage(request.method, request.references, request.context.shared)
    assembler = Assembler(envelope.header, envelope.shared)
    errors = ErrorTotals(request.context.unit.size)
    n, left = len(request.parts), _voxels(envelope)
    try:
        for i in range(n):
            part = request.parts[i]
            own = replace(request.context, deadline=request.context.deadline.share(part.layout.size / left), progress=_silent)
            encoded = encode_of(replace(request, context=own), i, setting, lineage.parent(i))
            left -= part.layout.size
            lineage.add(i, part, encoded)
            errors.add(part, encoded)
            assembler.add(encoded.sections, encoded.reference)
            request.context.progress((i + 1) / n, f"part {i + 1}/{n}")
    except BaseException:
        assembler.close()
        raise
    return Pass(assembler, errors, assembler.size)


def _silent(done: float, what: str) -> None:
    del done, what


def _voxels(envelope: Envelope) -> int:
    return envelope.header.layout.size
