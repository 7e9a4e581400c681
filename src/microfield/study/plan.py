"""A study: a bench whose measure is a task, and what its rows say of the ratio that is safe for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from microfield.bench.plan import BenchPlan
from microfield.bench.rows import Row
from microfield.bench.task_measures import BLOCKS, WHOLE
from microfield.errors import UsageError
from microfield.study.safe_ratio import SafeRatio, safe_ratio
from microfield.tasks.choose import task_of
from microfield.tasks.verdicts import VerdictTask
from microfield.wording import argument

Curves = dict[str, dict[str, dict[float, float]]]
"""Method to image or block to ratio to loss; infinite where the copy was too bad for a number."""


@dataclass(frozen=True)
class StudyPlan:
    """Everything a study does.

    Attributes
    ----------
    task : as `microfield.tasks.choose.task_of` takes it
    tolerance : largest loss that is good enough; None for the task's own (of the verdict: 1, the share of its limits)
    bench : images, methods and ratios
    """

    task: str
    tolerance: float | None
    bench: BenchPlan

    @classmethod
    def of(cls, task: str, tolerance: float | None, bench: BenchPlan) -> StudyPlan:
        """A study whose bench measures the task, on the blocks of an image, too, where there is one image only.

        Raises
        ------
        UsageError
            There is no such task, the tolerance makes no sense for it, or a budget is no ratio.
        """
        task_of(task, tolerance, called="task")
        if wrong := [b for b in bench.budgets if b.kind != "ratio"]:
            raise UsageError(f"a study compares ratios; leave {argument(wrong[0].kind)} out.")
        names = (WHOLE + task, BLOCKS + task) if len(bench.images) == 1 else (WHOLE + task,)
        return cls(task, tolerance, replace(bench, measures=("quality", *names)))

    @property
    def by_limits(self) -> bool:
        """Whether the task has limits of its own, of which shares are compared rather than losses."""
        return isinstance(task_of(self.task, called="task"), VerdictTask)

    @property
    def field(self) -> str:
        """The field of a row that is compared with `allowed`."""
        return "tolerance_used" if self.by_limits else "loss"

    @property
    def allowed(self) -> float:
        """The largest value of `field` that is good enough."""
        from microfield.tasks.base import TOLERANCE

        if self.by_limits:
            return 1.0
        return TOLERANCE if self.tolerance is None else self.tolerance


def curves(plan: StudyPlan, rows: Sequence[Row]) -> Curves:
    """The losses over the images; over the blocks where there is one image only and it has several."""
    found: Curves = {}
    for row in rows:
        if row["status"] != "ok" or plan.field not in row:
            continue
        names = [name for name in row if name.startswith(f"{plan.field}_block_")]
        blocks = {name: row[name] for name in names} if len(names) > 1 else {row["image"]: row[plan.field]}
        for name, loss in blocks.items():
            at = found.setdefault(row["method"], {}).setdefault(name.removeprefix(f"{plan.field}_"), {})
            at[float(row["asked"])] = math.inf if loss is None else float(loss)
    return found


def safe_ratios(plan: StudyPlan, rows: Sequence[Row]) -> dict[str, SafeRatio]:
    """Method to its safe ratio, the largest first."""
    found = {method: safe_ratio(list(by_image.values()), plan.allowed) for method, by_image in curves(plan, rows).items()}
    return dict(sorted(found.items(), key=lambda item: -item[1].middle))


def means(by_image: Mapping[str, Mapping[float, float]], ratio: float) -> tuple[float, float | None, int] | None:
    """Mean and standard deviation of the loss at a ratio, and over how many; None where there is none.

    The mean is infinite where one is; there is no deviation of one loss, or where the mean is infinite.
    """
    losses = [curve[ratio] for curve in by_image.values() if ratio in curve]
    if not losses:
        return None
    mean = sum(losses) / len(losses)
    if not math.isfinite(mean) or len(losses) < 2:
        return mean, None, len(losses)
    return mean, math.sqrt(sum((one - mean) ** 2 for one in losses) / (len(losses) - 1)), len(losses)
