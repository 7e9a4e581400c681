"""A bench: images x methods x budgets, resumable, one row a run.

In the folder of a bench: ``rows.jsonl`` (one line per finished run), ``files/`` (what was written, kept so that further
measures need no second encode), ``rows.csv``, ``rows.parquet``, ``index.html`` and ``log.txt`` (what codecs printed).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from microfield.bench import measures, rows
from microfield.bench.repeat_command import command
from microfield.bench.rows import Row
from microfield.bench.supervisor import OnProgress, OnRow, Supervisor
from microfield.bench.worker import PendingRun, Task
from microfield.errors import InputError, MicrofieldError, UsageError
from microfield.writing.budget import Budget
from microfield.writing.settings import Settings

WRITTEN = ("rows.csv", "rows.parquet", "index.html")
"""What is written anew from the record each time."""


@dataclass(frozen=True)
class BenchImage:
    """One image of a bench.

    Attributes
    ----------
    path : the file, or the folder of a Zarr image
    name : what rows call it; different for every image of a bench
    kind : of what kind of images it is one, in words; may be empty
    labels : file of its ground-truth labels; None without
    """

    path: Path
    name: str
    kind: str = ""
    labels: Path | None = None


@dataclass(frozen=True)
class BenchPlan:
    """Everything a bench does.

    Attributes
    ----------
    images : the images
    methods : method name to its options
    budgets : what to ask of every method
    out : folder for rows and files; made where it is missing
    effort, seed, time_limit, axes, nan_fill, not_labels : as in `microfield.compress`
    measures : names of measures
    jobs : most worker processes at once; times are only comparable with one
    again : run anew what is done already
    """

    images: tuple[BenchImage, ...]
    methods: Mapping[str, Mapping[str, str]]
    budgets: tuple[Budget, ...]
    out: Path
    effort: int = 5
    seed: int = 0
    time_limit: float | None = None
    axes: str | None = None
    measures: tuple[str, ...] = ("quality",)
    jobs: int = 1
    again: bool = False
    nan_fill: float | None = None
    not_labels: bool = False

    @property
    def log(self) -> Path:
        """Where the rows are recorded."""
        return self.out / "rows.jsonl"

    def settings(self, method: str) -> Settings:
        """How a method is run."""
        return Settings(method=method, options=dict(self.methods[method]), effort=self.effort, seed=self.seed,
                        time_limit=self.time_limit, nan_fill=self.nan_fill, not_labels=self.not_labels)


def check(plan: BenchPlan) -> None:
    """Refuse a plan that cannot work for any image: unknown methods, options or measures, missing labels, a bad folder.

    Raises
    ------
    UsageError
        With one sentence that says what is wrong.
    """
    from microfield.errors import MissingExtraError
    from microfield.methods import AUTO, get_method
    from microfield.writing.auto import check_options

    if not plan.images or not plan.methods or not plan.budgets:
        raise UsageError("a bench needs at least one image, one method and one budget.")
    if plan.jobs < 1:
        raise UsageError(f"--jobs must be at least 1, not {plan.jobs}.")
    if plan.nan_fill is not None and not math.isfinite(plan.nan_fill):
        raise UsageError(f"--nan-fill must be a finite number, not {plan.nan_fill}.")
    for name in plan.measures:
        measures.get(name)
    _check_paths(plan)
    for method, options in plan.methods.items():
        settings = plan.settings(method)
        if method == AUTO:
            check_options(settings)
            continue
        try:
            get_method(method).with_options(options)
        except MissingExtraError:
            continue  # the rows of this method will say so, and the other methods go on


def _check_paths(plan: BenchPlan) -> None:
    """Refuse an output folder that cannot be made, and labels that do not exist: all rows of an image would say the same."""
    for path in (plan.out, *plan.out.parents):
        if path.exists() and not path.is_dir():
            raise UsageError(f"--out {plan.out} cannot be a folder, because {path} is a file.")
    _check_own(plan)
    for image in plan.images:
        if image.labels is not None and not image.labels.exists():
            raise UsageError(f"there is no file {image.labels}, which --labels names for {image.path}.")


def _check_own(plan: BenchPlan) -> None:
    """Refuse a folder in which a bench would replace files that are not a bench's: without its record, they are somebody else's."""
    if plan.log.exists():
        if plan.log.stat().st_size and not rows.load(plan.log):
            raise UsageError(f"{plan.log} is no record of a bench; choose another folder with --out.")
        return
    for name in WRITTEN:
        if (plan.out / name).exists():
            raise UsageError(f"--out {plan.out} holds {name} but no record of a bench, so it is not replaced; choose another "
                             "folder.")


def run(plan: BenchPlan, on_row: OnRow | None = None, on_progress: OnProgress | None = None) -> list[Row]:
    """Run what is not done yet and return the rows of all runs of the plan, in its order.

    Runs that succeeded are done, and so are those whose budget cannot be reached; what was refused or failed is tried again,
    since a file or a package may be there now. One failing run does not stop the rest: its row says why. Every row is on
    disk as soon as it is finished, so that an interrupted bench goes on where it stopped.

    Raises
    ------
    UsageError
        As `check` does.
    """
    check(plan)
    (plan.out / "files").mkdir(parents=True, exist_ok=True)
    done = {} if plan.again else {rows.key(row): row for row in rows.load(plan.log)}
    wanted = list(_wanted(plan))
    tasks = list(_tasks(plan, wanted, done))
    total = sum(len(task.runs) for task in tasks)
    supervisor = Supervisor(plan.log, plan.jobs, total, on_row or (lambda *_: None), on_progress or (lambda *_: None))
    supervisor.run(tasks)
    done |= {rows.key(row): row for row in supervisor.finished}
    return [done[key] for key, _, _ in wanted if key in done]


# -- what is left to do ---------------------------------------------------------------------------------------------------------


def _wanted(plan: BenchPlan) -> Iterator[tuple[str, Row, Budget]]:
    """Key, first fields and budget of every run of the plan; images outermost, so that an image's rows come together."""
    for image in plan.images:
        mark = _mark(image.path)
        for method, options in plan.methods.items():
            for budget in plan.budgets:
                row: Row = {
                    "image": image.name, "kind": image.kind, "fingerprint": mark, "method": method, "options": dict(options),
                    "budget": budget.kind, "asked": budget.value, "effort": plan.effort, "seed": plan.seed,
                    "time_limit": plan.time_limit, "axes_given": plan.axes,
                    "labels": None if image.labels is None else image.labels.name,
                }
                if plan.nan_fill is not None:
                    row["nan_fill"] = plan.nan_fill
                if plan.not_labels:
                    row["not_labels"] = True
                key = rows.key(row)
                row["file"] = f"files/{_plain(image.name)}.{method}.{budget.kind}-{budget.value:g}.{key[:6]}.mfield"
                row["command"] = command(row, str(image.path), str(image.labels or ""), plan.measures, str(plan.out))
                yield key, row, budget


