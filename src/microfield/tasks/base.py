"""The seam of a task: `Task` is made ready for one original, which gives a `Goal`, which judges copies."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from microfield.image import Image

TOLERANCE = 0.02
"""How much a measure may lose where the user does not say."""


@dataclass(frozen=True)
class Outcome:
    """What a task measured in a copy, beside how good that has to be.

    Attributes
    ----------
    measure : what was measured, in the words of a biologist; of several measures the one that came nearest to its limit
    value : the number; infinite where the copy is so bad that there is none
    limit : the worst number that is still good enough
    rising : True where larger numbers are better: an exact copy then has 1, else 0
    """

    measure: str
    value: float
    limit: float
    rising: bool = False

    @property
    def loss(self) -> float:
        """How far the number is from that of an exact copy, 0 or more."""
        return max(0.0, 1 - self.value if self.rising else self.value)

    @property
    def used(self) -> float:
        """The loss as a share of what is allowed: up to 1 is good enough, infinite where nothing is allowed and something lost."""
        allowed = 1 - self.limit if self.rising else self.limit
        if allowed <= 0:
            return 0.0 if self.loss == 0 else math.inf
        return self.loss / allowed

    @property
    def kept(self) -> bool:
        """Whether the copy is good enough."""
        return self.used <= 1

    def __str__(self) -> str:
        return f"{self.measure} {self.value:.4g}, {'at least' if self.rising else 'at most'} {self.limit:g}"


class Goal(ABC):
    """A task that is ready to judge copies of one original.

    Attributes
    ----------
    share : float
        Part of the original's array elements that are looked at, above 0 and up to 1.
    """

    share: float = 1.0

    @abstractmethod
    def judge(self, copy: Any) -> Outcome:
        """What is measured in a copy: an array, or anything with a shape and slicing, of the original's shape.

        Raises
        ------
        InputError
            The user's own function fails on it.
        """


class Task(ABC):
    """An analysis, and how much of it may be lost.

    Attributes
    ----------
    name : as the user writes it
    version : changes whenever the same copy may be judged otherwise
    """

    name: str
    version: str

    @abstractmethod
    def goal(self, original: Image) -> Goal:
        """The task made ready for an original.

        Raises
        ------
        InputError
            The task cannot be judged on this image; the message says what it lacks.
        """
