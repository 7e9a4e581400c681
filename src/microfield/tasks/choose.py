"""The task that the user names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microfield import checks
from microfield.errors import UsageError
from microfield.report.verdict import USES
from microfield.tasks.analyses import MEASURES, AnalysisTask
from microfield.tasks.base import TOLERANCE, Task
from microfield.tasks.denoise import DENOISE, DenoiseTask
from microfield.tasks.function import FunctionTask
from microfield.tasks.verdicts import VerdictTask
from microfield.user_functions import imported, is_named
from microfield.wording import argument, listed

NAMES = (*USES, *MEASURES, DENOISE)
"""Tasks that are built in: by the verdict of the report, and by measures of an analysis."""


def task_of(name: str | Callable[[Any], Any] | Task, tolerance: float | None = None, called: str = "safe_for") -> Task:
    """The task of a name.

    Parameters
    ----------
    name : str, callable or Task
        One of `NAMES`, ``MODULE:FUNC``, a function (see `FunctionTask`), or a task as it is.
    tolerance : float, optional
        How much a measure may lose, 0 to 1; `TOLERANCE` where nothing is said. The verdict of the report has limits of its own.
    called : str
        The argument that holds the name, for messages.

    Raises
    ------
    UsageError
        There is no such task or function, or the tolerance makes no sense for it.
    """
    if isinstance(name, Task):
        return name
    allowed = TOLERANCE if tolerance is None else checks.number("tolerance", tolerance)
    if not 0 <= allowed < 1:
        raise UsageError(f"{argument('tolerance', allowed)} must be from 0 to below 1: the share of a measure that may be lost.")
    if isinstance(name, str) and name in USES:
        if tolerance is not None:
            raise UsageError(f"{argument(called, name)} is judged by the limits of the report; leave out {argument('tolerance')}.")
        return VerdictTask(name)
    if isinstance(name, str) and name in MEASURES:
        return AnalysisTask(name, allowed)
    if name == DENOISE:
        return DenoiseTask(allowed)
    if isinstance(name, str) and is_named(name):
        return FunctionTask.of(name, _callable(imported(name, argument(called, name)), argument(called, name)), allowed)
    if isinstance(name, str) or not callable(name):
        raise UsageError(f"{argument(called, name)} must be {listed([*NAMES], 'or')}, or MODULE:FUNC or a function of an array "
                         "that returns numbers or a mask.")
    return FunctionTask.of(f"{name.__module__}:{name.__qualname__}", name, allowed)


def _callable(found: Any, called: str) -> Callable[[Any], Any]:
    if not callable(found):
        raise UsageError(f"{called} is no function.")
    function: Callable[[Any], Any] = found
    return function
