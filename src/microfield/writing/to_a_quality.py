"""Parts to a quality, in as few bytes as a search finds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from microfield.errors import BudgetError
from microfield.methods.base import Encoded, Exact, KnobTraits
from microfield.wording import argument
from microfield.writing.budget import TOLERANCE_DB
from microfield.writing.knob import END, Knob
from microfield.writing.prediction import predicted_bytes
from microfield.writing.request import Request, Shortage, normalised_error
from microfield.writing.to_a_size import encode_exactly, encode_to_size

TRIMMED = 3
"""How many attempts that are good enough are trimmed to the goal at most."""


def encode_to_quality(request: Request, error: float, largest_size: int, say: Callable[[float], str]) -> list[Encoded]:
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
    if isinstance(request.method.quality, Exact):
        return encode_exactly(request, largest_size)
    if isinstance(request.method.quality, KnobTraits):
        return _encode_knob(request, error, largest_size, say)
    smallest = sum(request.smallest(p) for p in request.parts)
    if smallest > largest_size:
        raise Shortage(smallest)
    first = min(max(smallest, predicted_bytes(request.curves, error, request.voxels)), largest_size)
    search = _Search(goal, math.log2(first), math.log2(smallest), math.log2(largest_size))
    states: list[Any] | None = None
    while (log_bytes := search.propose()) is not None:
        left = request.context.deadline.share(1 / 3)
        limit = max(smallest, int(2**log_bytes))
        attempt = encode_to_size(replace(request, context=request.context.with_deadline(left)), limit, states)
        states = [e.state for e in attempt]
        search.tell(log_bytes, _psnr(request, attempt), attempt)
        request.log.attempts += 1
        if request.context.deadline.passed and search.enough and search.propose() is not None:
            request.log.ended = True
            break
    if not search.enough:
        raise _too_fine(request, say(goal), say(search.reached))
    return _leanest(request, search.enough, goal, smallest)


def _psnr(request: Request, attempt: list[Encoded]) -> float:
    error = normalised_error(request, attempt)
    return math.inf if error <= 0 else -10 * math.log10(error)


def _leanest(request: Request, enough: list[list[Encoded]], goal: float, smallest: int) -> list[Encoded]:
    """The smallest attempt that is good enough, trimmed to the goal; fits scatter, so that another one may trim better."""
    trimmed: list[list[Encoded]] = []
    for attempt in sorted(enough, key=request.total)[:TRIMMED]:
        trimmed.append(_trim(request, attempt, goal, smallest))
        if _psnr(request, trimmed[-1]) <= goal + TOLERANCE_DB:
            break
    # A percent of bytes is less than fits scatter: among these what is nearest to the goal is what was asked for.
    least = min(request.total(t) for t in trimmed)
    return min((t for t in trimmed if request.total(t) <= 1.01 * least), key=lambda t: _psnr(request, t))


def _trim(request: Request, best: list[Encoded], goal: float, smallest: int) -> list[Encoded]:
    """Take bytes away from an attempt that is better than asked, without fitting anew: fits scatter, this does not."""
    states = [e.state for e in best]
    coarse = replace(request, context=replace(request.context, reuse=True))
    low, high = smallest, request.total(best)
    for _ in range(14):
        if high - low <= 1 or _psnr(request, best) <= goal + TOLERANCE_DB or None in states:
            break
        # Quality falls ever faster with fewer bytes, so the answer lies nearer the upper end.
        middle = max(low + 1, min(high - 1, low + 2 * (high - low) // 3))
        attempt = encode_to_size(coarse, middle, states)
        if _psnr(request, attempt) >= goal:
            best, high = attempt, middle
        else:
            low = middle
    return _nearest(coarse, best, states, goal, smallest)


def _nearest(coarse: Request, best: list[Encoded], states: list[Any], goal: float, smallest: int) -> list[Encoded]:
    """In files of some hundred bytes a byte is worth decibels, up or down: look at the next few counts one by one."""
    end = size = coarse.total(best)
    while size - 1 > max(smallest, end - 41) and _psnr(coarse, best) > goal + TOLERANCE_DB and None not in states:
        attempt = encode_to_size(coarse, size - 1, states)
        size = coarse.total(attempt)
        if goal <= _psnr(coarse, attempt) < _psnr(coarse, best):
            best = attempt
    return best


def _encode_knob(request: Request, error: float, largest_size: int, say: Callable[[float], str]) -> list[Encoded]:
    """`encode_quality` for a method whose quality is a knob: its coarsest setting that is good enough."""
    knob = Knob(request, measure=True)
    found = knob.coarsest(error)
    if found is not None and request.total(found.encoded) <= largest_size:
        return found.encoded
    asked = say(-10 * math.log10(error))
    if found is None and request.total(finest := knob.at(END)) <= largest_size:
        raise BudgetError(f"method {request.method.name} reaches at most {say(_psnr(request, finest))} on this image, not {asked}. "
                          f"Ask for less, or keep an exact copy with {argument('lossless', True)}.")
    fits = knob.finest(largest_size)
    raise _too_fine(request, asked, say(-math.inf if fits is None else _psnr(request, fits.encoded)))


def _too_fine(request: Request, asked: str, reached: str) -> BudgetError:
    if request.context.deadline.passed:
        return BudgetError(f"the asked quality ({asked}) was not reached within the time limit ({reached} was). "
                           f"Allow more time, ask for less, or keep an exact copy with {argument('lossless', True)}.")
    return BudgetError(f"the asked quality ({asked}) needs more than a quarter of the raw size ({reached} was reached). "
                       f"Ask for less, or keep an exact copy with {argument('lossless', True)}.")


class _Search:
    """Where to look next for the fewest bytes that reach a PSNR."""

    def __init__(self, goal: float, start: float, low: float, high: float, attempts: int = 7) -> None:
        self.goal, self.low, self.high, self.left = goal, low, high, attempts
        self.tried: list[tuple[float, float]] = []
        self.next: float | None = start
        self.enough: list[list[Encoded]] = []
        self.reached = -math.inf

    def propose(self) -> float | None:
        """Logarithm of the next byte count, or None when the search is over."""
        return self.next if self.left > 0 else None

    def tell(self, log_bytes: float, psnr: float, attempt: list[Encoded]) -> None:
        """Learn the outcome of a proposal."""
        self.left -= 1
        self.reached = max(self.reached, psnr)
        if psnr >= self.goal:
            self.enough.append(attempt)
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
