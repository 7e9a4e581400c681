"""The search for one setting of a knob, such as a codec's rate factor or a quantiser's step, common to all parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np

from microfield.methods.base import Encoded, KnobTraits
from microfield.writing.budget import TOLERANCE_DB
from microfield.writing.request import Lineage, Request, attempt_context, encode_part, normalised_error, part_context

Result = TypeVar("Result")

END = 1000.0
"""Knobs run from 0 to this."""

TOLERANCE = 0.006
"""A size is met where its logarithm is at most this far below the limit."""

SLOPE = 0.012
"""By how much the height rises with the setting, before two attempts say so: knobs span some 12 nats of bytes."""


def largest(evaluate: Callable[[float], tuple[float, Result]], step: float, tolerance: float,
            stop: Callable[[], bool] = lambda: False, attempts: int = 18, first: float = END / 2,
            drifts: bool = False, slope: float = SLOPE) -> Result | None:
    """The result at the largest setting whose height is at most 0; None where even setting 0 is too high.

    Parameters
    ----------
    evaluate : callable (setting) -> (height, result)
        The height rises with the setting, at least in the main.
    step : float
        Changes of the setting below this are not worth an attempt.
    tolerance : float
        A height in ``-tolerance..0`` ends the search.
    stop : callable () -> bool
        True when the time is up: what was found so far is returned, or else setting 0 is tried.
    first : float
        Where to begin.
    drifts : bool
        The same setting may come out lower in later attempts, which know more.
    slope : float
        By how much the height rises with the setting, before two attempts say so.
    """
    search: _Search[Result] = _Search(tolerance, drifts, slope)
    setting = first
    for _ in range(attempts):
        search.tell(setting, *evaluate(setting))
        proposed = search.propose(step)
        if proposed is None or stop():
            break
        setting = proposed
    if search.best is None and search.high > 0:
        search.tell(0.0, *evaluate(0.0))
    return search.best


class _Search(Generic[Result]):
    """Steps along the slope until the answer is bracketed, then regula falsi.

    With the Illinois rule: M. Dowell and P. Jarratt, "A modified regula falsi method", BIT 11 (1971).
    """

    def __init__(self, tolerance: float, drifts: bool, slope: float) -> None:
        self.tolerance, self.drifts = tolerance, drifts
        self.low, self.high = 0.0, END
        self.below: float | None = None
        self.above: float | None = None
        self.best: Result | None = None
        self.done = False
        self.best_height = -float("inf")
        self.first_slope = self.slope = slope
        self.last: tuple[float, float] | None = None

    def tell(self, setting: float, height: float, result: Result) -> None:
        """Learn an outcome."""
        aimed = height + self.tolerance / 2
        if self.last is not None and setting != self.last[0]:
            self.slope = max(SLOPE / 4, (aimed - self.last[1]) / (setting - self.last[0]))
        same_side = self.last is not None and (self.last[1] > 0) == (aimed > 0)
        self.last = (setting, aimed)
        if height <= 0:
            self.best, self.low, self.below, self.best_height = result, setting, aimed, height
            if same_side and self.above is not None:
                self.above /= 2
            self.done = height >= -self.tolerance or setting == END
        else:
            self.high, self.above = setting, aimed
            if same_side and self.below is not None:
                self.below /= 2
            self.done = setting == 0

    def propose(self, step: float) -> float | None:
        """The next setting to try, or None when there is nothing to gain."""
        if self.done or self.last is None:
            return None
        if self.below is not None and self.above is not None:
            if self.high - self.low <= step:
                return self._doubt(step)
            fraction = -self.below / (self.above - self.below) if self.above > self.below else 0.5
            return self.low + (self.high - self.low) * min(0.95, max(0.05, fraction))
        return self._beyond(step)

    def _doubt(self, step: float) -> float | None:
        """Where the bracket closes far below 0, an attempt may have been too high only because it came early: look again, once."""
        if not self.drifts or self.best_height > -2 * self.tolerance:
            return None
        self.drifts, self.high, self.above = False, END, None
        self.slope, self.last = self.first_slope, (self.low, self.best_height)
        return self._beyond(step)

    def _beyond(self, step: float) -> float:
        """One side only: a little farther than the slope says, and to the end where that is near."""
        assert self.last is not None
        setting, height = self.last
        move = max(4 * step, 1.2 * abs(height) / self.slope)
        if self.below is None:
            aim = setting - move
            # Where the height hardly falls any more, the end tells whether there is an answer at all.
            return 0.0 if aim < 0.1 * setting or self.slope == SLOPE / 4 else aim
        aim = setting + move
        return END if END - aim < 0.1 * (END - setting) else aim


@dataclass(frozen=True)
class Attempt:
    """All parts, as they come out at one setting."""

    quality: float
    encoded: list[Encoded]


class Knob:
    """All parts at one common setting of the method's knob; every attempt starts from the state of the one before."""

    def __init__(self, request: Request, measure: bool) -> None:
        traits = request.method.quality
        assert isinstance(traits, KnobTraits)
        self.traits = traits
        self.request = replace(request, context=replace(request.context, measure=measure))
        self.states: list[Any] = [None] * len(request.parts)
        self.count = 0

    def at(self, quality: float) -> list[Encoded]:
        """Encode all parts."""
        request, context = self.request, self.request.context
        self.count += 1
        context.progress(1 - 0.85**self.count, f"attempt {self.count}")
        lineage = Lineage(request.method, request.references, context.shared)
        encoded = []
        for i, part in enumerate(request.parts):
            own = attempt_context(request, i, lineage.parent(i))
            encoded.append(encode_part(request.method, part, part.read(), quality, own, self.states[i]))
            lineage.add(i, part, encoded[-1])
        self.states = [e.state for e in encoded]
        return encoded

    def finest(self, limit: int) -> Attempt | None:
        """The finest setting that takes at most ``limit`` bytes; None where not even the coarsest does."""
        traits = self.traits
        return largest(lambda x: self._size(x, limit), traits.step, TOLERANCE, self._late, first=self._guess(limit),
                       drifts=traits.learns, slope=traits.slope)

    def coarsest(self, error: float) -> Attempt | None:
        """The coarsest setting whose normalised error is at most ``error``; None where not even the finest is."""
        traits = self.traits
        return largest(lambda x: self._error(END - x, error), traits.step, TOLERANCE_DB * math.log(10) / 10, self._late,
                       first=END - traits.first, drifts=traits.learns)

    def finished(self, encoded: list[Encoded]) -> list[Encoded]:
        """Parts whose setting is found, with their errors."""
        request = self.request
        lineage = Lineage(request.method, request.references, request.context.shared)
        done = []
        for i, (part, one) in enumerate(zip(request.parts, encoded, strict=True)):
            context = part_context(request.context, part, parent=lineage.parent(i))
            done.append(request.method.finish(one, part.read(), part.layout, context))
            lineage.add(i, part, done[-1])
        return done

    def _guess(self, limit: int) -> float:
        """Where to begin: what the method makes of the largest part's share, and the whole search follows."""
        if limit <= 0:
            return self.traits.first
        request, parts = self.request, self.request.parts
        index = int(np.argmax([p.layout.size for p in parts]))
        part = parts[index]
        share = limit * part.layout.size / request.voxels
        return request.method.guess(part.read(), part.layout, share, attempt_context(request, index, None))

    def _late(self) -> bool:
        return self.request.context.deadline.passed

    def _size(self, quality: float, limit: int) -> tuple[float, Attempt]:
        encoded = self.at(quality)
        size = self.request.total(encoded)
        # Where more bytes would not help, any setting is as good as the finest.
        if all(e.exhausted for e in encoded) and size <= limit:
            return 0.0, Attempt(quality, encoded)
        return math.log(max(size, 1) / max(limit, 1e-3)), Attempt(quality, encoded)

    def _error(self, quality: float, error: float) -> tuple[float, Attempt]:
        encoded = self.at(quality)
        return math.log(max(normalised_error(self.request, encoded), 1e-300) / error), Attempt(quality, encoded)
