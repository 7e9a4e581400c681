"""Running a study, and what it writes beside the rows of its bench: ``repeat.jsonl`` and ``study.html``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from microfield.bench.plan import run as run_bench
from microfield.bench.rows import Row, replace_text
from microfield.bench.supervisor import OnProgress, OnRow
from microfield.errors import MicrofieldError
from microfield.image import Image, filled
from microfield.io import open_image
from microfield.study.plan import StudyPlan
from microfield.study.repeat import RepeatError, repeat_errors
from microfield.study.report import page

REPEAT_FILE, PAGE_FILE = "repeat.jsonl", "study.html"


def run(plan: StudyPlan, repeats: Mapping[str, Path], on_row: OnRow | None = None, on_progress: OnProgress | None = None,
        ) -> tuple[list[Row], list[RepeatError], list[str]]:
    """Run what is not done yet, measure repeat errors, and write the page.

    A task that cannot be judged on one image, or a function that fails on it, is a row that says so; the study goes on.

    Parameters
    ----------
    plan : StudyPlan
    repeats : mapping of str to Path
        Name of an image to its second exposure, where there is one.
    on_row, on_progress : callable, optional
        As in `microfield.bench.plan.run`.

    Returns
    -------
    rows : list of Row
    errors : list of RepeatError
    notes : list of str
        Why repeat errors of some images are missing.
    """
    rows = run_bench(plan.bench, on_row, on_progress)
    errors: list[RepeatError] = []
    notes: list[str] = []
    for image in plan.bench.images:
        try:
            opened = _open(plan, image.path)
            second = None if image.name not in repeats else _open(plan, repeats[image.name])
            errors += repeat_errors(plan.task, opened, second)
        except MicrofieldError as error:
            notes.append(f"no repeat error of {image.name}: {error}")
    lines = [json.dumps(one.as_dict()) for one in errors]
    replace_text(plan.bench.out / REPEAT_FILE, "".join(f"{line}\n" for line in lines))
    replace_text(plan.bench.out / PAGE_FILE, page(plan, rows, errors))
    return rows, errors, notes


def _open(plan: StudyPlan, path: Path) -> Image:
    return filled(open_image(str(path), axes=plan.bench.axes), plan.bench.nan_fill)
