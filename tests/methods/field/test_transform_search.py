"""Trials of transforms: few where they cost as much as coding, none twice, and none after the deadline."""

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
from microfield.methods.field.transform_search import Trial, arrangement
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
def tried(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, bool]]:
    found: list[tuple[str, int, bool]] = []
    cost = transform_search._cost

    def counted(values: Any, groups: Groups, trial: Trial) -> float:
        found.append((groups.transform, groups.times, groups.shifts is None))
        return cost(values, groups, trial)

    monkeypatch.setattr(transform_search, "_cost", counted)
    return found


@pytest.mark.parametrize("kind", ["blobs", "film", "unlike"])
def test_a_small_part_tries_promising_schedules_only(tried: list[tuple[str, int, bool]], kind: str,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    values, groups = stack(kind)
    chosen = arrangement(values, groups, trial())
    assert len([t for t in tried if t[2]]) <= 4
    assert len(set(tried)) == len(tried)
    tried.clear()
    monkeypatch.setattr(transform_search, "SMALL", 0)
    assert arrangement(values, groups, trial()) == chosen
    assert len(tried) >= 6


def test_no_arrangement_is_tried_twice_in_larger_parts_either(tried: list[tuple[str, int, bool]],
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transform_search, "SMALL", 0)
    values, groups = stack("film")
    arrangement(values, groups, trial())
    assert len(set(tried)) == len(tried)


def test_no_trial_begins_after_the_deadline(tried: list[tuple[str, int, bool]]) -> None:
    values, groups = stack("blobs")
    with stopped_clock():
        late = Deadline.after(0.0)
        assert arrangement(values, groups, trial(late)).transform == NAMES[0]
    assert not tried
