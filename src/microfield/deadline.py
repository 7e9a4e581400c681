"""A point in time that a long step must not pass."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Deadline:
    """A point in time (``time.monotonic`` seconds); infinity means that there is none."""

    end: float = float("inf")

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        """The deadline ``seconds`` from now; none for None."""
        return cls() if seconds is None else cls(time.monotonic() + seconds)

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.end - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return self.remaining <= 0

    def share(self, fraction: float) -> Deadline:
        """A deadline that leaves only ``fraction`` of the remaining time."""
        return self if self.end == float("inf") else Deadline(time.monotonic() + self.remaining * fraction)
