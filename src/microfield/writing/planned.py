"""The setting of a plan: found from sampled parts, and corrected where the file comes out too large or not good enough."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from microfield.errors import BudgetError
from microfield.format.assembler import Assembler
from microfield.methods.base import Exact, KnobTraits
from microfield.wording import argument
from microfield.writing.balance import balanced, weighed
from microfield.writing.budget import TOLERANCE_DB
from microfield.writing.envelope import Envelope
from microfield.writing.knob import END, Knob, largest
from microfield.writing.pace import Pace, SearchLog
from microfield.writing.plan import ByteShares, encode_of
from microfield.writing.prediction import water_level
from microfield.writing.request import ErrorTotals, Lineage, Request, Shortage, rate_curve
from microfield.writing.sample import only, sample_of
from microfield.writing.to_a_quality import encode_to_quality

if TYPE_CHECKING:
    from microfield.tasks.base import Goal, Outcome

SAMPLED_VOXELS = 1 << 23
"""Array elements of all sampled parts together, about."""
SAMPLED_PARTS = 8
"""The fewest parts that are sampled, where there are so many."""
MOST_SAMPLED = 512
"""The most parts that are sampled."""
UNLIMITED = 1 << 62
"""The limit of a file that may take what it takes."""
SAMPLED_TIME = 0.25
"""Share of a time limit that the search among the sampled parts may take."""
RESERVE = 0.99
"""Share of a size that the sample is made to fill: it may not be like the rest."""
FILLED = 0.98
"""Where a pass over all parts takes at least this share of the limit, no other one follows."""
PASSES = 4
"""How often all parts are encoded at most."""
REPORTED = 16
"""Progress is told every so many parts."""


@dataclass
class Pass:
    """All parts encoded at one setting, waiting to be written; ``exhausted`` where more bytes would not improve any, ``outcome``
    what a task measured in them.
    """

    assembler: Assembler
    errors: ErrorTotals
    size: int
    exhausted: bool = False
    outcome: Outcome | None = None


@dataclass(frozen=True)
class Target:
    """What the file must be: at most ``limit`` bytes; in addition a mean squared error in units of at most ``error``, or what a
    ``goal`` asks for.
    """

    limit: int
    error: float | None = None
    say: Callable[[float], str] = lambda psnr: f"{psnr:.2f} dB"
    goal: Goal | None = None


def first_setting(request: Request, envelope: Envelope, target: Target) -> float | ByteShares:
    """The setting that sampled parts ask for: what a plan holds, and where `encode_planned_image` begins.

    Raises
    ------
    BudgetError
        The target cannot be met (Shortage where not even the smallest parts fit).
    """
    if isinstance(request.method.quality, Exact):
        return 0.0
    sample = _for_search(request)
    if not isinstance(request.method.quality, KnobTraits):
        return _shares(request, _room(request, envelope, target, sample))
    if target.error is None:
        room = (target.limit - envelope.overhead(target.limit)) * sample.voxels / _voxels(envelope)
        found = Knob(sample, measure=False).finest(int(room * RESERVE))
        return 0.0 if found is None else found.quality
    enough = Knob(sample, measure=True).coarsest(target.error)
    return END if enough is None else enough.quality


def encode_planned_image(request: Request, envelope: Envelope, target: Target) -> Pass:
    """Encode all parts of a large image, one after the other, at a common setting.

    Raises
    ------
    BudgetError
        The target cannot be met (Shortage where not even the smallest parts fit).
    """
    setting = first_setting(request, envelope, target)
    if isinstance(setting, ByteShares):
        return _in_shares(request, envelope, target, setting)
    return _to_a_size(request, envelope, target, setting) if target.error is None else _to_a_quality(
        request, envelope, target, target.error, setting)


def with_balance(request: Request, target: Target) -> Request:
    """The request with the weights of channels that suit sampled parts best, where the worst channel's quality is asked for."""
    if target.error is None or not request.worst:
        return request
    sample = _for_search(request)
    share = int(target.limit * sample.voxels / request.voxels)
    return weighed(request, balanced(_prepared(sample), target.error, share, target.say)[0])


def exactly(request: Request, envelope: Envelope) -> Pass:
    """All parts, one after the other, by a method that makes exact copies: they take what they take."""
    request.log.attempts += 1
    return encode_all(request, envelope, 0.0)


def _for_search(request: Request) -> Request:
    """Sampled parts, and a part of the time: the limit is for the passes over all parts above all."""
    return replace(sampled(request), log=SearchLog()).with_deadline(request.context.deadline.share(SAMPLED_TIME))


def _prepared(request: Request) -> Request:
    """The request with what a search for a quality needs."""
    return request if isinstance(request.method.quality, KnobTraits) else request.with_curves()


