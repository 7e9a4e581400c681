"""Parts to an analysis that is to find the same in the copy, in as few bytes as a few attempts find."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microfield.errors import BudgetError
from microfield.image import Layout
from microfield.methods.base import Encoded, KnobTraits
from microfield.wording import argument
from microfield.writing.knob import END, Knob
from microfield.writing.pace import Pace
from microfield.writing.request import Lineage, Request, Shortage
from microfield.writing.to_a_size import encode_to_size

if TYPE_CHECKING:
    from microfield.tasks.base import Goal, Outcome

ATTEMPTS = 12
"""How often the parts are encoded and judged at most."""
RESOLUTION = 0.1
"""The search ends where it knows the fewest bytes to this share of a doubling, 7 %."""
LONGEST_STEP = 3.0
"""Doublings of the bytes that the search steps over at once, at most."""
FIRST_RATIO = 32
"""How much smaller than the raw array the first attempt is, where a method is told bytes."""
MIDDLE = 0.25
"""Attempts stay away from both ends of what is still open by this share of it: measures rise in steps rather than smoothly."""


@dataclass(frozen=True)
class Attempt:
    """All parts at one setting, their bytes, and what the task measured in what they decode to."""

    encoded: list[Encoded]
    size: int
    outcome: Outcome


def encode_to_goal(request: Request, goal: Goal, layout: Layout, largest_size: int) -> Attempt:
    """Encode all parts so that a task finds in them what it found in the original, in the fewest bytes of a few attempts.

    Measures of an analysis rise with the bytes only in the main, so that a smaller file may by chance be good enough, too: the
    search is a bisection of the logarithm of the bytes, each attempt decoded and judged. What it returns was judged as it is.

    Parameters
    ----------
    request : Request
        All parts of the image.
    goal : Goal
    layout : Layout
        Of the whole image.
    largest_size : int
        Bytes that the parts may take.

    Raises
    ------
    BudgetError
        If more than ``largest_size`` bytes would be needed, the method cannot be so good, or the time limit came first (a Shortage
        where not even the smallest parts are below that size).
    """
    settings = _knob(request) if isinstance(request.method.quality, KnobTraits) else _bytes(request, largest_size)

    def attempt(setting: float, cheaply: bool) -> Attempt:
        del cheaply
        encoded = settings.encode(setting)
        done = Attempt(encoded, request.total(encoded), goal.judge(decoded(request, encoded, layout)))
        request.context.progress(1 - 0.85 ** (request.log.attempts + 1), f"attempt {request.log.attempts + 1}: {done.outcome}")
        return done

    pace = Pace(request.context.deadline, 0.0, request.log)
    tried = search(lambda setting: pace.timed(attempt, setting), settings, pace)
    kept = [one for one in tried if one.outcome.kept]
    small = [one for one in kept if one.size <= largest_size]
    if not small:
        raise _refusal(request, tried, kept, largest_size)
    return min(small, key=lambda one: one.size)


@dataclass(frozen=True)
class Range:
    """Settings of a method from the coarsest to the finest.

    Attributes
    ----------
    low, high : the ends
    first : where a search begins
    octave : by how much the setting rises where the bytes double, about
    step : smallest change of the setting worth an attempt
    encode : all parts at a setting
    """

    low: float
    high: float
    first: float
    octave: float
    step: float
    encode: Callable[[float], list[Encoded]]


def _knob(request: Request) -> Range:
    """The settings of a method's knob."""
    knob = Knob(request, measure=True)
    return Range(0.0, END, knob.traits.first, math.log(2) / knob.traits.slope, knob.traits.step, knob.at)


def _bytes(request: Request, largest_size: int) -> Range:
    """Byte limits, as their binary logarithms."""
    smallest = sum(request.smallest(p) for p in request.parts)
    if smallest > largest_size:
        raise Shortage(smallest)
    states: list[Any] | None = None

    def encode(setting: float) -> list[Encoded]:
        nonlocal states
        left = request.context.deadline.share(1 / 3)
        limited = replace(request, context=request.context.with_deadline(left))
        encoded = encode_to_size(limited, max(smallest, int(2**setting)), states)
        states = [e.state for e in encoded]
        return encoded

    raw = sum(p.layout.nbytes for p in request.parts)
    low, high = math.log2(smallest), math.log2(largest_size)
    return Range(low, high, min(max(math.log2(max(raw / FIRST_RATIO, 1)), low), high), 1.0, RESOLUTION / 2, encode)


