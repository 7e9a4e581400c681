"""A clock that tests set, in place of the time of day."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock


class Clock:
    """`time.monotonic` that stands still unless it is set; with ``tick`` every look at it takes so many seconds."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now, self.tick = 0.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


@contextmanager
def stopped_clock(tick: float = 0.0) -> Iterator[Clock]:
    """Put the clock in place; it starts at 0."""
    clock = Clock(tick)
    with mock.patch("time.monotonic", clock):
        yield clock
