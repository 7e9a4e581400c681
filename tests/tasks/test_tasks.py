"""Tasks: what they measure in a copy, when they cannot be judged, and functions of the user's."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, label

from microfield.errors import InputError, UsageError
from microfield.image import Image
from microfield.tasks.base import Outcome
from microfield.tasks.choose import NAMES, task_of
from microfield.tasks.function import checked
from microfield.tasks.steady import SteadyGoal, views

Array = npt.NDArray[Any]


def cells(size: int = 128, seed: int = 0, axes: str = "YX") -> Image:
    """Some twenty bright discs on a dark ground with a little noise, in a grid that is slightly off."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    plane = np.zeros((size, size))
    for row in range(12, size, 26):
        for column in range(12, size, 26):
            height = rng.uniform(0.5, 1)
            centre = row + rng.uniform(-2, 2), column + rng.uniform(-2, 2)
            plane = np.maximum(plane, height * ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < 49))
    grey = 200 + 3000 * gaussian_filter(plane, 1) + rng.normal(0, 20, plane.shape)
    return Image(np.clip(grey, 0, 65535).astype(np.uint16), axes, name="cells")


def film() -> Image:
    """A film of cells whose brightness changes, each in its own rhythm."""
    plane = cells().read().astype(np.float64)
    y, x = np.mgrid[:128, :128]
    times = np.arange(12)[:, None, None]
    values = plane * (1 + 0.3 * np.sin(times * (1 + (x // 26 + y // 26) % 3) / 2))
    return Image(values.astype(np.uint16), "TYX", name="film")


def count(values: Array) -> int:
    """How many bright pieces there are."""
    return int(label(values > 1200)[1])


def mask(values: Array) -> Array:
    """What is bright."""
    return np.asarray(values > 1200)


@pytest.mark.parametrize("name", ["look", "count", "measure", "segment", "denoise"])
def test_an_exact_copy_loses_nothing_and_a_blurred_one_too_much(name: str) -> None:
    image = cells()
    goal = task_of(name).goal(image)
    same = goal.judge(image.read())
    assert same.kept
    assert same.loss == pytest.approx(0, abs=1e-9)
    blurred = goal.judge(gaussian_filter(image.read(), 9))
    assert not blurred.kept
    assert blurred.used > 1


def test_traces_are_judged_by_the_regions_that_change() -> None:
    image = film()
    goal = task_of("trace", 0.05).goal(image)
    assert goal.judge(image.read()).kept
    still = np.broadcast_to(image.read().mean(0).astype(np.uint16), image.shape)
    assert goal.judge(still).used > 10


def test_colocalisation_needs_two_channels() -> None:
    plane = cells().read()
    pair = Image(np.stack([plane, plane[::-1]]), "CYX")
    goal = task_of("colocalise").goal(pair)
    assert goal.judge(pair.read()).value == 0
    assert not goal.judge(np.stack([plane, plane])).kept
    with pytest.raises(InputError, match="two channels"):
        task_of("colocalise").goal(cells())


def test_denoising_needs_noise() -> None:
    ramp = Image(np.add.outer(np.arange(64), np.arange(64)).astype(np.uint16), "YX", name="ramp")
    with pytest.raises(InputError, match="no noise can be estimated"):
        task_of("denoise").goal(ramp)


@pytest.mark.parametrize(("name", "why"), [("count", "fewer than 10 objects"), ("trace", "axis T"), ("spots", "spots")])
def test_an_image_that_lacks_what_a_task_needs_is_refused_in_a_sentence(name: str, why: str) -> None:
    flat = Image(np.random.default_rng(0).normal(500, 5, (64, 64)).astype(np.uint16), "YX", name="flat")
    with pytest.raises(InputError, match=f"{name} cannot be judged on flat.*{why}"):
        task_of(name).goal(flat)


def test_a_steady_goal_holds_for_views_that_lack_a_margin() -> None:
    image = cells()
    spoiled = image.read().copy()
    spoiled[:6] = 60000                     # the first rows alone, which one of the views does not have

    def brightest(values: Array) -> float:
        return float(values[-100:].max())

    goal = SteadyGoal(task_of(brightest), image)
    assert len(views(image)) == 2
    assert goal.judge(image.read()).used == 0
    assert task_of(brightest).goal(image).judge(spoiled).kept
    shifted = image.read().copy()
    shifted[22:28] = 60000                  # within the last hundred rows only where the last six are gone
    assert task_of(brightest).goal(image).judge(shifted).kept
    assert not goal.judge(shifted).kept
    assert views(Image(spoiled[:20], "YX")) == []


# -- functions ----------------------------------------------------------------------------------------------------------


def test_a_function_may_give_a_number_numbers_by_name_a_mask_or_object_numbers() -> None:
    image = cells()
    half = np.where(np.arange(128) < 64, image.read(), 0)
    functions: list[Any] = [count, lambda v: {"count": count(v), "mean": float(v.mean())}, mask, lambda v: label(v > 1200)[0],
                            lambda v: [v.mean(), v.std()]]
    for function in functions:
        goal = task_of(function).goal(image)
        assert goal.judge(image.read()).used == 0
        assert not goal.judge(half).kept
    lost = (count(image.read()) - count(half)) / count(image.read())
    assert task_of(count).goal(image).judge(half).value == pytest.approx(abs(lost))


def test_a_function_in_a_file_of_the_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_task_of_brightness.py").write_text("def bright(values):\n    return float(values.mean())\nnumber = 3\n")
    monkeypatch.chdir(tmp_path)
    task = task_of("my_task_of_brightness:bright", 0.1)
    assert (task.name, len(task.version)) == ("my_task_of_brightness:bright", 8)
    image = cells()
    assert task.goal(image).judge(image.read() * 1.05).kept
    for text, why in (("my_task_of_brightness:none", "holds no none"), ("no_such_module:f", "cannot be imported"),
                      ("my_task_of_brightness:number", "is no function"), ("brightness", "must be look")):
        with pytest.raises(UsageError, match=why):
            task_of(text)


def raises(values: Array) -> float:
    raise RuntimeError("no nuclei model")


def shorter(values: Array) -> list[float]:
    return list(values.reshape(-1)[: 1 + int(values[0, 0] > 0)])


@pytest.mark.parametrize(("function", "why"), [
    (raises, "failed on cells: RuntimeError: no nuclei model"), (lambda v: None, "returns nothing"), (lambda v: math.nan, "nan"),
    (lambda v: "12", "must return numbers or a mask"), (lambda v: v > 1e9, "marks no pixel"), (lambda v: {}, "returns nothing"),
    (lambda v: [], "returns nothing"), (lambda v: {"a": "b"}, "where a number belongs"),
    (lambda v, seen=[]: seen.append(1) or float(len(seen)), "different results"),
])
def test_what_a_function_must_not_return(function: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        task_of(function).goal(cells())


def test_a_function_whose_numbers_become_others_is_told_so() -> None:
    goal = task_of(shorter).goal(cells())
    with pytest.raises(InputError, match="the same ones for every image"):
        goal.judge(np.zeros((128, 128), np.uint16))


@given(st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_the_share_used_says_whether_the_limit_holds(value: float, limit: float, rising: bool) -> None:
    outcome = Outcome("m", value, limit, rising)
    holds = value >= limit if rising else value <= limit
    assert outcome.kept == holds or math.isclose(value, limit, abs_tol=1e-12)


def test_tolerances_belong_to_the_tasks_that_have_no_limits_of_their_own() -> None:
    with pytest.raises(UsageError, match="limits of the report"):
        task_of("count", 0.1)
    for wrong in (-0.1, 1.0):
        with pytest.raises(UsageError, match="tolerance"):
            task_of("segment", wrong)
    assert set(NAMES) == {"look", "count", "spots", "measure", "segment", "trace", "colocalise", "denoise"}
    assert isinstance(checked(np.int64(3), "f", "i"), dict)
