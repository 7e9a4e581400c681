"""Time limits: whether another attempt ends in time, and what a search had to do without."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from microfield.deadline import Deadline

Result = TypeVar("Result")

CHEAPER = 0.5
"""Time of a cheap attempt relative to a whole one, before one was made."""


@dataclass
class SearchLog:
    """What a search for a size or a quality did.

    Attributes
    ----------
    attempts : how often the parts were encoded
    ended : whether the time limit ended the search before it was done
    """

    attempts: int = 0
    ended: bool = False


@dataclass
class Pace:
    """How long attempts take, and whether another one ends before the deadline.

    Attributes
    ----------
    deadline : Deadline
    finish : float
        Time that finishing the result takes, relative to an attempt, about.
    log : SearchLog
    """

    deadline: Deadline = field(default_factory=Deadline)
    finish: float = 0.0
    log: SearchLog = field(default_factory=SearchLog)
    _seconds: dict[bool, float] = field(default_factory=dict)

    def timed(self, attempt: Callable[[float, bool], Result], setting: float, cheaply: bool = False) -> Result:
        """What an attempt at a setting gives; its time is remembered."""
        begin = time.monotonic()
        found = attempt(setting, cheaply)
        self._seconds[cheaply] = time.monotonic() - begin
        self.log.attempts += 1
        return found

    def allows(self, cheaply: bool = False) -> bool:
        """Whether another attempt ends in time, together with finishing its result: it takes as long as the one before."""
        if math.isinf(self.deadline.end):
            return True
        whole = self._seconds.get(False, 0.0)
        cheap = self._seconds.get(True, CHEAPER * whole)
        return self.deadline.remaining > (cheap if cheaply else whole) + self.finish * min(whole, cheap)
