"""Tasks that the verdict of the report judges: looking, counting, finding spots, measuring. Its limits are theirs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from microfield.errors import InputError
from microfield.image import Image
from microfield.report.pair import KEEP_BYTES
from microfield.report.quick import QuickVerdict, quick_verdict
from microfield.report.verdict import Finding, Verdict
from microfield.tasks.base import Goal, Outcome, Task


@dataclass(frozen=True)
class VerdictTask(Task):
    """A use of the report's verdict: a copy is good enough where the verdict on it is "fine".

    Attributes
    ----------
    name : a key of `microfield.report.verdict.USES`
    """

    name: str
    version: str = "1"

    def goal(self, original: Image) -> Goal:
        """Ready where at least one criterion of the use can be judged on the original."""
        return VerdictGoal(self.name, original)


@dataclass
class VerdictGoal(Goal):
    """The verdict on one original.

    Attributes
    ----------
    use : str
    original : Image
    judged : names of the criteria that the original can be judged by
    """

    use: str
    original: Image
    judged: frozenset[str] = frozenset()
    _memo: dict[Any, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        quick = self._look(self.original.read() if self.original.nbytes <= KEEP_BYTES else self.original)
        verdict = _of_use(quick, self.use)
        self.judged = frozenset(f.criterion.name for f in verdict.findings if f.value is not None)
        self.share = quick.share
        if not self.judged:
            reasons = dict.fromkeys(f.criterion.silent for f in verdict.findings if f.applies)
            raise InputError(f"task {self.use} cannot be judged on {self.original.name}: {'; '.join(reasons)}. "
                             "Ask for a quality or a size.")

    def judge(self, copy: Any) -> Outcome:
        """The criterion that the copy comes nearest to failing."""
        found = _of_use(self._look(copy), self.use).findings
        return max((_outcome(f) for f in found if f.criterion.name in self.judged), key=lambda outcome: outcome.used)

    def _look(self, copy: Any) -> QuickVerdict:
        return quick_verdict(self.original, copy, memo=self._memo)


def _of_use(quick: QuickVerdict, use: str) -> Verdict:
    return next(v for v in quick.verdicts if v.use == use)


def _outcome(finding: Finding) -> Outcome:
    """A criterion as a number with its limit; one that could be judged on the original and not on the copy is failed."""
    criterion = finding.criterion
    worst = -math.inf if criterion.rising else math.inf
    return Outcome(criterion.name, worst if finding.value is None else finding.value, criterion.fine, criterion.rising)
