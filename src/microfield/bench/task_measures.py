"""Measures of a bench that are tasks: ``task:NAME`` judges the whole copy, ``blocks:NAME`` its blocks one by one.

NAME is what `microfield.tasks.choose.task_of` takes, such as ``segment`` or ``my_module:my_function``. What the task finds in the
original is kept from one reconstruction to the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from microfield.errors import InputError
from microfield.image import Image

if TYPE_CHECKING:
    import numpy.typing as npt

    from microfield.bench.measures import Known, Measure, Numbers
    from microfield.tasks.base import Goal, Outcome

WHOLE, BLOCKS = "task:", "blocks:"
"""What names of these measures begin with."""
BLOCKS_A_SIDE = 3
"""Rows and columns are cut into so many blocks each."""
SMALLEST_BLOCK = 48
"""Blocks have at least so many rows and columns; smaller images are cut into fewer."""


def is_task(name: str) -> bool:
    """Whether a measure is a task."""
    return name.startswith((WHOLE, BLOCKS))


def measure_of(name: str) -> Measure:
    """The measure of a name for which `is_task` holds.

    Raises
    ------
    UsageError
        There is no such task.
    """
    from microfield.tasks.choose import task_of

    prefix = WHOLE if name.startswith(WHOLE) else BLOCKS
    task = name.removeprefix(prefix)
    task_of(task, called="task")
    return partial(_whole if prefix == WHOLE else _blocks, task)


def _goal(task: str, image: Image) -> Goal:
    from microfield.tasks.choose import task_of

    return task_of(task, called="task").goal(image)


def _numbers(outcome: Outcome, suffix: str = "") -> Numbers:
    """The loss, and the share of what the task's own limit allows; infinite where the copy is so bad that there is no number."""
    return {f"loss{suffix}": outcome.loss, f"tolerance_used{suffix}": outcome.used}


def _whole(task: str, original: Image, reconstruction: npt.NDArray[Any], known: Known) -> Numbers:
    """The task on all of the image."""
    memo = known.memo.setdefault(WHOLE + task, {})
    if "goal" not in memo:
        memo["goal"] = _goal(task, original)
    return _numbers(memo["goal"].judge(reconstruction))


def _blocks(task: str, original: Image, reconstruction: npt.NDArray[Any], known: Known) -> Numbers:
    """The task on every block of the image on which it can be judged."""
    memo = known.memo.setdefault(BLOCKS + task, {})
    if "goals" not in memo:
        memo["goals"] = list(_goals(task, original))
    numbers: Numbers = {}
    for number, (box, goal) in enumerate(memo["goals"]):
        numbers |= _numbers(goal.judge(reconstruction[box]), f"_block_{number}")
    return numbers


def _goals(task: str, image: Image) -> Iterator[tuple[tuple[slice, ...], Goal]]:
    """Blocks with the task made ready for them; blocks on which it cannot be judged are left out."""
    for box in blocks(image):
        try:
            yield box, _goal(task, Image(image.read(box), image.axes, image.voxel_size, image.units, name=image.name))
        except InputError:
            continue


def blocks(image: Image) -> Iterator[tuple[slice, ...]]:
    """Where the blocks of an image lie: `BLOCKS_A_SIDE` times as many along Y and X, fewer where they would be too small."""
    counts = {axis: max(1, min(BLOCKS_A_SIDE, image.sizes[axis] // SMALLEST_BLOCK)) for axis in "YX"}
    for row in range(counts["Y"]):
        for column in range(counts["X"]):
            at = {"Y": row, "X": column}
            yield tuple(slice(at[a] * n // counts[a], (at[a] + 1) * n // counts[a]) if a in at else slice(0, n)
                        for a, n in zip(image.axes, image.shape, strict=True))
