"""The search for a knob's setting: against curves whose answer is known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.clock import Clock, stopped_clock
from microfield.deadline import Deadline
from microfield.writing.knob import END, largest
from microfield.writing.pace import Pace


class Curve:
    """Bytes that grow with a setting, and how often they were asked for."""

    def __init__(self, limit: float, smallest: float, rate: float, grain: float = 0.0) -> None:
        self.limit, self.smallest, self.rate, self.grain, self.calls = limit, smallest, rate, grain, 0

    def bytes(self, setting: float) -> float:
        if self.grain:
            setting = math.floor(setting / self.grain) * self.grain
        return self.smallest * math.exp(self.rate * setting)

    def __call__(self, setting: float, cheaply: bool = False) -> tuple[float, float]:
        self.cheap = cheaply
        assert 0 <= setting <= END
        self.calls += 1
        return math.log(self.bytes(setting) / self.limit), setting


@given(limit=st.floats(120, 1e7), rate=st.floats(0.002, 0.03))
def test_the_largest_setting_that_fits_is_found_in_few_attempts(limit: float, rate: float) -> None:
    curve = Curve(limit, 100, rate)
    found = largest(curve, step=0.05, tolerance=0.006)
    assert found is not None
    assert curve.bytes(found) <= limit
    assert curve.bytes(found) >= 0.99 * limit or found == END
    assert curve.calls <= 12


@given(limit=st.floats(300, 1e6), grain=st.floats(1, 60))
def test_a_coarse_knob_ends_on_its_largest_setting_that_fits(limit: float, grain: float) -> None:
    curve = Curve(limit, 100, 0.01, grain)
    found = largest(curve, step=0.05, tolerance=0.006)
    assert found is not None
    assert curve.bytes(found) <= limit
    assert found + grain > END or curve.bytes(found + 1.01 * grain) > limit


def test_nothing_is_found_where_even_the_coarsest_is_too_large() -> None:
    assert largest(Curve(99, 100, 0.01), 0.05, 0.006) is None


def test_the_coarsest_itself_is_found() -> None:
    assert largest(Curve(100, 100, 0.01), 0.05, 0.006) == pytest.approx(0, abs=1)


def test_all_fit() -> None:
    assert largest(Curve(1e9, 100, 0.01), 0.05, 0.006) == END


# -- time limits ------------------------------------------------------------------------------------------------------


class Timed(Curve):
    """A curve whose attempts take time: the first one 3 s, others 2 s, cheap ones 1 s."""

    def __init__(self, clock: Clock, *curve: float) -> None:
        super().__init__(*curve)
        self.clock = clock

    def __call__(self, setting: float, cheaply: bool = False) -> tuple[float, float]:
        found = super().__call__(setting, cheaply)
        self.clock.now += 1.0 if cheaply else 3.0 if self.calls == 1 else 2.0
        return found


@given(limit=st.floats(1000, 1e6), rate=st.floats(0.009, 0.02), seconds=st.floats(0.5, 30))
def test_a_time_limit_ends_the_search_near_the_budget_and_near_the_limit(limit: float, rate: float, seconds: float) -> None:
    with stopped_clock() as clock:
        curve = Timed(clock, limit, 100, rate)
        pace = Pace(Deadline.after(seconds), finish=0.5)
        # A first guess that is half or double of what fits.
        found = largest(curve, 0.05, 0.006, pace, first=min(END, math.log(limit / 100) / rate + 0.5 / rate))
        assert found is not None
        assert 0.9 * limit <= curve.bytes(found) <= limit or found == END
        assert pace.log.attempts == curve.calls
        # Where the limit is shorter than one attempt, a few cheap ones follow; else there is time left for finishing.
        assert clock.now <= max(3.0, seconds) + 4.0
        if pace.log.ended and seconds > 8:
            assert clock.now <= seconds - 0.5


def test_a_search_that_nothing_fits_in_time_does_not_end_at_the_coarsest_setting() -> None:
    """As it once did, at 3 % of the budget."""
    with stopped_clock() as clock:
        curve = Timed(clock, 40_000, 1000, 0.01)
        found = largest(curve, 0.05, 0.006, Pace(Deadline.after(0.1)), first=900)
        assert found is not None
        assert found > 300
        assert curve.bytes(found) >= 0.6 * 40_000
        assert curve.cheap


def test_a_file_that_is_far_too_small_is_grown_although_the_time_is_up() -> None:
    with stopped_clock() as clock:
        curve = Timed(clock, 1e5, 1000, 0.012)
        found = largest(curve, 0.05, 0.006, Pace(Deadline.after(0.1)), first=100)
        assert found is not None
        assert curve.bytes(found) >= 0.9e5
        assert curve.calls <= 4


def test_without_a_limit_time_changes_nothing() -> None:
    with stopped_clock() as clock:
        slow, fast = Timed(clock, 5000, 100, 0.01), Curve(5000, 100, 0.01)
        pace = Pace()
        assert largest(slow, 0.05, 0.006, pace) == largest(fast, 0.05, 0.006)
        assert slow.calls == fast.calls
        assert not pace.log.ended


class Learner(Curve):
    """What is coded gets smaller with every attempt, as with a model that is fitted meanwhile."""

    def __call__(self, setting: float, cheaply: bool = False) -> tuple[float, float]:
        height, found = super().__call__(setting, cheaply)
        self.told = {**getattr(self, "told", {}), found: height - (0.15 if self.calls > 3 else 0.0)}
        return self.told[found], found


@given(limit=st.floats(500, 1e5), rate=st.floats(0.008, 0.02))
def test_a_function_that_drifts_is_searched_again(limit: float, rate: float) -> None:
    learner = Learner(limit, 100, rate)
    found = largest(learner, step=0.05, tolerance=0.006, drifts=True)
    assert found is not None
    # What an early attempt refused may fit later.
    assert -0.02 <= learner.told[found] <= 0
    assert learner.calls <= 16


@given(limit=st.floats(500, 1e5))
def test_the_right_slope_saves_attempts(limit: float) -> None:
    curves = {slope: Curve(limit, 100, 0.019) for slope in (0.019, 0.0004)}
    for slope, curve in curves.items():
        found = largest(curve, 0.05, 0.006, first=300, slope=slope)
        assert found is not None
        assert 0.99 * limit <= curve.bytes(found) <= limit
    assert curves[0.019].calls <= curves[0.0004].calls
    assert curves[0.019].calls <= 5
