"""The search for one setting of a knob, such as a codec's rate factor or a quantiser's step, common to all parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np

from microfield.methods.base import Encoded, KnobTraits
from microfield.writing.budget import TOLERANCE_DB
from microfield.writing.pace import Pace, SearchLog
from microfield.writing.prediction import predicted_bytes, water_level
from microfield.writing.request import Lineage, Request, attempt_context, encode_part, normalised_error, part_context
from microfield.writing.sample import only, sample_of

Result = TypeVar("Result")

END = 1000.0
"""Knobs run from 0 to this."""

TOLERANCE = 0.006
"""A size is met where its logarithm is at most this far below the limit."""

SLOPE = 0.012
"""By how much the height rises with the setting, before two attempts say so: knobs span some 12 nats of bytes."""


ENOUGH = 0.1
"""When the time is up, a logarithm of the size this far below the limit is enough: nine tenths of it."""

RESCUES = 4
"""Attempts that are made after the time is up, at most, until one fits."""

FILLING = 3
"""Attempts that are made after the time is up, at most, until one is large enough, where there is one that fits."""

MANY_PARTS, SAMPLED_SHARE, SAMPLED_TIME = 32, 1 / 16, 0.25
"""With a time limit an image of so many parts is begun with a search among this share of them, in this share of the time: an
attempt at all of them cannot be cut off, so the first one should be good enough."""

TIMELY = 0.95
"""Share of a size that such a sample is made to fill: it may not be like the rest."""

MOST_CHEAP = 12
"""Cheap attempts at the end of a search, at most."""

CAUTION = 0.65
"""A slope that only one attempt stands behind is taken to be this much flatter where the next one must be low enough."""

SPARED, SPARED_SHARE = 0.01, 0.15
"""What settings that must fit leave of the logarithm of the size: so much, and this share of the way from the nearest attempt."""


def largest(evaluate: Callable[[float, bool], tuple[float, Result]], step: float, tolerance: float, pace: Pace | None = None,
            attempts: int = 18, first: float = END / 2, drifts: bool = False, slope: float = SLOPE) -> Result | None:
    """The result at the largest setting whose height is at most 0; None where even setting 0 is too high.

    Parameters
    ----------
    evaluate : callable (setting, cheaply) -> (height, result)
        The height rises with the setting, at least in the main. ``cheaply`` asks for an attempt that builds on what the one
        before found out: only those are made when the time is nearly up.
    step : float
        Changes of the setting below this are not worth an attempt.
    tolerance : float
        A height in ``-tolerance..0`` ends the search.
    pace : Pace, optional
        How much time there is. When no further attempt fits into it, cheap ones at settings that are safe by what is known
        bring the height to ``-ENOUGH..0``, at least one and at most `RESCUES` where nothing was low enough yet.
    first : float
        Where to begin.
    drifts : bool
        The same setting may come out lower in later attempts, which know more.
    slope : float
        By how much the height rises with the setting, before two attempts say so.
    """
    pace = pace or Pace()
    search: _Search[Result] = _Search(tolerance, drifts, slope)
    setting = first
    for _ in range(attempts):
        search.tell(setting, *pace.timed(evaluate, setting))
        proposed = search.propose(step)
        if proposed is None:
            break
        if not pace.allows():
            pace.log.ended = True
            _settle(search, evaluate, pace)
            break
        setting = proposed
    if search.best is None and search.high > 0:
        search.tell(0.0, *pace.timed(evaluate, 0.0, pace.log.ended))
    return search.best


def _settle(search: _Search[Result], evaluate: Callable[[float, bool], tuple[float, Result]], pace: Pace) -> None:
    """The end of a search whose time is up: cheap attempts, as many as fit into the time, more only where they are needed."""
    late = 0
    for _ in range(MOST_CHEAP):
        if search.best_height >= -search.tolerance:
            return
        if not pace.allows(cheaply=True):
            fits = search.best is not None
            if late >= (FILLING if fits else RESCUES) or search.best_height >= -ENOUGH:
                return
            late += 1
        setting = search.safe()
        if setting is None:
            return
        search.tell(setting, *pace.timed(evaluate, setting, True))


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
        self.low_height: float | None = None
        self.high_height: float | None = None
        self.first_slope = self.slope = slope
        self.last: tuple[float, float] | None = None
        self.tried = 0

    def tell(self, setting: float, height: float, result: Result) -> None:
        """Learn an outcome."""
        self.tried += 1
        aimed = height + self.tolerance / 2
        if self.last is not None and setting != self.last[0]:
            self.slope = max(SLOPE / 4, (aimed - self.last[1]) / (setting - self.last[0]))
        same_side = self.last is not None and (self.last[1] > 0) == (aimed > 0)
        self.last = (setting, aimed)
        if height <= 0:
            self.best, self.low, self.below, self.best_height = result, setting, aimed, height
            self.low_height = height
            if same_side and self.above is not None:
                self.above /= 2
            self.done = height >= -self.tolerance or setting == END
        else:
            self.high, self.above, self.high_height = setting, aimed, height
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

    def safe(self) -> float | None:
        """A setting that is low enough by what is known, with something to spare; None where there is no better one.

        The farther the aim is from the nearest attempt, the more is spared.
        """
        if self.done or self.last is None:
            return None
        if self.low_height is not None and self.high_height is not None:
            aim = -SPARED - SPARED_SHARE * min(-self.low_height, self.high_height)
            if aim <= self.low_height or self.high_height <= self.low_height:
                return None
            return self.low + (self.high - self.low) * (aim - self.low_height) / (self.high_height - self.low_height)
        setting, height = (self.high, self.high_height) if self.low_height is None else (self.low, self.low_height)
        assert height is not None
        aim = -SPARED - SPARED_SHARE * abs(height)
        if aim <= height <= 0:
            return None
        slope = self.slope if self.tried > 1 else self.first_slope * (CAUTION if height > 0 else 1.0)
        return min(END, max(0.0, setting + (aim - height) / slope))

    def _doubt(self, step: float) -> float | None:
        """Where the bracket closes far below 0, an attempt may have been too high only because it came early: look again, once."""
        if not self.drifts or self.best_height > -2 * self.tolerance:
            return None
        self.drifts, self.high, self.above, self.high_height = False, END, None, None
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

    def at(self, quality: float, cheaply: bool = False) -> list[Encoded]:
        """Encode all parts; ``cheaply`` leaves what was decided in an earlier attempt as it is."""
        request = self.request
        if cheaply:
            request = replace(request, context=replace(request.context, reuse=True))
        context = request.context
        self.count += 1
        context.progress(1 - 0.85**self.count, f"attempt {self.count}")
        lineage = Lineage(request.method, request.references, context.shared)
        encoded = []
        left = request.voxels
        for i, part in enumerate(request.parts):
            own = attempt_context(request, i, lineage.parent(i), part.layout.size / left)
            left -= part.layout.size
            encoded.append(encode_part(request.method, part, part.read(), quality, own, self.states[i]))
            lineage.add(i, part, encoded[-1])
        self.states = [e.state for e in encoded]
        return encoded

    def finest(self, limit: int) -> Attempt | None:
        """The finest setting that takes at most ``limit`` bytes; None where not even the coarsest does."""
        traits = self.traits
        pace = Pace(self.request.context.deadline, traits.finish, self.request.log)
        return largest(lambda x, cheaply: self._size(x, limit, cheaply), traits.step, TOLERANCE, pace, first=self._guess(limit),
                       drifts=traits.learns, slope=traits.slope)

    def coarsest(self, error: float) -> Attempt | None:
        """The coarsest setting whose normalised error is at most ``error``; None where not even the finest is."""
        traits = self.traits
        pace = Pace(self.request.context.deadline, 0.0, self.request.log)
        return largest(lambda x, cheaply: self._error(END - x, error, cheaply), traits.step, TOLERANCE_DB * math.log(10) / 10, pace,
                       first=END - self._guess_for(error), drifts=traits.learns)

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
        if self._starts_with_a_sample():
            return self._sampled(lambda some, share: some.finest(int(TIMELY * share * limit)))
        if self.traits.octaves is not None and math.isfinite(request.context.deadline.end):
            at_one, octave = self.traits.octaves
            theta = water_level(request.with_curves().curves, 8 * limit)
            return min(END, max(0.0, at_one - octave * math.log2(theta) / 2))
        index = int(np.argmax([p.layout.size for p in parts]))
        part = parts[index]
        share = limit * part.layout.size / request.voxels
        return request.method.guess(part.read(), part.layout, share, attempt_context(request, index, None))

    def _guess_for(self, error: float) -> float:
        """Where to begin for a quality; where time is short, at the bytes that a transform codec would need."""
        request = self.request
        if math.isinf(request.context.deadline.end):
            return self.traits.first
        if self._starts_with_a_sample():
            return self._sampled(lambda some, _share: some.coarsest(error))
        return self._guess(int(predicted_bytes(request.with_curves().curves, error, request.voxels)))

    def _starts_with_a_sample(self) -> bool:
        """Whether time is short and there are parts enough to look for the setting in some of them."""
        return math.isfinite(self.request.context.deadline.end) and len(self.request.parts) >= MANY_PARTS

    def _sampled(self, find: Callable[[Knob, float], Attempt | None]) -> float:
        """The setting that a search among some of the parts finds, which leaves their states.

        ``find`` is given a knob of these parts and their share of all array elements.
        """
        whole, context = self.request, self.request.context
        numbers = sample_of(whole, max(8, int(SAMPLED_SHARE * len(whole.parts))))
        quiet = replace(context, deadline=context.deadline.share(SAMPLED_TIME),
                        progress=lambda _done, _what: context.progress(0.0, "sampled parts"))
        some = only(replace(whole, context=quiet, log=SearchLog()), numbers)
        knob = Knob(some, self.request.context.measure)
        found = find(knob, some.voxels / whole.voxels)
        for number, state in zip(numbers, knob.states, strict=True):
            self.states[number] = state
        return self.traits.first if found is None else found.quality

    def _size(self, quality: float, limit: int, cheaply: bool) -> tuple[float, Attempt]:
        encoded = self.at(quality, cheaply)
        size = self.request.total(encoded)
        # Where more bytes would not help, any setting is as good as the finest.
        if all(e.exhausted for e in encoded) and size <= limit:
            return 0.0, Attempt(quality, encoded)
        return math.log(max(size, 1) / max(limit, 1e-3)), Attempt(quality, encoded)

    def _error(self, quality: float, error: float, cheaply: bool) -> tuple[float, Attempt]:
        encoded = self.at(quality, cheaply)
        return math.log(max(normalised_error(self.request, encoded), 1e-300) / error), Attempt(quality, encoded)
