"""Trials of transforms: on what they are made, few where they cost as much as coding, and none after the deadline."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from helpers.clock import stopped_clock
from helpers.images import blobs
from microfield.deadline import Deadline
from microfield.methods.field import transform_search
from microfield.methods.field.decoder import contexts_of
from microfield.methods.field.groups import Groups
from microfield.methods.field.schedules import NAMES
from microfield.methods.field.transform_search import Trial, Window, arrangement
from microfield.models import named


def stack(kind: str) -> tuple[Any, Groups]:
    """Values of a stack, and groups to begin with."""
    values = blobs((12, 40, 44), 1, 40)
    if kind == "film":  # The same plane again and again, with a little noise.
        values = np.repeat(values[5:6], 12, axis=0) + np.random.default_rng(0).normal(0, 0.01, (12, 40, 44))
    if kind == "unlike":  # Planes with nothing in common.
        values = np.stack([blobs((40, 44), i, 12) for i in range(12)])
    return values[None].astype(np.float32), Groups(1, (1, 12, 40, 44), "STD", 0)


def trial(deadline: Deadline | None = None) -> Trial:
    return Trial(0.05, contexts_of(named("contexts", "all")), deadline=deadline or Deadline())


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Groups]:
    found: list[Groups] = []
    cost = transform_search._cost

    def counted(values: Any, groups: Groups, trial: Trial, window: Window) -> float:
        found.append(groups)
        return cost(values, groups, trial, window)

    monkeypatch.setattr(transform_search, "_cost", counted)
    return found


@pytest.mark.parametrize("kind", ["blobs", "film", "unlike"])
def test_a_small_part_tries_few_schedules(tried: list[Groups], kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values, groups = stack(kind)
    arrangement(values, groups, trial())
    few = [g for g in tried if g.shifts is None]
    assert 1 <= len(few) <= 2
    tried.clear()
    monkeypatch.setattr(transform_search, "SMALL", 0)
    arrangement(values, groups, trial())
    more = [g for g in tried if g.shifts is None]
    assert len(more) == 3
    assert len({g.transform for g in more}) == 3


def test_a_window_spans_time_and_depth() -> None:
    assert Window.of((1, 500, 900, 700)).extents == (1, 500, 64, 64)
    assert Window.of((1, 20, 900, 700)).extents == (1, 20, 160, 160)
    assert Window.of((30, 20, 900, 50)).extents == (30, 20, 64, 50)
    assert Window.of((1, 20, 150, 150)).extents == (1, 20, 114, 114)
    assert Window.of((5000, 1, 90, 70)).extents == (1024, 1, 64, 64)
    assert Window.of((1, 3, 500, 700), corner=True).box == (slice(0, 1), slice(0, 3), slice(0, 160), slice(0, 160))


def test_no_trial_begins_after_the_deadline(tried: list[Groups]) -> None:
    values, groups = stack("blobs")
    with stopped_clock():
        late = Deadline.after(0.0)
        assert arrangement(values, groups, trial(late)).transform == NAMES[0]
    assert not tried