def _mark(path: Path) -> str:
    """The image's fingerprint; an unreadable file has its path instead, and the rows of its worker will say why."""
    try:
        return rows.fingerprint(path)
    except InputError:
        return f"none: {path}"


def _plain(name: str) -> str:
    """A name that every file system takes."""
    return re.sub(r"[^\w.-]+", "_", name)[:80]


def _tasks(plan: BenchPlan, wanted: Sequence[tuple[str, Row, Budget]], done: Mapping[str, Row]) -> Iterator[Task]:
    """One task per image and method with something left to do."""
    for image in plan.images:
        for method in plan.methods:
            runs = tuple(
                one for key, row, budget in wanted
                if row["method"] == method and row["image"] == image.name
                and (one := _pending(plan, key, row, budget, done.get(key))) is not None
            )
            if runs:
                yield Task(
                    path=str(image.path), axes=plan.axes, labels=None if image.labels is None else str(image.labels),
                    settings=plan.settings(method), runs=runs, modules=_modules(method),
                    measures={name: measures.source(name) for name in plan.measures}, out=plan.out,
                    log=plan.out / "log.txt",
                )


def _pending(plan: BenchPlan, key: str, row: Row, budget: Budget, before: Row | None) -> PendingRun | None:
    """What is left to do of one run, given its row ``before``, if any; None where it is done."""
    everything = PendingRun(key, budget, row, measures.without_repeats(plan.measures))
    if before is None:
        return everything
    if before["status"] == "unreachable":
        return None
    missing = measures.missing(plan.measures, before.get("measures", ()))
    if before["status"] == "ok" and not missing:
        return None
    if before.get("encode_seconds") is None or not (plan.out / before["file"]).exists():
        have = before.get("measures", ())
        return replace(everything, measures=measures.without_repeats((*have, *plan.measures)))
    return PendingRun(key, budget, before | {name: row[name] for name in ("labels", "command")}, missing, encoded=True)


def _modules(method: str) -> tuple[str, ...]:
    """The module that registers a method, for the worker to import."""
    from microfield.methods import get_method

    try:
        return (get_method(method).__module__,)
    except MicrofieldError:
        return ()
