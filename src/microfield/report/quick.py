"""The verdict alone, on a bounded part of an image: what is printed after an image was compressed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.analysis.subset import choose_subset
from microfield.image import Image
from microfield.report.evidence import gather
from microfield.report.verdict import Verdict, judge_uses, verdict_dict, verdict_lines

VOXELS = 1 << 20
"""At most so many array elements of an image are judged; larger ones in part."""


@dataclass(frozen=True)
class QuickVerdict:
    """Verdicts, and what they were judged on.

    Attributes
    ----------
    verdicts : one for every use
    judged_on : one sentence on the part of the image; None where it was all of it
    share : the part of the image's array elements that were judged, up to 1
    """

    verdicts: tuple[Verdict, ...]
    judged_on: str | None = None
    share: float = 1.0

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        """The grades with their reasons, for notebooks."""
        from microfield.notebook.card import card

        facts = {v.use: f"{v.grade.words}{f': {v.why}' if v.why else ''}" for v in self.verdicts}
        return card("What the copy is good for", facts | {"judged on": (self.judged_on or "").removeprefix("judged on ")})

    def lines(self) -> list[str]:
        """Lines of plain text."""
        return verdict_lines(self.verdicts, self.judged_on)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: of every use its grade, and why."""
        return verdict_dict(self.verdicts, self.judged_on)

    def columns(self) -> Mapping[str, str]:
        """Columns of a table: ``verdict_look`` and so on with the grades, and ``verdict_why``."""
        grades = {f"verdict_{v.use}": v.grade.words for v in self.verdicts}
        why = [f"{v.use}: {v.why}" for v in self.verdicts if v.why]
        return grades | {"verdict_why": " | ".join([*why, *([self.judged_on] if self.judged_on else [])])}


def quick_verdict(original: Image, reconstruction: Any, max_voxels: int = VOXELS,
                  progress: Callable[[float, str], None] | None = None, memo: dict[Any, Any] | None = None) -> QuickVerdict:
    """Judge a reconstruction on at most ``max_voxels`` array elements: some time points and the middle of the field.

    Parameters
    ----------
    original : Image
    reconstruction : array-like of the original's shape
    max_voxels : int
    progress : callable (fraction in 0..1, message), optional
    memo : dict, optional
        Keeps what was found in the original, for further copies of it (`microfield.analysis.judge.judge`).

    Raises
    ------
    InputError
        The shapes differ, or either image holds NaN or infinity.
    """
    times, box, note = choose_subset(original, max_voxels)
    parts = [tuple(slice(t, t + 1) if axis == "T" else s for axis, s in zip(original.axes, box, strict=True)) for t in times]
    whole = original.layout.size
    if note is not None:
        first = _joined([original.read(part) for part in parts], original.axes)
        copy = _joined([np.asarray(reconstruction[part]) for part in parts], original.axes)
        original = Image(first, original.axes, original.voxel_size, original.units, original.channel_names, name=original.name)
        reconstruction = copy
    evidence = gather(replace(original, labels=False), reconstruction, not_labels=True, pictures=False, progress=progress,
                      memo=memo)
    judged_on = None if note is None else note.replace("analysed were", "judged on")
    return QuickVerdict(judge_uses(evidence), judged_on, original.layout.size / whole)


def _joined(parts: list[npt.NDArray[Any]], axes: str) -> npt.NDArray[Any]:
    """Parts of the image as one array, one after another along time."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=axes.index("T"))