def search(attempt: Callable[[float], Attempt], settings: Range, pace: Pace) -> list[Attempt]:
    """Attempts around the coarsest setting that is good enough: first outwards from `Range.first`, then between the two nearest."""
    fails: _Tried | None = None
    keeps: _Tried | None = None
    tried: list[Attempt] = []
    setting: float | None = settings.first
    while setting is not None and len(tried) < ATTEMPTS:
        tried.append(attempt(setting))
        one = _Tried(setting, _height(tried[-1].outcome), tried[-1].size)
        if one.height <= 0:
            keeps = one
        else:
            fails = one
        setting = _next(fails, keeps, settings, 2.0 ** (len(tried) - 1))
        if setting is not None and not pace.allows():
            pace.log.ended = True
            break
    return tried


class _Tried(NamedTuple):
    """An attempt: its setting, the doublings by which its loss is too large (`_height`), its bytes."""

    setting: float
    height: float
    size: int


def _height(outcome: Outcome) -> float:
    """Doublings by which the loss is too large, at most `LONGEST_STEP` either way."""
    if outcome.used <= 0:
        return -LONGEST_STEP
    return min(LONGEST_STEP, max(-LONGEST_STEP, math.log2(outcome.used))) if math.isfinite(outcome.used) else LONGEST_STEP


def _next(fails: _Tried | None, keeps: _Tried | None, settings: Range, reach: float) -> float | None:
    """The next setting to try; None where nothing is to be gained.

    ``reach`` makes steps outwards longer: sizes hardly change at one end of some knobs.
    """
    if fails is not None and keeps is not None:
        width = keeps.setting - fails.setting
        if width <= 2 * settings.step or abs(math.log2(max(keeps.size, 1) / max(fails.size, 1))) <= RESOLUTION:
            return None
        share = fails.height / (fails.height - keeps.height)
        return fails.setting + width * min(1 - MIDDLE, max(MIDDLE, share))
    if keeps is not None:
        step = settings.octave * max(1.0, -keeps.height, reach)
        return None if keeps.setting <= settings.low else max(settings.low, keeps.setting - step)
    if fails is not None:
        step = settings.octave * max(1.0, fails.height, reach)
        return None if fails.setting >= settings.high else min(settings.high, fails.setting + step)
    return settings.first


def decoded(request: Request, encoded: Sequence[Encoded], layout: Layout) -> npt.NDArray[Any]:
    """The image that parts decode to."""
    found = np.empty(layout.shape, layout.dtype)
    lineage = Lineage(request.method, request.references, request.context.shared)
    for number, (part, one) in enumerate(zip(request.parts, encoded, strict=True)):
        decoder = lineage.decoder(number, part, one)
        found[part.box] = decoder.read(tuple(range(n) for n in part.layout.shape))
    return found


def _refusal(request: Request, tried: Sequence[Attempt], kept: Sequence[Attempt], largest_size: int) -> BudgetError:
    """Why no attempt will do."""
    best = min(kept, key=lambda one: one.size) if kept else min(tried, key=lambda one: one.outcome.used)
    exact = f"Allow more, or keep an exact copy with {argument('lossless', True)}."
    if request.log.ended and not kept:
        return BudgetError(f"the analysis was not kept within the time limit ({best.outcome} at {best.size} bytes). {exact}")
    if best.size > largest_size or not isinstance(request.method.quality, KnobTraits):
        return BudgetError(f"keeping the analysis needs more than a quarter of the raw size ({best.outcome} at {best.size} bytes). "
                           f"{exact}")
    return BudgetError(f"method {request.method.name} does not keep the analysis ({best.outcome} at {best.size} bytes, its finest "
                       f"setting). {exact}")
