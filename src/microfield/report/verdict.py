"""What the reconstruction is good enough for: a verdict for every use, from the criteria that belong to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from microfield.report.criteria import CRITERIA, Criterion
from microfield.report.drawing.grade import Grade
from microfield.report.drawing.markup import plain
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
    by_name : the worst grade of every view (or pair of channels) that was judged
    unjudged : names of those that were not
    applies : whether the image could meet or fail it at all
    """

    criterion: Criterion
    value: float | None
    where: str
    grade: Grade
    by_name: dict[str, Grade]
    unjudged: tuple[str, ...] = ()
    applies: bool = True

    @property
    def text(self) -> str:
        """The number with its limits, or why there is none, as plain text."""
        if self.value is None:
            return f"{self.criterion.name}: {self.criterion.silent}"
        where = f" in {self.where}" if self.where else ""
        return f"{self.criterion.name} {plain(self.criterion.show(self.value))}{where} ({plain(self.criterion.limit)})"


@dataclass(frozen=True)
class Verdict:
    """The verdict for one use.

    Attributes
    ----------
    use : a key of `USES`
    question : what is asked, as the page says it
    grade : the worst grade of what was judged; "not judged" where nothing was
    findings : one per criterion of the use
    exact : whether the reconstruction is an exact copy, which is fine whatever could be measured
    forward : why this use is graded better than looking, where it is; else empty
    """

    use: str
    question: str
    grade: Grade
    findings: tuple[Finding, ...]
    exact: bool = False
    forward: str = ""

    @property
    def unjudged(self) -> tuple[Finding, ...]:
        """What the image could meet or fail and was not judged by."""
        return () if self.exact else tuple(f for f in self.findings if f.applies and f.value is None)

    @property
    def why(self) -> str:
        """What the grade rests on, as plain text: the numbers that pull it down, and what could not be judged and why."""
        if self.exact:
            return "exact copy"
        parts = [f.text for f in self.findings if f.grade == self.grade and self.grade < Grade.FINE]
        if self.forward:
            parts.append(self.forward)
        reasons: dict[str, list[str]] = {}
        for finding in self.unjudged:
            reasons.setdefault(finding.criterion.silent, []).append(finding.criterion.name)
        judged = self.grade != Grade.NOT_JUDGED
        parts += [f"not judged: {', '.join(names)}, since {reason}" if judged else reason for reason, names in reasons.items()]
        return "; ".join(parts)


USES = {
    "look": "Can I look at it? Morphology, figures, finding the interesting places.",
    "count": "Can I count in it? Segmenting, counting and matching objects.",
    "spots": "Can I find spots in it? Single molecules, vesicles, foci.",
    "measure": "Can I measure in it? Intensities, sizes, traces over time, colocalisation.",
}
"""Use to the question that the page asks."""


FORWARD = {
    "count": "outlines of objects hold where finer structure is lost",
    "spots": "spots stand out where other structure is lost",
    "measure": "means over regions and objects hold where finer structure is lost",
}
"""Use to the reason why it can be graded better than looking."""


def judge_uses(evidence: Evidence) -> tuple[Verdict, ...]:
    """The verdicts for all uses, in the order of `USES`."""
    verdicts: list[Verdict] = []
    for use, question in USES.items():
        findings = tuple(_finding(c, evidence) for c in CRITERIA if c.use == use)
        judged = [f.grade for f in findings if f.grade != Grade.NOT_JUDGED]
        exact = evidence.is_exact()
        grade = Grade.FINE if exact else min(judged, default=Grade.NOT_JUDGED)
        look = verdicts[0].grade if verdicts else grade
        better = look < Grade.FINE and look < grade < Grade.NOT_JUDGED
        forward = f"better than looking ({look.words}): {FORWARD[use]}" if better else ""
        verdicts.append(Verdict(use, question, grade, findings, exact, forward))
    return tuple(verdicts)


def exact_verdicts() -> tuple[Verdict, ...]:
    """The verdicts on an exact copy, for which nothing has to be measured."""
    return tuple(Verdict(use, question, Grade.FINE, (), True) for use, question in USES.items())


def verdict_lines(verdicts: tuple[Verdict, ...], judged_on: str | None = None) -> list[str]:
    """The verdicts as lines of plain text; ``judged_on`` says of which part of the image, where that is not all of it."""
    width = max(len(v.use) for v in verdicts)
    lines = [f"{v.use:{width}}  {v.grade.words}{f': {v.why}' if v.why else ''}" for v in verdicts]
    return lines + ([judged_on] if judged_on else [])


def verdict_dict(verdicts: tuple[Verdict, ...], judged_on: str | None = None) -> dict[str, Any]:
    """The verdicts JSON-ready: of every use its grade, and why; ``judged_on`` as in `verdict_lines`."""
    return {v.use: {"grade": v.grade.words, "why": v.why} for v in verdicts} | {"judged_on": judged_on}


def _finding(criterion: Criterion, evidence: Evidence) -> Finding:
    found = list(criterion.measure(evidence))
    measured = [(name, value) for name, value in found if value is not None]
    grades: dict[str, Grade] = {}
    for name, value in measured:
        grades[name] = min(grades.get(name, Grade.NOT_JUDGED), criterion.grade(value))
    unjudged = tuple(dict.fromkeys(name for name, _ in found if name not in grades))
    if not measured:
        return Finding(criterion, None, "", Grade.NOT_JUDGED, {}, unjudged, bool(found))
    worst = (min if criterion.rising else max)(measured, key=lambda pair: pair[1])
    return Finding(criterion, worst[1], worst[0] if len(evidence.pair.views) > 1 else "", criterion.grade(worst[1]), grades,
                   unjudged)
