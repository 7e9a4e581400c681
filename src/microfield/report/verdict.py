"""What the reconstruction is good enough for: a verdict for every use, from the criteria that belong to it."""

from __future__ import annotations

from dataclasses import dataclass

from microfield.report.criteria import CRITERIA, Criterion, Grade
from microfield.report.evidence import Evidence


@dataclass(frozen=True)
class Finding:
    """What a criterion found.

    Attributes
    ----------
    criterion : which one
    value : the worst number of all views (or pairs of channels); None where it applied to none
    where : where that is; empty for an image of one view
    grade : that of the worst number
    by_name : the worst grade of every view (or pair of channels) it applied to
    """

    criterion: Criterion
    value: float | None
    where: str
    grade: Grade
    by_name: dict[str, Grade]


@dataclass(frozen=True)
class Verdict:
    """The verdict for one use.

    Attributes
    ----------
    use : a key of `USES`
    question : what is asked, as the page says it
    grade : the worst grade of the findings
    findings : one per criterion of the use
    exact : whether the reconstruction is an exact copy, which is fine whatever could be measured
    """

    use: str
    question: str
    grade: Grade
    findings: tuple[Finding, ...]
    exact: bool = False


USES = {
    "look": "Can I look at it? Morphology, figures, finding the interesting places.",
    "count": "Can I count in it? Segmenting, counting and matching objects and spots.",
    "measure": "Can I measure in it? Intensities, sizes, traces over time, colocalisation.",
}
"""Use to the question that the page asks."""


def judge_uses(evidence: Evidence) -> tuple[Verdict, ...]:
    """The verdicts for all uses, in the order of `USES`."""
    verdicts = []
    for use, question in USES.items():
        findings = tuple(_finding(c, evidence) for c in CRITERIA if c.use == use)
        judged = [f.grade for f in findings if f.grade != Grade.NOT_JUDGED]
        exact = evidence.is_exact()
        grade = Grade.FINE if exact else min(judged, default=Grade.NOT_JUDGED)
        verdicts.append(Verdict(use, question, grade, findings, exact))
    return tuple(verdicts)


def _finding(criterion: Criterion, evidence: Evidence) -> Finding:
    measured = [(name, value) for name, value in criterion.measure(evidence) if value is not None]
    grades: dict[str, Grade] = {}
    for name, value in measured:
        grades[name] = min(grades.get(name, Grade.NOT_JUDGED), criterion.grade(value))
    if not measured:
        return Finding(criterion, None, "", Grade.NOT_JUDGED, {})
    worst = (min if criterion.rising else max)(measured, key=lambda pair: pair[1])
    return Finding(criterion, worst[1], worst[0] if len(evidence.pair.views) > 1 else "", criterion.grade(worst[1]), grades)