def sampled(request: Request) -> Request:
    """Some of the parts, spread over the image, together with those they build on."""
    count = min(MOST_SAMPLED, max(SAMPLED_PARTS, SAMPLED_VOXELS // request.parts[0].layout.size))
    return only(request, sample_of(request, count))


# -- one setting of a knob ------------------------------------------------------------------------------------------------------


def _to_a_size(request: Request, envelope: Envelope, target: Target, first: float) -> Pass:
    traits = request.method.quality
    assert isinstance(traits, KnobTraits)
    with Passes(request, envelope) as passes:
        def height(quality: float, cheaply: bool) -> tuple[float, Pass]:
            del cheaply
            done = passes.at(quality)
            return (0.0 if done.exhausted and done.size <= target.limit else math.log(done.size / target.limit)), done

        best = largest(height, traits.step, 1 - FILLED, passes.pace, PASSES, first, slope=traits.slope)
        if best is None:
            raise Shortage(passes.at(0.0).size - envelope.overhead(target.limit))
        return passes.only(best)


def _to_a_quality(request: Request, envelope: Envelope, target: Target, goal: float, first: float) -> Pass:
    traits = request.method.quality
    assert isinstance(traits, KnobTraits)
    with Passes(request, envelope) as passes:
        def excess(below: float, cheaply: bool) -> tuple[float, Pass]:
            del cheaply
            done = passes.at(END - below)
            return math.log(max(passes.error(done), 1e-300) / goal), done

        best = largest(excess, traits.step, TOLERANCE_DB * math.log(10) / 10, passes.pace, PASSES, END - first)
        if best is None or best.size > target.limit:
            raise _too_fine(request, target)
        return passes.only(best)


# -- shares of bytes ------------------------------------------------------------------------------------------------------------


def _in_shares(request: Request, envelope: Envelope, target: Target, shares: ByteShares) -> Pass:
    with Passes(request, envelope) as passes:
        room = _room(request, envelope, Target(target.limit), request)
        for _ in range(PASSES):
            done = passes.at(shares)
            error = passes.error(done)
            if target.error is None or error <= target.error:
                return passes.only(done)
            # Some 1.5 dB a doubling is what bytes usually bring.
            wanted = (done.size - envelope.overhead(target.limit)) * 1.05 * (error / target.error) ** 0.5
            if wanted > room:
                break
            shares = _shares(request, wanted)
        raise _too_fine(request, target)


def _room(request: Request, envelope: Envelope, target: Target, sample: Request) -> float:
    """Bytes that parts may take beyond their smallest sizes: what the limit leaves, or what a quality takes in a sample."""
    floor = _floor(request)
    most = target.limit - envelope.overhead(target.limit) - floor
    if most < 0:
        raise Shortage(floor)
    if target.error is None:
        return most
    share = int((most + floor) * sample.voxels / request.voxels)
    encoded = encode_to_quality(sample.with_curves(), target.error, share, target.say)
    return min(most, max(0, sample.total(encoded) - _floor(sample)) * request.voxels / sample.voxels)


def _floor(request: Request) -> int:
    """Fewest bytes of all parts; a grid has few different shapes of them."""
    known: dict[tuple[int, ...], int] = {}
    total = 0
    for part in request.parts:
        shape = part.layout.shape
        if shape not in known:
            known[shape] = request.smallest(part)
        total += known[shape]
    return total


def _shares(request: Request, room: float) -> ByteShares:
    """Equal slope: the level is found from a sample, then the bits of all parts at that level are added up, so that no byte
    is shared out twice.
    """
    sample = sampled(request).with_curves()
    theta = water_level(sample.curves, 8 * room * sample.voxels / request.voxels)
    bits = sum(rate_curve(request.method, part, request.context).bits(theta) for part in request.parts)
    return ByteShares(theta, room / bits if bits > 0 else 0.0)


def _too_fine(request: Request, target: Target) -> BudgetError:
    asked = "" if target.error is None else f" ({target.say(-10 * math.log10(target.error))})"
    return BudgetError(f"the asked quality{asked} needs more than a quarter of the raw size, or is beyond what "
                       f"{request.method.name} reaches on this image. Ask for less, or keep an exact copy with "
                       f"{argument('lossless', True)}.")


# -- a pass over all parts ------------------------------------------------------------------------------------------------------


class Passes:
    """Encodes all parts at one setting after another; of the files that wait, only one is kept in the end."""

    def __init__(self, request: Request, envelope: Envelope) -> None:
        self.request, self.envelope = request, envelope
        self.pace = Pace(request.context.deadline, log=request.log)
        self._made: list[Pass] = []
        self._kept: Pass | None = None

    def __enter__(self) -> Passes:
        return self

    def __exit__(self, *error: object) -> None:
        for done in self._made:
            if done is not self._kept:
                done.assembler.close()

    def at(self, setting: float | ByteShares) -> Pass:
        """All parts at a setting."""
        self._made.append(encode_all(self.request, self.envelope, setting))
        return self._made[-1]

    def error(self, done: Pass) -> float:
        """Mean over channels of the squared error in units."""
        return self.request.error_of(done.errors)

    def only(self, best: Pass) -> Pass:
        """The best pass, which outlives the others."""
        self._kept = best
        return best


def encode_all(request: Request, envelope: Envelope, setting: float | ByteShares) -> Pass:
    """Encode every part at a setting and spool it; memory holds one part at a time, and the decoders others build on."""
    lineage = Lineage(request.method, request.references, request.context.shared)
    assembler = envelope.assembler()
    errors = ErrorTotals(request.context.unit.size)
    n, left = len(request.parts), _voxels(envelope)
    quiet = replace(request, context=replace(request.context, progress=_silent if n > 1 else request.context.progress,
                                             image_reach=request.context.reach))
    exhausted = True
    try:
        for i, part in enumerate(request.parts):
            deadline = request.context.deadline.share(part.layout.size / left)
            encoded = encode_of(quiet.with_deadline(deadline), part, setting, lineage.parent(i))
            left -= part.layout.size
            exhausted = exhausted and encoded.exhausted
            lineage.add(i, part, encoded)
            errors.add(part, encoded)
            assembler.add(encoded.sections, encoded.reference)
            if i % REPORTED == 0 or i + 1 == n:
                request.context.progress((i + 1) / n, f"part {i + 1}/{n}")
    except BaseException:
        assembler.close()
        raise
    return Pass(assembler, errors, assembler.size, exhausted)


def _silent(done: float, what: str) -> None:
    del done, what


def _voxels(envelope: Envelope) -> int:
    return envelope.header.layout.size
