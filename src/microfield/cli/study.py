"""``microfield study``: which ratio is safe for an analysis, on the user's own images."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from microfield.cli.arguments import expand
from microfield.cli.bench import Shown, budgets_of, check_patterns, images_of, options_of, words_of
from microfield.errors import UsageError

LABEL_FREE = "labelfree"
"""The study that trains a predictor of its own."""
STUDIES = ("segment", "count", "trace", "colocalise", "denoise", "spots", "measure", "look")
"""What can be studied beside a function of the user's."""
NAMES = (*STUDIES, LABEL_FREE)


def add_to(commands: Any) -> None:
    """Declare the command."""
    p = commands.add_parser(
        "study", help="which ratio is safe for an analysis",
        description="Compress every image with every method at every ratio, run an analysis on original and copy, and say which "
                    f"ratio keeps its result. Analyses: {', '.join(NAMES)}, or --task with a function of yours. Finished runs are "
                    "kept in DIR and skipped the next time.",
    )
    p.add_argument("paths", nargs="+", metavar="[ANALYSIS] IMAGE", help="the analysis, then images; images only with --task")
    p.add_argument("--task", metavar="MODULE:FUNC", help="your own analysis: a function of an array that returns numbers or a mask")
    p.add_argument("--tolerance", type=float, help="how much the measure may lose (default 0.02; look, count, spots and measure "
                                                   "have the limits of the report)")
    p.add_argument("--methods", required=True, help="such as field,hevc,jpegxl (see `microfield methods`)")
    p.add_argument("--ratios", default="16,32,64,128", help="compression ratios (default 16,32,64,128)")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for rows, files and the page")
    p.add_argument("--channels", default="0,1", metavar="BRIGHTFIELD,FLUORESCENCE",
                   help="with labelfree: numbers of the two channels (default 0,1)")
    p.add_argument("--steps", type=int, default=300, help="with labelfree: steps of training (default 300)")
    p.add_argument("--repeat", action="append", default=[], metavar="IMAGE=SECOND", help="a second exposure of the same field")
    p.add_argument("--option", action="append", default=[], metavar="METHOD:KEY=VALUE", help="option of one method")
    p.add_argument("--effort", type=int, default=5, help="0 to 9 (default 5)")
    p.add_argument("--time-limit", help="longest time of every fit of a network, such as 60s or 2min")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--axes", help="axes of the images, as in compress")
    p.add_argument("--jobs", type=int, default=1, help="processes at once (default 1)")
    p.add_argument("--again", action="store_true", help="run anew what is done already")
    p.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the study and print it; the exit status, 1 where a run failed or was refused."""
    if arguments.paths[0] == LABEL_FREE and not arguments.task:
        return _label_free(arguments)
    from microfield.study.report import text
    from microfield.study.run import PAGE_FILE
    from microfield.study.run import run as run_study

    plan, repeats = _plan(arguments)
    show = Shown()
    try:
        rows, errors, notes = run_study(plan, repeats, show.row, show.progress)
    finally:
        show.close()
    print(text(plan, rows, errors))
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{len(rows)} runs; {plan.bench.out / PAGE_FILE}, rows.jsonl")
    return 1 if any(row["status"] in ("failed", "refused") for row in rows) else 0


def _label_free(arguments: argparse.Namespace) -> int:
    """The study of label-free prediction; the exit status, 1 where a run failed."""
    from importlib.util import find_spec

    from microfield.errors import MissingExtraError
    from microfield.progress import ProgressLine
    from microfield.study.labelfree import LabelFreePlan
    from microfield.study.labelfree import run as run_label_free
    from microfield.study.labelfree_report import text

    if find_spec("jax") is None or find_spec("optax") is None:
        raise MissingExtraError(f"study {LABEL_FREE}", "compress")
    paths = expand(arguments.paths[1:])
    numbers = arguments.channels.split(",")
    if not paths or len(numbers) != 2 or not all(n.strip().isdigit() for n in numbers):
        raise UsageError(f"study {LABEL_FREE} needs images, and --channels such as 0,1, not {arguments.channels}.")
    methods = options_of(words_of(arguments.methods, "--methods"), arguments.option)
    ratios = tuple(budget.value for budget in budgets_of(arguments.ratios, None))
    plan = LabelFreePlan(tuple(map(Path, paths)), methods, ratios, arguments.out, int(numbers[0]), int(numbers[1]), arguments.steps,
                         arguments.effort, arguments.seed)
    line = ProgressLine("study", log=True)
    try:
        rows = run_label_free(plan, line)
    finally:
        line.close()
    print(text(rows))
    return 1 if any("message" in row for row in rows) else 0


def _plan(arguments: argparse.Namespace) -> tuple[Any, dict[str, Path]]:
    """The study, and the second exposures by the names of their images.

    Raises
    ------
    UsageError
        An argument is wrong.
    """
    from microfield.bench.plan import BenchPlan
    from microfield.study.plan import StudyPlan
    from microfield.writing.words import seconds

    task, paths = _task(arguments)
    check_patterns(paths)
    images = images_of(expand(paths), [])
    methods = words_of(arguments.methods, "--methods")
    bench = BenchPlan(
        images=images, methods=options_of(methods, arguments.option), budgets=budgets_of(arguments.ratios, None), out=arguments.out,
        effort=arguments.effort, seed=arguments.seed, time_limit=seconds(arguments.time_limit),
        axes=arguments.axes and arguments.axes.upper(), jobs=arguments.jobs, again=arguments.again,
    )
    return StudyPlan.of(task, arguments.tolerance, bench), _repeats(arguments.repeat, {str(i.path): i.name for i in images})


def _task(arguments: argparse.Namespace) -> tuple[str, list[str]]:
    """The analysis, and the images."""
    if arguments.task:
        return arguments.task, arguments.paths
    name, *paths = arguments.paths
    if name not in STUDIES:
        raise UsageError(f"there is no study {name!r}; choose of {', '.join(NAMES)}, or give your own analysis with --task "
                         "MODULE:FUNC.")
    if not paths:
        raise UsageError(f"study {name} needs at least one image.")
    return name, paths


def _repeats(items: list[str], names: dict[str, str]) -> dict[str, Path]:
    """Name of an image to its second exposure."""
    found = {}
    for item in items:
        image, equals, second = item.partition("=")
        if not equals or image not in names:
            raise UsageError(f"--repeat {item!r} must look like IMAGE=SECOND, IMAGE one of the images.")
        if not Path(second).exists():
            raise UsageError(f"there is no file {second}, which --repeat names for {image}.")
        found[names[image]] = Path(second)
    return found
