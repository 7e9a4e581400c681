"""``microfield bench``: compress every image with every method at every budget, and measure each file; a run is one of these."""

from __future__ import annotations

import argparse
import glob
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microfield.cli.arguments import expand, stem
from microfield.errors import UsageError
from microfield.progress import ProgressLine

if TYPE_CHECKING:
    from microfield.bench.plan import BenchImage, BenchPlan
    from microfield.bench.rows import Row
    from microfield.writing.budget import Budget

RATIOS = "64,128,256,512"
"""Compression ratios where neither ``--ratios`` nor ``--psnr`` is given."""

LABEL_ENDINGS = ("_labels", "_mask")
"""How files of ground-truth labels are named after their image, for ``--labels auto``."""


def add_to(commands: Any) -> None:
    """Declare the command."""
    p = commands.add_parser(
        "bench", help="compare methods on your own images",
        description="Compress every image with every method at every budget and measure what was lost. Finished runs are "
                    "kept in DIR and skipped the next time.",
    )
    p.add_argument("paths", nargs="+", metavar="IMAGE")
    p.add_argument("--methods", required=True, help="such as inif,hevc,av1 (see `microfield methods`)")
    p.add_argument("--ratios", help=f"compression ratios (default {RATIOS}, unless --psnr is given)")
    p.add_argument("--psnr", help="qualities to reach in dB, such as 35,40")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for rows, files and the page")
    p.add_argument("--option", action="append", default=[], metavar="METHOD:KEY=VALUE", help="option of one method")
    p.add_argument("--effort", type=int, default=5, help="0 to 9 (default 5)")
    p.add_argument("--time-limit", help="longest time of every fit of a network, such as 60s or 2min")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--axes", help="axes of the images, as in compress")
    p.add_argument("--nan-fill", type=float, help="value that replaces NaN and infinity, in what is compared, too")
    p.add_argument("--not-labels", action="store_true", help="bench even what looks like object labels")
    p.add_argument("--measures", default="quality", help="of quality, full, downstream, perceptual (default quality)")
    p.add_argument("--labels", action="append", default=[], metavar="IMAGE=LABELS|auto",
                   help="ground truth for downstream; auto takes NAME_labels or NAME_mask beside each image")
    p.add_argument("--anchor", help="method that the others are compared with (default: av1, hevc, sperr or inif)")
    p.add_argument("--jobs", type=int, default=1, help="processes at once (default 1: times are then comparable)")
    p.add_argument("--again", action="store_true", help="run anew what is done already")
    p.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the bench and print its summary; the exit status, 1 where a run failed or was refused."""
    from microfield.bench import summary, summary_text
    from microfield.bench.files import write_all, write_table
    from microfield.bench.plan import run as run_plan

    plan = _plan(arguments)
    if arguments.anchor and arguments.anchor not in plan.methods:
        raise UsageError(f"--anchor {arguments.anchor} is not one of the methods {', '.join(plan.methods)}.")
    show = Shown()
    try:
        rows = run_plan(plan, show.row, show.progress)
    except KeyboardInterrupt:
        how = "the same command without --again" if plan.again else "the same command again"
        show.close()
        print(f"note: finished runs are kept, and {how} goes on with the rest.", file=sys.stderr)
        write_table(plan.out)  # The page would take seconds, which nobody waits for after Ctrl-C.
        raise
    finally:
        show.close()
    notes = write_all(plan.out, arguments.anchor)
    anchor = summary.anchor_of(rows, arguments.anchor)
    print(summary_text.text(rows, anchor))
    for sentence in summary_text.complaints([row for row in rows if not show.said_on_terminal(row)]):
        print(sentence)
    for note in notes:
        print(note)
    print(f"{len(rows)} runs; {plan.out / 'index.html'}, rows.csv")
    return 1 if any(row["status"] in ("failed", "refused") for row in rows) else 0


class Shown:
    """Shows the bench on standard error: a line for every finished run and, on a terminal, the current run's progress below.

    Runs of an image that are refused for the same reason make one line on a terminal, and one line each in a log.
    """

    def __init__(self) -> None:
        self.line = ProgressLine("")
        self.said: set[tuple[str, str, str]] = set()

    def progress(self, name: str, fraction: float, message: str) -> None:
        """Show how far the run called ``name`` is, 0 to 1, and what it does."""
        if self.line.title != name:
            self.close()
            self.line = ProgressLine(name)
        self.line(fraction, message)

    def row(self, row: Row, done: int, total: int) -> None:
        """Show a finished run, the ``done``-th of ``total``."""
        from microfield.bench.rows import one_line

        self.close()
        if row["status"] != "ok" and self.line.active:
            if _sentence(row) in self.said:
                return
            self.said.add(_sentence(row))
        print(f"[{done}/{total}] {one_line(row)}", file=sys.stderr, flush=True)

    def said_on_terminal(self, row: Row) -> bool:
        """Whether why this run has no figures stands on the terminal on which the summary will be printed."""
        return sys.stdout.isatty() and row["status"] != "ok" and _sentence(row) in self.said

    def close(self) -> None:
        """Wipe the progress."""
        self.line.close()


def _sentence(row: Row) -> tuple[str, str, str]:
    """What makes two runs without figures alike: image, status and message."""
    return row["image"], row["status"], row["message"]


def _plan(arguments: argparse.Namespace) -> BenchPlan:
    """What to run.

    Raises
    ------
    UsageError
        An argument is wrong.
    """
    from microfield.bench.measures import without_repeats
    from microfield.bench.plan import BenchPlan
    from microfield.writing.words import seconds

    methods = words_of(arguments.methods, "--methods")
    check_patterns(arguments.paths)
    return BenchPlan(
        images=images_of(expand(arguments.paths), arguments.labels), methods=options_of(methods, arguments.option),
        budgets=budgets_of(arguments.ratios, arguments.psnr), out=arguments.out, effort=arguments.effort, seed=arguments.seed,
        time_limit=seconds(arguments.time_limit), axes=arguments.axes and arguments.axes.upper(),
        measures=without_repeats(words_of(arguments.measures, "--measures")), jobs=arguments.jobs, again=arguments.again,
        nan_fill=arguments.nan_fill, not_labels=arguments.not_labels,
    )


def check_patterns(paths: list[str]) -> None:
    """Refuse a pattern that matches no file: the images it was meant for would be missing without a word."""
    for path in paths:
        if glob.has_magic(path) and not expand([path]):
            raise UsageError(f"no file matches {path}.")


def words_of(text: str, flag: str) -> list[str]:
    """The parts of a list with commas, each once; UsageError, which names ``flag``, where there is none."""
    words = list(dict.fromkeys(w.strip() for w in text.split(",") if w.strip()))
    if not words:
        raise UsageError(f"{flag} {text!r} names nothing.")
    return words


def budgets_of(ratios: str | None, psnr: str | None) -> tuple[Budget, ...]:
    """Budgets of every run, ratios first; `RATIOS` where nothing is asked for."""
    from microfield.writing.budget import Budget

    if ratios is None and psnr is None:
        ratios = RATIOS
    asked = [("ratio", word) for word in words_of(ratios, "--ratios")] if ratios is not None else []
    asked += [("psnr", word) for word in words_of(psnr, "--psnr")] if psnr is not None else []
    return tuple(dict.fromkeys(Budget.of(**{kind: word}) for kind, word in asked))


def options_of(methods: list[str], given: list[str]) -> dict[str, dict[str, str]]:
    """Options of every method from ``METHOD:KEY=VALUE``."""
    options: dict[str, dict[str, str]] = {method: {} for method in methods}
    for item in given:
        method, colon, rest = item.partition(":")
        key, equals, value = rest.partition("=")
        if not colon or not equals:
            raise UsageError(f"--option {item!r} must look like METHOD:key=value.")
        if method not in options:
            raise UsageError(f"--option {item!r} is for a method that is not in --methods {','.join(methods)}.")
        options[method][key.strip()] = value.strip()
    return options


def images_of(paths: list[str], labels: list[str]) -> tuple[BenchImage, ...]:
    """The images with their names and labels; with ``--labels auto`` the files of labels among the paths are left out."""
    from microfield.bench.plan import BenchImage

    given = _given_labels([item for item in labels if item != "auto"])
    found = {path: given.get(path) for path in dict.fromkeys(paths)}
    if "auto" in labels:
        found = _without_labels({path: one or _beside(path) for path, one in found.items()})
    unknown = sorted(set(given) - set(found))
    if unknown:
        raise UsageError(f"--labels names {unknown[0]}, which is not one of the images.")
    stems = [stem(path) for path in found]
    names = [s if stems.count(s) == 1 else f"{Path(p).resolve().parent.name}/{s}" for p, s in zip(found, stems, strict=True)]
    for name, path in zip(names, found, strict=True):
        if names.count(name) > 1:
            raise UsageError(f"two images are called {name}, {path} and another one; rename one or bench them apart.")
    return tuple(BenchImage(Path(p), name, labels=found[p]) for p, name in zip(found, names, strict=True))


def _without_labels(found: dict[str, Path | None]) -> dict[str, Path | None]:
    """The images without those that are labels of another one; a note on standard error names each that is left out."""
    owners = {one.resolve(): path for path, one in found.items() if one is not None}
    images = {}
    for path, one in found.items():
        owner = owners.get(Path(path).resolve())
        if owner is None and not (beside := _image_of(path)):
            images[path] = one
        else:
            what = f"is used as labels of {owner}" if owner else f"is named as labels of {beside}"
            print(f"note: {path} {what} and not benched itself (--labels auto).", file=sys.stderr)
    return images


def _given_labels(items: list[str]) -> dict[str, Path]:
    """Image to file of labels, from ``IMAGE=LABELS``."""
    given = {}
    for item in items:
        image, equals, labels = item.partition("=")
        if not equals or not image or not labels:
            raise UsageError(f"--labels {item!r} must look like IMAGE=LABELS, or be auto.")
        given[image] = Path(labels)
    return given


def _image_of(path: str) -> Path | None:
    """The image whose name, with one of `LABEL_ENDINGS` behind it, is the name of this file."""
    name = stem(path)
    bases = [name.removesuffix(ending) for ending in LABEL_ENDINGS if name.endswith(ending)]
    return next((image for base in bases if (image := _named(Path(path), base)) is not None), None)


def _beside(path: str) -> Path | None:
    """The file of labels in the image's folder that is named after it (see `LABEL_ENDINGS`)."""
    return next((f for ending in LABEL_ENDINGS if (f := _named(Path(path), stem(path) + ending)) is not None), None)


def _named(beside: Path, name: str) -> Path | None:
    """A file of this stem in the same folder."""
    return next((f for f in sorted(beside.parent.glob(f"{glob.escape(name)}.*")) if stem(f.name) == name), None)
